"""Predictors for the tests here: quick, slow, and one whose images kill the process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lucid.kernels import get_num_threads
from lucid.prediction import Predictor


class WordPredictor(Predictor):
    """Says which word an image is; ``deadly`` kills, as an image that needs too much memory."""

    def __init__(self, weights: Any, seconds: float = 0) -> None:
        super().__init__(weights)
        self.seconds = seconds

    def open_model(self, path: str) -> str:
        return Path(path).read_text()

    def read(self, path: str) -> np.ndarray[Any, Any]:
        word = Path(path).read_text()
        if word == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return np.array([len(word)])

    def predict(
        self, images: Sequence[np.ndarray[Any, Any]], names: Sequence[str | None]
    ) -> list[dict[str, Any]]:
        time.sleep(self.seconds)
        facts = {"pid": os.getpid(), "threads": get_num_threads()}
        return [{"letters": int(image[0]), **facts} for image in images]
