"""Start a run in which one rank fails.

mpiexec -n 2 python train_failing.py FOLDER error|loop [--resume] [--slowly]
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np

import lucid
from lucid import nn, optim
from lucid.data import DataLoader, Dataset
from lucid.training import Callback, Trainer, mpi_communicator


class Images(Dataset):
    def __init__(self, spoilt):
        self.spoilt = spoilt

    def __len__(self):
        return 64

    def __getitem__(self, index):
        if index == self.spoilt:
            raise OSError(f"image {index} cannot be read")
        numbers = np.random.default_rng(index)
        return numbers.standard_normal(16, np.float32), index % 3


class Steps(Callback):
    """Print each step; slow from step 10 on, to be interrupted."""

    on_every_rank = True

    def __init__(self, slowly):
        self.slowly = slowly

    def on_step(self, trainer, losses):
        time.sleep(0.3 if self.slowly and trainer.step >= 10 else 0.02)
        rank = trainer.communicator.rank
        print(f"rank {rank} pid {os.getpid()} did step {trainer.step}", flush=True)


def loss(model, batch):
    x, y = batch
    return nn.functional.cross_entropy(model(x), y)


def main():
    folder, what, *more = sys.argv[1:]
    ranks = mpi_communicator()
    lucid.random.seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
    # Unshuffled batches of 8, 4 per rank: image 21 is on rank 1.
    loader = DataLoader(Images(21 if what == "error" else None), 8, seed=0)
    trainer = Trainer(
        model,
        optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        loader,
        loss,
        epochs=3 if what == "error" else 6,
        directory=folder,
        checkpoint_every=4,
        callbacks=[Steps("--slowly" in more)],
        communicator=ranks,
    )
    trainer.fit(resume="--resume" in more)
    if ranks.is_main:
        np.save(f"{folder}/weights.npy", model[0].weight.numpy())
        print(f"trained to step {trainer.step}", flush=True)


if __name__ == "__main__":
    main()
