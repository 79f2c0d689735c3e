"""Error hints for PyTorch names and arguments."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import pickle
import sys

import numpy as np
import pytest

import lucid
from lucid import hints, nn
from lucid.nn import functional as F

X = lucid.tensor([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: X.sum(dim=1), "sum() got an unexpected keyword argument 'dim': use axis="),
        (lambda: lucid.sum(X, dim=1, keepdim=True), "'dim': use axis=; 'keepdim': use keepdims="),
        (lambda: X.softmax(dim=1), "use axis="),
        (lambda: F.softmax(X, dim=1), "use axis="),
        (lambda: nn.Softmax(dim=1), "Softmax() got an unexpected keyword argument 'dim': use axis"),
        (lambda: lucid.stack([X, X], dim=0), "use axis="),
        (lambda: lucid.concatenate([X, X], dim=0), "use axis="),
        (lambda: X.cumsum(dim=0), "use axis="),
        (lambda: X.unsqueeze(dim=0), "use axis="),
        (lambda: X.argmax(dim=1), "use axis="),
        (lambda: X.unique(dim=0), "use axis="),
        (lambda: lucid.unique(X, dim=0), "use axis="),
        (lambda: X.max(dim=1), "use axis=; max returns only the values, argmax the indices"),
        (lambda: lucid.flip(X, dims=(0,)), "use axis="),
        (lambda: X.flatten(start_dim=1), "use start_axis="),
        (lambda: nn.Flatten(start_dim=1), "use start_axis="),
        (lambda: X.std(unbiased=False), "correction=0"),
        (lambda: lucid.linspace(0, 1, steps=5), "use num="),
        (lambda: lucid.sum(input=X), "use x="),
        (lambda: F.relu(X, inplace=True), "leave it out"),
        (lambda: F.dropout(X, 0.5, True, inplace=True), "'inplace': leave it out"),
        (lambda: lucid.zeros(size=(2,)), "by position"),
        (lambda: X.reshape(size=(4,)), "by position"),
        (lambda: X.view(size=(4,)), "by position"),
        (lambda: X.transpose(dim0=0, dim1=1), "by position"),
        (lambda: X.norm(p=2, dim=1), "'p': use ord=; 'dim': use axis="),
        (lambda: lucid.split(X, split_size_or_sections=1), "use size_or_sections="),
        (lambda: X.to("cuda", lucid.float32), "to() has no argument 'device': leave it out"),
        (lambda: lucid.models.list_models(filter="a"), "use pattern="),
        (
            lambda: lucid.models.list_models(pretrained=True),
            "list weights by lucid.weights.list_weights()",
        ),
        (
            lambda: lucid.models.create_model("a", True),
            "has no argument 'pretrained'",
        ),
        (lambda: nn.utils.clip_grad_norm_([], 1.0, foreach=True), "'foreach': leave it out"),
        (
            lambda: lucid.data.DataLoader([1], 2, True),
            "by keyword only: use shuffle=",
        ),
        (lambda: nn.ReLU(inplace=True), "ReLU() got an unexpected keyword argument 'inplace'"),
        (lambda: nn.ReLU(True), "ReLU() has no argument 'inplace': leave it out"),
        (lambda: nn.Dropout(0.5, True), "Dropout() has no argument 'inplace'"),
        (lambda: F.relu(X, True), "relu() has no argument 'inplace'"),
        (lambda: nn.Linear(2, 2, device="cuda"), "Lucid computes on the CPU"),
        (lambda: nn.Linear(2, 2, dtype="float64"), '.to("float64")'),
        (lambda: lucid.zeros(2, device="cpu"), "'device': leave it out"),
        (lambda: lucid.tensor([1.0], device="cpu"), "'device': leave it out"),
        (lambda: lucid.random.randn(2, device="cpu"), "'device': leave it out"),
        (lambda: lucid.random.randn(2, requires_grad=True), ".requires_grad_()"),
        (lambda: X.to("float32", non_blocking=True), "'non_blocking': leave it out"),
        (lambda: X.clone(memory_format=1), "channels last"),
        (lambda: nn.Linear(2, 2).to(device="cuda"), "'device': leave it out"),
        (lambda: X.sum().backward(create_graph=True), "no second derivatives"),
        (lambda: nn.CrossEntropyLoss(size_average=False), 'reduction="mean"'),
        (lambda: F.interpolate(X, antialias=True), "'antialias': leave it out"),
        (lambda: lucid.optim.SGD([X], foreach=True), "'foreach': leave it out"),
        (lambda: lucid.load("x.pt", map_location="cpu"), "'map_location': leave it out"),
        (lambda: lucid.load("x.pt", weights_only=True), "only ever read as data"),
        (lambda: lucid.data.DataLoader([1], num_workers=2), "'num_workers': use workers="),
        (lambda: lucid.data.DataLoader([1], collate_fn=list), "'collate_fn': use collate="),
        (lambda: lucid.data.DataLoader([1], pin_memory=True), "'pin_memory': leave it out"),
        (lambda: lucid.data.DataLoader([1], sampler=[0]), "lucid.data.Subset"),
    ],
)
def test_keyword_hints(call, hint):
    with pytest.raises(TypeError) as caught:
        call()
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_keep_pythons_error():
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'axes_'"):
        lucid.sum(X, axes_=1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'kernel_size'"):
        nn.Conv2d(3, 3)
    with pytest.raises(TypeError, match="'dim': use axis=; also unexpected: 'foo'"):
        lucid.sum(X, dim=1, foo=2)
    with pytest.raises(AttributeError, match=r"'Tensor' object has no attribute 'sumx'$"):
        _ = X.sumx


def test_type_errors_from_inside_are_unchanged():
    with pytest.raises(TypeError, match="axis, got 'a'"):
        lucid.sum(X, axis="a")

    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1, inplace=True)

    with pytest.raises(TypeError, match=r"^Conv2d\(\) got an unexpected keyword argument"):
        Mine()


@pytest.mark.parametrize(
    ("dtype", "hint"),
    [
        ("cuda", "Lucid computes on the CPU"),
        ("cpu", "Lucid computes on the CPU"),
        ("cuda:0", "Lucid computes on the CPU"),
        ("torch.float32", "use lucid.float32"),
        ("torch.long", "use lucid.int64"),
        ("torch.int8", "use lucid.int8"),
        ("floaty", "expected a dtype such as 'float32', got 'floaty'"),
        (None, "got None"),
    ],
)
@pytest.mark.parametrize("convert", [X.to, nn.Linear(1, 1).to, X.astype])
def test_dtype_hints(convert, dtype, hint):
    with pytest.raises(TypeError) as caught:
        convert(dtype)
    assert hint in str(caught.value)


def test_dtype_as_string():
    assert X.to("float64").dtype == lucid.float64
    assert lucid.zeros(2, dtype="float32").dtype == lucid.float32


def test_size_is_an_integer():
    assert X.size == 4
    assert isinstance(X.size, int)
    assert json.dumps(X.size) == "4"
    assert type(X.size * 2) is int
    for copied in (pickle.loads(pickle.dumps(X.size)), copy.deepcopy(X.size)):
        assert type(copied) is int
    with pytest.raises(TypeError, match=r"use x\.shape, or x\.shape\[0\]"):
        X.size()
    with pytest.raises(TypeError, match=r"x\.shape\[1\]"):
        X.size(1)


def test_import_hints():
    with pytest.raises(ImportError, match=r"cannot import name 'cat' .* lucid\.concatenate"):
        from lucid import cat  # noqa: F401
    with pytest.raises(ImportError, match=r"cannot import name 'RMSprop' .* lucid\.optim\.AdamW"):
        from lucid.optim import RMSprop  # noqa: F401
    with pytest.raises(ImportError, match=r"lucid\.data"):
        importlib.import_module("lucid.utils.data")
    with pytest.raises(ImportError, match=r"'lucid\.models': no model is called 'no_such_net'"):
        from lucid.models import no_such_net  # noqa: F401
    with pytest.raises(ImportError, match=r"'models' from 'lucid\.vision'; use lucid\.models"):
        importlib.import_module("lucid.vision.models.detection")
    for missing in ("lucid.nothing", "lucid.nn.functional.nothing"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(missing)


def test_import_hints_from_a_module():
    with pytest.raises(ImportError, match=r"'ToTensor' .* use lucid\.vision\.to_array"):
        from lucid.vision.transforms import ToTensor  # noqa: F401
    with pytest.raises(ImportError, match=r"'normalize' .* use x / x\.norm"):
        from lucid.nn.functional import normalize  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from lucid.nn.functional import nothing  # noqa: F401


def test_register_hints(monkeypatch):
    monkeypatch.setattr(hints, "_PLUGIN_HINTS", {})
    names = {"resnet*": "`toy_zoo.net`", "ops": "not in this zoo"}
    hints.register_hints("toy_zoo", lambda: names)
    assert str(hints.attribute_error("toy_zoo", "resnet99")) == (
        "module 'toy_zoo' has no attribute 'resnet99'; use toy_zoo.net"
    )
    assert hints.find_hint("toy_zoo", "ops") == "not in this zoo"
    assert hints.find_hint("toy_zoo", "other") is None


def test_one_meta_path_finder():
    importlib.import_module("lucid.models")
    finders = [type(finder).__module__ for finder in sys.meta_path]
    assert [module for module in finders if module.startswith("lucid")] == ["lucid.hints"]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (lucid.sum, ["x", "axis", "keepdims"]),
        (F.relu, ["x"]),
        (nn.Softmax, ["axis"]),
        (nn.ReLU, []),
        (lucid.Tensor.sum, ["x", "axis", "keepdims"]),
        (lucid.data.Subset, ["dataset", "indices"]),
    ],
)
def test_signatures_and_docstrings_are_kept(value, names):
    assert list(inspect.signature(value).parameters) == names
    assert value.__doc__


def test_functions_are_wrapped_once_and_pickled_by_name():
    assert F.relu is lucid.relu
    assert F.softmax is lucid.softmax
    for value in (lucid.sum, F.relu, F.cross_entropy, lucid.Tensor.sum, nn.Softmax, lucid.save):
        assert pickle.loads(pickle.dumps(value)) is value
    assert copy.deepcopy(nn.Softmax(axis=1)).axis == 1


def test_subclass_arguments_are_not_affected():
    class Wide(nn.Linear):
        def __init__(self, width: int, dim: int) -> None:
            super().__init__(width, dim)

    assert Wide(2, dim=3).out_features == 3


def test_numpy_conversion_is_not_affected():
    np.testing.assert_array_equal(np.asarray(X), [[1, 2], [3, 4]])
    assert not hasattr(X, "__array_interface__")


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: lucid.save(nn.Linear(1, 1), "x.safetensors"), "pass model.state_dict()"),
        (lambda: nn.Linear(1, 1).load_state_dict("x.pth"), "lucid.load(path)"),
        (lambda: lucid.optim.SGD(nn.Linear(1, 1), 0.1), "pass model.parameters()"),
        (lambda: lucid.max(X, lucid.tensor([0, 1])), "lucid.maximum"),
        (lambda: X.min(np.array([0])), "lucid.minimum"),
    ],
)
def test_hints_for_wrong_argument_types(call, hint):
    with pytest.raises(TypeError) as caught:
        call()
    assert hint in str(caught.value)
