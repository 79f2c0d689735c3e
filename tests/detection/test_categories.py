from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_detection

import lucid
from lucid import WeightFileWarning
from lucid.models import create_model
from lucid_models_detection.categories import Categories, Category
from lucid_models_detection.data import CocoDetection
from lucid_models_detection.data.coco import read_categories

CATS = Categories([Category(3, "square", 1), Category(7, "disc", 2), Category(9, "rest", None)])


def test_categories_from_dataset(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path)
    dataset = CocoDetection(path, tmp_path)
    assert read_categories(path).names == dataset.category_names == {7: "disc", 3: "square"}
    categories = Categories.from_dataset(dataset)
    assert categories.entries == (Category(3, "square", 1), Category(7, "disc", 2))
    assert categories.ids == dataset.category_ids


def test_categories_round_trip_through_metadata() -> None:
    said = json.loads(json.dumps(CATS.as_preprocessing()))
    back = Categories.from_preprocessing(said)
    assert back is not None
    assert back.entries == CATS.entries
    assert Categories.from_preprocessing(None) is None
    assert Categories.from_preprocessing({"mean": [0.5]}) is None
    with pytest.raises(ValueError, match="categories are damaged"):
        Categories.from_preprocessing({"categories": [{"id": 1}]})


def test_categories_matched_by_name() -> None:
    found = {1: "disc", 2: "star", 5: "square"}
    categories = Categories.from_names(("background", "square", "disc"), found)
    assert categories.ids == {1: 2, 5: 1}
    with pytest.raises(ValueError, match="category 2 is 'star': the detector has no such"):
        categories.check("val.json", found)


def test_unmatched_classes_are_listed() -> None:
    categories = Categories.from_names(("background", "A", "N/A", "B", "N/A"), {1: "a"})
    assert categories.unmatched == ("A", "B")
    with pytest.raises(ValueError, match="Categories of the detector: 'A', 'B'"):
        categories.check("val.json", {1: "a"})


def test_repeated_class_names_are_rejected() -> None:
    names = ("background", "square", "disc", "square")
    with pytest.raises(ValueError, match="2 classes named 'square'"):
        Categories.from_names(names, {1: "square"})
    assert Categories.from_names(names, {1: "disc"}).ids == {1: 2}


def test_categories_of_a_replaced_last_layer_are_ignored(tmp_path: Path) -> None:
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    source = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, **small_detection.SMALL)
    names = ["background", "square", "disc"]
    lucid.save_model(source, first, class_names=names, preprocessing=CATS.as_preprocessing())
    with pytest.warns(WeightFileWarning, match="randomly"):
        model = create_model("faster_rcnn_resnet_18_fpn", weights=first, num_classes=4)
    lucid.save_model(model, second)
    found = {3: "square"}
    recorded = Categories.from_weights(first, None, found)
    assert recorded is not None
    assert recorded.entries == CATS.entries
    assert Categories.from_weights(second, None, found) is None


def test_subset_of_categories_is_valid() -> None:
    CATS.check("val.json", {7: "disc"})
    CATS.check("val.json", {})


def test_all_mismatches_are_listed() -> None:
    with pytest.raises(ValueError, match=r"val\.json: 3 problems") as caught:
        CATS.check("val.json", {3: "disc", 7: "square", 8: "star", 9: "rest"})
    assert str(caught.value).splitlines()[1:] == [
        "  category 3 is 'disc': in the detector it is 'square'",
        "  category 7 is 'square': in the detector it is 'disc'",
        "  category 8 is 'star': the detector has no such category",
        "Categories of the detector: 'square' (id 3), 'disc' (id 7), 'rest' (id 9).",
    ]
