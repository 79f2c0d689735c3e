"""Mutation tracking."""

import gc

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.autograd import mutation
from lucid.autograd.mutation import (
    base_array,
    begin_epoch,
    epoch,
    expose,
    has_other_references,
    mark_written,
    track,
)


def test_base_array_of_views():
    array = np.arange(12.0)
    assert base_array(array) is array
    assert base_array(array.reshape(3, 4).T[1:, ::2]) is array
    assert base_array(np.lib.stride_tricks.sliding_window_view(array, 3)) is array
    assert base_array(np.frombuffer(memoryview(array))) is array


def test_writes_through_views_are_stamped():
    array = np.arange(12.0)
    memory = track(array[:3])
    assert track(array.reshape(3, 4)) is memory
    mark_written(np.arange(12.0))
    assert memory.written == 0
    mark_written(array[5:])
    first = memory.written
    assert first > 0
    mark_written(array)
    assert memory.written > first


def test_writes_through_dlpack_are_stamped():
    x = lucid.ones(4, requires_grad=True)
    y = (x * x).sum()
    lucid.from_dlpack(x.detach()).fill_(3)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_reads_are_not_stamped():
    x = lucid.ones(3, 4)
    memory = track(x._data)
    assert (x + x).sum().item() == 24
    assert x[0].tolist() == [1.0] * 4
    assert (repr(x), x.shape) == (repr(lucid.ones(3, 4)), (3, 4))
    assert (memory.written, memory.exposed) == (0, 0)
    x[0, 0] = 2
    assert memory.written > 0


def test_epoch_ends_with_a_tracked_write_or_module_change():
    x, other, layer = lucid.ones(3), lucid.ones(3), nn.Linear(2, 2).eval()
    track(x._data)
    now = epoch()
    other.fill_(2)  # not tracked
    other.numpy()
    layer.eval()  # no change
    assert epoch() is now
    changes = [
        begin_epoch,
        lambda: x.fill_(3),
        lambda: x.numpy(),
        lambda: expose(x._data[1:]),
        lambda: setattr(x, "data", np.zeros(3, np.float32)),
        lambda: layer.train(),
        lambda: setattr(layer, "bias", None),
        lambda: setattr(layer, "bias", nn.Parameter(np.ones(2, np.float32))),
        lambda: delattr(layer, "bias"),
        lambda: layer.register_buffer("mean", lucid.ones(2)),
        lambda: layer.register_forward_hook(print),
        lambda: layer._parameters.__setitem__("weight", None),
        lambda: layer._buffers.clear(),
    ]
    for change in changes:
        now = epoch()
        change()
        assert epoch() is not now


def test_versions_of_freed_memory_are_removed():
    gc.collect()
    before = len(mutation._versions)
    array = np.arange(3.0)
    track(array)
    assert len(mutation._versions) == before + 1
    del array
    gc.collect()
    assert len(mutation._versions) == before


@pytest.mark.parametrize("make", [lambda: np.ones((2, 3)), lambda: np.ones((2, 3)).T])
def test_has_other_references(make):
    x = lucid.Tensor(make())
    assert not has_other_references(x)
    holders = [
        lambda: x.numpy(),
        lambda: x.numpy()[0],
        lambda: x.detach(),
        lambda: x[0],
        lambda: memoryview(x.numpy()),
        lambda: np.from_dlpack(x),
        lambda: np.transpose(x)[:, 1:],
    ]
    for hold in holders:
        held = hold()
        assert has_other_references(x)
        del held
        assert not has_other_references(x)
    assert has_other_references(lucid.Tensor(np.frombuffer(bytearray(8))))  # external memory
