"""Tests of the throughput benchmark, with operations and ratios computed by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
import throughput
from publish import DOCS
from throughput import BEGIN, END, Convolution, convolutions, text

from lucid.models import create_model

REPORT: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "machine": {"processor": "a processor"},
    "threads": 2,
    "unit": "micro-kernel",
    "peak_of_one": 6e9,
    "peak": 10e9,
    "layers": [
        {
            "convolution": Convolution(3, 10, 3, 2, 5)._asdict(),
            "count": 1,
            "seconds": {
                "prediction, batch 1": 9.72e-7,  # 2 x 3 x 3 places x 3 x 10 x 9 products
                "prediction, batch 8": 1.944e-5,
                "weight gradient, batch 8": 3.888e-5,
            },
        },
        {
            "convolution": Convolution(10, 20, 1, 1, 3)._asdict(),
            "count": 2,
            "seconds": {
                "prediction, batch 1": 1.8e-6,
                "prediction, batch 8": 1.44e-5,
                "input gradient, batch 8": 5.76e-6,
                "weight gradient, batch 8": 1.44e-5,
            },
        },
    ],
}


def test_table_has_a_line_per_layer_and_a_total() -> None:
    assert text(REPORT).splitlines()[2:] == [
        "| layer | count | prediction, batch 1 | prediction, batch 8 | input gradient, batch 8 "
        "| weight gradient, batch 8 |",
        "| --- | --: | --: | --: | --: | --: |",
        "| 3 x 3 / 2, 3 to 10, 5 x 5 | 1 | 5 (50%) | 2 (20%) |  | 1 (10%) |",
        "| 1 x 1, 10 to 20, 3 x 3 | 2 | 2 (20%) | 2 (20%) | 5 (50%) | 2 (20%) |",
        # (4,860 + 2 x 3,600) operations in 0.972 + 2 x 1.8 microseconds, and so on
        "| all | 3 | 3 (26%) | 2 (20%) | 5 (50%) | 1 (14%) |",
    ]


def test_convolutions_of_resnet_50() -> None:
    found = convolutions(create_model("resnet_50"))
    assert sum(found.values()) == 53
    assert found[Convolution(3, 64, 7, 2, 224)] == 1
    assert found[Convolution(256, 256, 3, 1, 14)] == 5
    # The 4,089,184,256 multiply-adds of the network, without those of its classifier.
    assert sum(conv.operations(1) * n for conv, n in found.items()) == 2 * (
        4_089_184_256 - 2_048_000
    )


def test_measure_peak_and_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="the micro-kernel is compiled by Numba")
    small = {Convolution(3, 8, 3, 2, 8): 1, Convolution(8, 4, 1, 1, 4): 3}
    monkeypatch.setattr(throughput, "convolutions", lambda model: small)
    report = throughput.measure(threads=2, patience=0.0)
    assert 0 < report["peak_of_one"] < 1e13
    assert 0 < throughput.peak_of_micro_kernel(1) < 1e13
    assert [len(layer["seconds"]) for layer in report["layers"]] == [3, 4]
    assert "8 to 4" in text(report)


def test_publish_writes_the_table_between_the_markers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(throughput, "measure", lambda threads, patience: REPORT)
    page = tmp_path / "kernel_development.md"
    page.write_text(f"before\n\n{BEGIN}\n\nold\n\n{END}\n\nafter\n")
    throughput.main(["--publish"], docs=tmp_path)
    assert page.read_text() == f"before\n\n{BEGIN}\n\n{text(REPORT)}\n\n{END}\n\nafter\n"
    assert json.loads((tmp_path / "benchmarks" / "throughput.json").read_text()) == REPORT


def test_page_has_the_published_table() -> None:
    report = json.loads((DOCS / "benchmarks" / "throughput.json").read_text())
    assert f"{BEGIN}\n\n{text(report)}\n\n{END}" in (DOCS / "kernel_development.md").read_text()
