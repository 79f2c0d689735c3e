"""The model."""

from __future__ import annotations

from lucid import nn
from lucid.models import register_model


@register_model
def toy_good(num_classes: int = 4) -> nn.Sequential:
    """Build one linear layer over colour images of 8 x 8.

    Parameters
    ----------
    num_classes : int, default 4
        How many logits there are.

    Returns
    -------
    nn.Sequential
        (N, 3, 8, 8) to (N, num_classes).

    Examples
    --------
    >>> import lucid
    >>> lucid.models.toy_good()(lucid.random.randn(2, 3, 8, 8)).shape
    (2, 4)
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, num_classes))
