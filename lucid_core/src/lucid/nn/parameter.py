"""Parameter: a trainable tensor of a module."""

from __future__ import annotations

from lucid.autograd import ArrayLike
from lucid.tensor import Tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A tensor that is registered as a parameter when assigned to a module attribute.

    Parameters
    ----------
    data : Tensor, numpy.ndarray or array-like
        Initial values; an array is not copied.  Python floats become float32.
    requires_grad : bool, default True
        Whether ``backward`` computes a gradient for it.

    Examples
    --------
    >>> import lucid
    >>> weight = lucid.nn.Parameter(lucid.zeros(2, 3))
    >>> weight.requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: ArrayLike, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad=requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
