"""Registry records of models and plugins, and validation of their fields."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "DEFAULT_INPUT_SHAPE",
    "IMPORT_PATH",
    "ModelInfo",
    "PluginInfo",
    "canonicalize_name",
    "check_aliases",
    "check_fields",
    "check_name",
    "natural_key",
]

DEFAULT_INPUT_SHAPE = (1, 3, 224, 224)

#: Path of an attribute of a module, ``"package.module:attribute"``.
IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class ModelInfo:
    """Description of a registered model, available without importing its code.

    Attributes
    ----------
    name : str
        Name of the model; ``"distribution:name"`` if several plugins register the same name.
    task : str
        ``"image-classification"``, ``"object-detection"`` or a plugin's own task.
    family : str
        Name of the architecture, such as ``"resnet"``.
    summary : str
        One-line description.
    builder : str
        Import path of the function that builds the model, ``"package.module:function"``.
    total_parameters : int or None
        ``parameter_size`` of the model built without arguments; None if not given for a model
        registered in a script.
    input_shape : tuple of int
        Shape of an input that the model accepts, batch axis first.
    distribution : str or None
        Distribution of the plugin; None for a model registered in a script.
    version : str or None
        Version of the distribution.
    example_batch : str or None
        Import path of a function that returns a training batch; None for the task's default.
    aliases : tuple of str
        Other names that resolve to the model, such as torchvision's; not listed.
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
        """Distribution of the plugin, or module of the script."""
        return self.distribution or self.builder.partition(":")[0]

    @property
    def qualified_name(self) -> str:
        """Unambiguous name, ``"distribution:name"``."""
        return f"{self.source}:{self.name.rpartition(':')[2]}"

    @property
    def origin(self) -> str:
        """Source and version, for messages."""
        return f"{self.source} {self.version}" if self.version else self.source


@dataclass(frozen=True)
class PluginInfo:
    """Description of a discovered plugin.

    Attributes
    ----------
    name : str
        Name of the entry point.
    distribution : str
        Distribution that declares the entry point.
    version : str
        Version of the distribution.
    models : tuple of str
        Names of its models in natural order; empty if it failed to load.
    error : str or None
        Reason why it failed to load, such as ``"ImportError: ..."``; None if it loaded.
    """

    name: str
    distribution: str
    version: str
    models: tuple[str, ...] = ()
    error: str | None = field(default=None)

    @property
    def origin(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}"


def natural_key(text: str) -> tuple[tuple[str, int], ...]:
    """Return the key of natural sort order: ``resnet_18`` before ``resnet_101``."""
    parts = re.findall(r"(\D*)(\d*)", text)
    return tuple((letters, int(digits or -1)) for letters, digits in parts)


def canonicalize_name(name: str) -> str:
    """Normalize the name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def check_name(name: object, reserved: frozenset[str]) -> str:
    """Return `name` if it is a valid name of a model, else raise.

    ``from lucid.models import NAME`` must work, so the name is an identifier that does not
    shadow an attribute of ``lucid.models``.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a model must be a str, got {name!r}")
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ValueError(
            f"the name of a model must be an identifier such as 'resnet_18', got {name!r}"
        )
    if name in reserved:
        raise ValueError(f"the name {name!r} is reserved by lucid.models; choose another name")
    return name


def check_fields(**fields: Any) -> dict[str, Any]:
    """Validate fields of a :class:`ModelInfo`; return them with sequences as tuples.

    Raises TypeError or ValueError with the name of the field.
    """
    for key in ("builder", "example_batch"):
        if (path := fields.get(key)) is not None and not (
            isinstance(path, str) and IMPORT_PATH.fullmatch(path)
        ):
            raise ValueError(f"{key} must be 'package.module:function', got {path!r}")
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
    """Raise unless each alias of the model `name` is a valid name and none is repeated."""
    names = [name]
    for alias in aliases:
        try:
            check_name(alias, reserved)
        except (TypeError, ValueError) as error:
            raise type(error)(f"model {name!r}, aliases: {error}") from None
        if alias in names:
            raise ValueError(f"model {name!r}: alias {alias!r} repeats the name or another alias")
        names.append(alias)


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
            raise ValueError(f"input_shape must contain ints of at least 1, got {shape!r}")
    return tuple(shape)
