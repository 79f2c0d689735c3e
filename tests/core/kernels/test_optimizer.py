"""Optimizer steps over lists of arrays, bitwise equal to the reference; norm and scaling."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lucid import kernels

FORMS = ["reference", "compiled"]
#: From empty to several chunks, of odd lengths.
SHAPES = [(5,), (0, 4), (), (70, 1001), (3, 3), (1, 40_000)]


def draw(rng, roles, positive=False):
    """Draw an array of each shape for each role."""
    lists = [[rng.standard_normal(shape) for shape in SHAPES] for _ in range(roles)]
    return [[np.float32(np.abs(a) if positive else a).reshape(a.shape) for a in x] for x in lists]


def copies(lists):
    return [[array.copy() for array in arrays] for arrays in lists]


def assert_same(lists, others):
    for arrays, expected in zip(lists, others, strict=True):
        for a, b in zip(arrays, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def step(kernel, parameters, gradients, buffers=(), fresh=(), **options):
    settings = {"lr": 0.5, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0}
    settings |= {"nesterov": False, "maximize": False} | options
    if options.get("momentum"):
        fresh = fresh or [False] * len(parameters)
    kernel(parameters, gradients, buffers, fresh, **settings)


@pytest.mark.parametrize("form", FORMS)
class TestByHand:
    def test_sgd(self, form):
        p, b = np.float32([8.0]), np.float32([2.0])
        step(
            getattr(kernels.sgd, form),
            [p],
            [np.float32([1.0])],
            [b],
            momentum=0.5,
            dampening=0.5,
            weight_decay=0.25,
        )
        # g = 1 + 0.25 * 8 = 3, b = 0.5 * 2 + 0.5 * 3
        assert (b.item(), p.item()) == (2.5, 8 - 0.5 * 2.5)

    def test_fresh_buffer_starts_from_the_gradient(self, form):
        p, b = np.float32([8.0]), np.float32([np.nan])
        step(getattr(kernels.sgd, form), [p], [np.float32([4.0])], [b], [True], momentum=0.5)
        assert (b.item(), p.item()) == (4, 6)

    def test_adam(self, form):
        p, g, m, v, most = (np.float32([x]) for x in (8.0, 3.0, 1.0, 4.0, 36.0))
        getattr(kernels.adam, form)(
            [p], [g], [m], [v], [most], [1], 0.5, (0.5, 0.0), 1.0, 0.5, True, True
        )
        # m = 0.5 - 1.5, m' = m / 0.5; v = v' = 9; p shrinks to 8 * 0.75
        assert (m.item(), v.item(), most.item()) == (-1, 9, 36)
        assert p.item() == np.float32(6 + 0.5 * 2 / (6 + 1))

    def test_nan_in_amsgrad_maximum_propagates(self, form):
        p, g, m, v = (np.ones(3, np.float32) for _ in range(4))
        v[1] = np.nan
        most = np.float32([np.nan, 1, 2])
        getattr(kernels.adam, form)(
            [p], [g], [m], [v], [most], [1], 0.1, (0.5, 0.5), 1.0, 0.0, False, False
        )
        assert np.isnan(most).tolist() == np.isnan(p).tolist() == [True, True, False]

    def test_norm_and_scale(self, form):
        arrays = [
            np.float32([[3, 0], [0, -4]]),
            np.array(12, np.float32),
            np.empty((0, 2), np.float32),
        ]
        assert getattr(kernels.sum_of_squares, form)(arrays) == 9 + 16 + 144
        getattr(kernels.scale, form)(arrays, 0.5)
        np.testing.assert_array_equal(arrays[0], [[1.5, 0], [0, -2]])
        assert arrays[1] == 6

    def test_empty_lists(self, form):
        step(getattr(kernels.sgd, form), [], [])
        assert getattr(kernels.sum_of_squares, form)([]) == 0
        getattr(kernels.scale, form)([], 2.0)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_bitwise_equal_to_reference(momentum, nesterov):
    for decay, dampening, maximize in itertools.product([0, 0.1], [0, 0.3], [False, True]):
        gradients, *lists = draw(np.random.default_rng(4), 3)
        expected = copies(lists)
        for (p, b), form in ((lists, kernels.sgd.compiled), (expected, kernels.sgd.reference)):
            step(
                form,
                p,
                gradients,
                b,
                [False, True] * 3,
                momentum=momentum,
                nesterov=nesterov,
                weight_decay=decay,
                dampening=dampening,
                maximize=maximize,
            )
        assert_same(lists, expected)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("maximize", [False, True])
def test_adam_is_bitwise_equal_to_reference(amsgrad, maximize):
    rng = np.random.default_rng(5)
    for decay, decoupled in itertools.product([0.0, 0.1], [False, True]):
        gradients, p, m = draw(rng, 3)
        v, most = draw(rng, 2, positive=True)
        lists = [p, m, v, most if amsgrad else []]
        expected = copies(lists)
        for (p, m, v, most), form in (
            (lists, kernels.adam.compiled),
            (expected, kernels.adam.reference),
        ):
            steps = [1, 2, 3, 1000, 5, 6]
            settings = (0.05, (0.9, 0.99), 1e-6, decay, decoupled, maximize)
            form(p, gradients, m, v, most, steps, *settings)
        assert_same(lists, expected)


def test_threads_do_not_change_results(assert_thread_invariant):
    rng = np.random.default_rng(6)
    shapes = [(700_001,), (3,), (400, 1000)]
    gradients, *start = [[np.float32(rng.standard_normal(s)) for s in shapes] for _ in range(3)]

    def run():
        p, b = copies(start)
        step(kernels.sgd.compiled, p, gradients, b, momentum=0.9, weight_decay=0.1)
        return [*p, *b, np.array(kernels.sum_of_squares.compiled(p))]

    assert_thread_invariant(run)


def test_the_norm_is_summed_in_float64():
    array = np.full(1_000_000, 0.1, np.float32)
    expected = 1_000_000 * float(np.float32(0.1)) ** 2
    for form in FORMS:
        assert math.isclose(getattr(kernels.sum_of_squares, form)([array]), expected, rel_tol=1e-12)
    huge = [np.full(5, 1e30, np.float32)]
    assert math.isclose(kernels.sum_of_squares.compiled(huge), 5e60, rel_tol=1e-6)


def test_gradients_in_foreign_layouts(foreign):
    """A gradient may have any layout; a foreign parameter falls back to the reference."""
    rng = np.random.default_rng(7)
    g, start, buffer = (np.float32(rng.standard_normal((3, 4, 5))) for _ in range(3))
    expected, b = start.copy(), buffer.copy()
    options = {"momentum": 0.9, "weight_decay": 0.1}
    step(kernels.sgd.reference, [expected], [g], [b], **options)
    p = start.copy()
    step(kernels.sgd.compiled, [p], [foreign(g)], [buffer.copy()], **options)
    np.testing.assert_array_equal(p, expected)
    p = foreign(start)
    if p.flags.writeable:
        step(kernels.sgd.compiled, [p], [g], [buffer.copy()], **options)
        np.testing.assert_array_equal(p, expected)
    else:
        with pytest.raises(ValueError, match="read-only"):
            step(kernels.sgd.compiled, [p], [g], [buffer.copy()], **options)
        with pytest.raises(ValueError, match="read-only"):
            kernels.scale.compiled([p], 0.5)
        np.testing.assert_array_equal(p, start)
    assert math.isclose(kernels.sum_of_squares.compiled([foreign(g)]), (g.astype(float) ** 2).sum())


def test_channels_last_and_float64_beside_float32():
    rng = np.random.default_rng(8)
    start = [
        kernels.channels_last(np.float32(rng.standard_normal((4, 3, 5, 5)))),
        rng.standard_normal(6),
        np.float32(rng.standard_normal(6)),
    ]
    gradients = [np.full_like(a, 0.5) for a in start]
    p, expected = [[a.copy(order="K") for a in start] for _ in range(2)]
    step(kernels.sgd.compiled, p, gradients, weight_decay=0.1)
    step(kernels.sgd.reference, expected, gradients, weight_decay=0.1)
    assert_same([p], [expected])


def test_overlapping_parameters():
    memory = np.zeros(30_000, np.float32)
    p = [memory, memory[10_000:]]
    step(kernels.sgd.compiled, p, [np.ones_like(a) for a in p])
    assert memory[:10_000].tolist() == [-0.5] * 10_000
    assert memory[10_000:].tolist() == [-1.0] * 20_000
