"""What is timed, in Lucid."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

import lucid

VERSIONS = {
    "python": platform.python_version(),
    "lucid-core": version("lucid-core"),
    "numpy": np.__version__,
    "numba": version("numba"),
}


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, 224, 224)).astype(np.float32)


def resnet_50_forward(count: int) -> Callable[[], Any]:
    model = lucid.models.create_model("resnet_50").eval()
    x = lucid.tensor(images(count))

    def call() -> None:
        with lucid.no_grad():
            model(x)

    return call


def resnet_50_step(count: int) -> Callable[[], Any]:
    model = lucid.models.create_model("resnet_50").train()
    optimizer = lucid.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    x, labels = lucid.tensor(images(count)), lucid.tensor(np.arange(count))

    def call() -> None:
        optimizer.zero_grad()
        lucid.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return call


CASES: dict[str, Callable[[], Callable[[], Any]]] = {
    "resnet_50 forward, 1 x 3 x 224 x 224": lambda: resnet_50_forward(1),
    "resnet_50 forward, 8 x 3 x 224 x 224": lambda: resnet_50_forward(8),
    "resnet_50 training step, 8 x 3 x 224 x 224": lambda: resnet_50_step(8),
}
