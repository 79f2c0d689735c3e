"""One file rebuilds a model, and says which model it is where it does not fit."""

from __future__ import annotations

import copy
import json
import sys
from functools import partial

import numpy as np
import pth_files as pth
import pytest

import lucid
from lucid import nn
from lucid.training.checkpoint import save_checkpoint
from lucid.weights import has_model_metadata, load_weights, model_metadata
from lucid.weights.serialization import write_file


class Tiny(nn.Module):
    """A classifier whose first convolution stands under two names."""

    def __init__(self, num_classes, widths, norm):
        super().__init__()
        self.net = nn.Sequential(nn.ConvNormAct(1, widths[0], 3, norm=norm))
        self.stem = self.net[0].conv
        self.fc = nn.Linear(widths[0], num_classes)

    def forward(self, x):
        return self.fc(self.net(x).mean(axis=(2, 3)))


@pytest.fixture(autouse=True)
def _tiny_models(environment):
    """Two models in a registry of their own."""

    @lucid.models.register_model
    def tiny(num_classes: int = 10, widths: tuple[int, ...] = (4,), norm: str = "batch") -> Tiny:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        return Tiny(num_classes, widths, norm)

    @lucid.models.register_model
    def other() -> nn.Linear:
        return nn.Linear(2, 3)


def create(**kwargs):
    return lucid.models.create_model("tiny", **kwargs)


def write_model(path, fields, arrays=None):
    arrays = create().state_dict() if arrays is None else arrays
    text = fields if isinstance(fields, str) else json.dumps(fields)
    write_file(path, arrays, {"lucid.model": text})


@pytest.mark.parametrize("filename", ["m.safetensors", "m.npz"])
def test_one_file_rebuilds_the_model(tmp_path, filename):
    path = tmp_path / filename
    lucid.random.seed(1)
    model = create(num_classes=np.int64(3), widths=[6], norm="batch")
    x = lucid.random.randn(5, 1, 8, 8)
    for _ in range(3):
        model(x)  # moves the running statistics
    preprocessing = {"size": [224, 224], "mean": [0.5], "gray": True, "note": None}
    lucid.save_model(model, path, class_names=["a", "ä", "字"], preprocessing=preprocessing)

    lucid.random.seed(2)
    loaded = lucid.load_model(path)
    assert loaded.training
    assert (loaded.model_name, loaded.model_kwargs) == (
        "tiny",
        {"num_classes": 3, "widths": (6,), "norm": "batch"},
    )
    assert loaded.stem is loaded.net[0].conv
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name].numpy(), value.numpy(), name)
    np.testing.assert_array_equal(loaded.eval()(x).numpy(), model.eval()(x).numpy())

    metadata = model_metadata(path)
    assert str(metadata) == "tiny(num_classes=3, widths=(6,), norm='batch')"
    assert metadata.class_names == ("a", "ä", "字")
    assert metadata.preprocessing == preprocessing
    assert metadata.lucid_version == lucid.__version__
    lucid.save_model(loaded, path)  # and may be saved again
    assert model_metadata(path).kwargs == metadata.kwargs
    assert model_metadata(path).class_names == metadata.class_names
    assert model_metadata(path).preprocessing == preprocessing


def test_arguments_in_dicts_come_back_as_they_are_given(tmp_path):
    @lucid.models.register_model
    def staged(stages=None) -> nn.Linear:
        return nn.Linear(len(stages or {}), 1)

    stages = {"c2": {"widths": (64, 256), "norm": None}, "c3": [[1, 2.5]]}
    lucid.save_model(staged(stages=stages), tmp_path / "m.safetensors")
    loaded = lucid.load_model(tmp_path / "m.safetensors")
    assert loaded.in_features == 2
    assert loaded.model_kwargs == {
        "stages": {"c2": {"widths": (64, 256), "norm": None}, "c3": ((1, 2.5),)}
    }


def test_metadata_are_read_without_importing_the_model(environment, tmp_path):
    environment.add("toy", "toy_net")
    lucid.models.refresh()
    lucid.save_model(lucid.models.create_model("toy_net"), tmp_path / "m.safetensors")
    del sys.modules["toy.builders"]
    assert model_metadata(tmp_path / "m.safetensors").name == "toy_net"
    assert "toy.builders" not in sys.modules


