"""Network and builder."""

from __future__ import annotations

from lucid import Tensor, nn
from lucid.models import register_model


class ToyGood(nn.Module):
    """Linear classifier of 8 x 8 color images."""

    head_prefixes = ("linear.",)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.linear = nn.Linear(3 * 8 * 8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, 8, 8) to logits (N, num_classes)."""
        logits: Tensor = self.linear(x.flatten(1))
        return logits


@register_model
def toy_good(num_classes: int = 4) -> ToyGood:
    """Linear classifier of 8 x 8 color images.

    Parameters
    ----------
    num_classes : int, default 4
        Number of logits.

    Returns
    -------
    ToyGood
        Maps images (N, 3, 8, 8) to logits (N, num_classes).

    Examples
    --------
    >>> import lucid
    >>> lucid.models.toy_good()(lucid.random.randn(2, 3, 8, 8)).shape
    (2, 4)
    """
    return ToyGood(num_classes)
