"""Checkpoints of torchvision's own models, saved by PyTorch, loaded from their files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo
from detector_pairs import compare, pictures
from PIL import Image
from test_resnet import THEIR_NAMES, images, relative_error
from torchvision_cpu import torchvision

import lucid
import lucid_models_classification.torchvision
import lucid_models_detection.torchvision
from lucid.cli.entry_point import run
from lucid_models_detection import torchvision_config
from lucid_models_detection.data import COCO_CLASSES

torch._dynamo.config.disable = True
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")

NAMES = ["resnet_18", "resnet_50", "resnext_50_32x4d", "wide_resnet_50_2"]


def with_statistics(model: Any) -> Any:
    """Normalizations that are not the identity, so that a mistake in them would show."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", NAMES)
def test_classifiers(name: str, legacy: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = with_statistics(getattr(torchvision.models, THEIR_NAMES[name])(weights=None))
    path = tmp_path / f"{THEIR_NAMES[name]}.pth"
    torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    ours = lucid.models.create_model(name)
    report = lucid_models_classification.torchvision.load_torchvision_weights(ours, path)
    assert not report.missing
    assert not report.unexpected
    x = images(2, 96)
    with lucid.no_grad(), torch.no_grad():
        error = relative_error(ours.eval()(lucid.tensor(x)), theirs(torch.from_numpy(x)))
    print(f"{name}: logits differ by {error:.1e}")
    assert error < 1e-4


def test_classify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a checkpoint of a training and a photo to probabilities, beside torchvision's own."""
    torch.manual_seed(0)
    theirs = with_statistics(torchvision.models.resnext50_32x4d(weights=None, num_classes=7))
    weights, photo = tmp_path / "checkpoint.pth", tmp_path / "photo.png"
    torch.save({"model": theirs.state_dict(), "epoch": 3, "args": {"lr": 0.1}}, weights)
    pixels = (pictures([(300, 400)])[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(photo)

    assert run(["classify", str(photo), "--weights", str(weights), "--top", "7", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    found = {p["class"]: p["probability"] for p in entry["predictions"]}

    transforms = torchvision.transforms
    prepare = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    with torch.no_grad():
        expected = theirs(prepare(Image.open(photo))[None]).softmax(1)[0].numpy()
    for number, probability in enumerate(expected):
        # Theirs resizes in 8 bits, ours in float: each pixel differs by up to 1/510.
        assert found[number] == pytest.approx(float(probability), abs=0.02)


@pytest.fixture(scope="module")
def detector() -> Iterator[Any]:
    """torchvision's detector of COCO's classes, weights random, normalizations fitting."""
    torch.manual_seed(0)
    theirs = torchvision.models.detection.fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=91
    )
    norms = [m for m in theirs.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        theirs.backbone.train()
        theirs.backbone(torch.as_tensor(np.stack(pictures([(128, 128)] * 4, seed=9))) * 4 - 2)
        theirs.rpn.head.cls_logits.weight *= 4  # fewer near ties between proposals
    return theirs.eval()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_detectors(detector: Any, legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "fasterrcnn_resnet50_fpn_coco.pth"
    torch.save(detector.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    ours = lucid.models.create_model(
        "faster_rcnn_resnet_50_fpn", num_classes=91, **torchvision_config()
    )
    report = lucid_models_detection.torchvision.load_torchvision_weights(ours, path)
    assert not report.missing
    assert not report.unexpected
    images = pictures([(300, 400)])
    ours.transform.min_size = detector.transform.min_size = (400,)
    with torch.no_grad():
        (expected,) = detector([torch.as_tensor(image) for image in images])
    (found,) = ours.predict(images)
    assert_alike(found, expected, images[0])


def assert_alike(found: Any, expected: Any, image: np.ndarray) -> None:
    """Of one image (3, H, W): all but two of a hundred detections are the same."""
    agreement = compare([found], [expected], [image])
    print(f"{agreement.close} of {agreement.expected} detections agree")
    assert agreement.expected >= 20, "an image without detections shows nothing"
    assert agreement.close >= 0.98 * agreement.expected


def as_of_old(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of before torchvision 0.13, which the published weights have."""
    renamed = {}
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):
            continue  # their normalizations were frozen ones
        for block in ("inner_blocks", "layer_blocks"):
            for i in range(4):
                key = key.replace(f"fpn.{block}.{i}.0.", f"fpn.{block}.{i}.")
        renamed[key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")] = value
    return renamed


def test_detect(
    detector: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: Any,
    publish: Any,
) -> None:
    """As published: old names, the legacy form, and an epsilon of 0 in the normalizations."""
    weights, photo = tmp_path / "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", tmp_path / "photo.png"
    torch.save(as_of_old(detector.state_dict()), weights, _use_new_zipfile_serialization=False)
    (image,) = pictures([(200, 260)], seed=3)
    pixels = (image.transpose(1, 2, 0) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(photo)
    norms = [m for m in detector.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        monkeypatch.setattr(norm, "eps", 0.0)
    monkeypatch.setattr(detector.transform, "min_size", (800,))
    with torch.no_grad():
        (expected,) = detector([torch.as_tensor(pixels.transpose(2, 0, 1) / np.float32(255))])

    publish("faster_rcnn_resnet_50_fpn", weights, "coco_v1")
    arguments = [str(photo), "--model", "fasterrcnn_resnet50_fpn", "--json"]
    assert run(["detect", *arguments, "--score-threshold", "0"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["images"]
    detections = entry["detections"]
    found = {
        "boxes": np.array([d["box"] for d in detections], np.float32),
        "labels": np.array([d["label"] for d in detections]),
        "scores": np.array([d["score"] for d in detections], np.float32),
    }
    assert [d["class"] for d in detections] == [COCO_CLASSES[d["label"]] for d in detections]
    assert_alike(found, expected, image)
