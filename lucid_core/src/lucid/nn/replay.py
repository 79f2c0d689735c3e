"""Planned replay: predictions as one sequence of kernel launches, without Python between them.

In inference, a model that is called again with the same shape launches the same kernels with the
same constants.  The second call records the launches, with memory of its own, and verifies them
with another input; further calls replay them in compiled code.  The results have the same bits.

A class takes part by its attribute ``replayable``: True for models, which are replayed, and
``"part"`` for the modules of such models.  It declares that ``forward`` depends only on its
argument, a tensor (N, C, H, W) or a list of them, and on attributes of modules, not on global state
or ``tensor._data``, and has no side effects, such as counting calls.  The methods of the class must
not be replaced later.
Computations other than launches end the recording; the model then runs as usual.

Plans are valid within one epoch of :mod:`lucid.autograd.mutation`.  Parameters that user code can
write to untracked, by a NumPy array, prevent a plan.  ``LUCID_REPLAY=0`` turns replay off.

A plan has no memory of its own.  A replay takes one block from the pool, in which the arrays of the
launches are placed, and a block for each output.
"""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid import kernels
from lucid.autograd import array_of, is_grad_enabled
from lucid.autograd.mutation import epoch, has_other_references, track
from lucid.autograd.variable import new_tensor
from lucid.kernels import memory, recording
from lucid.kernels.layout import Array
from lucid.nn.plan import Plan, Recorder
from lucid.tensor import Tensor

if TYPE_CHECKING:
    from lucid.nn.module import Module

__all__ = ["plans_of", "run"]

_FLOAT32 = np.dtype(np.float32)
#: Value of memory that launches have not written to, when a plan is verified.
_GARBAGE = 1e30
#: Plans of a model; the least recently used one is dropped.
_MAX_PLANS = 8
#: The verification holds outputs twice, which large ones do not make up for by speed.
_MAX_OUTPUT_BYTES = 1 << 25
#: Shapes of a model that are counted.
_MAX_SHAPES = 32
#: A plan that replaces another one takes the time that so many replays save.
_REPLAYS_PER_RECORDING = 16

#: Shapes of the inputs, whether each has channels first, whether they are a list, and the threads.
Key = tuple[tuple[tuple[int, ...], ...], tuple[bool, ...], bool, int]


class _Plans:
    """Plans of a model in the current epoch, or numbers of calls, or reasons against a plan."""

    def __init__(self) -> None:
        #: In the order of their last use.
        self.by_shape: dict[Key, Plan | int | str] = {}
        #: Reason against any plan; None if not known yet.
        self.reason: str | None = None
        self.checked = False
        self._lock = threading.Lock()
        self._recordings = self._replays = 0
        # Memory of the largest plan, which all take, so that the pool has it for each of them.
        self._size = 0

    def set(self, key: Key, value: Plan | int | str) -> None:
        """Set an entry, and drop the oldest ones beyond the limits."""
        with self._lock:
            self.by_shape.pop(key, None)
            self.by_shape[key] = value
            planned = [k for k, entry in self.by_shape.items() if isinstance(entry, Plan)]
            for old in planned[:-_MAX_PLANS]:
                self.by_shape[old] = 1  # recorded again at the next call
            while len(self.by_shape) > _MAX_SHAPES:
                del self.by_shape[next(iter(self.by_shape))]

    def run(self, key: Key, plan: Plan, inputs: list[Array]) -> list[Array]:
        """Replay a plan."""
        self.set(key, plan)
        self._replays += 1
        self._size = max(self._size, plan.size)
        return plan.run(inputs, self._size)

    def may_record(self) -> bool:
        """Count a recording, unless earlier ones were replayed too seldom to make up for it."""
        if self._recordings >= _MAX_PLANS + self._replays // _REPLAYS_PER_RECORDING:
            return False
        self._recordings += 1
        return True


class _Local(threading.local):
    busy = False


