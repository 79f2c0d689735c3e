"""Initializers: bounds, standard deviations, reproducibility."""

import math

import numpy as np
import pytest

import lucid
from lucid import kernels, nn
from lucid.autograd.mutation import track
from lucid.autograd.variable import next_order
from lucid.nn import init


@pytest.fixture(autouse=True)
def _seed():
    lucid.random.seed(0)


def test_seed_reproduces_a_network_in_any_memory_layout():
    first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))
    lucid.random.seed(0)
    second = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    lucid.random.seed(0)
    plain = init.kaiming_uniform_(lucid.zeros(4, 3, 3, 3), a=math.sqrt(5))
    np.testing.assert_array_equal(first[0].weight.numpy(), plain.numpy())


@pytest.mark.parametrize("fill", [init.kaiming_normal_, init.xavier_uniform_])
@pytest.mark.parametrize("shape", [(600, 100, 3, 3), (5, 110_000), (540_001, 1)])
def test_large_tensors_are_reproducible_for_any_threads_and_layout(fill, shape):
    def drawn(threads, tensor):
        kernels.set_num_threads(threads)
        lucid.random.seed(5)
        return fill(tensor).numpy().copy(), lucid.random.rand(3).numpy()

    before = kernels.get_num_threads()
    try:
        values, after = drawn(1, lucid.empty(*shape))
        others, after_others = drawn(3, lucid.Tensor(np.empty(shape[::-1], np.float32).T))
    finally:
        kernels.set_num_threads(before)
    np.testing.assert_array_equal(values, others)
    np.testing.assert_array_equal(after, after_others)
    # Blocks of rows differ, and together have the right distribution.
    assert len(np.unique(values)) > 0.9 * min(values.size, 1 << 22)
    fan = (shape[0] + shape[1]) if fill is init.xavier_uniform_ else shape[1]
    std = math.sqrt(2 / (fan * math.prod(shape[2:])))
    assert values.std() == pytest.approx(std, rel=0.01)
    for part in np.array_split(values, 4):
        assert part.std() == pytest.approx(std, rel=0.02)
        assert part.mean() == pytest.approx(0, abs=0.02 * std)


def test_given_generator_is_used():
    a = init.normal_(lucid.zeros(5), generator=lucid.random.Generator(3))
    b = init.normal_(lucid.zeros(5), generator=lucid.random.Generator(3))
    np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        # fan_in = 40 * 9 = 360, fan_out = 50 * 9 = 450
        (init.kaiming_normal_, math.sqrt(2 / 360)),
        (
            lambda t: init.kaiming_normal_(t, 0, "fan_out", "relu"),
            math.sqrt(2 / 450),
        ),
        (init.kaiming_uniform_, math.sqrt(2 / 360)),
        (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), math.sqrt(1 / 3 / 360)),
        (lambda t: init.kaiming_normal_(t, nonlinearity="linear"), math.sqrt(1 / 360)),
        (init.xavier_normal_, math.sqrt(2 / 810)),
        (lambda t: init.xavier_uniform_(t, gain=2), 2 * math.sqrt(2 / 810)),
        (lambda t: init.normal_(t, 0, 0.3), 0.3),
        (lambda t: init.uniform_(t, -1, 1), math.sqrt(1 / 3)),
    ],
)
def test_standard_deviations(fill, std):
    tensor = lucid.empty(50, 40, 3, 3)
    before = next_order()
    assert fill(tensor) is tensor
    assert track(tensor._data).written > before
    assert tensor.numpy().std() == pytest.approx(std, rel=0.03)
    assert tensor.numpy().mean() == pytest.approx(0, abs=0.03 * std)


def test_uniform_bounds():
    bound = math.sqrt(6 / 360)
    drawn = np.abs(init.kaiming_uniform_(lucid.empty(50, 40, 3, 3)).numpy())
    assert 0.999 * bound < drawn.max() <= bound


def test_trunc_normal_stays_within_bounds():
    drawn = init.trunc_normal_(lucid.empty(10000), 1.0, 2.0, 0.0, 2.0).numpy()
    assert 0 <= drawn.min() < 0.01
    assert 1.99 < drawn.max() <= 2
    with pytest.raises(ValueError, match=r"\[50, 60\]"):
        init.trunc_normal_(lucid.empty(3), a=50, b=60)


def test_constants():
    assert init.ones_(lucid.empty(2)).tolist() == [1, 1]
    assert init.zeros_(lucid.ones(2)).tolist() == [0, 0]
    assert init.constant_(lucid.ones(2), 3.5).tolist() == [3.5, 3.5]
    assert init.eye_(lucid.empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 2, 3, 3)])
def test_orthogonal(shape):
    tensor = init.orthogonal_(lucid.empty(*shape, dtype="float64"), gain=2)
    matrix = tensor.numpy().reshape(shape[0], -1)
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_gains():
    assert init.calculate_gain("relu") == pytest.approx(math.sqrt(2))
    assert init.calculate_gain("leaky_relu", 1.0) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"nonlinearity .*got 'softsign'"):
        init.calculate_gain("softsign")


@pytest.mark.parametrize("fill", [init.kaiming_normal_, init.xavier_uniform_, init.orthogonal_])
def test_fans_need_two_axes(fill):
    with pytest.raises(ValueError, match=r"two axes, got shape \(3,\)"):
        fill(lucid.empty(3))


def test_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match=r"mode .*got 'fan'"):
        init.kaiming_normal_(lucid.empty(2, 2), mode="fan")
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        init.eye_(lucid.empty(3))
