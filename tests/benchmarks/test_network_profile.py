"""Tests of the profile of networks, with operations, bytes and limits computed by hand."""

from __future__ import annotations

import json
from typing import Any

import network_profile
import numpy as np
import pytest
import throughput
from network_profile import Call, describe, listing, text
from publish import DOCS
from throughput import NETWORKS_BEGIN, NETWORKS_END

import lucid
from lucid import kernels, nn

REPORT: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "machine": {"processor": "a processor"},
    "threads": 2,
    "peak": 10e9,
    "bandwidths": [[2**20, 8e9], [2**23, 4e9], [2**28, 2e9]],
    "networks": [
        {
            "name": "tiny",
            "batch": 1,
            "side": 8,
            "seconds": 5e-4,
            "calls": [
                # Bound by operations: 1e6 / 10e9 = 100 µs, and 8e4 / 8e9 = 10 µs.
                Call("pointwise", "a", 1_000_000, 80_000, ["_pad", "_convolve"])._asdict()
                | {"seconds": [5e-5, 1.5e-4]},
                # Bound by bytes, too many for the first bandwidth: 2e6 / 4e9 = 500 µs.
                Call("depthwise", "b", 1_000, 2_000_000, ["_taps"])._asdict() | {"seconds": [8e-4]},
                Call("pointwise", "a", 1_000_000, 80_000, ["_convolve"])._asdict()
                | {"seconds": [1e-4]},
                # More bytes than the last bandwidth was measured with: 4e8 / 2e9 = 0.2 s.
                Call("other", "c", 0, 400_000_000, ["_copy"])._asdict() | {"seconds": [0.4]},
            ],
        }
    ],
}
TOTALS = [
    "| pointwise | 2 | 300.0 | 0.1% | 7 (67%) | 1 | 200.0 (67%) |",
    "| depthwise | 1 | 800.0 | 0.2% | 0 (0%) | 2 | 500.0 (62%) |",
    "| other | 1 | 400000.0 | 99.7% |  | 1 | 200000.0 (50%) |",
    "| all | 4 | 401100.0 | 100.0% | 0 (0%) | 1 | 200700.0 (50%) |",
]


def test_text_has_totals_by_kind_and_the_slowest_layers() -> None:
    lines = text(REPORT).splitlines()
    assert lines[2] == "**tiny, 1 x 3 x 8 x 8: 0.50 ms**"
    assert lines[6:10] == TOTALS
    assert lines[10:] == [
        "| other: c | 1 | 400000.0 | 99.7% |  | 1 | 200000.0 (50%) |",
        "| depthwise: b | 1 | 800.0 | 0.2% | 0 (0%) | 2 | 500.0 (62%) |",
        "| pointwise: a | 2 | 300.0 | 0.1% | 7 (67%) | 1 | 200.0 (67%) |",
    ]


def test_listing_has_every_call_in_order_with_its_launches() -> None:
    lines = listing(REPORT).splitlines()[4:]
    assert [line.split("  ")[0] for line in lines] == [
        "pointwise: a [pad 50.0, convolve 150.0]",
        "depthwise: b [taps 800.0]",
        "pointwise: a [convolve 100.0]",
        "other: c [copy 400000.0]",
        *(line.split(" | ")[0].removeprefix("| ") for line in TOTALS),
    ]


