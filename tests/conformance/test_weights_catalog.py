"""The built-in catalog of published weights beside torchvision's own tables and models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detector_pairs import pictures
from PIL import Image
from test_resnet import fit_norms
from torchvision_cpu import torchvision

import lucid
from lucid.cli.entry_point import run
from lucid.models import create_model, is_model, model_info
from lucid.weights import CatalogEntry, catalog_entry, list_weights, load_converted
from lucid.weights.converter_registry import weight_converters

#: torchvision's members of ``Weights`` for models that Lucid has, by Lucid's names.
THEIRS = {
    (model_info(name).name, weights.name.lower()): (name, weights)
    for name in torchvision.models.list_models()
    if is_model(name)
    for weights in torchvision.models.get_model_weights(name)
}
OURS = {(entry.model, entry.tag): entry for entry in list_weights()}
BUILT_IN = sorted(key for key, entry in OURS.items() if entry.source == "torchvision")


def test_all_published_weights_are_registered() -> None:
    assert sorted(THEIRS) == BUILT_IN


@pytest.mark.parametrize("key", BUILT_IN, ids="-".join)
def test_entry_agrees_with_torchvision(key: tuple[str, str]) -> None:
    entry, (name, theirs) = OURS[key], THEIRS[key]
    assert entry.url == theirs.url
    assert theirs.url.endswith(f"-{entry.sha256}.pth")
    assert entry.size / 2**20 == pytest.approx(theirs.meta["_file_size"], abs=5e-4)
    assert entry.default == (theirs is torchvision.models.get_model_weights(name).DEFAULT)
    assert entry.class_names is not None
    if entry.preprocessing is None:
        (metrics,) = (theirs.meta["_metrics"][data] for data in ("COCO-val2017",))
        assert entry.metrics == {"box mAP": metrics["box_map"]}
        names = [c.replace("__background__", "background") for c in theirs.meta["categories"]]
        assert list(entry.class_names) == names
        return
    assert entry.metrics == theirs.meta["_metrics"]["ImageNet-1K"]
    assert list(entry.class_names) == theirs.meta["categories"]
    transform = theirs.transforms()
    assert entry.preprocessing == {
        "resize_size": transform.resize_size[0],
        "crop_size": transform.crop_size[0],
        "mean": list(transform.mean),
        "std": list(transform.std),
    }
    assert transform.interpolation.value == "bilinear"


@pytest.mark.parametrize("key", BUILT_IN, ids="-".join)
def test_converter_maps_all_keys(key: tuple[str, str], cheap_weights: None) -> None:
    entry, (name, theirs) = OURS[key], THEIRS[key]
    classes = len(theirs.meta["categories"])
    with torch.device("meta"):
        options = {} if entry.preprocessing else {"weights_backbone": None}
        model = torchvision.models.get_model(name, num_classes=classes, **options)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    # A view of one number has any shape.
    state = {
        key: np.broadcast_to(np.float32(1) if shape else np.int64(0), shape)
        for key, shape in shapes.items()
    }
    (registered,) = (c for c in weight_converters() if c.name == entry.converter)
    ours = create_model(entry.model, **entry.arguments)
    report = load_converted(ours, state, registered.load())
    assert (report.missing, report.unexpected, report.skipped) == ([], [], [])
    assert ours.num_classes == len(entry.class_names or ()) == classes


def published(name: str, tmp_path: Path, publish: Any) -> tuple[Any, CatalogEntry]:
    """torchvision's model with random weights, in a file of PyTorch with the published name."""
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name)
    fit_norms(theirs)
    entry = catalog_entry(name)
    path = tmp_path / entry.filename
    torch.save(theirs.state_dict(), path)
    return theirs.eval(), publish(entry.model, path, entry.tag)


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_large"])
def test_default_weights_give_torchvisions_logits(name: str, tmp_path: Path, publish: Any) -> None:
    theirs, entry = published(name, tmp_path, publish)
    ours = create_model(name, weights="default")
    assert ours.weights_info is not None
    assert ours.weights_info.tag == entry.tag
    images = pictures([(224, 224)] * 2)
    with torch.no_grad(), lucid.no_grad():
        expected = theirs(torch.as_tensor(np.stack(images))).numpy()
        found = ours.eval()(lucid.tensor(np.stack(images))).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * abs(expected).max())


def test_classify_uses_the_preprocessing_of_the_weights(
    tmp_path: Path, publish: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, entry = published("resnet50", tmp_path, publish)
    (picture,) = pictures([(300, 400)])
    photo = Image.fromarray((picture.transpose(1, 2, 0) * 255).astype(np.uint8))
    photo.save(tmp_path / "photo.png")
    assert run(["classify", str(tmp_path / "photo.png"), "--model", "resnet50", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    transform = torchvision.models.ResNet50_Weights.DEFAULT.transforms()
    with torch.no_grad():
        probabilities = theirs(transform(photo)[None]).softmax(1)[0].numpy()
    names = entry.class_names
    assert names is not None
    for found in record["predictions"]:
        expected = float(probabilities[names.index(found["label"])])
        assert found["probability"] == pytest.approx(expected, rel=0.05, abs=1e-4)
