"""A model of one number, and images of one line of text: what prediction needs and no more."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lucid.prediction import Predictor

#: The files that models were opened from in this process, in turn.
OPENED: list[str] = []


class ToyPredictor(Predictor):
    """Multiplies the numbers of an image by the number of the model, and adds an offset."""

    def __init__(self, weights: Any, offset: float = 0) -> None:
        super().__init__(weights)
        self.offset = offset

    def open_model(self, path: str) -> float:
        OPENED.append(path)
        return float(Path(path).read_text())

    def model_options(self) -> tuple[Hashable, ...]:
        return ()

    def description(self) -> dict[str, Any]:
        return {**super().description(), "offset": self.offset}

    def read(self, path: str) -> np.ndarray[Any, Any]:
        text = Path(path).read_text()
        if not text:
            raise ValueError(f"{path}: expected numbers, got nothing")
        return np.array([float(word) for word in text.split()])

    def predict(
        self, images: Sequence[np.ndarray[Any, Any]], names: Sequence[str | None]
    ) -> list[dict[str, Any]]:
        if any((image < 0).any() for image in images):
            raise ArithmeticError("a number is\nnegative")
        values = np.stack(images) * self.model + self.offset
        return [{"values": row.tolist(), "together": len(images)} for row in values]
