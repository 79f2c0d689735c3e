"""Small trainer with every kind of state that a checkpoint restores."""

from __future__ import annotations

import numpy as np

import lucid
from lucid import nn, optim
from lucid.data import DataLoader, TensorDataset
from lucid.training import Trainer


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.ConvNormAct(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Dropout(0.3)
        )
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.body(x))


def images(count=26):
    numbers = np.random.default_rng(0)
    return TensorDataset(
        numbers.standard_normal((count, 1, 4, 4), np.float32), numbers.integers(0, 3, count)
    )


def losses(model, batch):
    x, y = batch
    noise = lucid.random.randn(*x.shape)
    logits = model(x + 0.1 * noise)
    return {
        "loss_class": nn.functional.cross_entropy(logits, y),
        "loss_size": 0.01 * (logits * logits).mean(),
    }


def accuracy(model):
    lucid.random.rand(3)  # random numbers of validation must not change the run
    x, y = (lucid.tensor(array) for array in images().arrays)
    return {"accuracy": float((model(x).argmax(axis=1) == y).data.mean())}


def make_trainer(seed=0, optimizer="SGD", loader=None, **options):
    """Build a trainer and its components from one seed."""
    lucid.random.seed(seed)
    model = Net()
    options = {"epochs": 3, "accumulate": 2, "max_grad_norm": 1.0, **options}
    settings = {"momentum": 0.9} if optimizer == "SGD" else {}
    groups = [
        {"params": list(model.body.parameters()), "lr": 0.01, "name": "body"},
        {"params": list(model.head.parameters())},
    ]
    chosen = getattr(optim, optimizer)(groups, lr=0.05, **settings)
    return Trainer(
        model,
        chosen,
        DataLoader(images(), 4, shuffle=True) if loader is None else loader,
        losses,
        scheduler=optim.lr_scheduler.CosineAnnealingLR(chosen, 12),
        **options,
    )
