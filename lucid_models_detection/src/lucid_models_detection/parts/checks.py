"""Checks of the parts that are passed to a detector's constructor.

A module is called on zeros of the shapes that it will receive.  Default parts are not checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from lucid import Tensor, nn, no_grad, zeros
from lucid_models_detection.config import check_num_classes
from lucid_models_detection.eval_mode import eval_mode

__all__ = [
    "apply_part",
    "check_anchors",
    "check_callable",
    "check_members",
    "check_replaced",
    "check_shape",
    "example_levels",
    "number_of_classes",
    "two_results",
]

Array = np.ndarray[Any, np.dtype[Any]]


def check_callable(**parts: Any) -> None:
    """Raise ``TypeError`` for a part that is not callable."""
    for name, part in parts.items():
        if part is None:
            continue
        if isinstance(part, type):
            raise TypeError(f"{name}: expected an object, got the class {part.__name__}")
        if not callable(part):
            raise TypeError(f"{name}: expected a callable object, got {part!r:.80}")


def check_members(name: str, part: Any, *members: str) -> None:
    """Raise ``TypeError`` for a part that lacks attributes."""
    if part is None:
        return
    if isinstance(part, type):
        raise TypeError(f"{name}: expected an object, got the class {part.__name__}")
    if missing := [member for member in members if not hasattr(part, member)]:
        raise TypeError(f"{name}: {type(part).__name__} lacks {', '.join(missing)}")


def check_replaced(
    options: Mapping[str, Any], replaced: Mapping[str, Sequence[str]], **parts: Any
) -> None:
    """Raise ``ValueError`` for options that a given part (not None) makes useless."""
    for name, part in parts.items():
        if part is not None and (unused := [key for key in replaced[name] if key in options]):
            raise ValueError(
                f"{', '.join(unused)}: has no effect with {name}; pass one of them only"
            )


def number_of_classes(
    given: int | None, name: str, part: Any, attribute: str, default: int = 21
) -> int:
    """Return the number of classes, from ``num_classes`` or the part that predicts classes.

    ``attribute`` of ``part`` is its number of classes.  Raise if the two differ, or the number is
    not an integer of at least 2.
    """
    if part is None:
        return check_num_classes(default if given is None else given)
    check_members(name, part, attribute)
    own = check_num_classes(getattr(part, attribute))
    if given is not None and check_num_classes(given) != own:
        raise ValueError(f"num_classes: expected {own} (classes of {name}), got {given}")
    return own


def example_levels(channels: int, strides: Sequence[int]) -> list[Tensor]:
    """Make zeros for pyramid levels of these strides, for an image of the last stride's size."""
    size = strides[-1]
    return [zeros(1, channels, size // stride, size // stride) for stride in strides]


def apply_part(name: str, part: Any, what: str, *inputs: Any) -> Any:
    """Call a part in eval mode without gradients; ``what`` describes the inputs in the error."""
    mode = eval_mode(part) if isinstance(part, nn.Module) else nullcontext()
    try:
        with mode, no_grad():
            return part(*inputs)
    except Exception as error:  # any user code
        raise ValueError(
            f"{name}: {type(part).__name__} failed on {what}: {type(error).__name__}: {error}"
        ) from error


def check_shape(
    name: str, part: Any, found: Any, expected: Sequence[int | None], axes: str
) -> None:
    """Raise ``ValueError`` unless a part's result has the shape (None for any length)."""
    shape = getattr(found, "shape", None)
    if (
        shape is None
        or len(shape) != len(expected)
        or any(e not in (None, s) for e, s in zip(expected, shape, strict=True))
    ):
        wanted = ", ".join("*" if length is None else str(length) for length in expected)
        got = type(found).__name__ if shape is None else str(tuple(shape))
        raise ValueError(
            f"{name}: expected {axes} from {type(part).__name__}, of shape ({wanted}), got {got}"
        )


def two_results(name: str, part: Any, found: Any) -> tuple[Any, Any]:
    """Return the two results of a part, or raise ``ValueError``."""
    if not isinstance(found, tuple | list) or len(found) != 2:
        got = f"{len(found)} results" if isinstance(found, tuple | list) else type(found).__name__
        raise ValueError(
            f"{name}: expected logits and deltas from {type(part).__name__}, got {got}"
        )
    return found[0], found[1]


def check_anchors(name: str, anchors: Any, strides: Sequence[int]) -> int:
    """Check that an anchor generator returns anchors for each level of a pyramid."""
    check_members(name, anchors, "num_anchors_per_location")
    size = strides[-1]
    maps = [(size // stride, size // stride) for stride in strides]
    inputs = f"{len(strides)} feature maps (strides {tuple(strides)})"
    found = apply_part(name, anchors, inputs, maps, (size, size))
    per_location = int(anchors.num_anchors_per_location)
    if len(found) != len(strides):
        raise ValueError(f"{name}: expected anchors for {inputs}, got {len(found)} arrays")
    for level, (height, width) in zip(found, maps, strict=True):
        check_shape(
            name, anchors, level, (height * width * per_location, 4), "(H * W * A, 4) boxes"
        )
    return per_location
