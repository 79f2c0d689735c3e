from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid.data import DataLoader, TensorDataset, default_collate

Pair = namedtuple("Pair", ["image", "label"])


@pytest.mark.parametrize(
    ("samples", "dtype", "values"),
    [
        ([1, 2], np.int64, [1, 2]),
        ([True, False], np.bool_, [True, False]),
        ([0.5, 2], np.float32, [0.5, 2.0]),
        ([np.float64(0.1)], np.float64, [0.1]),
        ([np.uint8(3), np.uint8(4)], np.uint8, [3, 4]),
        ([np.ones(2, np.float16)] * 2, np.float16, [[1, 1], [1, 1]]),
        ([lucid.zeros(1), lucid.ones(1)], np.float32, [[0], [1]]),
        ([np.zeros((0, 4), np.float32)] * 2, np.float32, [[], []]),
    ],
)
def test_numbers_and_arrays_become_tensors(samples, dtype, values):
    batch = default_collate(samples)
    assert isinstance(batch, lucid.Tensor)
    assert batch.dtype == dtype
    assert batch.tolist() == values


def test_batches_do_not_share_memory():
    sample = np.zeros(2, np.float32)
    default_collate([sample]).data[:] = 1
    assert sample.tolist() == [0, 0]


def test_structure_is_kept():
    samples = [
        {"pair": (np.full(2, i), i), "name": f"{i}.png", "path": Path("a"), "boxes": [i, 0.5]}
        for i in range(3)
    ]
    batch = default_collate(samples)
    assert list(batch) == ["pair", "name", "path", "boxes"]
    image, label = batch["pair"]
    assert image.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert label.tolist() == [0, 1, 2]
    assert batch["name"] == ["0.png", "1.png", "2.png"]
    assert batch["path"] == [Path("a")] * 3
    assert isinstance(batch["boxes"], list)
    assert batch["boxes"][0].tolist() == [0, 1, 2]


def test_named_tuples_keep_their_names():
    batch = default_collate([Pair(np.zeros(2), 1), Pair(np.ones(2), 2)])
    assert isinstance(batch, Pair)
    assert batch.label.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            [(np.zeros((3, 4)),), (np.zeros((3, 4)),), (np.zeros((3, 5)),)],
            r"samples\[0\] of different shapes: sample 0 .* \(3, 4\), sample 2 has \(3, 5\)",
        ),
        ([0.5, np.ones(2)], r"sample 0 of the batch has \(\), sample 1 has \(2,\)"),
        ([(1, 2), (1,)], "sample 0 of the batch has 2 entries, sample 1 has 1"),
        ([{"x": [{"a": 1}]}, {"x": [{"b": 1}]}], r"samples\['x'\]\[0\] with different keys"),
        ([], "at least one sample"),
    ],
)
def test_samples_that_differ_are_rejected_with_the_place(samples, message):
    with pytest.raises(ValueError, match=message):
        default_collate(samples)


@pytest.mark.parametrize(
    ("samples", "first", "second"),
    [
        ([1, "a"], "a number (int)", "sample 1 is text (str)"),
        ([np.zeros(2), np.zeros(2), None], "a number (ndarray)", "sample 2 is text (NoneType)"),
        ([(1, 2), 3], "a sequence (tuple)", "sample 1 is a number (int)"),
        ([{"a": 1}, [1]], "a mapping (dict)", "sample 1 is a sequence (list)"),
    ],
)
def test_samples_of_different_kinds_are_rejected(samples, first, second):
    with pytest.raises(TypeError) as caught:
        default_collate(samples)
    assert first in str(caught.value)
    assert second in str(caught.value)
    assert "collate=" in str(caught.value)


def test_samples_of_an_unknown_kind_are_rejected():
    with pytest.raises(TypeError, match=r"object\[1\]; .*collate="):
        default_collate([(1, object())])


def test_gradients_flow_back_to_the_samples():
    leaf = lucid.tensor([1.0, 2.0], requires_grad=True)
    batch = default_collate([{"x": leaf * 3}, {"x": np.ones(2, np.float32)}])["x"]
    assert batch.tolist() == [[3, 6], [1, 1]]
    (batch * lucid.tensor([[1.0, 2.0], [5.0, 5.0]])).sum().backward()
    assert leaf.grad.tolist() == [3, 6]


def test_loader_keeps_the_graph_of_a_tensor_dataset():
    leaf = lucid.tensor([[1.0], [2.0], [3.0]], requires_grad=True)
    for x, y in DataLoader(TensorDataset(leaf, np.array([2, 3, 4])), batch_size=2):
        (x[:, 0] * y).sum().backward()
    assert leaf.grad.tolist() == [[2], [3], [4]]
