"""RetinaNet: shapes, losses by hand, detections, any backbone, commands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_detection import TinyBackbone, write_coco

import lucid
from lucid import Tensor, nn
from lucid.cli.entry_point import run
from lucid.models import create_model
from lucid.weights import model_metadata
from lucid_models_detection import RetinaNet, RetinaNetConfig
from lucid_models_detection.boxes import iou
from lucid_models_detection.loading import load_detector
from lucid_models_detection.parts import DenseHead
from lucid_models_detection.torchvision import torchvision_state_dict
from lucid_models_detection.training.fine_tuning import from_detector

SMALL: dict[str, Any] = {
    "channels": 8,
    "anchor_sizes": ((8, 12), (16, 24), (32, 48), (64, 96), (128, 192)),
}
IMAGE = np.full((3, 64, 96), 0.5, np.float32)
TARGET = {"boxes": [[4.0, 4.0, 28.0, 28.0]], "labels": [2]}
NOTHING: dict[str, Any] = {"boxes": [], "labels": []}


def make(num_classes: int = 4, **options: Any) -> RetinaNet:
    lucid.random.seed(0)
    return RetinaNet(TinyBackbone(5), num_classes, **(SMALL | options))


def test_network_of_resnet_50() -> None:
    """torchvision's parameters: the classifier and the second name of the stem are ours."""
    model = create_model("retinanet_resnet50_fpn", num_classes=91, norm="frozen")
    assert model.model_name == "retinanet_resnet_50_fpn"
    classifier = sum(p.size for p in model.backbone.net.fc.parameters())
    assert model.distinct_parameter_size - classifier == 34_014_999
    assert model.backbone.strides == (8, 16, 32, 64, 128)
    assert model.anchor_generator.num_anchors_per_location == 9
    assert model.anchor_generator.sizes[0] == (32, 40, 50)
    assert model.anchor_generator.sizes[-1] == (512, 645, 812)


def test_raw_outputs_are_those_of_all_anchors() -> None:
    model = make()
    x = lucid.random.randn(2, 3, 64, 90)  # padded to 64 x 96
    cls_logits, bbox_deltas = model(x)
    locations = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1 * 1
    assert cls_logits.shape == (2, locations * 6, 4)
    assert bbox_deltas.shape == (2, locations * 6, 4)
    # The prior: every score is close to 0.01 before training.
    np.testing.assert_allclose(lucid.sigmoid(cls_logits).numpy(), 0.01, rtol=0.2)


def test_losses_by_hand() -> None:
    model = make()
    images = [IMAGE, IMAGE]
    losses = model(images, [TARGET, NOTHING])
    assert sorted(losses) == ["bbox_regression", "classification"]
    batch = model.transform(images, np.float32)
    logits, deltas = (o.numpy().astype(np.float64) for o in model(batch.tensor))
    anchors = np.concatenate(
        model.anchor_generator([(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)], image_size=(64, 96))
    )
    box = np.float32(TARGET["boxes"])
    overlap = iou(box, anchors)[0]
    foreground = (overlap >= 0.5) | (overlap == overlap.max())
    ignored = (overlap >= 0.4) & ~foreground
    assert foreground.sum() > 1
    assert ignored.any()

    def focal(logits: np.ndarray, positive: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-logits))
        return np.where(positive, -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p**2 * np.log(1 - p))

    positive = np.zeros(logits[0].shape, bool)
    positive[foreground, 2] = True
    first = focal(logits[0], positive)[~ignored].sum() / foreground.sum()
    second = focal(logits[1], np.zeros_like(positive)).sum()
    assert losses["classification"].item() == pytest.approx((first + second) / 2, rel=1e-4)
    wanted = model.box_coder.encode(np.broadcast_to(box, anchors.shape), anchors)
    distance = np.abs(deltas[0] - wanted)[foreground].sum() / foreground.sum()
    assert losses["bbox_regression"].item() == pytest.approx(distance / 2, rel=1e-4)
    sum(losses.values(), lucid.zeros(())).backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    assert unused == {"backbone.net.fc.weight", "backbone.net.fc.bias"}


def test_image_without_objects_has_zero_box_loss() -> None:
    losses = make()([IMAGE], [NOTHING])
    assert losses["bbox_regression"].item() == 0
    assert losses["classification"].item() > 0