def test_unregistered_model_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match=r"this Linear has no name .*lucid\.save\("):
        lucid.save_model(nn.Linear(2, 3), tmp_path / "m.safetensors")
    assert not list(tmp_path.glob("*m.safetensors*"))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"hook": print}, {}, r"tiny: argument 'hook' must be numbers.*lucid\.save\("),
        ({"head": nn.Linear(2, 3)}, {}, "'head' must be .* got a module, Linear. .*a builder"),
        ({"scale": float("nan")}, {}, "argument 'scale' .* got nan"),
        ({"sizes": (1, {"a": {2}})}, {}, r"argument 'sizes'\[1\] 'a' .* got \{2\}"),
        ({}, {"preprocessing": {"mean": np.zeros(3)}}, "preprocessing 'mean' must be"),
        ({}, {"preprocessing": {3: 4}}, "preprocessing must be"),
        ({}, {"class_names": "cat"}, "class_names: expected a list of str, got 'cat'"),
        ({}, {"class_names": ["cat", 3]}, "class_names: expected a list of str"),
        ({}, {"class_names": {"cat", "dog"}}, "class_names: expected a list of str"),
        ({}, {"class_names": {"cat": 0, "dog": 1}}, "class_names: expected a list of str"),
    ],
)
def test_builder_arguments_must_be_plain_data(tmp_path, change, options, message):
    model = create()
    model.model_kwargs = change
    with pytest.raises(TypeError, match=message):
        lucid.save_model(model, tmp_path / "m.safetensors", **options)
    assert not list(tmp_path.glob("*m.safetensors*"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], r"expected 3 names for tiny\(num_classes=3\), got 2"),
        (["a", "b", "c", "d"], "expected 3 names .* got 4"),
        (["a", "b", "a"], "'a' for classes 0, 2"),
        (["a", "b", " "], "got an empty one"),
    ],
)
def test_invalid_class_names_are_rejected(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        lucid.save_model(create(num_classes=3), tmp_path / "m.safetensors", class_names=names)
    assert not (tmp_path / "m.safetensors").exists()


def test_number_of_classes_may_be_the_builders_default(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(ValueError, match="expected 10 names"):
        lucid.save_model(create(), path, class_names=["a"])
    # torchvision's list for COCO names unused numbers alike.
    lucid.save_model(create(num_classes=4), path, class_names=["a", "N/A", "b", "N/A"])
    assert model_metadata(path).num_classes == 4
    lucid.save_model(create(), path)
    assert model_metadata(path).num_classes == 10
    write_model(path, {"name": "gone", "kwargs": {}})
    assert model_metadata(path).num_classes is None


def test_changed_model_cannot_be_saved(tmp_path):
    path = tmp_path / "m.safetensors"

    def assert_refused(model, message):
        with pytest.raises(ValueError, match=message):
            lucid.save_model(model, path)
        assert not path.exists()

    model = create(num_classes=3)
    model.fc = nn.Linear(4, 7)
    assert_refused(model, r"fc\.bias was \(3,\), is \(7,\), .*lucid\.save\(")
    model = create()
    model.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 10))
    assert_refused(model, "fc was Linear, is Sequential")
    model = create()
    model.net = nn.Sequential(model.net[0], nn.ReLU())
    assert_refused(model, r"net\.1 was absent, is ReLU")
    model = create()
    del model.stem
    assert_refused(model, "stem was Conv2d, is removed")
    model = create()
    model.stem.stride = (2, 2)
    assert_refused(model, r"net\.0\.conv had .*stride=\(1, 1\).*, has .*stride=\(2, 2\)")
    model = create()
    model.net[0].norm.eps = 0.5
    assert_refused(model, r"net\.0\.norm had 4, eps=1e-05, has 4, eps=0\.5")


def test_model_with_unchanged_layers_is_saved(tmp_path):
    path = tmp_path / "m.safetensors"
    model = create(num_classes=3).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.fc.bias.data[:] = 5
    model.net[0].norm.momentum = 0.5  # only training uses it
    lucid.save_model(copy.deepcopy(model), path)
    assert lucid.load_model(path).fc.bias.tolist() == [5, 5, 5]


