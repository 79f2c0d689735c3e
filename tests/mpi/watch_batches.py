"""Run a training command, record its images and optionally stop it after some steps.

mpiexec -n 2 python watch_batches.py FOLDER 0 train-detector --mpi ...
mpiexec -n 2 python watch_batches.py FOLDER 6:SIGKILL train-detector --mpi ...

Every rank appends lines with an epoch and image indices to ``FOLDER/RANK.txt``.  The signal is
sent to rank 0 after step 6 and its checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from lucid.cli import main
from lucid.data import loader
from lucid.training import Trainer

fetch_batch, after_step = loader.fetch_batch, Trainer._after_step


def watch(folder, end):
    """Record batches, and stop the run."""
    step, _, name = end.partition(":")

    def record_batch(dataset, collate, sampler, epoch, batch):
        if sampler.shuffle:  # validation does not
            folder.mkdir(exist_ok=True)
            with open(folder / f"{sampler.rank}.txt", "a") as file:
                print(epoch, *sampler.indices(epoch, batch), file=file)
        return fetch_batch(dataset, collate, sampler, epoch, batch)

    def stop_after_step(trainer, losses):
        after_step(trainer, losses)
        if trainer.step == int(step) and trainer.communicator.is_main:
            os.kill(os.getpid(), getattr(signal, name))

    loader.fetch_batch = record_batch
    Trainer._after_step = stop_after_step


if __name__ == "__main__":
    folder, end, *arguments = sys.argv[1:]
    watch(Path(folder), end)
    sys.exit(main(arguments))
