"""Registry of adapters from ONNX operators to functions of Lucid.

An adapter takes the node's inputs as tensors (None for one left out) and its
attributes as keywords.  It is written as a user would write it, with public
functions; what ONNX calls otherwise than Lucid is translated there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lucid import Tensor

Adapter = Callable[..., Tensor | Sequence[Tensor]]
AnyAdapter = TypeVar("AnyAdapter", bound=Callable[..., Any])

#: By operator type.  A parameter ``outputs`` receives the number of outputs.
ADAPTERS: dict[str, Adapter] = {}


def node(*operators: str) -> Callable[[AnyAdapter], AnyAdapter]:
    """Register the adapter of one or more operators."""

    def keep(adapter: AnyAdapter) -> AnyAdapter:
        for operator in operators:
            if operator in ADAPTERS:
                raise ValueError(f"{operator} has two adapters")
            ADAPTERS[operator] = adapter
        return adapter

    return keep


def integers(x: Tensor | None) -> list[int] | None:
    """A tensor of integers as a list; None stays None."""
    return None if x is None else [int(n) for n in x.numpy().reshape(-1)]