def test_the_background_is_never_detected() -> None:
    model = make(detections_per_image=5, score_threshold=0.3)
    bias = model.classification_head.output.bias.data.reshape(6, 4)
    bias[:] = [9, -9, 0, -9]  # label 0 has the highest score, then label 2
    (found,) = model.predict([IMAGE])
    assert found["labels"].tolist() == [2] * 5
    np.testing.assert_allclose(found["scores"], 0.5, atol=0.05)
    assert found["boxes"].dtype == np.float32
    assert (found["boxes"] <= [96, 64, 96, 64]).all()
    model.score_threshold = 0.6
    (found,) = model.predict([IMAGE])
    assert found["boxes"].shape == (0, 4)


def test_detections_do_not_depend_on_the_batch() -> None:
    model = make(score_threshold=0.0, detections_per_image=20)
    images = [np.random.default_rng(i).random((3, 64, 64 + 32 * i)).astype("f") for i in range(2)]
    together = model.predict(images)
    for image, found in zip(images, together, strict=True):
        (alone,) = model.predict([image])
        np.testing.assert_allclose(found["boxes"], alone["boxes"], atol=1e-3)


class TwoStages(nn.Module):
    """A backbone of somebody else's at strides 2 and 8, without stem and classifier."""

    feature_channels = (4, 6)
    feature_strides: tuple[int, ...] = (2, 8)

    def __init__(self) -> None:
        super().__init__()
        self.shore = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.reef = nn.Conv2d(4, 6, 5, stride=4, padding=2)

    def features(self, x: Tensor) -> list[Tensor]:
        shore = self.shore(x)
        return [shore, self.reef(shore)]


def test_any_backbone_with_a_coarse_stage() -> None:
    model = RetinaNet.from_backbone(TwoStages(), 3, channels=8)
    assert model.backbone.strides == (8, 16, 32)
    assert model.anchor_generator.sizes == ((32, 40, 50), (64, 80, 101), (128, 161, 203))
    assert model.backbone.channels == (6,)
    losses = model([IMAGE], [TARGET])
    sum(losses.values(), lucid.zeros(())).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_from_backbone_keeps_the_subclass() -> None:
    class Mine(RetinaNet):
        pass

    model = Mine.from_backbone("resnet_18", 3, 2, channels=8)
    assert type(model) is Mine
    assert model.backbone.net.model_name == "resnet_18"


def test_the_classes_follow_an_exchanged_head() -> None:
    model = make()
    model.classification_head = DenseHead(8, 6, 7)
    assert model.num_classes == 7
    model([IMAGE], [{"boxes": TARGET["boxes"], "labels": [6]}])
    model.classification_head = nn.Identity()
    with pytest.raises(TypeError, match=r"classification_head: .*num_outputs.*got Identity"):
        _ = model.num_classes


def fine() -> TwoStages:
    net = TwoStages()
    net.feature_strides = (2, 4)
    return net


