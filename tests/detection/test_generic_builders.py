"""Detectors on any registered backbone: built, saved, trained and used by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_detection import write_coco

import lucid
from lucid import Tensor, nn
from lucid.cli.entry_point import run
from lucid.models import create_model, register_model, zoo
from lucid.models.registry import ModelRegistry
from lucid.weights import model_metadata
from lucid_models_detection import FasterRCNN, RetinaNet
from lucid_models_detection.parts import AnchorGenerator
from lucid_models_detection.training.fine_tuning import from_backbone

Call = Callable[..., tuple[int, str, str]]

#: Arguments that make each detector quick.
SMALL: dict[str, dict[str, Any]] = {
    "faster_rcnn_fpn": {
        "hidden_dim": 8,
        "rpn_pre_nms_top_n": 60,
        "rpn_post_nms_top_n": [40, 20],
        "box_batch_size_per_image": 16,
    },
    "retinanet_fpn": {"channels": 8},
}
CLASSES = {"faster_rcnn_fpn": FasterRCNN, "retinanet_fpn": RetinaNet}

each_detector = pytest.mark.parametrize("name", SMALL)


class Reef(nn.Module):
    """A classifier and backbone of an outside author: stages of strides 4 and 8."""

    head_prefixes = ("verdict.",)
    feature_channels = (4, 6)
    feature_strides: tuple[int, ...] = (4, 8)

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.feature_channels = (4, width)
        self.shore = nn.ConvNormAct(3, 4, 5, stride=4)
        self.deep = nn.ConvNormAct(4, width, 3, stride=2)
        self.verdict = nn.Linear(width, num_classes)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shore = self.shore(x)
        return shore, self.deep(shore)

    def stages(self) -> tuple[nn.Module, nn.Module]:
        return self.shore, self.deep

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.features(x)[-1].mean(axis=(2, 3)))


class Bare(nn.Module):
    """A classifier that is no backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes, self.head_prefixes = 2, ("last.",)
        self.last = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.mean(axis=(2, 3)))


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that a script registers, beside those of the plugins."""
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))

    @register_model(task="image-classification", input_shape=(1, 3, 32, 32))
    def reef_net(num_classes: int = 4, width: int = 6) -> Reef:
        return Reef(num_classes, width)

    @register_model(task="image-classification")
    def bare_net(num_classes: int = 2) -> Bare:
        return Bare()

    @register_model(task="image-classification")
    def uneven_net(num_classes: int = 4) -> Reef:
        net = Reef(num_classes, 6)
        net.feature_strides = (8, 12)
        return net


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([*map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def same(one: nn.Module, other: nn.Module) -> None:
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    for key, value in first.items():
        np.testing.assert_array_equal(value.numpy(), second[key].numpy())


def epsilon(model: nn.Module) -> float:
    """Of the first normalization in the backbone."""
    return next(m.eps for m in model.backbone.net.modules() if isinstance(m, nn.BatchNorm2d))


@each_detector
@pytest.mark.parametrize(
    ("backbone", "strides"),
    [
        pytest.param("resnet_18", (4, 8, 16, 32), marks=pytest.mark.slow),
        pytest.param("resnext50_32x4d", (4, 8, 16, 32), marks=pytest.mark.slow),
        ("mobilenet_v2", (4, 8, 16, 32)),
        ("mobilenet_v3_small", (4, 8, 16, 32)),
        ("reef_net", (4, 8)),
    ],
)
def test_any_backbone_by_name_is_saved_and_loaded(
    name: str, backbone: str, strides: tuple[int, ...], tmp_path: Path
) -> None:
    arguments = {"num_classes": 3, "backbone": backbone, "backbone_num_classes": 5, **SMALL[name]}
    model = create_model(name, **arguments)
    assert type(model) is CLASSES[name]
    assert model.backbone.net.feature_strides == strides
    assert model.backbone.net.num_classes == 5
    lucid.save_model(model, tmp_path / "model.safetensors")
    loaded = lucid.load_model(tmp_path / "model.safetensors")
    assert (loaded.model_name, type(loaded)) == (name, type(model))
    same(loaded, model)
    image = np.random.default_rng(0).random((3, 64, 64), np.float32)
    for found, wanted in zip(loaded.predict([image]), model.predict([image]), strict=True):
        np.testing.assert_array_equal(found["boxes"], wanted["boxes"])


@each_detector
def test_from_backbone_knows_its_name_and_arguments(name: str, tmp_path: Path) -> None:
    cls, options = CLASSES[name], SMALL[name]
    by_name = cls.from_backbone("resnet18", 3, norm="frozen", backbone_options={}, **options)
    assert by_name.model_name == name
    assert by_name.model_kwargs == {
        "backbone": "resnet_18",
        "num_classes": 3,
        "norm": "frozen",
        **options,
    }
    net = create_model("mobilenet_v2", num_classes=7, norm_eps=1e-3, width_mult=0.5)
    by_module = cls.from_backbone(net, **options)
    assert by_module.model_kwargs == {
        "backbone": "mobilenet_v2",
        "backbone_num_classes": 7,
        "norm_eps": 1e-3,
        "backbone_options": {"width_mult": 0.5},
        **options,
    }
    lucid.save_model(by_module, tmp_path / "model.safetensors")
    loaded = lucid.load_model(tmp_path / "model.safetensors")
    same(loaded, by_module)
    assert epsilon(loaded) == 1e-3


def test_given_epsilon_is_recorded() -> None:
    model = RetinaNet.from_backbone("mobilenet_v3_small", channels=8, norm_eps=1e-5)
    assert epsilon(model) == 1e-5
    default = RetinaNet.from_backbone("mobilenet_v3_small", channels=8)
    assert epsilon(default) == 1e-3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"backbone": 5}, TypeError, "backbone: expected the name of a registered model or .* 5"),
        ({"backbone_options": 3}, TypeError, "backbone_options: .* 3"),
        ({"backbone_options": {"depth": 3}}, TypeError, "backbone_options: .*'depth'.*valid"),
        ({"backbone_num_classes": 0}, ValueError, "backbone_num_classes: .*at least 1, got 0"),
        ({"norm": "group"}, ValueError, "^norm: .*got 'group'"),
    ],
)
def test_arguments_of_the_backbone_are_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        create_model("retinanet_fpn", **arguments)


def changed() -> nn.Module:
    net = create_model("reef_net")
    net.verdict = nn.Linear(6, 9)
    return net


@pytest.mark.parametrize("net", [lambda: Reef(4, 6), changed], ids=["unregistered", "changed"])
def test_detector_on_unregistered_module_cannot_be_saved(
    net: Callable[[], nn.Module], tmp_path: Path
) -> None:
    model = RetinaNet.from_backbone(net(), 3, channels=8)
    assert model.model_name is None
    with pytest.raises(ValueError, match=r"RetinaNet .*create_model") as e:
        lucid.save_model(model, tmp_path / "model.safetensors")
    assert "\n" not in str(e.value)


def test_subclasses_and_detectors_changed_later_are_not_taken_for_the_builders() -> None:
    class Mine(RetinaNet):
        pass

    assert Mine.from_backbone("reef_net", channels=8).model_name is None
    model = FasterRCNN.from_backbone("reef_net", 3, **SMALL["faster_rcnn_fpn"])
    model.roi_heads.box_predictor = nn.Linear(8, 5)
    with pytest.raises(ValueError, match=r"roi_heads.box_predictor was BoxPredictor, is Linear"):
        lucid.save_model(model, "unused.safetensors")
    anchors = AnchorGenerator([(8,), (16,), (32,)], [(1.0,)] * 3)
    model = RetinaNet.from_backbone("reef_net", channels=8, anchor_generator=anchors)
    with pytest.raises(TypeError, match="retinanet_fpn: argument 'anchor_generator' must be numb"):
        lucid.save_model(model, "unused.safetensors")


@pytest.mark.slow
@each_detector
@pytest.mark.parametrize("backbone", ["reef_net", "mobilenet_v3_small"])
def test_the_commands_work_on_any_backbone(
    name: str, backbone: str, call: Call, tmp_path: Path
) -> None:
    data, output = write_coco(tmp_path / "data"), tmp_path / "run"
    options = [f"--model-option={k}={json.dumps(v)}" for k, v in SMALL[name].items()]
    where = ("--data", data, "--images", data.parent)
    small = ("--batch-size", 2, "--samples", 1, "--augment", "none", "--val-fraction", 0.34)
    code, _, err = call(
        "train-detector", *where, "--model", name, "--model-option", f"backbone={backbone}",
        *options, *small, "--frozen-stages", 1, "--epochs", 1, "--output", output
    )  # fmt: skip
    assert code == 0, err
    best = output / "best.safetensors"
    saved = model_metadata(best)
    assert (saved.name, saved.kwargs["backbone"]) == (name, backbone)
    code, _, err = call("train-detector", "--output", output, "--resume")
    assert code == 0, err
    code, out, err = call("evaluate", "--weights", best, *where, "--json")
    assert code == 0, err
    assert json.loads(out)["images"] == 6
    drawn = tmp_path / "drawn.png"
    image = sorted(data.parent.glob("*.png"))[0]
    code, _, err = call("detect", image, "--weights", best, "--output", drawn)
    assert code == 0, err
    assert drawn.is_file()
    tuned = tmp_path / "tuned"
    code, _, err = call(
        "train-detector", *where, "--weights", best, *small, "--epochs", 1, "--output", tuned
    )
    assert code == 0, err
    assert model_metadata(tuned / "best.safetensors").kwargs["backbone"] == backbone


def test_the_backbone_follows_from_the_weights_of_a_classifier(call: Call, tmp_path: Path) -> None:
    net = create_model("reef_net", num_classes=7, width=10)
    lucid.save_model(net, tmp_path / "net.safetensors")
    data = write_coco(tmp_path / "data", count=3)
    train = (
        "train-detector", "--data", data, "--images", data.parent, "--model", "retinanet_fpn",
        "--model-option", "channels=8", "--backbone-weights", tmp_path / "net.safetensors",
        "--batch-size", 1, "--samples", 0, "--epochs", 1, "--frozen-stages", 2,
    )  # fmt: skip
    code, _, err = call(*train, "--output", tmp_path / "run")
    assert code == 0, err
    model = lucid.load_model(tmp_path / "run" / "best.safetensors")
    assert (model.backbone.net.model_name, model.backbone.channels) == ("reef_net", (10,))
    np.testing.assert_array_equal(
        model.backbone.net.shore.conv.weight.numpy(), net.shore.conv.weight.numpy()
    )
    code, _, err = call(
        *train, "--model-option", "backbone=resnet_18", "--output", tmp_path / "other"
    )
    assert code == 2
    assert "resnet_18, got reef_net" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("bare_net", "expected a backbone, got a Bare, which lacks feature_channels, features()"),
        ("uneven_net", "got 12 after 8"),
        ("reef_nett", "no model is called 'reef_nett'"),
        ("faster_rcnn_resnet_18_fpn", "got a FasterRCNN, which lacks feature_channels, features"),
    ],
)
def test_non_backbones_are_one_line_errors(
    backbone: str, message: str, call: Call, tmp_path: Path
) -> None:
    data = write_coco(tmp_path / "data", count=2)
    code, _, err = call(
        "train-detector", "--data", data, "--images", data.parent, "--model", "faster_rcnn_fpn",
        "--model-option", f"backbone={backbone}", "--output", tmp_path / "run",
    )  # fmt: skip
    assert code == 2
    assert message in " ".join(err.split())
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_unrelated_backbone_argument_is_ignored(tmp_path: Path) -> None:
    @register_model(task="object-detection")
    def sized_net(num_classes: int = 3, backbone: str = "small", norm: str = "batch") -> RetinaNet:
        width = {"small": 6, "large": 12}[backbone]
        return RetinaNet.from_backbone("reef_net", num_classes, backbone_options={"width": width},
                                       channels=8)  # fmt: skip

    net = create_model("reef_net", num_classes=4)
    lucid.save_model(net, tmp_path / "net.safetensors")
    model = from_backbone("sized_net", tmp_path / "net.safetensors", {"num_classes": 3})
    assert model.model_kwargs["num_classes"] == 3
    assert "backbone" not in model.model_kwargs
    np.testing.assert_array_equal(
        model.backbone.net.shore.conv.weight.numpy(), net.shore.conv.weight.numpy()
    )


def test_weights_of_a_modified_network_are_named(tmp_path: Path) -> None:
    lucid.save_model(create_model("reef_net", width=10), tmp_path / "net.safetensors")
    with pytest.raises(lucid.WeightFileError, match=r"\{'width': 10\} of reef_net") as caught:
        from_backbone("retinanet_resnet_18_fpn", tmp_path / "net.safetensors", {"channels": 8})
    assert "choose a detector on reef_net by --model" in str(caught.value)
    with pytest.raises(TypeError, match="channells"):
        from_backbone("retinanet_fpn", tmp_path / "net.safetensors", {"channells": 8})


@pytest.mark.parametrize("family", ["faster_rcnn", "retinanet"])
def test_a_model_on_a_resnet_names_the_model_on_any_backbone(family: str) -> None:
    message = rf"^backbone: .*resnet_18.*, got 'mobilenet_v2'; .*{family}_fpn"
    with pytest.raises(TypeError, match=message):
        lucid.models.create_model(f"{family}_resnet_18_fpn", backbone="mobilenet_v2")