_local = _Local()
_models: weakref.WeakKeyDictionary[Module, _Plans] = weakref.WeakKeyDictionary()
_epoch: object = None


def run(module: Module, x: Any) -> Any:
    """Return ``module.forward(x)``, replayed if it is planned."""
    if is_grad_enabled() or _local.busy or recording.current() is not None or _is_off():
        return module.forward(x)
    tensors = x if type(x) is list else [x]
    if not tensors or not all(map(_is_image_batch, tensors)):
        return module.forward(x)
    with _busy():  # modules inside make no plans of their own
        return _run(module, x, [array_of(tensor) for tensor in tensors])


def plans_of(module: Module) -> dict[Key, Plan | int | str]:
    """Return the plans of a model by shapes, layout and number of threads.

    Values
    ------
    Plan
        It is replayed.
    int
        Number of calls so far.
    str
        Reason why it is not.
    """
    plans = _models.get(module)
    return {} if plans is None or _epoch is not epoch() else dict(plans.by_shape)


def _is_image_batch(x: Any) -> bool:
    if not isinstance(x, Tensor):
        return False
    a = array_of(x)
    return a.dtype == _FLOAT32 and a.ndim == 4 and bool(a.size)


def _is_off() -> bool:
    return os.environ.get("LUCID_REPLAY", "1") == "0" or not kernels.compiled_in_use()


@contextmanager
def _busy() -> Iterator[None]:
    _local.busy = True
    try:
        yield
    finally:
        _local.busy = False


def _run(module: Module, x: Tensor | list[Tensor], arrays: list[Array]) -> Any:
    global _epoch
    now = epoch()
    if _epoch is not now:
        _models.clear()
        _epoch = now
    plans = _models.get(module)
    if plans is None:
        plans = _models[module] = _Plans()
    shapes = tuple(a.shape for a in arrays)
    layouts = tuple(map(_is_planar, arrays))
    key = (shapes, layouts, isinstance(x, list), kernels.get_num_threads())
    entry = plans.by_shape.get(key, 0)
    if isinstance(entry, Plan):
        tensors = [new_tensor(y) for y in plans.run(key, entry, list(map(_readable, arrays)))]
        return tensors if entry.many else tensors[0]
    if isinstance(entry, str):
        return module.forward(x)
    if entry == 0:  # packs weights, which may begin an epoch
        y = module.forward(x)
        plans.set(key, 1)
        return y
    if not plans.checked:
        later = entry & (entry - 1) != 0  # calls 1, 2, 4, 8, ...
        if not later:
            plans.reason = _reason_against(module)
            later = plans.reason is None and _shares_parameters(module, now)
        if later:  # shared maybe with a prediction of another thread, and not for long
            plans.set(key, entry + 1)
            return module.forward(x)
        plans.checked = True
    if plans.reason is not None:
        plans.set(key, plans.reason)
        return module.forward(x)
    if not plans.may_record():
        return module.forward(x)
    return _record(module, plans, key, list(map(_readable, arrays)), now)


def _is_planar(a: Array) -> bool:
    """Whether kernels read it as it is, with channels first."""
    return a.shape[1] == 3 and a.flags.carray


def _readable(a: Array) -> Array:
    """Return the input, or a copy with channels last, aligned and writable as kernels need it.

    A copy that a kernel makes with NumPy would be a constant of the plan.
    """
    from lucid.kernels.compiled.jit import nhwc

    return a if _is_planar(a) else nhwc(a).transpose(0, 3, 1, 2)


def _given(key: Key, arrays: list[Array]) -> Tensor | list[Tensor]:
    """Return the argument of ``forward``."""
    tensors = [new_tensor(a) for a in arrays]
    return tensors if key[2] else tensors[0]


