"""Reverse-mode automatic differentiation.

``variable``   the graph: variables and nodes.
``primitive``  recording an operation with its vector-Jacobian products.
``backward``   the backward pass.
``mutation``   tracking of in-place writes.

The derivative of each operation is next to its forward in :mod:`lucid.ops`.
"""

from lucid.autograd.backward import backward
from lucid.autograd.grad_mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from lucid.autograd.primitive import ArrayLike, array_of, record, record_joint, unbroadcast
from lucid.autograd.variable import Node, Variable, set_tensor_class
from lucid.hints import add_attribute_hints

__all__ = [
    "ArrayLike",
    "Node",
    "Variable",
    "array_of",
    "backward",
    "enable_grad",
    "is_grad_enabled",
    "no_grad",
    "record",
    "record_joint",
    "set_grad_enabled",
    "set_tensor_class",
    "unbroadcast",
]

add_attribute_hints(globals())
