"""Communicator over the ranks of ``mpiexec``, through mpi4py, which is imported when needed."""

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

#: Seconds of busy waiting before a wait polls.
_SPIN_SECONDS = 0.2
_POLL_SECONDS = 0.001
#: Seconds that other ranks wait for rank 0 to report an error, so that a common one is reported
#: once.
_MAIN_ERROR_SECONDS = 0.5
#: Environment variables with the number of ranks: MPICH and Intel MPI, Open MPI.
_SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")


class MpiCommunicator(Communicator):
    """Ranks of an MPI communicator.

    Waiting polls, so that Python handles signals meanwhile.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        MPI communicator, duplicated to separate its messages from the caller's.
    """

    def __init__(self, comm: Comm) -> None:
        self._comm = comm.Dup()
        self._async_comm = comm.Dup()  # for all_reduce_async, concurrent with other calls
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
        return _MpiRequest(
            self, self._timed(lambda: self._async_comm.Iallreduce(_in_place(), array))
        )

    def abort(self, code: int) -> None:
        """Terminate all ranks."""
        self._comm.Abort(code)

    def wait_for_main(self) -> None:
        """Give rank 0 time to report the same error and terminate all ranks."""
        if not self.is_main:
            time.sleep(_MAIN_ERROR_SECONDS)

    def _barrier(self) -> None:
        """Wait for all ranks by polling, since blocking MPI calls delay signal handlers."""
        _MpiRequest(self, self._comm.Ibarrier()).wait()

    def _timed(self, call: Any) -> Any:
        began = time.perf_counter()
        try:
            return call()
        finally:
            self.seconds += time.perf_counter() - began


class _MpiRequest:
    """Request of a nonblocking MPI operation."""

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
    """Join the ranks started by ``mpiexec``; a single rank without it.

    The ranks of a machine divide its cores: each sets the number of kernel threads to its share,
    unless ``OMP_NUM_THREADS`` is set.  An unhandled exception is reported by its rank and then
    terminates all ranks.

    Returns
    -------
    MpiCommunicator
        Pass it as ``communicator`` to :class:`Trainer` or :class:`Run`.

    Raises
    ------
    lucid.MissingPackageError
        If mpi4py or an MPI library is not installed.
    RuntimeError
        If ``mpiexec`` started several ranks but belongs to another MPI library than mpi4py's, so
        that each rank would train separately.

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
            f'several ranks need mpi4py and MPI: pip install "lucid-core[mpi]" ({error}); or pass '
            "communicator=Communicator() to train on one rank",
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
    """Return the ranks started by ``mpiexec``, else a single rank.

    All ranks must call it, since joining waits for them.  Processes started by
    ``multiprocessing``, such as loader workers, are single ranks.

    Returns
    -------
    Communicator
        The same :func:`mpi_communicator` each time if ``mpiexec`` started several ranks of this
        program, else ``Communicator()`` without importing mpi4py.

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
    """Return the ranks with the process that joined them; a forked child is none of them."""
    return os.getpid(), mpi_communicator()


def _library_name(mpi: Any) -> str:
    """Return name and version of an MPI library, such as ``MPICH Version: 4.3.2``."""
    return " ".join(mpi.Get_library_version().strip("\0").split("\n", 1)[0].split())


def launched_ranks() -> int:
    """Return the number of ranks of this program that ``mpiexec`` started, from the environment."""
    sizes = [os.environ.get(name, "") for name in _SIZE_VARIABLES]
    return max([1, *(int(size) for size in sizes if size.isdigit())])


def _share_cores(comm: Any) -> None:
    """Limit kernel and BLAS threads to this rank's share of the machine's cores."""
    if os.environ.get("OMP_NUM_THREADS"):
        return
    from mpi4py import MPI
    from threadpoolctl import threadpool_limits

    here = comm.Split_type(MPI.COMM_TYPE_SHARED)
    threads = threads_per_rank(here.allgather(_cores()), here.Get_rank())
    if (quota := processor_quota()) is not None:  # the ranks of a container share the quota
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
    """Return the number of threads of a rank, given the cores that each rank may run on."""
    part = sum(1 / sum(core in others for others in cores) for core in cores[rank])
    return max(1, int(part + 1e-9))


def _abort_on_errors(communicator: MpiCommunicator) -> None:
    """Terminate all ranks on an unhandled exception; the others would wait forever."""
    previous = sys.excepthook

    def report_and_abort(
        kind: type[BaseException], error: BaseException, where: TracebackType | None
    ) -> None:
        communicator.wait_for_main()
        if previous is sys.__excepthook__:
            lines = "".join(traceback.format_exception(kind, error, where))
            sys.stderr.write(f"rank {communicator.rank} of {communicator.size}:\n{lines}")
        else:
            previous(kind, error, where)
        sys.stderr.flush()
        communicator.abort(130 if issubclass(kind, KeyboardInterrupt) else 1)

    sys.excepthook = report_and_abort
