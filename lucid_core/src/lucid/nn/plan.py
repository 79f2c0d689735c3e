"""Recorded predictions: kernel launches, and the layout of their memory."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from lucid.kernels import memory
from lucid.kernels.layout import Array
from lucid.kernels.memory import Pool, block_of

if TYPE_CHECKING:
    from lucid.kernels.compiled.replay import LaunchList

__all__ = ["Plan", "Recorder"]

_FLOAT32 = np.dtype(np.float32)
#: Bytes that arrays in the memory of a plan are aligned to.
_ALIGNMENT = 64


class _Use(NamedTuple):
    """Use of an array by a launch."""

    position: int  # of the address among the words of all launches
    source: int  # the number of an allocation, or -1, -2, ... for the inputs
    offset: int  # in bytes
    launch: int


class Recorder:
    """Records the launches of one prediction for inputs without gaps or overlap."""

    def __init__(self, inputs: Sequence[Array]) -> None:
        from lucid.kernels.compiled.replay import LaunchList

        self.launches: LaunchList = LaunchList()
        self.uses: list[_Use] = []
        #: Bytes of each allocation.
        self.sizes: list[int] = []
        self.failure: str | None = None
        self._inputs = [np.lib.array_utils.byte_bounds(x) for x in inputs]
        self._inside = False
        self._memory = Pool(min_bytes=0)
        # Allocation of each block in use, by the id of its owner.
        self._numbers: dict[int, int] = {}

    def locate(self, array: Array) -> tuple[int, int] | None:
        """Return source and offset of an array; None for memory that no launch computed."""
        owner, address = block_of(array), array.ctypes.data
        if owner is not None and self._memory.owns(owner):
            return self._numbers[id(owner)], address - owner.block.address
        for i, (low, high) in enumerate(self._inputs):
            if low <= address < high:
                return -1 - i, address - low
        return None

    def computed(self, outputs: list[Array]) -> bool:
        """Whether each output is float32 in an allocation of its own."""
        located = [self.locate(y) for y in outputs if y.dtype == _FLOAT32]
        sources = {found[0] for found in located if found is not None}
        return len(sources) == len(outputs) and min(sources, default=0) >= 0

    def release(self) -> None:
        """Free the memory of the recording, except that of arrays in use."""
        self._memory.release()

    def fail(self, reason: str) -> None:
        """Give up; the prediction continues as usual."""
        self.failure = self.failure or reason
        self._inside = False

    def call(self, kernel: Any, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a kernel, and record its launches if all of its data are known."""
        if kernel.data is None or kwargs:
            self.fail(f"the kernel {kernel.name}")
        elif not all(self.locate(args[i]) for i in kernel.data if args[i:] and args[i] is not None):
            self.fail(f"data of {kernel.name} that no kernel computed")
        self._inside = self.failure is None
        try:
            return function(*args, **kwargs)
        finally:
            self._inside = False

    def launch(
        self, launcher: Any, slot: int, count: int, chunks: int, workers: int, args: Any
    ) -> None:
        """Record a launch of the current kernel."""
        from lucid.kernels.compiled.replay import NotRecordableError

        if not self._inside:
            self.fail(f"a launch of {launcher.name}")
            return
        number = len(self.launches)
        try:
            arrays = self.launches.add(slot, count, chunks, workers, args)
        except NotRecordableError as error:
            self.fail(f"{launcher.name}: {error}")
            return
        for position, array in arrays:
            found = self.locate(array)
            if found is None:
                self.launches.constants.append(array)
            else:
                self.uses.append(_Use(position, *found, number))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array | None:
        """Allocate an array whose uses are recorded."""
        if not self._inside:
            return None
        array = self._memory.empty(shape, dtype)
        self._numbers[id(block_of(array))] = len(self.sizes)
        self.sizes.append(-(-array.nbytes // _ALIGNMENT) * _ALIGNMENT)
        return array


def _lay_out(sizes: list[int], uses: list[_Use], apart: set[int]) -> tuple[dict[int, int], int]:
    """Place allocations in one block of memory, without overlap of those in use at a time.

    The largest ones come first, each at the lowest free offset (Pisarchyk and Lee 2020,
    arXiv:2001.03288).  Returns offsets and the size of the block.
    """
    times: dict[int, tuple[int, int]] = {}
    for use in uses:
        if use.source >= 0 and use.source not in apart:
            first, _ = times.get(use.source, (use.launch, 0))
            times[use.source] = first, use.launch
    placed: list[tuple[int, int, int, int]] = []
    offsets = {}
    for source in sorted(times, key=lambda k: -sizes[k]):
        first, last = times[source]
        offset, size = 0, sizes[source]
        for low, high, others_first, others_last in placed:
            if others_first <= last and first <= others_last:
                if low - offset >= size:
                    break
                offset = max(offset, high)
        offsets[source] = offset
        insort(placed, (offset, offset + size, first, last))
    return offsets, max((high for _, high, _, _ in placed), default=0)


class _Output(NamedTuple):
    """An output of a plan, in a new block for every prediction."""

    source: int
    size: int
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]


class Plan:
    """Recorded prediction for one shape of input.

    Attributes
    ----------
    launches : lucid.kernels.compiled.replay.LaunchList
        The launches.
    many : bool
        Whether the prediction is a list.
    size : int
        Bytes of memory that a replay needs besides its outputs.
    """

    def __init__(
        self, recorder: Recorder, inputs: Sequence[Array], outputs: list[Array], many: bool
    ) -> None:
        self.launches = recorder.launches
        self.launches.close()
        self._outputs = []
        for y in outputs:
            source, offset = cast(tuple[int, int], recorder.locate(y))
            size = recorder.sizes[source]
            self._outputs.append(_Output(source, size, y.shape, offset, y.strides))
        # Base addresses of a replay: memory, outputs, inputs.
        bases = {y.source: 1 + i for i, y in enumerate(self._outputs)}
        offsets, self.size = _lay_out(recorder.sizes, recorder.uses, set(bases))
        bases |= {-1 - i: 1 + len(outputs) + i for i in range(len(inputs))}
        uses = recorder.uses
        self._positions = np.array([use.position for use in uses], np.int64)
        self._bases = np.array([bases.get(use.source, 0) for use in uses], np.int64)
        self._offsets = np.array([offsets.get(u.source, 0) + u.offset for u in uses], np.int64)
        self.many = many

    def __len__(self) -> int:
        return len(self.launches)

    def run(self, inputs: Sequence[Array], size: int, fill: float | None = None) -> list[Array]:
        """Return the outputs for inputs laid out as recorded.

        Parameters
        ----------
        inputs : sequence of numpy.ndarray
        size : int
            Bytes of memory to take, at least the plan's.
        fill : float, optional
            Value that the memory is filled with.
        """
        blocks = self.allocate(size)
        if fill is not None:
            for block in blocks:
                block.fill(fill)
        self.launches.replay(*self.addresses(inputs, blocks))
        return [
            np.ndarray(y.shape, _FLOAT32, block, y.offset, y.strides)
            for y, block in zip(self._outputs, blocks[1:], strict=True)
        ]

    def allocate(self, size: int) -> list[Array]:
        """Allocate memory and outputs of a replay."""
        sizes = size, *(y.size for y in self._outputs)
        return [memory.empty((n // _FLOAT32.itemsize,), _FLOAT32) for n in sizes]

    def addresses(self, inputs: Sequence[Array], blocks: list[Array]) -> tuple[Array, Array]:
        """Return positions and addresses of the arrays of all launches."""
        bases = np.array([array.ctypes.data for array in (*blocks, *inputs)], np.int64)
        return self._positions, bases[self._bases] + self._offsets
