"""ONNX's node tests: every case runs or is excluded with a reason, and what runs passes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import onnx_nodes
import pytest
from onnx_exclusions import CASES, OPERATORS, TYPES
from onnx_registry import ADAPTERS

PLAIN = onnx_nodes.plain_cases()
RUN = [case for case in PLAIN if onnx_nodes.exclusion(case) is None]


@pytest.mark.parametrize("case", RUN, ids=lambda case: case.name)
def test_a_node(case: Any) -> None:
    onnx_nodes.run(case)


def test_at_least_six_hundred_cases_run() -> None:
    assert len(RUN) >= 600


def test_every_exclusion_excludes_something() -> None:
    used = defaultdict(int)
    for case in PLAIN:
        for entry, _ in onnx_nodes.reasons(case):
            used[entry] += 1
    idle = [entry for entry in (*TYPES, *OPERATORS, *CASES) if not used[entry]]
    assert not idle


def test_every_operator_that_is_excluded_exists_and_has_no_adapter() -> None:
    operators = {onnx_nodes.node_of(case).op_type for case in PLAIN}
    excluded = {name for names in OPERATORS for name in names.split()}
    assert excluded <= operators
    assert not excluded & set(ADAPTERS)


def test_no_adapter_is_left_without_a_case() -> None:
    assert {onnx_nodes.node_of(case).op_type for case in RUN} == set(ADAPTERS)


def test_a_wrong_value_a_wrong_type_and_a_wrong_shape_are_noticed() -> None:
    (case,) = [case for case in PLAIN if case.name == "test_abs"]
    expected = case.data_sets[0][1][0]
    with pytest.raises(AssertionError, match="Mismatched"):
        onnx_nodes.compare(expected + 1, expected, case)
    with pytest.raises(AssertionError, match="float64 in place of float32"):
        onnx_nodes.compare(expected.astype(float), expected, case)
    with pytest.raises(AssertionError, match="in place of"):
        onnx_nodes.compare(expected[0], expected, case)


def test_the_published_table_is_up_to_date() -> None:
    published = Path(__file__).parents[2] / "docs" / "reference" / "onnx.md"
    assert published.read_text(encoding="utf-8") == onnx_nodes.page()[0]


def test_the_table_counts_every_case_once() -> None:
    text, failed = onnx_nodes.table()
    assert failed == 0
    last = [cell.strip() for cell in text.splitlines()[-1].split("|")]
    assert last[2:5] == [str(len(PLAIN)), str(len(RUN)), str(len(PLAIN) - len(RUN))]
