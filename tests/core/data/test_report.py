"""Findings of a data set: counted, listed, decided upon."""

from __future__ import annotations

import json
import pickle

import pytest

from lucid.data.report import KINDS, DataReport, InvalidDataError


def filled(errors: int, of: int = 10) -> DataReport:
    report = DataReport("train.json")
    report.totals.update(annotations=of)
    for number in range(errors):
        report.add("bad-bbox", f"annotation {number}: no area", leave_out="annotations")
    return report


def test_notes_never_refuse() -> None:
    report = filled(0)
    report.add("clipped", "annotation 1: cut at the border")
    report.count("duplicate", 3, "3 boxes are there twice")
    report.resolve("raise")
    report.resolve("skip")
    assert list(report.rows()) == [
        ("clipped", "boxes clipped at the border", 1),
        ("duplicate", "duplicate boxes", 3),
    ]
    assert report.number("note") == 4
    assert report.number("error", "fatal") == 0


def test_errors_are_listed_ten_at_most_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"train\.json: 13 problems:") as caught:
        filled(13, of=100).resolve("raise", hint="\nPass skip.")
    lines = str(caught.value).splitlines()
    assert lines[1] == "  annotation 0: no area"
    assert lines[10:] == ["  annotation 9: no area", "  ... and 3 more", "Pass skip."]


@pytest.mark.parametrize(("errors", "refused"), [(5, False), (6, True)])
def test_more_than_half_is_not_left_out(errors: int, refused: bool) -> None:
    report = filled(errors)
    if not refused:
        report.resolve("skip")
        return
    with pytest.raises(ValueError, match=r"6 of 10 annotations .*invalid boxes: 6"):
        report.resolve("skip")


def test_fatal_findings_are_never_skipped() -> None:
    report = filled(1)
    report.add("bad-category", "category 1: no name")
    for policy in ("raise", "skip"):
        with pytest.raises(ValueError, match=r"train\.json: 1 problem:\n  category 1: no name"):
            report.resolve(policy)


def test_parts_are_merged() -> None:
    first, second = filled(1), filled(2)
    first.classes, second.classes = {"cat": 1}, {"cat": 2, "dog": 3}
    first.merge([second])
    assert first.counts["bad-bbox"] == first.left_out["annotations"] == 3
    assert first.totals["annotations"] == 20
    assert first.classes == {"cat": 3, "dog": 3}


def test_it_is_json() -> None:
    said = json.loads(json.dumps(filled(12).as_dict()))
    assert said["counts"] == {"bad-bbox": 12}
    assert said["left_out"] == {"annotations": 12}
    assert len(said["findings"]) == 10
    assert said["findings"][0] == {
        "kind": "bad-bbox",
        "severity": "error",
        "message": "annotation 0: no area",
        "image": None,
        "annotation": None,
    }


def test_every_kind_has_a_severity() -> None:
    assert {severity for severity, _ in KINDS.values()} == {"fatal", "error", "note"}


def test_error_has_the_report_and_can_be_sent_to_other_ranks() -> None:
    with pytest.raises(InvalidDataError) as caught:
        filled(2).resolve("raise")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.report.counts == {"bad-bbox": 2}


def test_verdict() -> None:
    for errors, expected in ((0, (True, True)), (5, (False, True)), (6, (False, False))):
        report = filled(errors)
        assert (report.usable, report.usable_with_skip_invalid) == expected
    report.add("bad-category", "no name")
    assert not report.usable_with_skip_invalid


def test_sizes_are_summed_up_by_area() -> None:
    report = DataReport("a")
    report.set_sizes([])
    assert report.sizes == {}
    report.set_sizes([(5, 100), (10, 10), (30, 30), (1, 2)])
    assert report.sizes == {"min": (1, 2), "median": (10, 10), "max": (30, 30)}
