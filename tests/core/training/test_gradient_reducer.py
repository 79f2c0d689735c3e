"""Gradient buckets: sizes, order, overlap with backward, results."""

from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.training import Communicator
from lucid.training.gradient_reducer import GradientReducer


class Doubling(Communicator):
    """Two identical ranks; records the all-reduces started during backward."""

    def __init__(self):
        self.request, self.events = [], []

    def all_reduce_async(self, array):
        self.request.append(array.copy())
        self.events.append("request")
        communicator = self

        class Request:
            def test(self):
                return False

            def wait(self):
                communicator.events.append("waited")
                array[...] *= 2

        return Request()


def layers(count=4):
    lucid.random.seed(0)
    return nn.Sequential(*(nn.Linear(8, 8) for _ in range(count)))


def parameters_in(sums):
    return [[p.shape for p in bucket.parameters] for bucket in sums.buckets]


def test_buckets_start_at_the_last_layer_and_have_the_given_size():
    sums = GradientReducer(layers(3).parameters(), Communicator(), bucket_bytes=600)
    assert parameters_in(sums) == [[(8,), (8, 8), (8,), (8, 8)], [(8,), (8, 8)]]
    sums = GradientReducer(layers(3).parameters(), Communicator(), bucket_bytes=1)
    assert [len(bucket.parameters) for bucket in sums.buckets] == [1] * 6


def test_frozen_parameters_are_skipped_and_dtypes_separated():
    model = layers(3)
    model[1].weight.requires_grad = False
    model[0].weight.data = model[0].weight.numpy().astype(np.float64)
    sums = GradientReducer(model.parameters(), Communicator())
    assert parameters_in(sums) == [[(8,), (8, 8), (8,), (8,)], [(8, 8)]]
    assert [bucket.flat.dtype for bucket in sums.buckets] == [np.float32, np.float64]


def test_all_reduce_starts_during_backward():
    model, communicator = layers(), Doubling()
    sums = GradientReducer(model.parameters(), communicator, bucket_bytes=300)
    x = lucid.random.randn(2, 8)
    x.requires_grad = True
    original = model[0].forward

    def watched(value):
        def reached(g):
            communicator.events.append("first layer")
            return g

        return original(lucid.autograd.record(value.data * 1, (value, reached)))

    model[0].forward = watched
    sums.backward(model(x).sum())
    events = communicator.events
    # The first layer comes last; all other buckets were started before.
    assert events[: events.index("first layer")].count("request") >= 3
    assert events[-4:] == ["waited"] * 4


def test_gradients_are_summed_over_ranks():
    model, communicator = layers(), Doubling()
    x = lucid.random.randn(2, 8)
    model(x).sum().backward()
    alone = [p.grad.numpy().copy() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = None
    GradientReducer(model.parameters(), communicator).backward(model(x).sum())
    for parameter, expected in zip(model.parameters(), alone, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), 2 * expected, rtol=1e-6)


def test_unused_parameters_get_no_gradient_and_earlier_gradients_are_summed():
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})
    held = nn.Linear(2, 2)
    (held(lucid.ones(1, 2)).sum() * 3).backward()
    earlier = held.weight.grad.numpy().copy()
    sums = GradientReducer([*model.parameters(), *held.parameters()], Doubling())
    sums.backward(model["used"](lucid.ones(1, 2)).sum())
    assert model["idle"].weight.grad is None
    np.testing.assert_array_equal(held.weight.grad.numpy(), 2 * earlier)
    np.testing.assert_array_equal(model["used"].weight.grad.numpy(), np.full((2, 2), 2))


def test_rank_without_gradient_gets_that_of_the_others(on_ranks):
    def work(communicator):
        layer = nn.Linear(2, 1, bias=False)
        other = nn.Linear(2, 1, bias=False)
        sums = GradientReducer([*layer.parameters(), *other.parameters()], communicator)
        chosen = layer if communicator.rank else other
        sums.backward(chosen(lucid.ones(1, 2) * (communicator.rank + 1)).sum())
        return layer.weight.grad.tolist(), other.weight.grad.tolist()

    assert on_ranks(2, work) == [([[2, 2]], [[1, 1]])] * 2


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4), (7,), (0, 3, 1, 1)])
def test_gradients_of_any_shape_are_reduced(shape):
    parameter = nn.Parameter(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    sums = GradientReducer([parameter], Doubling())
    sums.backward((parameter * parameter).sum())
    np.testing.assert_array_equal(parameter.grad.numpy(), 4 * parameter.numpy())
