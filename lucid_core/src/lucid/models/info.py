"""What the registry knows of a model and of a plugin: plain, frozen, import-free facts."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "DEFAULT_INPUT_SHAPE",
    "ModelInfo",
    "PluginInfo",
    "canonicalize_name",
    "check_aliases",
    "check_fields",
    "check_name",
    "natural_key",
]

DEFAULT_INPUT_SHAPE = (1, 3, 224, 224)

_BUILDER = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a registered model without importing its code.

    Attributes
    ----------
    name : str
        The model's name; ``"distribution:name"`` if several register the same one.
    task : str
        ``"image-classification"``, ``"object-detection"`` or a plugin's own task.
    family : str
        The architecture the model is a member of.
    summary : str
        One line about the model.
    builder : str
        Where the function that builds it is found, ``"package.module:function"``.
    total_parameters : int or None
        ``parameter_size`` of the model built without arguments; None for a model
        registered in a script that did not say.
    input_shape : tuple of int
        A shape the model accepts, batch axis first.
    distribution : str or None
        The distribution of its plugin; None for a model registered in a script.
    version : str or None
        That distribution's version.
    example_batch : str or None
        ``"package.module:function"`` of a function that gives a training batch;
        None for the task's default.
    aliases : tuple of str
        Other names that resolve to this model, such as torchvision's; never listed.
    """

    name: str
    task: str
    family: str
    summary: str
    builder: str
    total_parameters: int | None
    input_shape: tuple[int, ...] = DEFAULT_INPUT_SHAPE
    distribution: str | None = None
    version: str | None = None
    example_batch: str | None = None
    aliases: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """What qualifies the name: the distribution, or the script's module."""
        return self.distribution or self.builder.partition(":")[0]

    @property
    def qualified_name(self) -> str:
        """``"distribution:name"``, which says which of several models is meant."""
        return f"{self.source}:{self.name.rpartition(':')[2]}"

    @property
    def origin(self) -> str:
        """The source for a message, with its version where there is one."""
        return f"{self.source} {self.version}" if self.version else self.source


@dataclass(frozen=True)
class PluginInfo:
    """A plugin that was found, loaded or not.

    Attributes
    ----------
    name : str
        The name of its entry point.
    distribution : str
        The distribution that declares the entry point.
    version : str
        That distribution's version.
    models : tuple of str
        The names it registered, in natural order; empty if it failed.
    error : str or None
        Why it could not be loaded, ``"ImportError: ..."``; None if it was.
    """

    name: str
    distribution: str
    version: str
    models: tuple[str, ...] = ()
    error: str | None = field(default=None)

    @property
    def origin(self) -> str:
        """Distribution and version, for a message."""
        return f"{self.distribution} {self.version}"


def natural_key(text: str) -> tuple[tuple[str, int], ...]:
    """A sort key that puts ``resnet_18`` before ``resnet_101``."""
    parts = re.findall(r"(\D*)(\d*)", text)
    return tuple((letters, int(digits or -1)) for letters, digits in parts)


def canonicalize_name(name: str) -> str:
    """A distribution's name as packaging tools compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def check_name(name: object, reserved: frozenset[str]) -> str:
    """Return `name` if it can be the name of a model, else raise.

    Users write ``from lucid.models import NAME``, so it has to be an identifier,
    and one that does not hide a name of ``lucid.models`` itself.
    """
    if not isinstance(name, str):
        raise TypeError(f"a model's name must be a str, got {name!r}")
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ValueError(
            f"a model's name must be a public Python identifier such as 'resnet_18', got {name!r}"
        )
    if name in reserved:
        raise ValueError(f"the name {name!r} is taken by lucid.models itself; choose another")
    return name


def check_fields(**fields: Any) -> dict[str, Any]:
    """Check what a model is registered with, and return it.

    Parameters
    ----------
    **fields
        Any of ``builder, task, family, summary, total_parameters, input_shape,
        example_batch, aliases``.

    Returns
    -------
    dict
        The same fields, ``input_shape`` and ``aliases`` as tuples.

    Raises
    ------
    TypeError, ValueError
        Naming the field, what was expected and what arrived.
    """
    for key in ("builder", "example_batch"):
        if (place := fields.get(key)) is not None and not (
            isinstance(place, str) and _BUILDER.fullmatch(place)
        ):
            raise ValueError(f"{key} must be 'package.module:function', got {place!r}")
    for key in ("task", "family", "summary"):
        if key in fields:
            _check_line(key, fields[key])
    total = fields.get("total_parameters")
    if total is not None and (isinstance(total, bool) or not isinstance(total, int) or total < 0):
        raise ValueError(f"total_parameters must be an int of at least 0, got {total!r}")
    if "input_shape" in fields:
        fields["input_shape"] = _check_shape(fields["input_shape"])
    if "aliases" in fields:
        fields["aliases"] = _check_sequence(fields["aliases"])
    return fields


def check_aliases(name: str, aliases: Sequence[str], reserved: frozenset[str]) -> None:
    """Raise unless each alias of the model `name` can be a name, and none is repeated."""
    spellings = [name]
    for alias in aliases:
        try:
            check_name(alias, reserved)
        except (TypeError, ValueError) as error:
            raise type(error)(f"model {name!r}, aliases: {error}") from None
        if alias in spellings:
            raise ValueError(f"model {name!r}: the alias {alias!r} is given twice or is its name")
        spellings.append(alias)


def _check_sequence(aliases: object) -> tuple[Any, ...]:
    if not isinstance(aliases, tuple | list):
        raise TypeError(f"aliases must be a tuple of str such as ('resnet18',), got {aliases!r}")
    return tuple(aliases)


def _check_line(key: str, text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{key} must be a str, got {text!r}")
    if not text.strip() or "\n" in text:
        raise ValueError(f"{key} must be one line of text, got {text!r}")


def _check_shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, tuple | list) or not shape:
        raise ValueError(f"input_shape must be a tuple such as (1, 3, 224, 224), got {shape!r}")
    for length in shape:
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise ValueError(f"input_shape must hold ints of at least 1, got {shape!r}")
    return tuple(shape)
