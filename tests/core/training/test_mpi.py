"""MPI communicator, without running MPI; see also ``tests/mpi``."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from types import SimpleNamespace

import click
import pytest

from lucid import nn, optim
from lucid.cli.training import open_communicator
from lucid.data import DataLoader
from lucid.training import Communicator, Trainer, mpi, mpi_communicator

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("cores", "threads"),
    [
        ([{0, 1, 2, 3}], [4]),
        ([{0, 1, 2, 3}] * 2, [2, 2]),
        ([{0, 1, 2, 3}] * 3, [1, 1, 1]),
        ([{0, 1}] * 8, [1] * 8),
        ([{0, 1}, {2, 3, 4}], [2, 3]),  # bound to separate cores by mpiexec
        ([{0, 1, 2, 3}, {0, 1}, {2, 3}], [2, 1, 1]),
    ],
)
def test_ranks_share_their_allowed_cores(cores, threads):
    assert [mpi.threads_per_rank(cores, rank) for rank in range(len(cores))] == threads


@pytest.mark.parametrize(
    ("said", "ranks"),
    [({}, 1), ({"PMI_SIZE": "4"}, 4), ({"OMPI_COMM_WORLD_SIZE": "2"}, 2), ({"PMI_SIZE": "x"}, 1)],
)
def test_launched_ranks_reads_the_environment(monkeypatch, said, ranks):
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert mpi.launched_ranks() == ranks


def test_missing_mpi4py_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r'pip install "lucid-core\[mpi\]"'):
        mpi_communicator()


@pytest.fixture
def one_rank(monkeypatch):
    """Start a rank under the mpiexec of another MPI library."""
    for name in mpi._SIZE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    world = SimpleNamespace(Get_size=lambda: 1, Get_rank=lambda: 0, Dup=lambda: world)
    version = "MPICH Version:      4.3.2\nMPICH Release date: ...\n\0"
    fake = SimpleNamespace(COMM_WORLD=world, Get_library_version=lambda: version)
    monkeypatch.setitem(sys.modules, "mpi4py", SimpleNamespace(MPI=fake))


def test_mpiexec_of_another_mpi_library_is_rejected(monkeypatch, one_rank):
    assert mpi_communicator().size == 1
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    message = r"mpiexec started 4 ranks, .* MPICH Version: 4\.3\.2, or pass communicator="
    with pytest.raises(RuntimeError, match=message):
        mpi_communicator()


def test_command_reports_mpiexec_of_another_mpi_library(monkeypatch, one_rank):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with (
        pytest.raises(click.ClickException, match="mpiexec started 4 ranks"),
        open_communicator(mpi=True),
    ):
        pass


class Second(Communicator):
    """Second of three ranks."""

    rank, size = 1, 3


def make_trainer(**options):
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return Trainer(model, optimizer, DataLoader(range(8), 4), None, epochs=1, **options)


def test_trainer_uses_the_ranks_of_mpiexec_by_default(monkeypatch, one_rank):
    assert type(make_trainer().communicator) is Communicator
    joined = Second()
    monkeypatch.setattr(mpi, "_joined_ranks", lambda: (os.getpid(), joined))
    assert type(make_trainer().communicator) is Communicator
    monkeypatch.setenv("PMI_SIZE", "3")
    trainer = make_trainer()
    assert trainer.communicator is joined
    assert [trainer.loader.shard_fraction(batch) for batch in (0, 1)] == [1 / 4, 1 / 4]
    alone = Communicator()
    assert make_trainer(communicator=alone).communicator is alone


def test_child_process_is_a_single_rank(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "3")
    monkeypatch.setattr(mpi, "_joined_ranks", lambda: (os.getpid() + 1, Second()))
    assert type(mpi.default_communicator()) is Communicator  # forked child of a rank
    monkeypatch.setattr(mpi, "_joined_ranks", lambda: (os.getpid(), Second()))
    assert type(mpi.default_communicator()) is Second
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: "a rank")
    assert type(mpi.default_communicator()) is Communicator


def test_ranks_without_mpi4py_do_not_train_separately(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(ImportError, match=r'pip install "lucid-core\[mpi\]"'):
        make_trainer()
    assert make_trainer(communicator=Communicator()).communicator.size == 1


def test_mpi4py_is_imported_only_when_needed():
    check = "import sys, lucid, lucid.training; assert 'mpi4py' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
