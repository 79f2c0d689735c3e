"""Model files and checkpoints with hostile metadata and a valid digest."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lucid
from lucid import nn
from lucid.models import zoo
from lucid.models.registry import ModelRegistry
from lucid.training import load_checkpoint
from lucid.weights import model_metadata, read_metadata, serialization
from lucid_models_classification.loading import load_classifier
from lucid_models_detection.categories import Categories
from lucid_models_detection.loading import load_detector


def fault_tiny(size: int = 2, fault: str = "", **kwargs) -> nn.Linear:
    if fault:
        raise {"index": IndexError, "zero": ZeroDivisionError, "key": KeyError}[fault](fault)
    return nn.Linear(2, size)


@pytest.fixture(autouse=True, scope="module")
def _a_model_to_mislead():
    """Use a new registry, which discovers the plugins again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))
        lucid.models.register_model(fault_tiny)
        yield


def write(path, text, key="lucid.model"):
    serialization.write_file(path, {"w": np.zeros(1)}, {key: text})
    return path


def read_or_refused(path, read):
    try:
        read(path)
    except lucid.WeightFileError as caught:
        error = caught
    except lucid.UnknownModelError:
        return
    else:
        return
    assert str(path) in str(error)


READERS = [lucid.load_model, model_metadata, load_classifier, load_detector]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
models = st.sampled_from(["fault_tiny", "resnet_18"])
arguments = st.sampled_from(["size", "fault", "num_classes", "norm", "dilate", "color"])


@settings(max_examples=150, deadline=None)
@given(
    name=models | values,
    kwargs=st.dictionaries(arguments, values, min_size=1, max_size=2) | values,
    more=st.dictionaries(st.sampled_from(["class_names", "preprocessing"]), values),
)
def test_hostile_model_metadata_is_a_weight_file_error(tmp_path_factory, name, kwargs, more):
    if name == "resnet_18" and isinstance(kwargs, dict):
        kwargs = kwargs | {"norm": 3}  # rejected before the model is built
    path = tmp_path_factory.mktemp("models") / "m.safetensors"
    write(path, json.dumps({"name": name, "kwargs": kwargs, **more}))
    for read in READERS:
        read_or_refused(path, read)


@pytest.mark.parametrize("fault", ["index", "zero", "key"])
def test_builder_errors_name_the_file(tmp_path, fault):
    path = tmp_path / "m.safetensors"
    write(path, json.dumps({"name": "fault_tiny", "kwargs": {"fault": fault}}))
    with pytest.raises(lucid.WeightFileError, match=f"fault='{fault}'.* cannot be built") as caught:
        lucid.load_model(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("deep", [100, 300, 480, 700, 950, 990, 100_000])
@pytest.mark.parametrize("nest", ["[]", '{"a":}'])
def test_deeply_nested_arguments(tmp_path, deep, nest):
    inner = nest[:-1] * deep + "1" + nest[-1] * deep
    for text in (
        f'{{"name": "fault_tiny", "kwargs": {{"size": {inner}}}}}',
        f'{{"name": "fault_tiny", "kwargs": {{}}, "class_names": {inner}}}',
        f'{{"name": {inner}, "kwargs": {{}}}}',
        inner,
    ):
        path = write(tmp_path / "m.safetensors", text)
        with pytest.raises(lucid.WeightFileError, match=r"m\.safetensors"):
            lucid.load_model(path)
        read_or_refused(path, model_metadata)
        write(path, text, "lucid.checkpoint")
        read_or_refused(path, load_checkpoint)


@settings(max_examples=100, deadline=None)
@given(tree=values | st.dictionaries(st.just("$tensor"), values))
def test_hostile_checkpoint_state_is_rejected(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("states") / "last.safetensors"
    read_or_refused(write(path, json.dumps(tree), "lucid.checkpoint"), load_checkpoint)


@settings(max_examples=100, deadline=None)
@given(
    said=values
    | st.lists(st.fixed_dictionaries({"id": values, "name": values, "label": values}), min_size=1)
)
def test_hostile_categories_are_rejected(said):
    try:
        categories = Categories.from_preprocessing({"categories": said})
    except ValueError as error:
        assert "its categories are damaged" in str(error)  # noqa: PT017
    else:
        assert categories is not None
        assert all(isinstance(entry.id, int) for entry in categories.entries)
        categories.check("coco.json", {})


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz"])
@pytest.mark.parametrize("metadata", [{"a": "\ud800"}, {"\udfff": "a"}])
def test_lone_surrogates_are_rejected(tmp_path, name, metadata):
    path = tmp_path / name
    lucid.save({"w": np.zeros(1)}, path)
    before = path.read_bytes()
    with pytest.raises(lucid.WeightFileError, match=r"cannot save .*surrogate pair"):
        lucid.save({"w": np.zeros(1)}, path, metadata)
    assert path.read_bytes() == before


def test_lone_surrogates_in_foreign_headers(tmp_path):
    path = tmp_path / "w.safetensors"
    header = rb'{"__metadata__":{"a":"\ud800"}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    for read in (lucid.load, read_metadata):
        with pytest.raises(lucid.WeightFileError, match="surrogate pair"):
            read(path)
