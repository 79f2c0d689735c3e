"""The detector against torchvision's ``fasterrcnn_resnet50_fpn``, with the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo
from torchvision_cpu import torchvision

import lucid
from lucid_models_detection import boxes as box_ops
from lucid_models_detection import torchvision_config
from lucid_models_detection.torchvision import load_torchvision_weights, to_torchvision_key

NUM_CLASSES = 91

# torchvision would have its RoIAlign compiled, for minutes and with warnings of its own.
torch._dynamo.config.disable = True
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")


def pictures(sizes: Sequence[tuple[int, int]], seed: int = 0) -> list[np.ndarray]:
    """Smooth noise, for structure at several scales."""
    rng = np.random.default_rng(seed)
    result = []
    for height, width in sizes:
        image = np.zeros((1, 3, height, width))
        for cells in (3, 7, 20):
            coarse = torch.as_tensor(rng.random((1, 3, cells, cells)))
            image += torch.nn.functional.interpolate(
                coarse, (height, width), mode="bicubic"
            ).numpy()
        result.append(np.clip(image[0] / 3, 0, 1).astype(np.float32))
    return result


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    """The same network twice.  Weights are random, but its normalisations fit its activations."""
    torch.manual_seed(0)
    theirs = torchvision.models.detection.fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=NUM_CLASSES
    )
    norms = [m for m in theirs.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        theirs.backbone.train()
        theirs.backbone(torch.as_tensor(np.stack(pictures([(128, 128)] * 4, seed=9))) * 4 - 2)
        theirs.rpn.head.cls_logits.weight *= 4  # fewer near ties between proposals
    theirs.eval()
    ours = lucid.models.create_model(
        "faster_rcnn_resnet_50_fpn",
        num_classes=NUM_CLASSES,
        backbone_num_classes=2,
        **torchvision_config(),
    )
    report = load_torchvision_weights(ours, theirs.state_dict())
    assert not report.missing
    assert not report.unexpected
    return ours, theirs


def agreement(found: Any, expected: Any, tolerance: float) -> float:
    """The share of expected detections of which we have one with the same label and place."""
    boxes = expected["boxes"].numpy()
    labels, scores = expected["labels"].numpy(), expected["scores"].numpy()
    assert len(boxes) >= 20, "an image without detections shows nothing"
    same = found["labels"][:, None] == labels
    near = np.abs(found["boxes"][:, None] - boxes).max(axis=-1) <= tolerance * 100
    sure = np.abs(found["scores"][:, None] - scores) <= tolerance
    assert box_ops.iou(found["boxes"], boxes).shape == same.shape
    return float((same & near & sure).any(axis=0).mean())


@pytest.mark.parametrize(
    ("sizes", "min_size"),
    [([(300, 400)], 800), ([(375, 500), (480, 333)], 400)],
    ids=["one image", "two sizes"],
)
def test_detections(
    pair: tuple[Any, Any],
    sizes: list[tuple[int, int]],
    min_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = pair
    for model in pair:
        monkeypatch.setattr(model.transform, "min_size", (min_size,))
    images = pictures(sizes)
    with torch.no_grad():
        expected = theirs([torch.as_tensor(image) for image in images])
    found = ours.predict(images)
    for ours_of_image, theirs_of_image in zip(found, expected, strict=True):
        share = agreement(ours_of_image, theirs_of_image, 1e-3)
        print(f"{share:.3f} of {len(theirs_of_image['boxes'])} detections agree")
        assert share >= 0.98


def first(count: int, fraction: float) -> Any:
    """A sampler without chance: the first positives and the first negatives."""

    def sample(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positive = np.flatnonzero(labels >= 1)[: int(count * fraction)]
        return positive, np.flatnonzero(labels == 0)[: count - len(positive)]

    return sample


def for_torch(sample: Any) -> Any:
    """The same as torchvision wants it: masks of each image."""

    def sampled(labels: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        masks: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for of_image in labels:
            for into, chosen in zip(masks, sample(of_image.numpy()), strict=True):
                mask = torch.zeros(of_image.shape, dtype=torch.uint8)
                mask[chosen] = 1
                into.append(mask)
        return masks

    return sampled


@pytest.fixture
def training_pair(pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The pair at a smaller size, both drawing the same anchors and regions.

    In float64: in float32 a few of the millions of activations fall on different sides
    of the ReLU's corner, which moves gradients by up to a hundredth and says nothing.
    """
    ours, theirs = pair
    ours.to(lucid.float64)
    theirs.double()
    for model in pair:
        monkeypatch.setattr(model.transform, "min_size", (256,))
    for ours_of_stage, theirs_of_stage, sample in (
        (ours.rpn, theirs.rpn, first(256, 0.5)),
        (ours.roi_heads, theirs.roi_heads, first(64, 0.25)),
    ):
        monkeypatch.setattr(ours_of_stage, "sampler", sample)
        monkeypatch.setattr(theirs_of_stage, "fg_bg_sampler", for_torch(sample))
    theirs.train()
    theirs.backbone.eval()  # our normalisations are frozen
    yield pair
    ours.to(lucid.float32)
    theirs.float().eval()


def test_losses_and_gradients(training_pair: tuple[Any, Any]) -> None:
    ours, theirs = training_pair
    images = [image.astype(np.float64) for image in pictures([(200, 250), (240, 180)])]
    targets = [
        {"boxes": [[20, 30, 120, 150], [100, 40, 240, 190]], "labels": [3, 90]},
        {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, np.int64)},
    ]
    expected = theirs(
        [torch.as_tensor(image) for image in images],
        [
            {"boxes": torch.tensor(t["boxes"]).float(), "labels": torch.tensor(t["labels"])}
            for t in targets
        ],
    )
    found = ours(images, targets)
    for name, loss in expected.items():
        print(f"{name}: {found[name].item():.6f}, torchvision {loss.item():.6f}")
        assert found[name].item() == pytest.approx(loss.item(), rel=1e-6)
    sum(expected.values()).backward()
    sum(found.values()).backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    worst, compared = ("", 0.0), 0
    for name, parameter in ours.named_parameters():
        reference = gradients.get(to_torchvision_key(name))
        if reference is None or parameter.grad is None:
            continue
        compared += 1
        scale = float(reference.abs().max())
        error = float(np.abs(parameter.grad.numpy() - reference.numpy()).max())
        worst = max(worst, (name, error / scale), key=lambda item: item[1])
    print(f"largest difference of a gradient: {worst[1]:.1e} in {worst[0]}")
    assert compared == len(list(ours.named_parameters())) - 2, "all but the classifier's"
    assert worst[1] < 1e-6
