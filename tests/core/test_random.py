"""Random number generators."""

import copy
import json
import pickle
import threading

import numpy as np
import pytest

import lucid


def test_seed_is_reproducible():
    lucid.random.seed(3)
    first = [lucid.random.randn(2, 3).tolist(), lucid.random.permutation(5).tolist()]
    lucid.random.seed(3)
    assert first == [lucid.random.randn(2, 3).tolist(), lucid.random.permutation(5).tolist()]


def test_generators_are_independent():
    lucid.random.seed(0)
    expected = lucid.random.rand(3).tolist()
    lucid.random.seed(0)
    other = lucid.random.Generator(1)
    other.rand(100)
    assert lucid.random.rand(3).tolist() == expected
    assert lucid.random.Generator(1).rand(2).tolist() == lucid.random.Generator(1).rand(2).tolist()


def test_copies_of_unseeded_generators_agree():
    first, second = lucid.random.Generator(), lucid.random.Generator()
    copies = [copy.deepcopy(first), pickle.loads(pickle.dumps(first))]  # before any draw
    expected = first.rand(4).tolist()
    assert [other.rand(4).tolist() for other in copies] == [expected, expected]
    assert second.rand(4).tolist() != expected


def test_threads_share_one_numpy_generator():
    generator = lucid.random.Generator()
    barrier = threading.Barrier(8)
    found = []

    def look() -> None:
        barrier.wait()
        found.append(generator.numpy)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(numpy is generator.numpy for numpy in found)


def test_invalid_seed_raises_at_once():
    with pytest.raises(ValueError, match="non-negative"):
        lucid.random.Generator(-1)


def test_state_is_json_serializable():
    lucid.random.seed(5)
    lucid.random.randn(3)
    state = json.loads(json.dumps(lucid.random.get_state()))
    expected = lucid.random.randn(4).tolist()
    lucid.random.randn(10)
    lucid.random.set_state(state)
    assert lucid.random.randn(4).tolist() == expected


def test_ranges_shapes_and_dtypes():
    g = lucid.random.Generator(0)
    assert g.randn(2, 3).dtype == np.float32
    assert g.randn((2, 3), dtype="float64").dtype == np.float64
    assert g.rand(2, dtype="float16").dtype == np.float16
    drawn = g.rand(10_000).numpy()
    assert 0 <= drawn.min() < 0.01
    assert 0.99 < drawn.max() < 1
    assert set(g.randint(2, 5, (200,)).tolist()) == {2, 3, 4}
    assert set(g.randint(2, size=(50,)).tolist()) == {0, 1}
    assert g.randint(0, 9).shape == ()
    assert sorted(g.permutation(6).tolist()) == list(range(6))
    assert set(g.choice([7, 9], (50,)).tolist()) == {7, 9}
    assert g.choice(5, 5, replace=False).size == 5
    assert set(g.choice(3, (50,), p=[0, 0, 1]).tolist()) == {2}
    assert g.randn(10_000).numpy().std() == pytest.approx(1, abs=0.03)


def test_invalid_arguments():
    with pytest.raises(ValueError, match="low < high, got 3 and 3"):
        lucid.random.randint(3, 3)
    with pytest.raises(TypeError, match="int64"):
        lucid.random.randn(2, dtype="int64")
