"""Script without a communicator argument.

mpiexec -n 2 python -m mpi4py default_ranks.py FOLDER
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np

import lucid
from lucid import nn, optim
from lucid.data import DataLoader, Dataset
from lucid.training import LogEpochs, Trainer


class Images(Dataset):
    """Data set that records the requested indices."""

    def __init__(self):
        self.seen = []

    def __len__(self):
        return 24

    def __getitem__(self, index):
        self.seen.append(int(index))
        numbers = np.random.default_rng(index)
        return numbers.standard_normal(16, np.float32), index % 3


def loss(model, batch):
    x, y = batch
    return nn.functional.cross_entropy(model(x), y)


def main():
    folder = Path(sys.argv[1])
    lucid.random.seed(os.getpid())  # different initial weights on each rank
    data = Images()
    model = nn.Linear(16, 3)
    trainer = Trainer(
        model,
        optim.SGD(model.parameters(), lr=0.1),
        DataLoader(data, 6, shuffle=True, seed=0),
        loss,
        epochs=1,
        directory=folder,
        callbacks=[LogEpochs(print, ("loss",))],
    )
    trainer.fit()
    ranks = trainer.communicator
    digest = hashlib.sha256(model.weight.numpy().tobytes()).hexdigest()
    (folder / f"rank_{ranks.rank}.txt").write_text(
        f"{ranks.size} {digest} {' '.join(map(str, sorted(data.seen)))}"
    )


if __name__ == "__main__":
    main()