@pytest.mark.parametrize(
    ("net", "options", "error", "message"),
    [
        (fine, {}, ValueError, r"TwoStages.feature_strides: .*8 or greater, got \(2, 4\)"),
        (
            TwoStages,
            {"anchor_sizes": (32, 64)},
            ValueError,
            r"anchor_sizes: .*3 levels \(P3 to P5\), got 2",
        ),
        (TwoStages, {"rpn_top_n": 3}, TypeError, "'rpn_top_n'; valid ones are .*positive_iou"),
        (TwoStages, {"norm": "frozen"}, TypeError, "norm: .*TwoStages"),
        (lambda: nn.Linear(2, 2), {}, lucid.ProtocolError, "a Linear, which lacks feature_chan"),
    ],
)
def test_unsuitable_backbones_and_options_are_rejected(
    net: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        RetinaNet.from_backbone(net(), 3, **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"positive_iou": 0.3}, ValueError, r"negative_iou: .*0.3 \(positive_iou\), got 0.4"),
        ({"score_threshold": 2}, ValueError, "score_threshold: expected a number from 0 to 1"),
        ({"channels": 0}, ValueError, "channels: expected an integer of at least 1, got 0"),
        ({"candidates_per_level": 2.5}, TypeError, "candidates_per_level: .*got 2.5"),
        ({"min_size": 9, "max_size": 8}, ValueError, r"min_size: .*got 9"),
    ],
)
def test_options_are_checked(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        RetinaNetConfig(**options)


@pytest.mark.slow
def test_it_learns_two_images() -> None:
    lucid.random.seed(1)
    model = make(3, channels=16)
    images, targets = [], []
    for label, color, box in ((1, 0, (8, 8, 40, 40)), (2, 2, (30, 16, 62, 48))):
        picture = np.full((3, 64, 64), 0.5, np.float32)
        x1, y1, x2, y2 = box
        picture[:, y1:y2, x1:x2] = 0.1
        picture[color, y1:y2, x1:x2] = 0.9
        images.append(picture)
        targets.append({"boxes": [list(map(float, box))], "labels": [label]})
    optimizer = lucid.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(100):
        optimizer.zero_grad()
        sum(model(images, targets).values(), lucid.zeros(())).backward()
        optimizer.step()
    for found, target in zip(model.predict(images), targets, strict=True):
        assert found["labels"][0] == target["labels"][0]
        assert found["scores"][0] > 0.5
        assert iou(found["boxes"][:1], np.float32(target["boxes"]))[0, 0] > 0.6


# Files


def test_fine_tuning_keeps_the_rows_of_each_class(tmp_path: Path) -> None:
    """A row for every anchor and class, all classes of an anchor together."""
    names = ("background", "disc", "square")
    source = create_model("retinanet_resnet_18_fpn", num_classes=3, channels=8)
    path = tmp_path / "detector.safetensors"
    lucid.save_model(source, path, class_names=names)
    model, note = from_detector(path, ("background", "square", "bar", "disc"), None, {})
    assert "keeps 2 of 3 classes" in str(note)
    saved = source.classification_head.output.weight.numpy().reshape(9, 3, 8, 3, 3)
    fresh = model.classification_head.output.weight.numpy().reshape(9, 4, 8, 3, 3)
    for label, row in enumerate((0, 2, None, 1)):
        if row is None:
            assert not any(np.array_equal(fresh[:, label], saved[:, i]) for i in range(3))
        else:
            np.testing.assert_array_equal(fresh[:, label], saved[:, row])
    same = source.regression_head.output.weight.numpy()
    np.testing.assert_array_equal(model.regression_head.output.weight.numpy(), same)


@pytest.mark.parametrize("published", [False, True])
def test_a_file_of_torchvision_is_opened(tmp_path: Path, published: bool) -> None:
    source = create_model("retinanet_resnet_18_fpn", num_classes=5, channels=8, norm="frozen")
    theirs = torchvision_state_dict(source)
    if published:  # the heads' convolutions are numbered with the ReLUs between them
        theirs = {
            re.sub(r"(_head\.conv)\.(\d)\.0", lambda m: f"{m[1]}.{2 * int(m[2])}", key): value
            for key, value in theirs.items()
        }
        assert "head.regression_head.conv.6.bias" in theirs
    path = tmp_path / "model.safetensors"
    lucid.save(theirs, path)
    model, names = load_detector(path)
    assert (model.model_name, model.num_classes, names) == ("retinanet_resnet_18_fpn", 5, None)
    assert model.transform.min_size == (800,)
    own = source.state_dict()
    for key, value in model.state_dict().items():
        if not key.startswith("backbone.net.fc."):
            np.testing.assert_array_equal(value.numpy(), own[key].numpy())


# Commands


@pytest.mark.slow
def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Train, resume, evaluate and draw."""
    data = write_coco(tmp_path / "data", 4)
    out = tmp_path / "run"

    def call(*arguments: object) -> str:
        code = run([*map(str, arguments)])
        output, errors = capsys.readouterr()
        assert code == 0, errors
        return output

    call(
        *("train-detector", "--model", "retinanet_resnet18_fpn", "--data", data),
        *("--images", data.parent, "--output", out, "--epochs", 2, "--batch-size", 2),
        *("--model-option", "channels=8", "--samples", 1, "--frozen-stages", 2),
    )
    best = out / "best.safetensors"
    assert model_metadata(best).name == "retinanet_resnet_18_fpn"
    assert model_metadata(best).class_names == ("background", "square", "disc")
    call("train-detector", "--output", out, "--resume")
    report = json.loads(
        call("evaluate", "--weights", best, "--data", data, "--images", data.parent, "--json")
    )
    assert report["images"] == 4
    call("detect", data.parent / "data_0.png", "--weights", best, "--output", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 100