def test_missing_plugin_is_named(environment, tmp_path):
    environment.add("toy", "toy_net")
    lucid.models.refresh()
    path = tmp_path / "m.safetensors"
    lucid.save_model(lucid.models.create_model("toy_net"), path)
    metadata = model_metadata(path)
    assert (metadata.distribution, metadata.distribution_version) == ("toy", "1.0")
    origin = {"distribution": "toy", "distribution_version": "1.0"}
    write_model(path, {"name": "gone", "kwargs": {}, **origin})
    with pytest.raises(lucid.UnknownModelError, match=r"toy 1\.0: python -m pip install toy;"):
        lucid.load_model(path)
    write_model(path, {"name": "gone", "kwargs": {}})  # as 0.1.0 wrote it
    with pytest.raises(lucid.UnknownModelError, match="does not say which package has it"):
        lucid.load_model(path)


def test_disabled_plugin_is_named(environment, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    write_model(path, {"name": "gone", "kwargs": {}, "distribution": "Toy_Nets"})
    monkeypatch.setenv("LUCID_DISABLE_PLUGINS", "toy-nets")
    with pytest.raises(lucid.UnknownModelError, match=r"with Toy_Nets: remove .*DISABLE") as caught:
        lucid.load_model(path)
    assert "pip install" not in str(caught.value)


def test_missing_plugin_of_a_part_is_named(tmp_path):
    @lucid.models.register_model
    def outer(num_classes: int = 2) -> nn.Module:
        return lucid.models.create_model("resnet_18", num_classes=num_classes)

    path = tmp_path / "m.safetensors"
    write_model(path, {"name": "outer", "kwargs": {}})
    with pytest.raises(
        lucid.UnknownModelError,
        match=r"m\.safetensors holds outer.*lucid-models-classification.*LUCID_DISABLE_PLUGINS",
    ):
        lucid.load_model(path)


def test_state_dict_file_is_not_a_model(tmp_path):
    path = tmp_path / "w.safetensors"
    lucid.save(create().state_dict(), path)
    for read in (lucid.load_model, model_metadata):
        with pytest.raises(lucid.WeightFileError, match=r"w\.safetensors: .* no model metadata"):
            read(path)


def test_model_that_is_not_installed_is_unknown(tmp_path):
    path = tmp_path / "m.safetensors"
    write_model(path, {"name": "tinny", "kwargs": {}})
    with pytest.raises(lucid.UnknownModelError, match="tinny"):
        lucid.load_model(path)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_classes": 0}, r"tiny\(num_classes=0\) cannot be built: num_classes must be at lea"),
        ({"color": 1}, r"tiny\(color=1\) cannot be built: .*color"),
        ({"num_classes": 2**50}, "cannot be built: "),
        ({"num_classes": 11}, r"do not match its model, tiny\(num_classes=11\): .*(\n.*)*\(11,"),
    ],
)
def test_weights_that_do_not_match_the_metadata_raise(tmp_path, kwargs, message):
    path = tmp_path / "m.safetensors"
    write_model(path, {"name": "tiny", "kwargs": kwargs})
    with pytest.raises(lucid.WeightFileError, match=message) as caught:
        lucid.load_model(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        "{",
        "[" * 100_000,
        "[]",
        "null",
        {"kwargs": {}},
        {"name": 3, "kwargs": {}},
        {"name": "tiny"},
        {"name": "tiny", "kwargs": []},
        {"name": "tiny", "kwargs": {}, "class_names": "ab"},
        {"name": "tiny", "kwargs": {}, "class_names": [1]},
        {"name": "tiny", "kwargs": {}, "preprocessing": 3},
        {"name": "tiny", "kwargs": {}, "lucid_version": 3},
    ],
)
def test_damaged_model_metadata_raises(tmp_path, fields):
    path = tmp_path / "m.safetensors"
    write_model(path, fields)
    for read in (lucid.load_model, model_metadata):
        with pytest.raises(
            lucid.WeightFileError, match=r"m\.safetensors: its model metadata is dam"
        ):
            read(path)


# --- into a model that is there already ---------------------------------------------------------


def test_weights_go_into_a_model_that_is_built(tmp_path):
    saved, model = create(), create()
    for path, save in ((tmp_path / "a", lucid.save_model), (tmp_path / "b.npz", lucid.save_model)):
        save(saved, path)
        result = load_weights(model, path)
        assert len(result.loaded) == len(model.state_dict())
        np.testing.assert_array_equal(model.fc.weight.numpy(), saved.fc.weight.numpy())


