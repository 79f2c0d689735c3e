"""Planned replay: predictions of a model as one sequence of kernel launches, without Python.

In inference, a model that is called again with the same shape launches the same kernels with the
same constants.  They are recorded once, verified once, and then replayed in compiled code.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid import kernels
from lucid.autograd import array_of, is_grad_enabled
from lucid.autograd.mutation import epoch
from lucid.autograd.variable import new_tensor
from lucid.kernels import recording
from lucid.kernels.layout import Array, channels_last
from lucid.kernels.memory import Pool, block_of, empty
from lucid.tensor import Tensor

if TYPE_CHECKING:
    from lucid.nn.module import Module

__all__ = ["run"]

_FLOAT32 = np.dtype(np.float32)
#: Plans of a model; the oldest is dropped.
_MAX_PLANS = 4


class _Recorder:
    """Records the launches of one prediction."""

    def __init__(self, x: Array) -> None:
        from lucid.kernels.compiled.replay import LaunchList

        self.launches = LaunchList()
        self.memory = Pool(private=True)
        self.failure: str | None = None
        self._input = x
        self._inside = False

    def holds(self, array: Array) -> bool:
        """Whether an array is the input, or a result of recorded launches."""
        owner = block_of(array)
        if owner is not None and owner.release == self.memory._returned.append:
            return True
        base: Any = array
        while isinstance(base, np.ndarray):
            if base is self._input:
                return True
            base = base.base
        return False

    def fail(self, reason: str) -> None:
        self.failure = self.failure or reason

    def call(self, kernel: Any, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self.failure is None:
            if kernel.data is None or kwargs:
                self.fail(f"kernel {kernel.name}")
            else:
                data = [args[i] for i in kernel.data if i < len(args) and args[i] is not None]
                if not all(map(self.holds, data)):
                    self.fail(f"{kernel.name}: an argument of unknown origin")
        self._inside = self.failure is None
        try:
            return function(*args, **kwargs)
        finally:
            self._inside = False

    def launch(
        self, launcher: Any, slot: int, count: int, chunks: int, workers: int, args: Any
    ) -> None:
        from lucid.kernels.compiled.replay import NotRecordableError

        if not self._inside:
            self.fail(f"a launch of {launcher.name} outside of a kernel")
            return
        try:
            self.launches.add(slot, count, chunks, workers, args)
        except NotRecordableError as error:
            self.fail(f"{launcher.name}: {error}")
            return
        for value in args:
            if isinstance(value, np.ndarray) and not self.holds(value):
                self.launches.constants.append(value)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array | None:
        return self.memory.empty(shape, dtype) if self._inside else None


def _bounds(array: Array) -> tuple[int, int]:
    """Return the first address of the block of an array, and the address after it."""
    owner: Any = block_of(array)
    return owner.block.address, owner.block.address + owner.block.size


class _Output:
    """An output of a plan.

    Every prediction gets a new block for it, as large as the recorded one: other launches may use
    the block before, for larger arrays.
    """

    def __init__(self, array: Array, uses: tuple[Array, Array]) -> None:
        low, high = _bounds(array)
        self.uses = uses
        self._size = high - low
        self._offset = array.ctypes.data - low
        self._shape, self._strides = array.shape, array.strides

    def allocate(self) -> tuple[Array, Array]:
        block = empty((self._size // _FLOAT32.itemsize,), _FLOAT32)
        layout = (self._shape, _FLOAT32, block, self._offset, self._strides)
        return block, np.ndarray(*layout)


class _Plan:
    """A recorded prediction for one shape of input."""

    def __init__(self, recorder: _Recorder, x: Array, outputs: list[Array], many: bool) -> None:
        self.launches = recorder.launches
        self.launches.close()
        self.memory = recorder.memory
        self.lock = threading.Lock()
        self.many = many
        self._input = self._uses(*np.lib.array_utils.byte_bounds(x))
        self._outputs = [_Output(y, self._uses(*_bounds(y))) for y in outputs]

    def _uses(self, low: int, high: int) -> tuple[Array, Array]:
        """Return the positions of addresses in a range of memory, and their offsets in it."""
        found = [(p, a - low) for p, a in self.launches.addresses if low <= a < high]
        positions, offsets = zip(*found, strict=True) if found else ((), ())
        return np.array(positions, np.int64), np.array(offsets, np.int64)

    def run(self, x: Array) -> list[Array]:
        words = self.launches.words
        positions, offsets = self._input
        words[positions] = offsets + x.ctypes.data
        outputs = []
        for output in self._outputs:
            block, y = output.allocate()
            positions, offsets = output.uses
            words[positions] = offsets + block.ctypes.data
            outputs.append(y)
        self.launches.replay()
        return outputs


def _like(shape: tuple[int, ...]) -> Array:
    if len(shape) == 4:
        n, c, h, w = shape
        return empty((n, h, w, c), _FLOAT32).transpose(0, 3, 1, 2)
    return empty(shape, _FLOAT32)


class _Plans:
    """Plans of a model by shape, and the number of calls before one is made."""

    def __init__(self) -> None:
        self.epoch: object = None
        self.plans: dict[Any, _Plan | int | str] = {}


_models: weakref.WeakKeyDictionary[Module, _Plans] = weakref.WeakKeyDictionary()


def enabled() -> bool:
    return os.environ.get("LUCID_REPLAY", "1") != "0"


def run(module: Module, x: Any) -> Any:
    """Return the output of ``module.forward(x)``, replayed if it is planned."""
    forward = module.forward
    if is_grad_enabled() or module.training or not isinstance(x, Tensor):
        return forward(x)
    a = array_of(x)
    if a.dtype != _FLOAT32 or a.ndim != 4 or not a.size or recording.current() is not None:
        return forward(x)
    plans = _models.get(module)
    if plans is None:
        plans = _models[module] = _Plans()
    now = epoch()
    if plans.epoch is not now:
        plans.plans.clear()
        plans.epoch = now
    key = (a.shape, kernels.get_num_threads())
    plan = plans.plans.get(key, 0)
    if isinstance(plan, str):
        return forward(x)
    if plan == 0:  # builds the caches, which begins an epoch if there is something new
        y = forward(x)
        plans.plans[key] = 1
        return y
    if plan == 1:
        return _record(module, plans, key, x, channels_last(a), now)
    if not plan.lock.acquire(blocking=False):
        return forward(x)
    try:
        outputs = [new_tensor(y) for y in plan.run(channels_last(a))]
    finally:
        plan.lock.release()
    return outputs if plan.many else outputs[0]


def _record(module: Module, plans: _Plans, key: Any, x: Tensor, a: Array, now: object) -> Any:
    recorder = _Recorder(a)
    with recording.recording(recorder):
        y = module.forward(new_tensor(a))
    many = isinstance(y, list | tuple)
    outputs = [array_of(one) for one in (y if many else [y])]
    if recorder.failure is None and not all(map(recorder.holds, outputs)):
        recorder.fail("the output is not of a kernel")
    copies = [new_tensor(_copied(array)) for array in outputs]
    if recorder.failure is None and epoch() is now:
        plan = _Plan(recorder, a, outputs, many)
        del outputs, y
        # A constant that depends on the input would go unnoticed with the same input.
        other = -a
        expected = module.forward(new_tensor(other))
        found = plan.run(other)
        for one, two in zip(found, expected if many else [expected], strict=True):
            if not np.array_equal(one, array_of(two), equal_nan=True):
                recorder.fail("another result for another input")
        plans.plans[key] = plan if recorder.failure is None else recorder.failure
    elif recorder.failure is not None:
        plans.plans[key] = recorder.failure
    if os.environ.get("LUCID_REPLAY_DEBUG"):
        print("replay:", recorder.failure, len(recorder.launches))
    return copies if many else copies[0]


def _copied(array: Array) -> Array:
    y = _like(array.shape)
    y[...] = array
    return y
