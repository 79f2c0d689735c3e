from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid.data import Dataset, Subset, TensorDataset


def test_dataset_needs_a_length_and_samples():
    with pytest.raises(TypeError, match="abstract"):
        Dataset()


def test_dataset_ends_after_its_last_sample():
    class Squares(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return index**2

    assert list(Squares()) == [0, 1, 4, 9]


def test_subset_takes_samples_by_number_in_its_own_order():
    subset = Subset("abcd", np.array([3, 0, 3, -2]))
    assert len(subset) == 4
    assert list(subset) == ["d", "a", "d", "c"]
    assert list(Subset(subset, [1])) == ["a"]


@pytest.mark.parametrize("index", [4, -5])
def test_subset_rejects_indices_out_of_range(index):
    with pytest.raises(IndexError, match=rf"index {index} .* 4 samples \(indices\[1\]\)"):
        Subset("abcd", [0, index])


def test_subsets_nest_and_negative_indices_count_from_the_end_of_the_subset():
    base = list(range(100, 120))
    outer = Subset(Subset(base, range(5, 15)), [9, 0, -1, 0])
    assert list(outer) == [114, 105, 114, 105]
    assert outer[-1] == 105
    assert outer.indices == [9, 0, 9, 0]


def test_negative_index_is_resolved_by_the_subset():
    class Squares(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            assert index >= 0
            return index**2

    assert list(Subset(Squares(), [-1])) == [9]


@pytest.mark.parametrize("kind", [list, np.array, lucid.tensor, iter])
def test_booleans_are_a_mask(kind):
    assert list(Subset("abcd", kind([True, False, False, True]))) == ["a", "d"]


@pytest.mark.parametrize("mask", [[True, False], [True] * 5, [True, 0, 1, 2]])
def test_mask_of_another_length_or_with_numbers_is_rejected(mask):
    with pytest.raises(IndexError, match=f"mask of 4 booleans, got .*{len(mask)}"):
        Subset("abcd", mask)


@pytest.mark.parametrize("kind", [lucid.tensor, tuple, iter, lambda given: (i for i in given)])
def test_indices_may_be_any_iterable_of_integers(kind):
    assert list(Subset("abcd", kind([1, 2]))) == ["b", "c"]


@pytest.mark.parametrize(
    "indices", [[0, 1.9], np.array([0, 1.9]), lucid.tensor([0, 1.5]), ["0", "1"], [[0, 1]]]
)
def test_indices_that_are_no_integers_are_rejected(indices):
    with pytest.raises(TypeError, match=r"integer indices, got .*\(indices\["):
        Subset("abcd", indices)


@pytest.mark.parametrize("dataset", [iter("abcd"), {1, 2}])
def test_subset_needs_a_dataset_with_length_and_samples(dataset):
    with pytest.raises(TypeError, match=f"Subset expected .* got {type(dataset).__name__} without"):
        Subset(dataset, [0])


def test_rows_of_arrays_are_samples():
    images, labels = lucid.arange(6).reshape(3, 2), np.array([7, 8, 9])
    dataset = TensorDataset(images, labels)
    assert len(dataset) == 3
    image, label = dataset[1]
    np.testing.assert_array_equal(image, [2, 3])
    assert label == 8
    with pytest.raises(IndexError):
        dataset[3]


@pytest.mark.parametrize("arrays", [(), (np.zeros(3), np.zeros((2, 3))), (np.float32(3),)])
def test_rows_of_unequal_arrays_are_no_samples(arrays):
    with pytest.raises(ValueError, match="equal length"):
        TensorDataset(*arrays)


@pytest.mark.parametrize("indices", [2, None, 1.5, np.array(2), lucid.tensor(2)])
def test_subset_of_something_else_than_indices_names_the_remedy(indices):
    with pytest.raises(TypeError, match=r"Subset expected a sequence of indices.*range\(n\)"):
        Subset("abcd", indices)
