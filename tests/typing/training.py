"""Network, data set and training loop."""

import tempfile
from pathlib import Path
from typing import assert_type

import numpy as np

import lucid
from lucid import nn, optim
from lucid.data import DataLoader, Dataset, TensorDataset
from lucid.nn import functional as F


class Squares(Dataset[tuple[np.ndarray, int]]):
    """Dark and bright images."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return np.full((3, 8, 8), index % 2, np.float32), index % 2


class Network(nn.Module):
    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.blocks = nn.ModuleList([nn.Sequential(nn.ReLU(), nn.Dropout(0.1)) for _ in range(2)])
        self.head = nn.Linear(4, classes)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        x = self.norm(self.conv(x))
        for block in self.blocks:
            x = block(x)
        logits: lucid.Tensor = self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def train(model: nn.Module, epochs: int) -> list[float]:
    optimizer = optim.SGD(
        [{"params": list(model.parameters()), "lr": 0.05}], momentum=0.9, weight_decay=1e-4
    )
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    losses = []
    for _ in range(epochs):
        for images, labels in DataLoader(Squares(), batch_size=4, shuffle=True, seed=0):
            optimizer.zero_grad()
            loss: lucid.Tensor = criterion(model(images), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(float(loss.item()))
        schedule.step()
    return losses


network = Network()
assert_type(network.train(), Network)
assert_type(network.to(lucid.float32), Network)
assert_type(train(network, 2), list[float])
assert_type(network.eval().head, nn.Linear)
assert_type(network.state_dict(), dict[str, lucid.Tensor])
assert_type(network.parameter_size, int)
for name, parameter in network.named_parameters():
    assert_type(name, str)
    assert_type(parameter, nn.Parameter)

with tempfile.TemporaryDirectory() as folder:
    lucid.save(network.state_dict(), Path(folder) / "network.safetensors")
    loaded = network.load_state_dict(lucid.load(Path(folder) / "network.safetensors"))
assert_type(loaded, nn.LoadResult)

pairs = TensorDataset(np.zeros((4, 3)), np.arange(4))
assert_type(len(pairs), int)
assert_type(nn.Sequential(nn.Linear(3, 4), nn.ReLU())[0], nn.Module)
