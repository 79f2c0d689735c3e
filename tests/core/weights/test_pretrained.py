"""``create_model(name, weights=...)`` and ``model.weights_info``."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import WeightFileError, WeightFileWarning, nn
from lucid.errors import PluginError, UnknownWeightsError
from lucid.models import create_model, register_model, zoo
from lucid.models.registry import ModelRegistry
from lucid.weights import WeightsInfo, load_weights, resolve_weights, save_model

NAMES = ("ant", "bee", "cat")
PREPROCESSING = {"size": 8}


class Tiny(nn.Module):
    """A classifier of vectors with a body and a head."""

    def __init__(self, num_classes: int, width: int, scale: float) -> None:
        super().__init__()
        self.num_classes, self.scale = num_classes, scale
        self.body, self.head = nn.Linear(2, width), nn.Linear(width, num_classes)

    head_prefixes = ("head.",)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return self.head(self.body(x) * self.scale)


def tiny_pretrained(num_classes: int = 3, width: int = 4, scale: float = 1.0) -> Tiny:
    """Build a tiny classifier."""
    return Tiny(num_classes, width, scale)


def tiny_other(num_classes: int = 3) -> Tiny:
    """Build another classifier with the same layers."""
    return Tiny(num_classes, 4, 1.0)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the models for one test: other modules test all registered models."""
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))
    register_model(task="image-classification", aliases=("tiny_alias",))(tiny_pretrained)
    register_model(task="image-classification")(tiny_other)


def equal(one: nn.Module, other: nn.Module, prefix: str = "") -> bool:
    theirs = other.state_dict()
    return all(
        np.array_equal(value.numpy(), theirs[key].numpy())
        for key, value in one.state_dict().items()
        if key.startswith(prefix)
    )


@pytest.fixture
def source() -> nn.Module:
    return create_model("tiny_pretrained", width=5)


@pytest.fixture
def entry(publish: Any, source: nn.Module) -> Any:
    return publish(
        "tiny_pretrained",
        source.state_dict(),
        default=True,
        arguments={"width": 5},
        classes=f"{__name__}:NAMES",
        preprocessing=PREPROCESSING,
        metrics={"acc@1": 97.5},
    )


@pytest.mark.parametrize("weights", ["default", "test_v1", "TEST_V1"])
def test_tag_is_fetched_and_loaded(entry: Any, source: nn.Module, weights: str) -> None:
    model = create_model("tiny_alias", weights=weights)
    assert equal(model, source)
    assert model.model_kwargs == {"width": 5}
    assert model.training
    assert model.weights_info == WeightsInfo(
        file=entry.filename,
        tag="test_v1",
        url=entry.url,
        sha256=entry.sha256,
        license="CC0-1.0",
        source="test",
        metrics={"acc@1": 97.5},
        class_names=NAMES,
        preprocessing=PREPROCESSING,
    )
    assert pickle.loads(pickle.dumps(model.weights_info)) == model.weights_info


def test_other_number_of_classes_replaces_the_head(entry: Any, source: nn.Module) -> None:
    with pytest.warns(WeightFileWarning, match=r"head\.weight, head\.bias.*3 classes.*is 7"):
        model = create_model("tiny_pretrained", weights="default", num_classes=7)
    assert equal(model, source, "body.")
    assert model.head.weight.shape == (7, 5)
    info = model.weights_info
    assert info is not None
    assert (info.tag, info.metrics, info.class_names) == ("test_v1", {}, None)
    assert info.preprocessing == PREPROCESSING


def test_equal_number_of_classes_keeps_the_head(entry: Any, source: nn.Module) -> None:
    assert equal(create_model("tiny_pretrained", weights="default", num_classes=3), source)


def test_contradicting_argument_is_an_error(entry: Any) -> None:
    with pytest.raises(ValueError, match="expected width=5, got width=4"):
        create_model("tiny_pretrained", weights="default", width=4)
    assert create_model("tiny_pretrained", weights="default", width=5, scale=2.0).scale == 2.0


def test_unknown_tag_lists_those_of_the_model(entry: Any) -> None:
    with pytest.raises(UnknownWeightsError, match=r"test_v1.*got 'test_v2'"):
        create_model("tiny_pretrained", weights="test_v2")


@pytest.mark.parametrize("member", ["test_v1", "default"])
def test_torchvisions_name_of_a_tag_is_explained(entry: Any, member: str) -> None:
    with pytest.raises(UnknownWeightsError, match=f"; pass '{member}'$"):
        create_model("tiny_pretrained", weights=f"Tiny_Weights.{member.upper()}")


def test_weights_that_are_neither_text_nor_path(entry: Any) -> None:
    with pytest.raises(TypeError, match=r"^weights: .*, got True$"):
        create_model("tiny_pretrained", weights=True)  # type: ignore[arg-type]


def test_model_without_weights_lists_models_that_have_some(entry: Any) -> None:
    with pytest.raises(UnknownWeightsError, match=r"tiny_other; .*tiny_pretrained"):
        create_model("tiny_other", weights="default")


def test_published_file_that_is_not_the_models(publish: Any) -> None:
    publish("tiny_pretrained", {"x": lucid.zeros(3)}, default=True)
    with pytest.raises(WeightFileError, match=r"do not fit tiny_pretrained: (.|\n)*body\.weight"):
        create_model("tiny_pretrained", weights="default")


