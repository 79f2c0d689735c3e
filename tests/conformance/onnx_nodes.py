"""ONNX's node tests against Lucid: ``python tests/conformance/onnx_nodes.py --table``.

Every case that ``onnx`` builds for a single node, with its inputs, outputs and
tolerances, is run, or is on the list in ``onnx_exclusions.py``.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import numpy as np
import onnx_adapters_elementwise
import onnx_adapters_layers
import onnx_adapters_shape
from onnx import NodeProto, TensorProto, TypeProto, helper, numpy_helper
from onnx_exclusions import CASES, OPERATORS, TYPES
from onnx_registry import ADAPTERS

import lucid

#: They fill the registry.
ADAPTER_MODULES = (onnx_adapters_elementwise, onnx_adapters_layers, onnx_adapters_shape)


@functools.cache
def all_cases() -> tuple[Any, ...]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # The cases are computed as they are loaded, with divisions by zero among them.
        warnings.simplefilter("ignore")
        return tuple(load_model_tests(kind="node"))


def is_expanded(case: Any) -> bool:
    """Whether it is another case once more, as a graph of simpler nodes."""
    return "_expanded" in case.name


def plain_cases() -> list[Any]:
    return [case for case in all_cases() if not is_expanded(case)]


def node_of(case: Any) -> NodeProto:
    (node,) = case.model.graph.node
    return node


# --- why a case does not run --------------------------------------------------------------------


def type_names(case: Any) -> Iterator[str]:
    """Names of the element types of inputs, outputs and attributes."""
    graph = case.model.graph
    for value in (*graph.input, *graph.output):
        yield type_name(value.type)
    for attribute in node_of(case).attribute:
        if attribute.name in ("to", "dtype"):
            yield TensorProto.DataType.Name(attribute.i)


def type_name(kind: TypeProto) -> str:
    if kind.HasField("tensor_type"):
        return TensorProto.DataType.Name(kind.tensor_type.elem_type)
    return "OPTIONAL" if kind.HasField("optional_type") else "SEQUENCE"


def reasons(case: Any) -> Iterator[tuple[Any, str]]:
    """Every entry of the list that excludes a case, with its reason."""
    operator = node_of(case).op_type
    for operators, reason in OPERATORS.items():
        if operator in operators.split():
            yield operators, reason
    for exclusion in CASES:
        if operator in exclusion.operators.split() and fnmatch(case.name, exclusion.cases):
            yield exclusion, exclusion.reason
    for name in dict.fromkeys(type_names(case)):
        if name in TYPES:
            yield name, TYPES[name]


def exclusion(case: Any) -> str | None:
    """Why a case does not run, or None if it does."""
    return next((reason for _, reason in reasons(case)), None)


# --- running ------------------------------------------------------------------------------------


def run(case: Any) -> None:
    """Compute a case and compare with what is expected, at the case's tolerances.

    Raises
    ------
    AssertionError
        If a value, a shape or an element type differs.
    """
    node = node_of(case)
    adapter = ADAPTERS[node.op_type]
    options = {a.name: attribute(a) for a in node.attribute}
    names = [value.name for value in case.model.graph.output]
    if "outputs" in inspect.signature(adapter).parameters:
        options["outputs"] = len(names)
    for given, expected in case.data_sets:
        arrays = iter([as_array(value) for value in given])
        tensors = [lucid.Tensor(next(arrays)) if name else None for name in node.input]
        with np.errstate(all="ignore"):
            result = adapter(*tensors, **options)
        results = [result] if isinstance(result, lucid.Tensor) else list(result)
        by_name = dict(zip(node.output, results, strict=False))
        for name, value in zip(names, expected, strict=True):
            compare(by_name[name].numpy(), as_array(value), case)


def compare(actual: np.ndarray, expected: np.ndarray, case: Any) -> None:
    assert actual.dtype == expected.dtype, f"{actual.dtype} in place of {expected.dtype}"
    assert actual.shape == expected.shape, f"{actual.shape} in place of {expected.shape}"
    np.testing.assert_allclose(actual, expected, rtol=case.rtol, atol=case.atol)


def attribute(proto: Any) -> Any:
    value = helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode()
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def as_array(value: Any) -> np.ndarray:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


# --- the table ----------------------------------------------------------------------------------


def table() -> tuple[str, int]:
    """The table in Markdown, and how many cases fail."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    why: dict[str, Counter[str]] = defaultdict(Counter)
    for case in plain_cases():
        operator = node_of(case).op_type
        reason = exclusion(case)
        if reason is not None:
            found[operator]["excluded"] += 1
            why[operator][reason] += 1
            continue
        try:
            run(case)
            found[operator]["passed"] += 1
        except Exception as error:
            found[operator]["failed"] += 1
            why[operator][f"FAILED {case.name}: {type(error).__name__}"] += 1
    lines = ["| Operator | Cases | Passed | Excluded | Why |", "|---|---:|---:|---:|---|"]
    for operator in sorted(found):
        counts = found[operator]
        text = "; ".join(f"{n}: {reason}" for reason, n in why[operator].items())
        numbers = (counts.total(), counts["passed"], counts["excluded"])
        lines.append(f"| {operator} | {' | '.join(map(str, numbers))} | {text} |")
    total = sum(found.values(), Counter())
    lines.append(f"| **All** | {total.total()} | {total['passed']} | {total['excluded']} | |")
    return "\n".join(lines), total["failed"]


def page() -> tuple[str, int]:
    import onnx

    body, failed = table()
    expanded = sum(map(is_expanded, all_cases()))
    run_count = sum(exclusion(case) is None for case in plain_cases())
    excluded = len(plain_cases()) - run_count
    text = f"""# ONNX node tests

The cases that ONNX {onnx.__version__} gives for single operators, run with Lucid's public
functions and compared in value, shape and element type at each case's tolerances:
{run_count - failed} of {run_count} pass, {excluded} are excluded for the reasons given.
{expanded} more (`_expanded`) are the same cases as graphs of simpler nodes, which exercise
nothing else of Lucid, and are left out.

Where ONNX's operator is not one of Lucid's functions it is put together from them as a
user would; `tests/conformance/onnx_adapters_*.py` show how. This page is what
`python tests/conformance/onnx_nodes.py --table` prints.

{body}
"""
    return text, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the whole table")
    parser.add_argument("--failures", action="store_true", help="print what fails, and how")
    options = parser.parse_args()
    if options.failures:
        for case in plain_cases():
            if exclusion(case) is None:
                try:
                    run(case)
                except Exception as error:
                    print(f"{case.name}: {type(error).__name__}: {str(error)[:300]}\n")
        return 0
    text, failed = page()
    print(text.rstrip("\n") if options.table else text.splitlines()[-1])
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
