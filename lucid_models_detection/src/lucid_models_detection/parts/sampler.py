"""Balanced sampling of anchors and proposals for the losses.

Without sampling, background would dominate the losses (Ren et al. 2015, arXiv:1506.01497,
section 3.1.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid import random

__all__ = ["BalancedPositiveNegativeSampler"]

Array = np.ndarray[Any, np.dtype[Any]]


class BalancedPositiveNegativeSampler:
    """Sample a fixed number of examples with a bounded fraction of positives.

    Parameters
    ----------
    batch_size_per_image : int
        Number of examples per image; fewer if there are not enough.
    positive_fraction : float
        Maximum fraction of positives, in [0, 1].  Missing positives are replaced by negatives.
    generator : lucid.random.Generator, optional
        Random generator.  Default: the global one of :func:`lucid.random.seed`.

    Raises
    ------
    ValueError
        If ``batch_size_per_image`` is not positive, or ``positive_fraction`` not in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from lucid_models_detection.parts import BalancedPositiveNegativeSampler
    >>> sampler = BalancedPositiveNegativeSampler(4, 0.5)
    >>> positive, negative = sampler(np.array([1, 0, 0, 0, -1]))
    >>> positive.tolist(), negative.tolist()
    ([0], [1, 2, 3])
    """

    def __init__(
        self,
        batch_size_per_image: int,
        positive_fraction: float,
        generator: random.Generator | None = None,
    ) -> None:
        if batch_size_per_image < 1:
            raise ValueError(
                f"batch_size_per_image: expected a positive integer, got {batch_size_per_image}"
            )
        if not 0 <= positive_fraction <= 1:
            raise ValueError(
                f"positive_fraction: expected a fraction in [0, 1], got {positive_fraction}"
            )
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.generator = generator

    def __call__(self, labels: Array) -> tuple[Array, Array]:
        """Sample the examples of one image.

        Parameters
        ----------
        labels : numpy.ndarray
            (A,): 1 or more for positive, 0 for negative, below 0 for ignored.

        Returns
        -------
        positive, negative : numpy.ndarray
            Ascending int64 indices into ``labels``.
        """
        if labels.ndim != 1:
            raise ValueError(f"labels: expected shape (A,), got {labels.shape}")
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
            f"BalancedPositiveNegativeSampler(batch_size_per_image={self.batch_size_per_image}, "
            f"positive_fraction={self.positive_fraction})"
        )