def test_file_of_another_number_of_classes_names_both(tmp_path):
    path = tmp_path / "m.safetensors"
    lucid.save_model(create(num_classes=3), path)
    model = create(num_classes=5)
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    with pytest.raises(
        lucid.WeightFileError,
        match=r"m\.safetensors holds tiny\(num_classes=3\); the model is tiny\(num_classes=5\)",
    ) as caught:
        load_weights(model, path)
    for part in ("fc.weight: expected shape (5, 4), got (3, 4)", "fc.bias: expected"):
        assert part in str(caught.value)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    result = load_weights(model, path, skip_mismatched=True)
    assert result.skipped == ["fc.weight", "fc.bias"]


def test_file_of_another_model_names_both(tmp_path):
    path = tmp_path / "m.safetensors"
    lucid.save_model(lucid.models.create_model("other"), path)
    with pytest.raises(lucid.WeightFileError, match=r"holds other\(\); the model is tiny\(\)"):
        load_weights(create(), path)
    lucid.save({"w": np.zeros(2)}, path)
    with pytest.raises(
        lucid.WeightFileError, match="holds weights of an unnamed model; the model is Linear"
    ):
        load_weights(nn.Linear(2, 3), path)


def test_half_precision_weights_fill_a_float32_model(tmp_path):
    model, path = create(), tmp_path / "m.safetensors"
    halves = {
        name: value.numpy().astype(np.float16) if value.dtype.kind == "f" else value
        for name, value in model.state_dict().items()
    }
    lucid.save(halves, path)
    load_weights(model, path)
    assert model.fc.weight.dtype == np.float32
    np.testing.assert_array_equal(model.fc.weight.numpy(), halves["fc.weight"])


def save_pth(path, state_dict):
    stored = {str(i): np.ascontiguousarray(v).tobytes() for i, v in enumerate(state_dict.values())}
    entries = {key: pth.of(str(i), v) for i, (key, v) in enumerate(state_dict.items())}
    pth.write_archive(path, pth.ordered(entries), stored)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.bool_])
@pytest.mark.parametrize("filename", ["m.safetensors", "m.npz", "m.pth"])
def test_integer_and_bool_weights_are_rejected(tmp_path, filename, dtype):
    """Quantized weights without their scales would predict nonsense without a word."""
    model, path = create(), tmp_path / filename
    arrays = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    wrong = {**arrays, "fc.weight": np.ones((10, 4), dtype)}
    if path.suffix == ".pth":
        save_pth(path, wrong)
    else:
        lucid.save(wrong, path)
    found = np.dtype(dtype).name
    for options in ({}, {"skip_mismatched": True}, {"strict": False}):
        with pytest.raises(
            lucid.WeightFileError, match=rf"fc\.weight: expected float32, got {found}"
        ) as caught:
            load_weights(model, path, **options)
        assert str(path) in str(caught.value)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), arrays[name])


def test_whole_model_with_integers_for_weights_is_rejected(tmp_path):
    path = tmp_path / "m.safetensors"
    wrong = {**create().state_dict(), "fc.bias": np.ones(10, np.int32)}
    write_model(path, {"name": "tiny", "kwargs": {}}, wrong)
    with pytest.raises(lucid.WeightFileError, match=r"fc\.bias: expected float32, got int32"):
        lucid.load_model(path)


def test_training_checkpoint_error_names_the_best_model(tmp_path):
    last = tmp_path / "last.safetensors"
    save_checkpoint(last, {"model": {"weight": lucid.zeros(2, 2)}})
    (tmp_path / "best.safetensors").touch()
    model = nn.Linear(2, 2)
    for use in (lucid.load_model, model_metadata, has_model_metadata, partial(load_weights, model)):
        with pytest.raises(lucid.WeightFileError, match="state that a training run") as caught:
            use(last)
        assert f"give {tmp_path / 'best.safetensors'}, or" in str(caught.value)
    assert lucid.load(last).keys() == {"model/weight"}


def test_replaced_head_is_named_on_mismatch(tmp_path):
    lucid.save_model(lucid.models.create_model("tiny", num_classes=3), tmp_path / "m.safetensors")
    model = lucid.models.create_model("tiny", num_classes=3)
    model.fc = nn.Linear(4, 5)
    with pytest.raises(lucid.WeightFileError) as caught:
        load_weights(model, tmp_path / "m.safetensors")
    message = str(caught.value)
    assert "the model is tiny(num_classes=3), changed since (skip_mismatched=True" in message
    assert "fc.weight: expected shape (5, 4), got (3, 4)" in message
    report = load_weights(model, tmp_path / "m.safetensors", skip_mismatched=True)
    assert report.skipped == ["fc.weight", "fc.bias"]
