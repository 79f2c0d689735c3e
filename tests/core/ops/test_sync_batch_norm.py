"""Synchronized batch norm against batch norm of the whole batch."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lucid
from lucid.nn import functional as F

PARTS = (slice(0, 1), slice(1, 3), slice(3, 6))


class Part:
    """Process group of threads that all-reduce at a barrier."""

    def __init__(self, number, table, barrier, has_samples):
        self.number, self.table = number, table
        self.barrier, self.has_samples = barrier, has_samples

    def all_reduce(self, array):
        self.table[self.number] = array
        self.barrier.wait(60)
        total = sum(self.table)
        self.barrier.wait(60)
        return total


def normalized(x, g, residual, activation, process_group=None):
    """Output, gradients and running statistics of one call."""
    leaves = [lucid.tensor(a, requires_grad=True) for a in (x, [1.0, 2.0], [0.1, -0.3], residual)]
    leaves = [lucid.tensor(leaf.numpy().astype(np.float64), requires_grad=True) for leaf in leaves]
    running = [lucid.tensor(np.full(2, value)) for value in (0.5, 2.0)]
    a, weight, bias, added = leaves
    y = F.batch_norm(
        a,
        *running,
        weight,
        bias,
        True,
        residual=added,
        activation=activation,
        process_group=process_group,
    )
    y.backward(g)
    of_part = [y.numpy(), a.grad.numpy(), added.grad.numpy()]
    return of_part, [weight.grad.numpy(), bias.grad.numpy()], [r.numpy() for r in running]


@pytest.mark.parametrize("activation", [None, "relu", "hardswish"])
@pytest.mark.parametrize("standing_in", [False, True])
def test_matches_batch_norm_of_the_whole_batch(activation, standing_in):
    numbers = np.random.default_rng(4)
    x, g, residual = numbers.standard_normal((3, 6, 2, 3, 3)) + np.reshape(
        [5, 0, 0], (3, 1, 1, 1, 1)
    )
    of_whole, shared, running = normalized(x, g, residual, activation)
    parts = [*PARTS, slice(0, 1)] if standing_in else list(PARTS)
    table, barrier = [None] * len(parts), threading.Barrier(len(parts))

    def work(number):
        part, has_samples = parts[number], number < len(PARTS)
        process_group = Part(number, table, barrier, has_samples)
        return normalized(x[part], g[part] * has_samples, residual[part], activation, process_group)

    with ThreadPoolExecutor(len(parts)) as pool:
        results = list(pool.map(work, range(len(parts))))
    for i, expected in enumerate(of_whole):
        joined = np.concatenate([result[0][i] for result in results[: len(PARTS)]])
        np.testing.assert_allclose(joined, expected, rtol=1e-9, atol=1e-12)
    for i, expected in enumerate(shared):
        np.testing.assert_allclose(sum(r[1][i] for r in results), expected, rtol=1e-9)
    for _, _, moved in results:  # also without samples
        np.testing.assert_allclose(moved, running, rtol=1e-12)
    if standing_in:
        assert not results[-1][0][1].any()


def test_too_few_values_raise():
    process_group = Part(0, [None], threading.Barrier(1), True)
    with pytest.raises(ValueError, match=r"two values per channel.* got 1"):
        F.batch_norm(lucid.ones(1, 2, 1, 1), None, None, training=True, process_group=process_group)
