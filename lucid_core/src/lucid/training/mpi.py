"""Ranks that ``mpiexec`` has started, through mpi4py; imported only where they are asked for."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.errors import MissingPackageError
from lucid.kernels import set_num_threads
from lucid.kernels.processors import processor_quota
from lucid.training.communicator import Array, Communicator

if TYPE_CHECKING:
    from mpi4py.MPI import Comm, Request

__all__ = ["MpiCommunicator", "default_communicator", "launched_ranks", "mpi_communicator"]

#: Seconds that a wait asks again and again, before it lets others have the processor.
_SPIN_SECONDS = 0.2
_POLL_SECONDS = 0.001
#: Seconds that the other ranks leave rank 0 to tell of an error, so that what all of them
#: find wrong is told once.
_MAIN_ERROR_SECONDS = 0.5
#: Where process managers say how many ranks they have started: MPICH and Intel, Open MPI.
_SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")


class MpiCommunicator(Communicator):
    """The ranks of an MPI communicator.

    Waits in short turns, so that a signal is noticed while a rank waits for another.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        Its ranks; duplicated, so that messages of others do not get in between.
    """

    def __init__(self, comm: Comm) -> None:
        self._comm = comm.Dup()
        self._sums = comm.Dup()  # those that go on while other calls are made
        self.rank = comm.Get_rank()
        self.size = comm.Get_size()
        self.seconds = 0.0

    def broadcast(self, value: Any) -> Any:
        self._barrier()
        return self._timed(lambda: self._comm.bcast(value))

    def all_gather(self, value: Any) -> list[Any]:
        self._barrier()
        values: list[Any] = self._timed(lambda: self._comm.allgather(value))
        return values

    def all_reduce(self, array: Array) -> Array:
        total = np.array(array, order="C")
        _MpiRequest(self, self._comm.Iallreduce(_in_place(), total)).wait()
        return total

    def all_reduce_async(self, array: Array) -> _MpiRequest:
        return _MpiRequest(self, self._timed(lambda: self._sums.Iallreduce(_in_place(), array)))

    def abort(self, code: int) -> None:
        """End all ranks at once."""
        self._comm.Abort(code)

    def wait_for_main(self) -> None:
        """Give rank 0 time to tell of an error, and to end all, if it has met the same."""
        if not self.is_main:
            time.sleep(_MAIN_ERROR_SECONDS)

    def _barrier(self) -> None:
        """Wait for all ranks so that signals are noticed, which MPI's own waits do not let be."""
        _MpiRequest(self, self._comm.Ibarrier()).wait()

    def _timed(self, call: Any) -> Any:
        began = time.perf_counter()
        try:
            return call()
        finally:
            self.seconds += time.perf_counter() - began


class _MpiRequest:
    """A request of MPI's."""

    def __init__(self, communicator: MpiCommunicator, request: Request) -> None:
        self._communicator = communicator
        self._request = request

    def test(self) -> bool:
        done: bool = self._communicator._timed(self._request.Test)
        return done

    def wait(self) -> None:
        self._communicator._timed(self._until_done)

    def _until_done(self) -> None:
        patience = time.monotonic() + _SPIN_SECONDS
        while not self._request.Test():
            if time.monotonic() > patience:
                time.sleep(_POLL_SECONDS)


def _in_place() -> Any:
    from mpi4py import MPI

    return MPI.IN_PLACE


