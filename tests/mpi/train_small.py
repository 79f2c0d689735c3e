"""Train ResNet-18 for 20 steps and save gradients, weights and losses.

mpiexec -n 2 python train_small.py OUT.npz --norm batch --dtype float64
"""

from __future__ import annotations

import argparse
import hashlib

import numpy as np

import lucid
from lucid import nn, optim
from lucid.data import DataLoader, TensorDataset
from lucid.models import create_model
from lucid.training import Callback, Trainer, mpi_communicator

STEPS, BATCH, SIDE = 20, 8, 32


def loss(model, batch):
    x, y = batch
    return nn.functional.cross_entropy(model(x), y)


class FirstGradients(Callback):
    on_every_rank = True
    found: dict[str, np.ndarray] | None = None

    def on_step(self, trainer, losses):
        if self.found is None:
            named = trainer.model.named_parameters()
            self.found = {f"gradient {n}": p.grad.numpy().copy() for n, p in named}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--norm", default="batch")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--lr", type=float, default=1e-3)
    given = parser.parse_args()
    ranks = mpi_communicator()
    lucid.random.seed(ranks.rank)  # rank 0's weights are broadcast
    model = create_model("resnet_18", num_classes=5, norm=given.norm)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.dtype.kind == "f":
            tensor.data = tensor.numpy().astype(given.dtype)
    numbers = np.random.default_rng(0)
    # 19 of 20 batches are full; the last has 2 images, fewer than 4 ranks.
    images = numbers.standard_normal((BATCH * (STEPS - 1) + 2, 3, SIDE, SIDE)).astype(given.dtype)
    data = TensorDataset(images, numbers.integers(0, 5, len(images)))
    first = FirstGradients()
    trainer = Trainer(
        model,
        optim.SGD(model.parameters(), lr=given.lr, momentum=0.9, weight_decay=1e-4),
        DataLoader(data, BATCH, shuffle=True, seed=1),
        loss,
        epochs=1,
        callbacks=[first],
        communicator=ranks,
        synchronize_norms=True,
    )
    trainer.fit()
    weights = {f"weight {n}": p.numpy() for n, p in model.named_parameters()}
    digest = hashlib.sha256(b"".join(w.tobytes() for w in weights.values())).hexdigest()
    digests = ranks.all_gather(digest)
    assert digests == [digest] * ranks.size, "the ranks have come to different weights"
    if ranks.is_main:
        np.savez(given.output, **first.found, **weights, loss=trainer.history[0]["loss"])


if __name__ == "__main__":
    main()