def test_missing_converter_of_published_weights(publish: Any, source: nn.Module) -> None:
    publish("tiny_pretrained", source.state_dict(), converter="absent", arguments={"width": 5})
    with pytest.raises(PluginError, match=r"tiny_pretrained test_v1 .*'absent'"):
        create_model("tiny_pretrained", weights="test_v1")


def test_wrong_number_of_published_class_names(publish: Any, source: nn.Module) -> None:
    arguments = {"width": 5, "num_classes": 2}
    state = create_model("tiny_pretrained", **arguments).state_dict()
    publish("tiny_pretrained", state, arguments=arguments, classes=f"{__name__}:NAMES")
    with pytest.raises(PluginError, match="expected 2 class names, got 3"):
        create_model("tiny_pretrained", weights="test_v1")


def test_published_saved_model_is_described_by_its_entry(
    publish: Any, source: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "saved.npz"
    save_model(source, path, class_names=["x", "y", "z"], preprocessing={"size": 9})
    publish("tiny_pretrained", path, classes=f"{__name__}:NAMES", metrics={"acc@1": 97.5})
    for model in (create_model("tiny_pretrained", weights="test_v1"), lucid.load_model(path)):
        assert equal(model, source)
        info = model.weights_info
        assert info is not None
        assert (info.tag, info.metrics) == ("test_v1", {"acc@1": 97.5})
        assert (info.class_names, info.preprocessing) == (NAMES, {"size": 9})


def test_copy_of_published_weights_is_recognized_under_any_name(
    entry: Any, source: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "downloaded.safetensors"
    path.write_bytes(resolve_weights("default", "tiny_pretrained").read_bytes())
    for model in (create_model("tiny_pretrained", weights=path), lucid.load_model(path)):
        assert equal(model, source)
        info = model.weights_info
        assert info is not None
        assert (info.file, info.tag, info.class_names) == (path.name, "test_v1", NAMES)


def test_path_of_a_state_dict(tmp_path: Path) -> None:
    source = create_model("tiny_pretrained")
    path = tmp_path / "w.npz"
    lucid.save(source.state_dict(), path)
    for weights in (path, str(path)):
        model = create_model("tiny_pretrained", weights=weights)
        assert equal(model, source)
        assert model.weights_info == WeightsInfo("w.npz")


def test_path_of_a_saved_model(source: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(source, path, class_names=NAMES, preprocessing=PREPROCESSING)
    expected = WeightsInfo("m.safetensors", class_names=NAMES, preprocessing=PREPROCESSING)
    for model in (create_model("tiny_pretrained", weights=path), lucid.load_model(path)):
        assert equal(model, source)
        assert model.weights_info == expected
    with pytest.raises(
        WeightFileError, match="expected weights of tiny_other, got tiny_pretrained"
    ):
        create_model("tiny_other", weights=path)
    with pytest.raises(ValueError, match="expected width=5, got width=6"):
        create_model("tiny_pretrained", weights=path, width=6)


def test_string_without_separator_or_suffix_is_a_tag(
    entry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_bytes(b"")
    with pytest.raises(UnknownWeightsError, match="got 'mine'"):
        resolve_weights("mine", "tiny_pretrained")
    assert resolve_weights("./mine", "tiny_pretrained") == Path("mine")
    assert resolve_weights("mine.pth", "tiny_pretrained") == Path("mine.pth")


def test_saved_model_keeps_the_origin(entry: Any, tmp_path: Path) -> None:
    model = create_model("tiny_pretrained", weights="default")
    save_model(model, tmp_path / "kept.safetensors")
    loaded = lucid.load_model(tmp_path / "kept.safetensors")
    assert loaded.weights_info is not None
    assert loaded.weights_info.record(loaded) == model.weights_info.record(model)
    assert loaded.weights_info.class_names == NAMES
    assert loaded.weights_info.file == "kept.safetensors"


def test_load_weights_recognizes_a_copy(entry: Any) -> None:
    model = create_model("tiny_pretrained", width=5)
    load_weights(model, resolve_weights("default", "tiny_pretrained"))
    assert model.weights_info is not None
    assert (model.weights_info.tag, model.weights_info.class_names) == ("test_v1", NAMES)


def test_loading_other_weights_replaces_the_origin(entry: Any, tmp_path: Path) -> None:
    model = create_model("tiny_pretrained", weights="default")
    lucid.save(model.state_dict(), tmp_path / "other.npz")
    load_weights(model, tmp_path / "other.npz")
    assert model.weights_info == WeightsInfo("other.npz")
    model.load_state_dict(model.state_dict())
    assert model.weights_info is None


def test_trained_model_is_saved_without_metrics(entry: Any, tmp_path: Path) -> None:
    model = create_model("tiny_pretrained", weights="default")
    model(lucid.ones(1, 2)).sum().backward()
    lucid.optim.SGD(model.parameters(), lr=0.1).step()
    save_model(model, tmp_path / "trained.npz")
    info = lucid.load_model(tmp_path / "trained.npz").weights_info
    assert info is not None
    assert (info.tag, info.license, info.metrics) == ("test_v1", "CC0-1.0", {})


def test_loading_a_whole_forgets_the_origin_of_its_parts(entry: Any) -> None:
    part = create_model("tiny_pretrained", weights="default")
    whole = nn.Sequential(part)
    whole.load_state_dict(whole.state_dict())
    assert part.weights_info is None
