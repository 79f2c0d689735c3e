"""Checks that the parts given to a detector fit each other, made when it is built.

A given module is applied to zeros of the shapes that it will get, so that any class can be
checked.  Nothing is checked of the parts that a detector makes itself.
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
    """Raise ``TypeError`` for a given part that cannot be called; names its argument."""
    for name, part in parts.items():
        if part is None:
            continue
        if isinstance(part, type):
            raise TypeError(f"{name}: expected an object, got the class {part.__name__}")
        if not callable(part):
            raise TypeError(f"{name}: expected a callable object, got {part!r:.80}")


def check_members(name: str, part: Any, *members: str) -> None:
    """Raise ``TypeError`` for a given part without some of its attributes; names them."""
    if part is None:
        return
    if isinstance(part, type):
        raise TypeError(f"{name}: expected an object, got the class {part.__name__}")
    if missing := [member for member in members if not hasattr(part, member)]:
        raise TypeError(f"{name}: {type(part).__name__} lacks {', '.join(missing)}")


def check_replaced(
    options: Mapping[str, Any], replaced: Mapping[str, Sequence[str]], **parts: Any
) -> None:
    """Raise ``ValueError`` for options that would have no effect beside a given part.

    Parameters
    ----------
    options : mapping
        Options that are given.
    replaced : mapping of str to sequence of str
        Options that each part takes the place of.
    **parts : object
        Parts, None for those that are not given.
    """
    for name, part in parts.items():
        if part is not None and (unused := [key for key in replaced[name] if key in options]):
            raise ValueError(
                f"{', '.join(unused)}: has no effect beside {name}; leave one of them out"
            )


def number_of_classes(
    given: int | None, name: str, part: Any, attribute: str, default: int = 21
) -> int:
    """Number of classes of a detector, from its argument or from a part that predicts classes.

    Parameters
    ----------
    given : int or None
        The argument ``num_classes``.
    name : str
        Argument of the part.
    part : object or None
        The part, if one is given.
    attribute : str
        Its attribute that holds the number of classes.
    default : int, default 21
        Number of classes if neither is given.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer of at least 2, or the part predicts another number.
    """
    if part is None:
        return check_num_classes(default if given is None else given)
    check_members(name, part, attribute)
    own = check_num_classes(getattr(part, attribute))
    if given is not None and check_num_classes(given) != own:
        raise ValueError(
            f"num_classes: expected {own}, the number of classes of {name}, got {given}"
        )
    return own


def example_levels(channels: int, strides: Sequence[int]) -> list[Tensor]:
    """Make zeros for the levels of a pyramid, of an image of the size of the last stride.

    Parameters
    ----------
    channels : int
        Channels of every level.
    strides : sequence of int
        Stride of each level, finest first.
    """
    size = strides[-1]
    return [zeros(1, channels, size // stride, size // stride) for stride in strides]


def apply_part(name: str, part: Any, what: str, *inputs: Any) -> Any:
    """Call a given part in eval mode and without gradients.

    Parameters
    ----------
    name : str
        Its argument.
    part : callable
        The part.
    what : str
        The inputs in words.
    *inputs : object
        Its arguments.

    Raises
    ------
    ValueError
        If the part raises; names it and the inputs.
    """
    mode = eval_mode(part) if isinstance(part, nn.Module) else nullcontext()
    try:
        with mode, no_grad():
            return part(*inputs)
    except Exception as error:  # of anybody's code
        raise ValueError(
            f"{name}: {type(part).__name__} does not take {what}: {type(error).__name__}: {error}"
        ) from error


def check_shape(
    name: str, part: Any, found: Any, expected: Sequence[int | None], axes: str
) -> None:
    """Raise ``ValueError`` unless the result of a given part has a shape.

    Parameters
    ----------
    name : str
        Its argument.
    part : object
        The part.
    found : object
        Its result.
    expected : sequence of int or None
        Length of each axis; None for any.
    axes : str
        The axes in words.
    """
    shape = getattr(found, "shape", None)
    if (
        shape is None
        or len(shape) != len(expected)
        or any(e not in (None, s) for e, s in zip(expected, shape, strict=True))
    ):
        wanted = ", ".join("*" if length is None else str(length) for length in expected)
        got = type(found).__name__ if shape is None else str(tuple(shape))
        raise ValueError(
            f"{name}: expected {type(part).__name__} to give {axes}, here ({wanted}), got {got}"
        )


def two_results(name: str, part: Any, found: Any) -> tuple[Any, Any]:
    """Return the two results of a given part, or raise ``ValueError``."""
    if not isinstance(found, tuple | list) or len(found) != 2:
        got = f"{len(found)} results" if isinstance(found, tuple | list) else type(found).__name__
        raise ValueError(
            f"{name}: expected {type(part).__name__} to give logits and offsets, got {got}"
        )
    return found[0], found[1]


def check_anchors(name: str, anchors: Any, strides: Sequence[int]) -> int:
    """Check that an anchor generator gives anchors for each level of a pyramid.

    Parameters
    ----------
    name : str
        Its argument.
    anchors : AnchorGenerator or callable
        Has ``num_anchors_per_location``.
    strides : sequence of int
        Stride of each level.

    Returns
    -------
    int
        A, number of anchors at each location.

    Raises
    ------
    TypeError, ValueError
        If it does not fit; names what was expected.
    """
    check_members(name, anchors, "num_anchors_per_location")
    size = strides[-1]
    maps = [(size // stride, size // stride) for stride in strides]
    what = f"{len(strides)} feature maps, at strides {tuple(strides)}"
    found = apply_part(name, anchors, what, maps, (size, size))
    per_location = int(anchors.num_anchors_per_location)
    if len(found) != len(strides):
        raise ValueError(f"{name}: expected anchors for {what}, got {len(found)} arrays")
    for level, (height, width) in zip(found, maps, strict=True):
        check_shape(
            name, anchors, level, (height * width * per_location, 4), "(H * W * A, 4) boxes"
        )
    return per_location
