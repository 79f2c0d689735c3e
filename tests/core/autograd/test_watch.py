"""Memory that may have been written to is known by whoever watches it."""

import gc

import numpy as np

import lucid
from lucid.autograd import watch as module
from lucid.autograd.watch import maybe_written, moment, root, watch


def test_the_root_of_views_is_what_they_are_views_of():
    array = np.arange(12.0)
    assert root(array) is array
    assert root(array.reshape(3, 4).T[1:, ::2]) is array


def test_all_that_lies_over_the_memory_counts():
    array = np.arange(12.0)
    watched = watch(array[:3])
    assert watch(array.reshape(3, 4)) is watched
    maybe_written(np.arange(12.0))
    assert watched.count == 0
    maybe_written(array[5:])
    maybe_written(array)
    assert watched.count == 2


def test_reading_is_not_writing():
    x = lucid.ones(3, 4)
    watched = watch(x._data)
    assert (x + x).sum().item() == 24
    assert x[0].tolist() == [1.0] * 4
    assert (repr(x), x.shape) == (repr(lucid.ones(3, 4)), (3, 4))
    assert watched.count == 0
    x[0, 0] = 2
    assert watched.count == 1


def test_a_moment_lasts_until_something_watched_or_a_module_changes():
    x, other, layer = lucid.ones(3), lucid.ones(3), lucid.nn.Linear(2, 2).eval()
    watched = watch(x._data)
    now = moment()
    other.fill_(2)  # which nobody watches
    layer.eval()  # what it is already
    assert moment() is now
    changes = [
        lambda: x.fill_(3),
        lambda: setattr(x, "data", np.zeros(3, np.float32)),
        lambda: layer.train(),
        lambda: setattr(layer, "bias", None),
        lambda: setattr(layer, "bias", lucid.nn.Parameter(np.ones(2, np.float32))),
        lambda: delattr(layer, "bias"),
        lambda: layer.register_buffer("mean", lucid.ones(2)),
        lambda: layer.register_forward_hook(print),
    ]
    for change in changes:
        now = moment()
        change()
        assert moment() is not now
    assert watched.count == 2


def test_nothing_is_left_of_what_nobody_watches_any_more():
    before = len(module._watched)
    watched = watch(np.arange(3.0))
    assert len(module._watched) == before + 1
    del watched
    gc.collect()
    assert len(module._watched) == before
