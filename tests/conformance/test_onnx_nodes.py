"""ONNX's node tests: every case passes or is excluded with a reason."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import onnx_nodes
import pytest
from onnx_exclusions import CASES, OPERATORS, TYPES
from onnx_registry import ADAPTERS

ALL = onnx_nodes.all_cases()
PLAIN = onnx_nodes.plain_cases()
EXPANDED = onnx_nodes.expanded_cases()
RUN = [case for case in ALL if onnx_nodes.exclusion(case) is None]


@pytest.mark.parametrize("case", RUN, ids=lambda case: case.name)
def test_a_node(case: Any) -> None:
    onnx_nodes.run(case)


def test_most_cases_run() -> None:
    """Numbers of passing cases, which may only grow."""
    expanded = sum(map(onnx_nodes.is_expanded, RUN))
    assert len(RUN) - expanded >= 844
    assert expanded >= 390


def test_every_exclusion_matches_a_case() -> None:
    used = defaultdict(int)
    for case in ALL:
        for entry, _ in onnx_nodes.reasons(case):
            used[entry] += 1
    idle = [entry for entry in (*TYPES, *OPERATORS, *CASES) if not used[entry]]
    assert not idle


def test_excluded_operators_exist_without_adapter() -> None:
    operators = {node.op_type for case in ALL for node in onnx_nodes.nodes_of(case)}
    excluded = {name for names in OPERATORS for name in names.split()}
    assert excluded <= operators
    assert not excluded & set(ADAPTERS)


def test_every_adapter_has_a_case() -> None:
    used = {node.op_type for case in RUN for node in onnx_nodes.nodes_of(case)}
    assert used == set(ADAPTERS)


def test_every_expanded_case_has_a_plain_case() -> None:
    assert {onnx_nodes.operator_of(case) for case in EXPANDED} <= {
        onnx_nodes.operator_of(case) for case in PLAIN
    }


def test_only_unsupported_features_are_excluded() -> None:
    """Random numbers are the exception: there is no reference to compare with."""
    given = {reason for case in ALL for _, reason in onnx_nodes.reasons(case)}
    others = {reason for reason in given if not reason.startswith("no ")}
    assert len(others) == 1
    assert others.pop().startswith("random numbers: ")


def test_wrong_value_dtype_or_shape_fails() -> None:
    (case,) = [case for case in PLAIN if case.name == "test_abs"]
    expected = case.data_sets[0][1][0]
    with pytest.raises(AssertionError, match="Mismatched"):
        onnx_nodes.compare(expected + 1, expected, case)
    with pytest.raises(AssertionError, match="float64 in place of float32"):
        onnx_nodes.compare(expected.astype(float), expected, case)
    with pytest.raises(AssertionError, match="in place of"):
        onnx_nodes.compare(expected[0], expected, case)


def test_published_table_is_up_to_date() -> None:
    published = Path(__file__).parents[2] / "docs" / "reference" / "onnx.md"
    assert published.read_text(encoding="utf-8") == onnx_nodes.page()[0]


def test_table_counts_every_case_once() -> None:
    text, plain, expanded = onnx_nodes.table()
    last = [cell.strip() for cell in text.splitlines()[-1].split("|")]
    numbers = []
    for cases in (PLAIN, EXPANDED):
        excluded = sum(onnx_nodes.exclusion(case) is not None for case in cases)
        numbers += [len(cases), len(cases) - excluded, excluded]
    assert last[2:8] == [str(n) for n in numbers]
    assert plain["failed"] == expanded["failed"] == 0