def _record(module: Module, plans: _Plans, key: Key, arrays: list[Array], now: object) -> Any:
    """Run the model, and plan it if possible."""
    memory.pool.release()  # the recording has memory of its own
    recorder = Recorder(arrays)
    if any(np.may_share_memory(a, b) for a, b in combinations(arrays, 2)):
        recorder.fail("inputs that share memory")
    with recording.recording(recorder):
        y = module.forward(_given(key, arrays))
    recorder.release()
    many = isinstance(y, list)
    tensors = y if many else [y]
    if not all(isinstance(tensor, Tensor) for tensor in tensors):
        recorder.fail(f"an output of type {type(y).__name__}")
    elif not recorder.computed([array_of(tensor) for tensor in tensors]):
        recorder.fail("an output that no kernel computed, or that shares memory with another one")
    if recorder.failure is not None:
        plans.set(key, recorder.failure)
        return y
    outputs = [array_of(tensor) for tensor in tensors]
    if sum(output.nbytes for output in outputs) > _MAX_OUTPUT_BYTES:
        plans.set(key, "outputs that are too large to verify")
        return y
    plan = Plan(recorder, arrays, outputs, many)
    if epoch() is now and (reason := _verify(module, plan, key, arrays)) is not None:
        plans.set(key, reason)
    elif epoch() is now:
        plans.set(key, plan)
    return y


def _verify(module: Module, plan: Plan, key: Key, arrays: list[Array]) -> str | None:
    """Compare a replay with a prediction for other inputs; return the problem, if any.

    A temporary array that NumPy computed from the input would be a constant of the plan.  What it
    wrote into the memory of the launches would be missing.
    """
    # Drawn: the negative of zeros, a usual input to warm up with, would be no other input.
    rng, others = np.random.default_rng(0), [np.empty_like(a) for a in arrays]
    for other in others:
        other[...] = rng.standard_normal(other.shape, np.float32)
    try:
        y = module.forward(_given(key, others))
        expected = _digest(map(array_of, y if plan.many else [y]))
        del y
        memory.pool.release()  # replays need no memory but the plan's
        found = _digest(plan.run(others, plan.size, fill=_GARBAGE))
    except Exception as error:  # the user's input was right
        return f"a {type(error).__name__} for the input of the verification"
    return None if found == expected else "constants that depend on the input"


def _digest(arrays: Iterable[Array]) -> bytes:
    """Hash the values of arrays in memory order; keeping them would need more memory."""
    found = hashlib.sha256()
    for array in arrays:
        order = np.argsort([-stride for stride in array.strides], kind="stable")
        found.update(np.ascontiguousarray(array.transpose(order)).data)
    return found.digest()


def _reason_against(module: Module) -> str | None:
    """Return why a module cannot be planned in this epoch; None if it can."""
    for part in module.modules():
        kind = type(part)
        if part.training:
            return f"{kind.__name__} in training mode"
        if part.has_hooks:
            return f"hooks of a {kind.__name__}"
        if any(callable(getattr(kind, name, None)) for name in part.__dict__):
            return f"a replaced method of a {kind.__name__}"
        ours = kind.__module__.startswith("lucid.nn.layers.")
        if not ours and not kind.__dict__.get("replayable", False):
            return f"a {kind.__name__}, which is not declared replayable"
    return None


def _shares_parameters(module: Module, now: object) -> bool:
    """Whether anything but the module refers to the memory of a parameter, and could write to it.

    If not, whatever changes a parameter from now on begins an epoch.
    """
    from lucid.nn.layers.folding import Foldable

    folded_tensors: set[int] = set()
    for part in module.modules():
        folded = part._folded if isinstance(part, Foldable) else None
        if folded is not None and folded.epoch is now:
            conv, norm, _ = part._to_fold()
            for layer in (conv, norm):
                folded_tensors.update(map(id, () if layer is None else _tensors(layer)))
    others = [tensor for tensor in _tensors(module) if id(tensor) not in folded_tensors]
    for tensor in others:  # before the check, so that an array handed out after it begins an epoch
        track(tensor._data)
    return any(map(has_other_references, others))


def _tensors(module: Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _after_fork() -> None:
    """Drop the plans, which a thread that the child does not have may use."""
    global _epoch
    _epoch = None
    _models.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