@pytest.mark.parametrize(
    ("weight", "stride", "groups", "expected"),
    [
        ((4, 3, 3, 3), 2, 1, ("stem", "3 x 3 / 2, 3 to 4, 6 x 6", 2 * 9 * 4 * 27)),
        ((4, 8, 1, 1), 1, 1, ("pointwise", "1 x 1, 8 to 4, 6 x 6", 2 * 36 * 4 * 8)),
        ((8, 1, 3, 3), 1, 8, ("depthwise", "3 x 3, 8, 6 x 6", 2 * 36 * 8 * 9)),
        ((8, 4, 3, 3), 1, 2, ("convolution", "3 x 3, 8 to 8, 2 groups, 6 x 6", 2 * 36 * 8 * 36)),
    ],
)
def test_describe_convolutions(
    weight: tuple[int, ...], stride: int, groups: int, expected: tuple[str, str, int]
) -> None:
    x = np.zeros((1, weight[1] * groups, 6, 6), np.float32)
    w, bias = np.zeros(weight, np.float32), np.zeros(weight[0], np.float32)
    margins = ((weight[2] // 2, weight[2] // 2),) * 2
    options = ((stride, stride), margins, (1, 1), groups)
    y = kernels.conv2d.reference(x, w, bias, *options)
    touched = x.nbytes + w.nbytes + bias.nbytes + y.nbytes
    for filters in (w, kernels.prepare_filters(w, groups)):
        assert describe("conv2d", (x, filters, bias, *options), y) == (*expected, touched, [])
    added = describe("conv2d", (x, w, bias, *options, y, "relu6"), y)
    assert added == (expected[0], f"{expected[1]}, add, relu6", expected[2], touched + y.nbytes, [])


def test_describe_other_kernels() -> None:
    x, w, y = (np.zeros(shape, np.float32) for shape in ((2, 8), (3, 8), (2, 3)))
    assert describe("linear", (x, w, None), y) == ("linear", "linear, 8", 96, 184, [])
    image = np.zeros((1, 8, 2, 2), np.float32)
    layers = [(w, None, "relu"), (w.T, None, "hardsigmoid")]
    assert describe("squeeze_excitation", (image, *layers), image) == (
        "squeeze-excitation", "squeeze_excitation, 8 x 2 x 2", 96, 448, [],
    )  # fmt: skip
    assert describe("max_pool2d", (image, 2), x[:1]).kind == "other"


class _Tiny(nn.Sequential):
    replayable = True


def test_measure_times_each_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="only compiled kernels are replayed")
    stem, depthwise = nn.Conv2d(3, 16, 3, stride=2), nn.Conv2d(16, 16, 3, groups=16)
    model = _Tiny(stem, depthwise)
    monkeypatch.setattr(lucid.models, "create_model", lambda name: model)
    monkeypatch.setattr(network_profile, "_SIZES", (1 << 12, 1 << 13))
    report = network_profile.measure(
        ["tiny"], 1, 9, 2, 0.0, peak=lambda threads: 1e11, seconds_of=throughput.seconds_of
    )
    (network,) = report["networks"]
    assert [call["kind"] for call in network["calls"]] == ["stem", "depthwise"]
    for call in network["calls"]:
        assert len(call["seconds"]) == len(call["launches"]) > 0
        assert all(0 < seconds < 1 for seconds in call["seconds"])
    assert [size for size, _ in report["bandwidths"]] == [1 << 13, 1 << 14]
    assert "1 x 3 x 9 x 9" in text(report)


def test_measure_refuses_a_model_that_is_not_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_REPLAY", "0")
    model = _Tiny(nn.Conv2d(3, 8, 3)).eval()
    with pytest.raises(RuntimeError, match="expected a planned model, got None"):
        network_profile.plan(model, lucid.zeros(1, 3, 8, 8))


def test_publish_writes_the_table_of_networks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    given = []
    monkeypatch.setattr(network_profile, "measure", lambda *args: given.append(args) or REPORT)
    page = tmp_path / "kernel_development.md"
    page.write_text(f"before\n\n{NETWORKS_BEGIN}\n\nold\n\n{NETWORKS_END}\n\nafter\n")
    throughput.main(["--model", "a", "b", "--batch", "8", "--size", "96", "--publish"], tmp_path)
    assert given[0][:4] == (["a", "b"], 8, 96, 2)
    written = f"{NETWORKS_BEGIN}\n\n{text(REPORT)}\n\n{NETWORKS_END}"
    assert page.read_text() == f"before\n\n{written}\n\nafter\n"
    stored = json.loads((tmp_path / "benchmarks" / "network_profile.json").read_text())
    assert text(stored) == text(REPORT)


def test_page_has_the_published_networks() -> None:
    report = json.loads((DOCS / "benchmarks" / "network_profile.json").read_text())
    written = f"{NETWORKS_BEGIN}\n\n{text(report)}\n\n{NETWORKS_END}"
    assert written in (DOCS / "kernel_development.md").read_text()
