"""Run ONNX's node tests on Lucid: ``python tests/conformance/onnx_nodes.py --table``.

Every case that ``onnx`` builds, with its inputs, outputs and tolerances, is run, or is on
the list in ``onnx_exclusions.py``: the plain ones, of a single node, and those where a
node stands expanded into a graph of simpler ones.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from typing import Any

import numpy as np
import onnx_adapters_elementwise
import onnx_adapters_layers
import onnx_adapters_optim
import onnx_adapters_shape
from onnx import NodeProto, TensorProto, TypeProto, helper, numpy_helper
from onnx_exclusions import CASES, OPERATORS, TYPES
from onnx_registry import ADAPTERS

from lucid import Tensor

#: They fill the registry.
ADAPTER_MODULES = (
    onnx_adapters_elementwise,
    onnx_adapters_layers,
    onnx_adapters_optim,
    onnx_adapters_shape,
)


@functools.cache
def all_cases() -> tuple[Any, ...]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # The cases are computed as they are loaded, with divisions by zero among them.
        warnings.simplefilter("ignore")
        return tuple(load_model_tests(kind="node"))


def is_expanded(case: Any) -> bool:
    """Whether this is an expanded case, a graph of simpler nodes."""
    return "_expanded" in case.name


def plain_cases() -> list[Any]:
    return [case for case in all_cases() if not is_expanded(case)]


def expanded_cases() -> list[Any]:
    return [case for case in all_cases() if is_expanded(case)]


def nodes_of(case: Any) -> list[NodeProto]:
    return list(case.model.graph.node)


@functools.cache
def operators() -> dict[str, str]:
    """Operator of each plain case, by case name."""
    return {case.name: nodes_of(case)[0].op_type for case in plain_cases()}


def operator_of(case: Any) -> str:
    """Operator of a plain or expanded case."""
    return operators()[case.name.partition("_expanded")[0]]


# --- why a case does not run --------------------------------------------------------------------


def type_names(case: Any) -> Iterator[str]:
    """Names of the dtypes of inputs, outputs and attributes."""
    graph = case.model.graph
    for value in (*graph.input, *graph.output):
        yield type_name(value.type)
    for node in nodes_of(case):
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype"):
                yield TensorProto.DataType.Name(attribute.i)


def type_name(kind: TypeProto) -> str:
    if kind.HasField("tensor_type"):
        return TensorProto.DataType.Name(kind.tensor_type.elem_type)
    return "OPTIONAL" if kind.HasField("optional_type") else "SEQUENCE"


def reasons(case: Any) -> Iterator[tuple[Any, str]]:
    """Exclusions that match a case, with reasons."""
    present = {node.op_type for node in nodes_of(case)}
    for names, reason in OPERATORS.items():
        if present & set(names.split()):
            yield names, reason
    for entry in CASES:
        if present & set(entry.operators.split()) and fnmatch(case.name, entry.cases):
            yield entry, entry.reason
    for name in dict.fromkeys(type_names(case)):
        if name in TYPES:
            yield name, TYPES[name]


def exclusion(case: Any) -> str | None:
    """Reason why a case is excluded, or None."""
    return next((reason for _, reason in reasons(case)), None)


# --- running ------------------------------------------------------------------------------------


def run(case: Any) -> None:
    """Run a case and compare its outputs with the case's tolerances.

    Raises
    ------
    AssertionError
        If a value, a shape or an element type differs.
    """
    names = [value.name for value in case.model.graph.output]
    for given, expected in case.data_sets:
        values: dict[str, Tensor] = {
            value.name: Tensor(as_array(array))
            for value, array in zip(case.model.graph.input, given, strict=True)
        }
        with np.errstate(all="ignore"):
            for node in nodes_of(case):
                values.update(zip(node.output, computed(node, values), strict=False))
        for name, value in zip(names, expected, strict=True):
            compare(values[name].numpy(), as_array(value), case)


def computed(node: NodeProto, values: dict[str, Tensor]) -> Sequence[Tensor]:
    """Compute one node from earlier results."""
    adapter = ADAPTERS[node.op_type]
    options = {a.name: attribute(a) for a in node.attribute}
    if "outputs" in inspect.signature(adapter).parameters:
        options["outputs"] = len(node.output)
    result = adapter(*(values[name] if name else None for name in node.input), **options)
    return [result] if isinstance(result, Tensor) else result


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


def outcome(case: Any) -> tuple[str, str]:
    """Result of a case (passed, failed, excluded), with the reason."""
    reason = exclusion(case)
    if reason is not None:
        return "excluded", reason
    try:
        run(case)
    except Exception as error:
        return "failed", f"FAILED {case.name}: {type(error).__name__}"
    return "passed", ""


def table() -> tuple[str, Counter[str], Counter[str]]:
    """The Markdown table, and the counts of plain and expanded cases."""
    plain: dict[str, Counter[str]] = defaultdict(Counter)
    expanded: dict[str, Counter[str]] = defaultdict(Counter)
    why: dict[str, Counter[str]] = defaultdict(Counter)
    for case in all_cases():
        operator = operator_of(case)
        result, reason = outcome(case)
        (expanded if is_expanded(case) else plain)[operator][result] += 1
        if reason:
            why[operator][reason] += 1
    lines = [
        "| Operator | Plain cases | Passed | Excluded | Expanded | Passed | Excluded | Reason |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for operator in sorted(plain):
        text = "; ".join(f"{n}: {reason}" for reason, n in why[operator].items())
        lines.append(f"| {operator} | {cells(plain[operator], expanded[operator])} | {text} |")
    totals = [sum(found.values(), Counter()) for found in (plain, expanded)]
    lines.append(f"| **All** | {cells(*totals)} | |")
    return "\n".join(lines), totals[0], totals[1]


def cells(*counts: Counter[str]) -> str:
    return " | ".join(
        str(n) for count in counts for n in (count.total(), count["passed"], count["excluded"])
    )


def summary(counts: Counter[str]) -> str:
    passed, excluded = counts["passed"], counts["excluded"]
    ran = counts.total() - excluded
    return f"{ran} of {counts.total()} run, {passed} pass, {excluded} are excluded"


def page() -> tuple[str, int]:
    """The published page, and the number of failures."""
    import onnx

    body, plain, expanded = table()
    text = f"""# ONNX node tests

Results of the node tests of ONNX {onnx.__version__}, run with Lucid's public functions and compared
in value, shape and dtype with each case's tolerances.

- Plain cases, a single operator: {summary(plain)}.
- Expanded cases, an operator as a graph of simpler ones: {summary(expanded)}.

Only unsupported features, such as dtypes, operations or layers, are excluded; the last column names
them. Operators that are not functions of Lucid are composed from functions, see
`tests/conformance/onnx_adapters_*.py`. To write this page, run
`python tests/conformance/onnx_nodes.py --table`.

{body}
"""
    return text, plain["failed"] + expanded["failed"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the whole table")
    parser.add_argument("--failures", action="store_true", help="print what fails, and how")
    options = parser.parse_args()
    if options.failures:
        for case in all_cases():
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
