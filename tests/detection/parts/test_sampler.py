from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid_models_detection.parts.sampler import BalancedPositiveNegativeSampler


@pytest.mark.parametrize(
    ("positives", "negatives", "drawn"),
    [
        (100, 1000, (8, 24)),  # 8 = 32 * 0.25
        (3, 1000, (3, 29)),  # negatives take the place of positives
        (100, 5, (8, 5)),  # but not the other way round
        (0, 10, (0, 10)),
        (0, 0, (0, 0)),
    ],
)
def test_how_many_are_drawn(positives: int, negatives: int, drawn: tuple[int, int]) -> None:
    labels = np.array([1] * positives + [0] * negatives + [-1] * 50)
    labels = np.random.default_rng(0).permutation(labels)
    positive, negative = BalancedPositiveNegativeSampler(32, 0.25)(labels)
    assert (len(positive), len(negative)) == drawn
    assert (labels[positive] == 1).all()
    assert (labels[negative] == 0).all()
    assert (np.diff(positive) > 0).all(), "ascending and without repetition"
    assert (np.diff(negative) > 0).all()


def test_any_class_counts_as_positive() -> None:
    positive, negative = BalancedPositiveNegativeSampler(10, 0.5)(np.array([0, 3, -1, 20, 0]))
    np.testing.assert_array_equal(positive, [1, 3])
    np.testing.assert_array_equal(negative, [0, 4])


def test_the_seed_decides() -> None:
    labels = np.zeros(1000, np.int64)
    sampler = BalancedPositiveNegativeSampler(10, 0.5)
    lucid.random.seed(7)
    first, second = sampler(labels)[1], sampler(labels)[1]
    lucid.random.seed(7)
    np.testing.assert_array_equal(sampler(labels)[1], first)
    assert not np.array_equal(first, second)


def test_explicit_generator() -> None:
    labels = np.zeros(1000, np.int64)
    before = lucid.random.get_state()
    draws = [
        BalancedPositiveNegativeSampler(10, 0.5, lucid.random.Generator(1))(labels)[1]
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*draws)
    assert lucid.random.get_state() == before


def test_sampling_is_uniform() -> None:
    sampler = BalancedPositiveNegativeSampler(5, 0.0, lucid.random.Generator(0))
    counts = np.zeros(20)
    for _ in range(2000):
        counts[sampler(np.zeros(20, np.int64))[1]] += 1
    # 500 each, standard deviation about 19.
    assert abs(counts - 500).max() < 100


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"batch_size_per_image: .* got 0"):
        BalancedPositiveNegativeSampler(0, 0.5)
    for fraction in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"positive_fraction: expected a fraction in \[0, 1\]"):
            BalancedPositiveNegativeSampler(8, fraction)


def test_labels_must_be_one_dimensional() -> None:
    with pytest.raises(ValueError, match=r"labels: expected shape \(A,\), got \(1, 3\)"):
        BalancedPositiveNegativeSampler(8, 0.5)(np.array([[0, 1, 0]]))
