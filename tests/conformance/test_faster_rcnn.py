"""Comparison of Faster R-CNN with torchvision, for ``parity.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import parity
import pytest
import torch
from detector_pairs import (
    compare,
    for_torch,
    ours,
    pictures,
    set_sizes,
    sizes_text,
    spread,
    torchvisions,
)
from parity import DetectionRow, LossRow

import lucid
from lucid_models_detection.faster_rcnn.converter import converter

Sizes = list[tuple[int, int]]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")

#: Height and width of each image, the shorter side wanted and the longer one allowed.
CASES: list[tuple[Sizes, int, int]] = [
    ([(128, 128)], 128, 1333),  # as it is
    ([(160, 213)], 160, 1333),
    ([(97, 151)], 192, 1333),  # enlarged
    ([(240, 320)], 192, 1333),  # shrunk
    ([(75, 300)], 160, 320),  # the longer side decides
    ([(301, 90)], 128, 256),
    ([(33, 47)], 128, 1333),
    ([(224, 224)], 224, 1333),
    ([(201, 199)], 200, 1333),
    ([(375, 500)], 320, 1333),
    ([(128, 160), (160, 128)], 160, 1333),
    ([(97, 130), (130, 97), (64, 200)], 144, 300),
    ([(180, 180), (90, 270)], 160, 260),
]
DOUBLE = [CASES[2], CASES[4], CASES[11]]
LARGE = ([(300, 400)], 800, 1333)  # as torchvision resizes by default; once is enough


@pytest.fixture(scope="module", params=[50, 101])
def pair(request: pytest.FixtureRequest) -> tuple[int, Any, Any]:
    """The same network in torchvision and Lucid."""
    theirs = torchvisions(request.param)
    return request.param, ours(request.param, theirs.state_dict()), theirs


@pytest.fixture
def double(pair: tuple[int, Any, Any]) -> Iterator[tuple[int, Any, Any]]:
    """The pair in float64."""
    _, mine, theirs = pair
    mine.to(lucid.float64)
    theirs.double()
    yield pair
    mine.to(lucid.float32)
    theirs.float()


def detected(pair: tuple[int, Any, Any], case: tuple[Sizes, int, int], dtype: Any) -> Any:
    depth, mine, theirs = pair
    sizes, min_size, max_size = case
    for model in (mine, theirs):
        set_sizes(model, min_size, max_size)
    images = [image.astype(dtype) for image in pictures(sizes)]
    with torch.no_grad():
        # One by one, because torchvision pads images of a batch to one size, which changes what
        # it finds in them.  Ours are to be found in a batch as they are alone.
        expected = [theirs([torch.as_tensor(image)])[0] for image in images]
    agreement = compare(mine.predict(images), expected, images)
    assert agreement.expected >= 20, "images without detections show nothing"
    parity.DETECTIONS.append(
        DetectionRow(depth, sizes_text(sizes), min_size, max_size, np.dtype(dtype).name, agreement)
    )
    return agreement


@pytest.mark.parametrize("case", CASES, ids=lambda case: sizes_text(case[0]))
def test_detections(pair: tuple[int, Any, Any], case: tuple[Sizes, int, int]) -> None:
    agreement = detected(pair, case, np.float32)
    assert agreement.close >= 0.98 * agreement.expected


@pytest.mark.parametrize("pair", [50], indirect=True)
def test_detections_at_the_size_of_torchvision(pair: tuple[int, Any, Any]) -> None:
    agreement = detected(pair, LARGE, np.float32)
    assert agreement.close >= 0.98 * agreement.expected


@pytest.mark.parametrize("case", DOUBLE, ids=lambda case: sizes_text(case[0]))
def test_without_rounding_all_detections_agree(
    double: tuple[int, Any, Any], case: tuple[Sizes, int, int]
) -> None:
    agreement = detected(double, case, np.float64)
    assert agreement.matched == agreement.expected
    assert agreement.box <= 1e-4
    assert agreement.score <= 1e-6


# Training

BATCHES: list[tuple[Sizes, list[dict[str, Any]]]] = [
    (
        [(200, 250), (240, 180)],
        [
            {"boxes": [[20, 30, 120, 150], [100, 40, 240, 190]], "labels": [3, 90]},
            {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, np.int64)},
        ],
    ),
    ([(97, 131)], [{"boxes": [[3, 4, 50, 90], [60.5, 20, 131, 97]], "labels": [1, 17]}]),
]


@dataclass(frozen=True)
class Step:
    """Losses of a training step, and gradients by torchvision's parameter names."""

    losses: dict[str, float]
    gradients: dict[str, np.ndarray]


def of_torchvision(theirs: Any, batch: tuple[Sizes, Any], dtype: Any) -> Step:
    images, targets = inputs(theirs, batch, dtype)
    losses = theirs(
        [torch.as_tensor(image) for image in images],
        [
            {"boxes": torch.tensor(t["boxes"]).float(), "labels": torch.tensor(t["labels"])}
            for t in targets
        ],
    )
    sum(losses.values()).backward()
    gradients = {
        name: p.grad.numpy().copy() for name, p in theirs.named_parameters() if p.grad is not None
    }
    return Step({name: loss.item() for name, loss in losses.items()}, gradients)


def of_ours(mine: Any, batch: tuple[Sizes, Any], dtype: Any) -> Step:
    losses = mine(*inputs(mine, batch, dtype))
    sum(losses.values()).backward()
    export_key = converter.for_model(mine).export_key
    gradients = {
        export_key(name): p.grad.numpy()
        for name, p in mine.named_parameters()
        if p.grad is not None
    }
    count = len(list(mine.named_parameters()))
    assert len(gradients) == count - 2, "of all but the weight and bias of the classifier"
    return Step({name: loss.item() for name, loss in losses.items()}, gradients)