def mpi_communicator() -> MpiCommunicator:
    """Join the ranks that ``mpiexec`` has started; a single one without it.

    The ranks of a machine share its cores: kernels get an equal part of those that a rank
    may run on, unless ``OMP_NUM_THREADS`` says how many.  An error that nobody handles
    ends all ranks, after its rank has told it.

    Returns
    -------
    MpiCommunicator
        For the ``communicator`` of :class:`Trainer` and of the models' own trainings.

    Raises
    ------
    lucid.MissingPackageError
        If mpi4py or an MPI is not installed.
    RuntimeError
        If ``mpiexec`` has started several ranks and this MPI knows of one only: they belong
        to different MPIs, and every rank would be a training of its own.

    Examples
    --------
    ::

        # validate.py; mpiexec -n 4 python -m mpi4py validate.py
        from lucid.training import mpi_communicator

        ranks = mpi_communicator()
        part = [images[i] for i in ranks.shard(len(images))]
        sums = ranks.sum_values({"right": count_right(model, part), "images": len(part)})
        ranks.on_main(print)(sums["right"] / sums["images"])
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py without an MPI
        raise MissingPackageError(
            f'several ranks need mpi4py and an MPI: pip install "lucid-core[mpi]" ({error}); '
            "a Trainer with communicator=Communicator() trains alone",
            name="mpi4py",
        ) from error
    started = launched_ranks()
    if started > 1 and MPI.COMM_WORLD.Get_size() == 1:
        raise RuntimeError(
            f"mpiexec started {started} ranks, but mpi4py's MPI joined only 1: they belong to "
            f"different MPI libraries; start the ranks with the mpiexec of {_library_name(MPI)}, "
            "or pass communicator=Communicator() to train on one rank"
        )
    communicator = MpiCommunicator(MPI.COMM_WORLD)
    if communicator.size > 1:
        _share_cores(MPI.COMM_WORLD)
        _abort_on_errors(communicator)
    return communicator


def default_communicator() -> Communicator:
    """What a training that is given no ranks takes: those of ``mpiexec``, else this process.

    Every rank has to ask, for joining waits for all of them.  Processes that a rank starts by
    ``multiprocessing``, such as a loader's workers, are no ranks.

    Returns
    -------
    Communicator
        As of :func:`mpi_communicator`, the same each time, where ``mpiexec`` has started
        several ranks of this program; else a single rank, for which nothing is imported.

    Raises
    ------
    ImportError, RuntimeError
        As of :func:`mpi_communicator`.
    """
    if launched_ranks() == 1 or multiprocessing.parent_process() is not None:
        return Communicator()
    process, ranks = _joined_ranks()
    return ranks if process == os.getpid() else Communicator()


@functools.cache
def _joined_ranks() -> tuple[int, MpiCommunicator]:
    """The process, since a forked child would inherit the ranks, and they."""
    return os.getpid(), mpi_communicator()


def _library_name(mpi: Any) -> str:
    """The first line of what an MPI says of itself, such as ``MPICH Version: 4.3.2``."""
    return " ".join(mpi.Get_library_version().strip("\0").split("\n", 1)[0].split())


def launched_ranks() -> int:
    """How many ranks ``mpiexec`` has started of this program, as it says in the environment."""
    said = [os.environ.get(name, "") for name in _SIZE_VARIABLES]
    return max([1, *(int(size) for size in said if size.isdigit())])


def _share_cores(comm: Any) -> None:
    """Give kernels and BLAS the part of this machine's cores that falls to this rank."""
    if os.environ.get("OMP_NUM_THREADS"):
        return
    from mpi4py import MPI
    from threadpoolctl import threadpool_limits

    here = comm.Split_type(MPI.COMM_TYPE_SHARED)
    threads = threads_per_rank(here.allgather(_cores()), here.Get_rank())
    if (quota := processor_quota()) is not None:  # the ranks of a container share it
        threads = min(threads, max(1, int(quota / here.Get_size())))
    here.Free()
    set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")


def _cores() -> set[int]:
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # not on macOS and Windows
        return set(range(os.cpu_count() or 1))


def threads_per_rank(cores: list[set[int]], rank: int) -> int:
    """How many threads a rank gets, by the cores that each rank of a machine may run on."""
    part = sum(1 / sum(core in others for others in cores) for core in cores[rank])
    return max(1, int(part + 1e-9))


def _abort_on_errors(communicator: MpiCommunicator) -> None:
    """End all ranks by an exception that nobody handles: the others would wait for ever."""
    usual = sys.excepthook

    def end_all(
        kind: type[BaseException], error: BaseException, where: TracebackType | None
    ) -> None:
        communicator.wait_for_main()
        if usual is sys.__excepthook__:
            lines = "".join(traceback.format_exception(kind, error, where))
            sys.stderr.write(f"rank {communicator.rank} of {communicator.size}:\n{lines}")
        else:
            usual(kind, error, where)
        sys.stderr.flush()
        communicator.abort(130 if issubclass(kind, KeyboardInterrupt) else 1)

    sys.excepthook = end_all
