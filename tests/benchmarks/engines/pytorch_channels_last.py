"""Classifiers with PyTorch in the channels-last memory format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from classifiers import PREDICTIONS, TRAINING_STEPS
from worker import load_engine

pytorch = load_engine(Path(__file__).with_name("pytorch.py"))
VERSIONS = pytorch.VERSIONS
classify = partial(pytorch.classify, memory_format=torch.channels_last)
train = partial(pytorch.train_classifier, memory_format=torch.channels_last)

CASES: dict[str, Callable[[Path], Callable[[], Any]]] = {
    **{case: partial(classify, *given) for case, given in PREDICTIONS.items()},
    **{case: partial(train, *given) for case, given in TRAINING_STEPS.items()},
}
