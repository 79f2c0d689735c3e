from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_detection

import lucid
from lucid.errors import UnknownWeightsError
from lucid.models import create_model, register_model, zoo
from lucid.models.registry import ModelRegistry
from lucid.weights.download import cached_path
from lucid_models_classification.torchvision import torchvision_state_dict
from lucid_models_detection import FasterRCNN
from lucid_models_detection.training.fine_tuning import (
    freeze_stages,
    from_backbone,
    from_detector,
    new_detector,
    parameter_groups,
)
from lucid_models_detection.training.options import resolve_paths

NAME = "faster_rcnn_resnet_18_fpn"
NAMES = ("background", "square", "disc")


def same(first: lucid.Tensor, second: lucid.Tensor) -> bool:
    return np.array_equal(first.numpy(), second.numpy())


@pytest.fixture(scope="module")
def classifier() -> lucid.nn.Module:
    return create_model("resnet_18", num_classes=4)


@pytest.mark.parametrize("kind", ["model", "state", "torchvision", "headless"])
def test_backbone_from_classifier(classifier, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.safetensors"
    state = classifier.state_dict()
    if kind == "model":
        said = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}
        lucid.save_model(classifier, path, preprocessing=said)
    elif kind == "state":
        lucid.save(state, path)
    elif kind == "torchvision":
        lucid.save(torchvision_state_dict(classifier), path)
    else:
        lucid.save({key: value for key, value in state.items() if key[:3] != "fc."}, path)
    model = from_backbone(NAME, path, {"num_classes": 3, **small_detection.SMALL})
    net = model.backbone.net
    assert same(net.layer3[1].conv2.conv.weight, classifier.layer3[1].conv2.conv.weight)
    assert type(net.stem.norm).__name__ == "FrozenBatchNorm2d"
    assert net.fc.weight.shape[0] == (1000 if kind == "headless" else 4)
    assert same(net.fc.weight, classifier.fc.weight) == (kind != "headless")
    assert model.config.image_mean == (
        (0.5, 0.4, 0.3) if kind == "model" else (0.485, 0.456, 0.406)
    )


def test_tags_are_resolved_to_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, publish: Any
) -> None:
    source = create_model("resnet_18")
    fields = {
        "converter": "torchvision-resnet",
        "preprocessing": {"mean": [0.5] * 3, "std": [1] * 3},
    }
    entry = publish("resnet_18", torchvision_state_dict(source), **fields)
    given = {"model": NAME, "model_options": small_detection.SMALL, "data": None}
    options = resolve_paths({**given, "backbone_weights": "test_v1"})
    assert options == {**given, "backbone_weights": str(cached_path(entry))}
    model = from_backbone(NAME, cached_path(entry), {"num_classes": 3, **small_detection.SMALL})
    assert same(model.backbone.net.fc.weight, source.fc.weight)
    assert (model.config.image_mean, model.config.image_std) == ((0.5,) * 3, (1,) * 3)
    with pytest.raises(UnknownWeightsError, match="no published weights for faster_rcnn_resnet_18"):
        resolve_paths({**given, "weights": "default"})
    with pytest.raises(ValueError, match="got resnet_18 for image-classification"):
        resolve_paths({"model": "resnet_18", "weights": "test_v1"})
    monkeypatch.chdir(tmp_path)
    assert resolve_paths({"weights": "w.pth"}) == {"weights": str(tmp_path / "w.pth")}


class Net(lucid.nn.Module):
    """A backbone other than a ResNet."""

    feature_channels = (6, 10)
    feature_strides = (8, 16)

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.conv1 = lucid.nn.Conv2d(3, width, 9, stride=8, padding=4)
        self.second = lucid.nn.Conv2d(width, 10, 3, stride=2, padding=1)
        self.classifier = lucid.nn.Linear(10, num_classes)
        self.feature_channels = (width, 10)

    def features(self, x: lucid.Tensor) -> list[lucid.Tensor]:
        first = lucid.nn.functional.relu(self.conv1(x))
        return [first, lucid.nn.functional.relu(self.second(first))]


