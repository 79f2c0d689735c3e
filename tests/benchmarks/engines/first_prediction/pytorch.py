"""First prediction of a new process with PyTorch."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "conformance"))

import torch
from torchvision_cpu import torchvision

model = torchvision.models.resnet50(weights=None).eval()
with torch.inference_mode():
    logits = model(torch.randn(1, 3, 224, 224)).numpy()
assert logits.shape == (1, 1000)
