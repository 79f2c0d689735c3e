"""What is timed, in PyTorch with torchvision's networks."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "conformance"))
from torchvision_cpu import torchvision

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))

VERSIONS = {
    "python": platform.python_version(),
    "torch": torch.__version__,
    "torchvision": torchvision.__version__,
}


def images(count: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.standard_normal((count, 3, 224, 224)).astype(np.float32))


def resnet_50_forward(count: int) -> Callable[[], Any]:
    model = torchvision.models.resnet50(weights=None).eval()
    x = images(count)

    def call() -> None:
        with torch.inference_mode():
            model(x)

    return call


def resnet_50_step(count: int) -> Callable[[], Any]:
    model = torchvision.models.resnet50(weights=None).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    x, labels = images(count), torch.arange(count)

    def call() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return call


CASES: dict[str, Callable[[], Callable[[], Any]]] = {
    "resnet_50 forward, 1 x 3 x 224 x 224": lambda: resnet_50_forward(1),
    "resnet_50 forward, 8 x 3 x 224 x 224": lambda: resnet_50_forward(8),
    "resnet_50 training step, 8 x 3 x 224 x 224": lambda: resnet_50_step(8),
}