def test_backbone_of_any_family(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Number of classes and builder arguments are taken from the file."""
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))

    @register_model(task="image-classification", family="plain")
    def plain_net(num_classes: int = 5, width: int = 6) -> Net:
        return Net(num_classes, width)

    @register_model(task="object-detection", family="plain")
    def plain_detector(num_classes: int = 21, **kwargs: Any) -> FasterRCNN:
        return FasterRCNN.from_backbone("plain_net", num_classes, **kwargs)

    path = tmp_path / "net.safetensors"
    options = {"num_classes": 3, "anchor_sizes": (16, 32, 64), **small_detection.SMALL}
    for arguments in ({}, {"num_classes": 7, "width": 4}):
        net = create_model("plain_net", **arguments)
        lucid.save_model(net, path)
        model = from_backbone("plain_detector", path, options)
        for name, value in net.state_dict().items():
            assert same(model.backbone.net.state_dict()[name], value), name
        lucid.save_model(model, tmp_path / "detector.safetensors")
        assert lucid.load_model(tmp_path / "detector.safetensors").num_classes == 3


@pytest.mark.parametrize(
    ("arguments", "said", "problem"),
    [
        ({}, {}, None),
        ({}, {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}, None),
        ({}, {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}, r"image_mean=\(0\.5, .*0\.485"),
        ({"width": 4}, {}, r"backbone_options=\{'width': 4\}.* plain_detector .*--model"),
    ],
)
def test_detector_with_few_builder_arguments(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: dict[str, Any],
    said: dict[str, Any],
    problem: str | None,
) -> None:
    """Arguments that the builder lacks are omitted if equal to the defaults, else rejected."""
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))

    @register_model(task="image-classification", family="plain")
    def plain_net(num_classes: int = 5, width: int = 6) -> Net:
        return Net(num_classes, width)

    @register_model(task="object-detection", family="plain")
    def plain_detector(num_classes: int = 21, backbone_num_classes: int = 5) -> FasterRCNN:
        return FasterRCNN.from_backbone(
            "plain_net",
            num_classes,
            anchor_sizes=(16, 32, 64),
            backbone_num_classes=backbone_num_classes,
            **small_detection.SMALL,
        )

    net = create_model("plain_net", num_classes=7, **arguments)
    path = tmp_path / "net.safetensors"
    lucid.save_model(net, path, preprocessing=said)
    if problem:
        with pytest.raises(lucid.WeightFileError, match=rf"net\.safetensors: .*{problem}"):
            from_backbone("plain_detector", path, {"num_classes": 3})
    else:
        model = from_backbone("plain_detector", path, {"num_classes": 3})
        assert same(model.backbone.net.conv1.weight, net.conv1.weight)
        assert same(model.backbone.net.classifier.weight, net.classifier.weight)


def test_backbone_from_wrapped_weights(classifier, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    state = classifier.state_dict()
    lucid.save({f"model._orig_mod.{key}": value for key, value in state.items()}, path)
    model = from_backbone(NAME, path, {"num_classes": 3, **small_detection.SMALL})
    assert same(model.backbone.net.fc.weight, classifier.fc.weight)


def test_weights_of_another_backbone_are_rejected(classifier, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    lucid.save(classifier.state_dict(), path)
    with pytest.raises(
        lucid.WeightFileError,
        match=r"weights\.safetensors.*backbone of .*_34_fpn, .* of resnet_18 ",
    ):
        from_backbone(
            "faster_rcnn_resnet_34_fpn", path, {"num_classes": 3, **small_detection.SMALL}
        )


def test_detector_as_backbone_weights_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    options = {"num_classes": 3, **small_detection.SMALL}
    lucid.save_model(create_model(NAME, **options), path)
    with pytest.raises(lucid.WeightFileError, match=f"the detector {NAME}; .*--weights"):
        from_backbone(NAME, path, options)


def test_other_tasks_are_rejected() -> None:
    with pytest.raises(ValueError, match="got resnet_18 for image-classification"):
        new_detector("resnet_18", {})


@pytest.mark.usefixtures("tiny_model")
@pytest.mark.parametrize(
    ("names", "rows", "note"),
    [
        (NAMES, [0, 1, 2], None),
        (("background", "disc", "square"), [0, 2, 1], "keeps 2 of 2 .* in the order of the data"),
        (("background", "Disc"), [0, 2], "keeps 1 of 1 class by name; left out: square"),
        (("background", "bar", "disc"), [0, None, 2], "keeps 1 of 2 .*; new: bar"),
        (("background", "bar", "rod"), [None] * 3, "is reinitialized: none of the classes"),
    ],
)
def test_detector_from_another_detector(
    tmp_path: Path, names: tuple[str, ...], rows: list[int | None], note: str | None
) -> None:
    source = create_model("tiny_detector", num_classes=3)
    path = tmp_path / "detector.safetensors"
    lucid.save_model(source, path, class_names=NAMES)
    lucid.random.seed(5)
    model, said = from_detector(path, names, None, {"min_size": 64})
    assert said is None if note is None else re.search(note, str(said))
    assert (model.num_classes, model.config.min_size) == (len(names), (64,))
    assert same(model.roi_heads.box_head.fc6.weight, source.roi_heads.box_head.fc6.weight)
    theirs, own = (
        {k: v.numpy() for k, v in m.roi_heads.box_predictor.state_dict().items()}
        for m in (source, model)
    )
    for label, row in enumerate(rows):
        for key, size in (("cls_score", 1), ("bbox_pred", 4)):
            for part in ("weight", "bias"):
                values = own[f"{key}.{part}"][size * label : size * (label + 1)]
                saved = theirs[f"{key}.{part}"]
                if row is not None:
                    np.testing.assert_array_equal(values, saved[size * row : size * (row + 1)])
                elif part == "weight":
                    assert values.any()
                    assert not any((values == saved[i : i + size]).all() for i in range(3))
    with pytest.raises(lucid.WeightFileError, match=f"expected {NAME}, got tiny_detector"):
        from_detector(path, names, NAME, {})
    with pytest.raises(lucid.WeightFileError, match="do not fit tiny_detector with"):
        from_detector(path, names, None, {"hidden_dim": 9})


@pytest.mark.usefixtures("tiny_model")
@pytest.mark.parametrize(("count", "kept"), [(3, True), (2, False)])
def test_detector_file_without_class_names(tmp_path: Path, count: int, kept: bool) -> None:
    source = create_model("tiny_detector", num_classes=3)
    path = tmp_path / "detector.safetensors"
    lucid.save_model(source, path)
    model, note = from_detector(path, NAMES[:count], None, {})
    assert ("is kept" if kept else "the file has 2 classes, the data 1") in str(note)
    weights = [m.roi_heads.box_predictor.cls_score.weight for m in (model, source)]
    assert same(*weights) == kept


def test_norms_can_be_frozen_when_fine_tuning(tmp_path: Path) -> None:
    source = create_model(NAME, num_classes=3, **small_detection.SMALL)
    path = tmp_path / "detector.safetensors"
    lucid.save_model(source, path, class_names=NAMES)
    frozen, _ = from_detector(path, NAMES, None, {"norm": "frozen"})
    assert same(frozen.backbone.net.stem.norm.weight, source.backbone.net.stem.norm.weight)
    lucid.save_model(frozen, path, class_names=NAMES)
    thawed, _ = from_detector(path, NAMES, None, {"norm": "batch"})
    assert thawed.backbone.net.stem.norm.num_batches_tracked.item() == 0


def test_frozen_stages_do_not_change() -> None:
    lucid.random.seed(0)
    model = small_detection.tiny_detector()
    freeze_stages(model, 2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = lucid.optim.SGD(parameter_groups(model, 0.1, 0.1), lr=0.1)
    image = lucid.random.rand(1, 3, 64, 64)
    losses = model(image, [{"boxes": [[5.0, 5, 40, 50]], "labels": [1]}])
    sum(losses.values()).backward()
    optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not same(value, before[key])}
    assert not {key for key in changed if ".stem" in key or ".layer1" in key}
    assert {f"backbone.net.layer{i}.0.weight" for i in (2, 3, 4)} <= changed
    freeze_stages(model, 0)
    for count in (6, -1):
        with pytest.raises(ValueError, match=f"expected 0 to 5, .* a TinyBackbone, got {count}"):
            freeze_stages(model, count)
    model.backbone.net.stages = None
    with pytest.raises(lucid.ProtocolError, match=r"a TinyBackbone, which lacks stages\(\)"):
        freeze_stages(model, 2)


def test_each_parameter_is_in_one_group() -> None:
    model = small_detection.tiny_detector()
    new, backbone = parameter_groups(model, 0.1, 0.01)
    assert (new["lr"], backbone["lr"]) == (0.1, 0.01)
    assert len(new["params"]) + len(backbone["params"]) == len(list(model.parameters()))
    assert {id(p) for p in backbone["params"]} == {id(p) for p in model.backbone.net.parameters()}
    freeze_stages(model, 5)
    model.backbone.net.fc.weight.requires_grad_(False)
    model.backbone.net.fc.bias.requires_grad_(False)
    (only,) = parameter_groups(model, 0.1, 0.01)
    assert len(only["params"]) == len(new["params"])