def inputs(model: Any, batch: tuple[Sizes, Any], dtype: Any) -> tuple[Any, Any]:
    set_sizes(model, 128, 1333)
    model.zero_grad()
    sizes, targets = batch
    return [image.astype(dtype) for image in pictures(sizes)], targets


def differences(found: Step, expected: Step, names: Iterable[str]) -> dict[str, float]:
    """Largest difference of each gradient, relative to its largest expected element."""
    result = {}
    for name in names:
        reference = expected.gradients[name]
        error = np.abs(found.gradients[name] - reference).max()
        result[name] = float(error / np.abs(reference).max())
    return result


def row_of(
    depth: int,
    norm: str,
    batch: Any,
    dtype: str,
    found: Step,
    expected: Step,
    own: Sequence[float] = (),
) -> LossRow:
    """Record the comparison of a training step.

    ``own`` are the differences of torchvision's gradients from those of its own float64.
    """
    assert found.losses.keys() == expected.losses.keys()
    assert all(loss > 0 for loss in expected.losses.values())
    loss = max(abs(found.losses[name] / expected.losses[name] - 1) for name in found.losses)
    errors = differences(found, expected, found.gradients)
    row = LossRow(
        depth,
        norm,
        sizes_text(batch[0]),
        dtype,
        loss,
        len(errors),
        sum(error <= 1e-3 for error in errors.values()),
        max(errors.values()),
        max(own, default=None),
    )
    parity.LOSSES.append(row)
    return row


def same_samples(mine: Any, theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for ours_of_stage, theirs_of_stage, sample in (
        (mine.rpn, theirs.rpn, spread(256, 0.5)),
        (mine.roi_heads, theirs.roi_heads, spread(64, 0.25)),
    ):
        monkeypatch.setattr(ours_of_stage, "fg_bg_sampler", sample)
        monkeypatch.setattr(theirs_of_stage, "fg_bg_sampler", for_torch(sample))


def with_proposals_kept(
    mine: Any, theirs: Any, batch: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> Step:
    """Run a step of torchvision; both networks then use its proposals.

    Regions of almost equal scores change places by rounding, and others would be sampled.
    """
    proposals: list[Any] = []
    handle = theirs.rpn.register_forward_hook(
        lambda module, args, output: proposals.extend(output[0])
    )
    step = of_torchvision(theirs, batch, dtype)
    handle.remove()
    assert len(proposals) == len(batch[0])
    monkeypatch.setattr(theirs.rpn, "filter_proposals", lambda *args: (proposals, None))
    forward = mine.rpn.forward
    monkeypatch.setattr(
        mine.rpn, "forward", lambda *args: ([p.numpy() for p in proposals], forward(*args)[1])
    )
    return step


@pytest.fixture
def training(pair: tuple[int, Any, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The pair in training with the same sampled anchors and regions, and fixed norms."""
    _, mine, theirs = pair
    same_samples(mine, theirs, monkeypatch)
    mine.train()
    theirs.train()
    theirs.backbone.eval()  # ours are frozen
    yield pair
    mine.eval()
    theirs.eval()


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: sizes_text(batch[0]))
def test_losses_and_gradients(training: Any, double: Any, batch: tuple[Sizes, Any]) -> None:
    depth, mine, theirs = training
    expected = of_torchvision(theirs, batch, np.float64)
    found = of_ours(mine, batch, np.float64)
    row = row_of(depth, "frozen", batch, "float64", found, expected)
    assert row.loss <= 1e-6
    assert row.gradient <= 1e-6


@pytest.mark.parametrize(
    ("sums", "median", "largest"), [("direct", 2, 3), ("Winograd's", 4, 4)], ids=["direct", "all"]
)
@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: sizes_text(batch[0]))
def test_single_precision(
    training: Any,
    batch: tuple[Sizes, Any],
    sums: str,
    median: float,
    largest: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Losses agree; gradients are about as close to float64 as torchvision's."""
    monkeypatch.setenv("LUCID_WINOGRAD", "0" if sums == "direct" else "1")
    depth, mine, theirs = training
    expected = with_proposals_kept(mine, theirs, batch, np.float32, monkeypatch)
    found = of_ours(mine, batch, np.float32)
    theirs.double()
    exact = of_torchvision(theirs, batch, np.float64)
    theirs.float()
    own = [*differences(expected, exact, found.gradients).values()]
    precision = "float32, direct sums" if sums == "direct" else "float32"
    row = row_of(depth, "frozen", batch, precision, found, expected, own)
    assert row.loss <= 1e-4
    errors = [*differences(found, exact, found.gradients).values()]
    assert np.median(errors) <= median * np.median(own)
    assert max(errors) <= largest * max(own)


@pytest.mark.parametrize("pair", [50], indirect=True)
def test_gradients_through_batch_norm(
    pair: tuple[int, Any, Any], double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All in training mode, with batch statistics."""
    depth, _, theirs = pair
    mine = ours(depth, theirs.state_dict(), norm="batch").train().to(lucid.float64)
    before = {name: value.clone() for name, value in theirs.state_dict().items()}
    same_samples(mine, theirs, monkeypatch)
    theirs.train()
    expected = of_torchvision(theirs, BATCHES[0], np.float64)
    theirs.eval()
    theirs.load_state_dict(before)  # the running statistics
    found = of_ours(mine, BATCHES[0], np.float64)
    row = row_of(depth, "batch", BATCHES[0], "float64", found, expected)
    assert row.loss <= 1e-6
    assert row.gradient <= 1e-6
