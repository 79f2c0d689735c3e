"""Comparison of RetinaNet with torchvision, with the same weights.

Both have the background as class 0 with a logit of its own.  torchvision detects it like any
other class and ours never does, so its logits are low here, as training makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
import torch
from detector_pairs import NUM_CLASSES, compare, pictures, set_sizes, sizes_text
from parity import DetectionRow, LossRow
from torchvision_cpu import torchvision

import lucid
from lucid.models import create_model
from lucid_models_detection import torchvision_config
from lucid_models_detection.data.coco import COCO_CLASSES
from lucid_models_detection.loading import load_detector
from lucid_models_detection.retinanet.converter import converter
from lucid_models_detection.torchvision import load_torchvision_weights

Sizes = list[tuple[int, int]]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")

CASES: list[tuple[Sizes, int, int]] = [
    ([(128, 128)], 128, 1333),  # as it is
    ([(97, 151)], 192, 1333),  # enlarged
    ([(240, 320)], 192, 1333),  # shrunk
    ([(75, 300)], 160, 320),  # the longer side decides
    ([(97, 130), (130, 97), (64, 200)], 144, 300),
]
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


def spread_out(head: Any, last: str, levels: list[torch.Tensor], deviation: float) -> None:
    """Scale a head so that its outputs vary over positions, as after training."""
    for layer in head.conv.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    layer = getattr(head, last)
    layer.weight *= deviation / (head(levels).flatten(1) - layer.bias.mean()).std()


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    """The same network in torchvision and Lucid; some scores pass the threshold."""
    torch.manual_seed(0)
    theirs = torchvision.models.detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=NUM_CLASSES
    )
    for norm in theirs.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None
    with torch.no_grad():
        theirs.backbone.train()
        x = (torch.as_tensor(np.stack(pictures([(128, 128)] * 8, seed=9))) - 0.45) / 0.22
        theirs.backbone(x)
        levels = list(theirs.eval().backbone(x).values())
        spread_out(theirs.head.classification_head, "cls_logits", levels, 0.5)
        spread_out(theirs.head.regression_head, "bbox_reg", levels, 0.1)
        theirs.head.classification_head.cls_logits.bias.view(-1, NUM_CLASSES)[:, 0] = -100
    mine = create_model(
        "retinanet_resnet_50_fpn",
        num_classes=NUM_CLASSES,
        backbone_num_classes=2,
        **torchvision_config("retinanet"),
    )
    report = load_torchvision_weights(mine, theirs.state_dict())
    assert not report.missing
    assert not report.unexpected
    return mine.eval(), theirs


@pytest.fixture
def double(pair: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """The pair in float64."""
    mine, theirs = pair
    mine.to(lucid.float64)
    theirs.double()
    yield pair
    mine.to(lucid.float32)
    theirs.float()


def test_parameters_are_torchvisions(pair: tuple[Any, Any]) -> None:
    mine, _ = pair
    published = torchvision.models.detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1
    classifier = sum(p.size for p in mine.backbone.net.fc.parameters())
    own = mine.distinct_parameter_size - classifier
    assert own == published.meta["num_params"] == 34_014_999


def test_features_logits_and_offsets(double: tuple[Any, Any]) -> None:
    mine, theirs = double
    x = np.stack(pictures([(96, 160)] * 2)).astype(np.float64) * 4 - 2
    with torch.no_grad():
        features = list(theirs.backbone(torch.as_tensor(x)).values())
        outputs = theirs.head(features)
    with lucid.no_grad():
        own = mine.backbone(lucid.Tensor(x))
        logits, deltas = mine(lucid.Tensor(x))
    assert [f.shape for f in own] == [tuple(f.shape) for f in features]
    for level, expected in zip(own, features, strict=True):
        np.testing.assert_allclose(level.numpy(), expected.numpy(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(logits.numpy(), outputs["cls_logits"].numpy(), atol=1e-8)
    np.testing.assert_allclose(deltas.numpy(), outputs["bbox_regression"].numpy(), atol=1e-8)


def with_area(found: Any) -> Any:
    """Remove detections without area, which have no IoU."""
    boxes = found["boxes"]
    kept = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
    return {key: value[kept] for key, value in found.items()}


def detected(pair: tuple[Any, Any], case: tuple[Sizes, int, int], dtype: Any) -> Any:
    mine, theirs = pair
    sizes, min_size, max_size = case
    for model in pair:
        set_sizes(model, min_size, max_size)
    images = [image.astype(dtype) for image in pictures(sizes)]
    with torch.no_grad():
        # One by one, because torchvision pads images of a batch to one size.
        expected = [theirs([torch.as_tensor(image)])[0] for image in images]
    agreement = compare(
        [with_area(each) for each in mine.predict(images)],
        [with_area(each) for each in expected],
        images,
    )
    assert agreement.expected >= 20, "images without detections show nothing"
    return agreement


def published(case: tuple[Sizes, int, int], dtype: Any, agreement: Any) -> Any:
    """Record the agreement for the comparison page."""
    sizes, min_size, max_size = case
    row = DetectionRow(50, sizes_text(sizes), min_size, max_size, np.dtype(dtype).name, agreement)
    parity.RETINANET_DETECTIONS.append(row)
    return agreement


def test_a_file_as_torch_saves_it(pair: tuple[Any, Any], tmp_path: Path) -> None:
    """Load without a model name, as ``lucid detect --weights`` does."""
    _, theirs = pair
    path = tmp_path / "retinanet_resnet50_fpn_coco.pth"
    torch.save(theirs.state_dict(), path)
    model, names = load_detector(path)
    assert model.model_name == "retinanet_resnet_50_fpn"
    assert names == COCO_CLASSES
    agreement = detected((model, theirs), CASES[0], np.float32)
    assert agreement.close >= 0.98 * agreement.expected


@pytest.mark.parametrize("case", CASES, ids=str)
def test_detections(pair: tuple[Any, Any], case: tuple[Sizes, int, int]) -> None:
    agreement = published(case, np.float32, detected(pair, case, np.float32))
    assert agreement.close >= 0.98 * agreement.expected


@pytest.mark.parametrize("case", [CASES[1], CASES[4]], ids=str)
def test_without_rounding_all_detections_agree(
    double: tuple[Any, Any], case: tuple[Sizes, int, int]
) -> None:
    agreement = published(case, np.float64, detected(double, case, np.float64))
    assert agreement.matched == agreement.expected
    assert agreement.box <= 1e-4
    assert agreement.score <= 1e-6


@pytest.mark.parametrize(
    ("batch", "precision"),
    [(BATCHES[0], "float64"), (BATCHES[0], "float32"), (BATCHES[1], "float32")],
    ids=["float64", "float32", "float32, one image"],
)
def test_losses_and_gradients(
    pair: tuple[Any, Any],
    request: pytest.FixtureRequest,
    batch: tuple[Sizes, list[dict[str, Any]]],
    precision: str,
) -> None:
    if precision == "float64":
        request.getfixturevalue("double")
    mine, theirs = pair
    for model in pair:
        set_sizes(model, 128, 1333)
        model.zero_grad()
    sizes, targets = batch
    images = [image.astype(precision) for image in pictures(sizes)]
    theirs.train()
    theirs.backbone.eval()  # ours are frozen
    expected = theirs(
        [torch.as_tensor(image) for image in images],
        [
            {"boxes": torch.tensor(t["boxes"]).float(), "labels": torch.tensor(t["labels"])}
            for t in targets
        ],
    )
    sum(expected.values()).backward()
    theirs.eval()
    found = mine(images, targets)
    sum(found.values()).backward()
    assert found.keys() == expected.keys()
    tolerance = {"float64": 1e-6, "float32": 1e-4}[precision]
    for name, loss in expected.items():
        assert loss.item() > 0
        assert found[name].item() == pytest.approx(loss.item(), rel=tolerance)
    gradients = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    errors = {}
    export_key = converter.for_model(mine).export_key
    for name, parameter in mine.named_parameters():
        if parameter.grad is None:
            assert name.startswith("backbone.net.fc.")
            continue
        reference = gradients[export_key(name)].numpy()
        error = np.abs(parameter.grad.numpy() - reference).max()
        errors[export_key(name)] = float(error / np.abs(reference).max())
    assert errors.keys() == gradients.keys() - {
        n for n in gradients if ".bn" in n or "downsample.1" in n
    }
    largest = max(errors.values())
    within = sum(error <= 1e-3 for error in errors.values())
    loss = max(abs(found[name].item() / expected[name].item() - 1) for name in expected)
    parity.RETINANET_LOSSES.append(
        LossRow(
            50, "frozen", sizes_text(sizes), precision, loss, len(errors), within, largest, None
        )
    )
    if precision == "float64":  # in float32 gradients differ as Faster R-CNN's do
        assert largest <= 1e-6
