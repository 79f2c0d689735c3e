from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid.data import Dataset, Subset, TensorDataset


def test_a_dataset_needs_a_length_and_samples():
    with pytest.raises(TypeError, match="abstract"):
        Dataset()


def test_a_dataset_ends_after_its_last_sample():
    class Squares(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return index**2

    assert list(Squares()) == [0, 1, 4, 9]


def test_a_subset_takes_samples_by_number_in_its_own_order():
    subset = Subset("abcd", np.array([3, 0, 3, -2]))
    assert len(subset) == 4
    assert list(subset) == ["d", "a", "d", "c"]
    assert list(Subset(subset, [1])) == ["a"]


@pytest.mark.parametrize("index", [4, -5])
def test_a_subset_refuses_numbers_that_do_not_exist(index):
    with pytest.raises(IndexError, match=f"4 samples cannot hold number {index}"):
        Subset("abcd", [0, index])


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
    with pytest.raises(ValueError, match="same first axis"):
        TensorDataset(*arrays)
