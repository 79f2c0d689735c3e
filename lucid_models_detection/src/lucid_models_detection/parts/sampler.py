"""Which anchors and regions a loss is computed on.

Nearly all of them are background; a loss over all would learn to say so
(Ren et al. 2015, arXiv:1506.01497, section 3.1.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid import random

__all__ = ["BalancedSampler"]

Array = np.ndarray[Any, np.dtype[Any]]


class BalancedSampler:
    """Draws a fixed number of examples with at most a fixed share of positives.

    Parameters
    ----------
    batch_size_per_image : int
        Examples to draw; fewer where there are not enough.
    positive_fraction : float
        Largest share of positives, in [0, 1].  Where positives are missing,
        negatives take their place, never the other way round.
    generator : lucid.random.Generator, optional
        Where randomness comes from.  Default: the generator of
        :func:`lucid.random.seed`.
    """

    def __init__(
        self,
        batch_size_per_image: int,
        positive_fraction: float,
        generator: random.Generator | None = None,
    ) -> None:
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.generator = generator

    def __call__(self, labels: Array) -> tuple[Array, Array]:
        """Draw from the examples of one image.

        Parameters
        ----------
        labels : numpy.ndarray
            (A,) numbers: 1 or greater positive, 0 negative, less than 0 never drawn.

        Returns
        -------
        positive, negative : numpy.ndarray
            Indices (int64) into ``labels``, each ascending.
        """
        positive = np.flatnonzero(labels >= 1)
        negative = np.flatnonzero(labels == 0)
        num_positive = min(len(positive), int(self.batch_size_per_image * self.positive_fraction))
        num_negative = min(len(negative), self.batch_size_per_image - num_positive)
        return self._draw(positive, num_positive), self._draw(negative, num_negative)

    def _draw(self, candidates: Array, count: int) -> Array:
        if count == len(candidates):
            return candidates
        generator = self.generator or random.default_generator
        drawn = generator.numpy.choice(len(candidates), count, replace=False, shuffle=False)
        return candidates[np.sort(drawn)]

    def __repr__(self) -> str:
        return (
            f"BalancedSampler(batch_size_per_image={self.batch_size_per_image}, "
            f"positive_fraction={self.positive_fraction})"
        )
