"""Predictors: records, kinds of errors, and pickling."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from lucid import WeightFileError


def test_record_for_each_image_in_order(toy, weights, images):
    records = toy.ToyPredictor(weights, offset=1)(images)
    assert [record["image"] for record in records] == images
    assert records[0] == {"image": images[0], "values": [1, 11], "together": 5}
    assert records[6]["values"] == [61, 11]
    assert records[2] == {"image": images[2], "error": "expected numbers, got nothing"}
    assert records[4] == {"image": images[4], "error": "No such file or directory"}


def test_arrays_have_no_name(toy, weights):
    assert toy.ToyPredictor(weights)([np.ones(2), [3.0, 4.0]]) == [
        {"values": [10, 10], "together": 2},
        {"values": [30, 40], "together": 2},
    ]


def test_only_images_of_one_shape_go_together(toy, weights):
    shapes = [2, 3, 2, 1, 2]
    records = toy.ToyPredictor(weights)([np.full(n, i) for i, n in enumerate(shapes)])
    assert [record["together"] for record in records] == [3, 1, 3, 1, 3]
    assert [record["values"][0] for record in records] == [0, 10, 20, 30, 40]


def test_error_in_a_batch_is_assigned_to_its_image(toy, weights):
    records = toy.ToyPredictor(weights)([np.ones(2), np.full(2, -1), np.zeros(2)])
    assert records[1] == {"error": "a number is negative"}
    assert [records[0]["values"], records[2]["values"]] == [[10, 10], [0, 0]]


def test_no_images(toy, weights):
    assert toy.ToyPredictor(weights)([]) == []


def test_paths_are_relative_to_the_original_directory(toy, weights, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    predictor = toy.ToyPredictor("model.txt")
    monkeypatch.chdir(os.sep)
    (record,) = predictor(["1.txt"])
    assert record == {"image": "1.txt", "values": [10, 10], "together": 1}


def test_missing_weights_file(toy, tmp_path):
    with pytest.raises(FileNotFoundError):
        toy.ToyPredictor(tmp_path / "none.txt")


def test_unpickled_predictors_share_one_model(toy, weights, images):
    predictor = toy.ToyPredictor(weights)
    first = predictor(images)
    assert len(toy.OPENED) == 1
    sent = pickle.dumps(predictor)
    assert len(sent) < 1000
    for _ in range(3):  # as tasks arrive at a worker, each with a copy of its own
        assert pickle.loads(sent)(images) == first
    assert len(toy.OPENED) == 2  # the original's, and one for all copies


def test_models_of_two_predictors_are_separate(toy, weights, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("7")
    sent = [pickle.dumps(toy.ToyPredictor(path)) for path in (weights, other)]
    for _ in range(2):
        values = [pickle.loads(copy)([np.ones(1)])[0]["values"] for copy in sent]
        assert values == [[10], [7]]
    assert len(toy.OPENED) == 2


def test_changed_weights_file_is_rejected(toy, weights):
    sent = pickle.dumps(toy.ToyPredictor(weights))
    weights.write_text("11")
    with pytest.raises(WeightFileError, match=r"model\.txt on .*: expected SHA-256"):
        pickle.loads(sent)([np.ones(1)])
    weights.unlink()
    with pytest.raises(WeightFileError, match=r"model\.txt cannot be read on"):
        pickle.loads(sent)([np.ones(1)])


@pytest.mark.slow
def test_in_a_new_process(toy, weights, images):
    predictor = toy.ToyPredictor(weights)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(predictor, [images, images[:1]]) == [
            predictor(images),
            predictor(images[:1]),
        ]
    assert Path(weights).exists()
