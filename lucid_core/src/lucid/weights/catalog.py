"""Catalog of published weights, registered by plugins."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from lucid.errors import (
    PluginError,
    PluginWarning,
    UnknownWeightsError,
    WeightFileError,
    find_stack_level,
)
from lucid.models import model_info, zoo
from lucid.models.discovery import Plugin, describe_error
from lucid.models.info import IMPORT_PATH, natural_key
from lucid.text import list_some
from lucid.weights.serialization import StrPath

__all__ = [
    "DEFAULT",
    "LOOPBACK_HOSTS",
    "SIZE_TOLERANCE",
    "WEIGHT_SUFFIXES",
    "CatalogEntry",
    "catalog_entry",
    "check_url",
    "entry_of_file",
    "is_weight_path",
    "list_weights",
    "plugin_weights",
    "registered_weights",
    "sha256_of",
]

#: Tag of the default weights of a model.
DEFAULT = "default"

#: Greatest relative difference between the registered and the actual size of a file.
SIZE_TOLERANCE = 0.01

#: Suffixes of files that :func:`lucid.load` reads.
WEIGHT_SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".bin", ".ckpt")

_TAG = re.compile(r"[a-z0-9][a-z0-9_.+-]*")
_SHA256 = re.compile(r"[0-9a-f]{8,64}")

#: Host names of this machine, to which http is allowed.
LOOPBACK_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True)
class CatalogEntry:
    """Published weights of a model.

    Attributes
    ----------
    model : str
        Registered name of the model.
    tag : str
        Name of the weights among those of the model, such as ``"imagenet1k_v2"``.
    url : str
        Address of the file.
    sha256 : str
        SHA-256 of the file in hexadecimal, or its first digits (at least 8).
    size : int
        Size of the file in bytes, to 1 percent.
    license : str
        License of the weights, in one line.
    source : str
        Publisher, such as ``"torchvision"``.
    metrics : mapping of str to float
        Published results by name, the most important first.
    classes : str or None
        Import path of the sequence of class names, ``"package.module:NAMES"``.
    preprocessing : dict or None
        Preprocessing of images in the format of :func:`lucid.save_model`.
    arguments : mapping of str to Any
        Builder arguments that the weights need.
    converter : str or None
        Name of the registered weight converter; None if the keys are the model's.
    default : bool
        Whether these are the default weights of the model.
    origin : str
        Distribution and version of the plugin that registers them.
    """

    model: str
    tag: str
    url: str
    sha256: str
    size: int
    license: str
    source: str
    metrics: Mapping[str, float] = field(default_factory=dict, hash=False)
    classes: str | None = None
    preprocessing: dict[str, Any] | None = field(default=None, hash=False)
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    converter: str | None = None
    default: bool = False
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.model} {self.tag}"

    @property
    def filename(self) -> str:
        """Name of the file in the cache and on a mirror; contains the first digits of `sha256`."""
        name = PurePosixPath(unquote(urlsplit(self.url).path)).name
        digits = self.sha256[:8]
        if digits in name:
            return name
        stem, dot, suffix = name.rpartition(".")
        return f"{stem}-{digits}.{suffix}" if dot else f"{name}-{digits}"

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Class names by index; imports their module."""
        if self.classes is None:
            return None
        module, _, attribute = self.classes.partition(":")
        where = f"the weights {self} of {self.origin}: classes {self.classes!r}"
        try:
            found = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise PluginError(f"{where} cannot be imported: {describe_error(error)}") from error
        listed = isinstance(found, Sequence) and not isinstance(found, str)
        if not listed or not all(isinstance(name, str) for name in found):
            raise PluginError(f"{where}: expected a sequence of str, got {found!r:.80}")
        return tuple(found)

    def class_names_of(self, num_classes: int | None) -> tuple[str, ...] | None:
        """Return the class names; raise PluginError for a number other than `num_classes`."""
        names = self.class_names
        if names is not None and num_classes not in (None, len(names)):
            raise PluginError(
                f"the weights {self} of {self.origin}: expected {num_classes} class names, got "
                f"{len(names)} of {self.classes}; correct classes in lucid_register_weights"
            )
        return names


def list_weights(pattern: str = "*") -> list[CatalogEntry]:
    """List the published weights that plugins register; fetches nothing.

    Parameters
    ----------
    pattern : str, default ``"*"``
        Shell-style pattern of model names; an alias of a model stands for the model.

    Returns
    -------
    list of CatalogEntry
        Entries in natural order of models, in the order of registration for each.

    Examples
    --------
    >>> import lucid
    >>> [entry.tag for entry in lucid.weights.list_weights("resnet_50")]
    ['imagenet1k_v1', 'imagenet1k_v2']
    """
    if zoo.is_model(pattern):
        pattern = model_info(pattern).name
    found = [entry for entry in registered_weights() if fnmatchcase(entry.model, pattern)]
    return sorted(found, key=lambda entry: natural_key(entry.model))


def registered_weights() -> list[CatalogEntry]:
    """Return the entries of all plugins; a plugin whose hook fails is skipped with a warning.

    The plugin that registers a model chooses its default weights.  Of two plugins that register
    the same tag or file of a model, the other is skipped with a warning.
    """
    entries = map(_with_model, zoo.registry.collect(plugin_weights, "weights"))
    kept: list[CatalogEntry] = []
    for entry in sorted(entries, key=lambda entry: not _is_of_model(entry)):
        others = [other for other in kept if other.model == entry.model]
        if same := [other for other in others if _is_same(other, entry)]:
            warnings.warn(
                f"the weights {entry} of {entry.origin} are skipped: {same[0].origin} registers "
                f"{same[0]}; disable one of the plugins by LUCID_DISABLE_PLUGINS",
                PluginWarning,
                stacklevel=find_stack_level(),
            )
        else:
            first = not any(other.default for other in others)
            kept.append(replace(entry, default=entry.default and first))
    return kept


def _with_model(entry: CatalogEntry) -> CatalogEntry:
    """Return the entry with the listed name of its model, of the same plugin if it has it."""
    found = zoo.registry.find(entry.model)
    own = [info for info in found if info.origin == entry.origin]
    names = {info.name for info in own or found}
    return replace(entry, model=names.pop()) if len(names) == 1 else entry


def _is_of_model(entry: CatalogEntry) -> bool:
    """Whether one plugin registers both the weights and their model."""
    return any(info.origin == entry.origin for info in zoo.registry.find(entry.model))


def _is_same(one: CatalogEntry, other: CatalogEntry) -> bool:
    """Whether two entries of a model have the same tag or file."""
    return one.tag == other.tag or (
        one.sha256.startswith(other.sha256) or other.sha256.startswith(one.sha256)
    )


def catalog_entry(model: str, tag: str = DEFAULT) -> CatalogEntry:
    """Return the published weights of a model by tag.

    Parameters
    ----------
    model : str
        Registered name or alias.
    tag : str, default "default"
        Tag in any case, such as torchvision's ``"IMAGENET1K_V2"``.

    Returns
    -------
    CatalogEntry
        Entry with this tag, or the default of the model.

    Raises
    ------
    UnknownModelError
        If there is no such model.
    UnknownWeightsError
        If the model has no weights of this tag; lists its tags, or models of the same task that
        have weights.
    """
    info = model_info(model)
    entries = [entry for entry in list_weights() if entry.model == info.name]
    if not entries:
        raise UnknownWeightsError(_no_weights_message(info.name, info.task))
    wanted = tag.casefold()
    for entry in entries:
        if entry.tag == wanted or (wanted == DEFAULT and entry.default):
            return entry
    tags = ", ".join(entry.tag for entry in entries)
    remedy = ""
    if os.path.isfile(tag):
        remedy = f"; for the file of this name pass ./{tag}"
    elif (member := wanted.rpartition("_weights.")[2]) in (DEFAULT, *(e.tag for e in entries)):
        remedy = f"; pass {member!r}"  # of torchvision's ResNet50_Weights.DEFAULT
    raise UnknownWeightsError(
        f"weights: expected a tag of {info.name} ({tags}, or default), got {tag!r}{remedy}"
    )


def entry_of_file(path: StrPath, model: str | None = None) -> CatalogEntry | None:
    """Find the published weights that a file is a copy of, by size and SHA-256.

    Parameters
    ----------
    path : path-like
        The file, under any name.
    model : str, optional
        Registered name of the model to prefer if several have this file.

    Returns
    -------
    CatalogEntry or None
        None for any other file.

    Raises
    ------
    WeightFileError
        If the file is published for several models, and `model` is none of them.
    """
    name, size = os.path.basename(path), os.stat(path).st_size
    near = [
        entry
        for entry in list_weights()
        # A file that was copied into the cache counts, even if the registered size is wrong.
        if entry.filename == name or abs(entry.size - size) <= SIZE_TOLERANCE * entry.size
    ]
    if not near:
        return None
    digest = sha256_of(path)
    found = [entry for entry in near if digest.startswith(entry.sha256)]
    wanted = [entry for entry in found if entry.model == model]
    if not wanted and len(found) > 1:
        both = " and ".join(f"{entry.model} by {entry.origin}" for entry in found)
        raise WeightFileError(
            f"{os.fspath(path)}: expected weights of one model, got those that are published for "
            f"{both}; choose one by create_model(name, weights=path) or --model, or disable a "
            "plugin by LUCID_DISABLE_PLUGINS"
        )
    return next(iter(wanted or found), None)


def sha256_of(path: StrPath) -> str:
    """Return the SHA-256 of a file in hexadecimal; computed once while it does not change."""
    status = os.stat(path)
    return _sha256(os.path.abspath(path), status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=64)
def _sha256(path: str, *state: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_weight_path(weights: object) -> bool:
    """Return whether `weights` is the path of a file, not a tag.

    Parameters
    ----------
    weights : str or path-like
        Argument such as that of :func:`lucid.models.create_model`.

    Returns
    -------
    bool
        True for path-like objects, and for strings that have a separator or end in a suffix of
        weight files, such as ``.pth``.
    """
    if not isinstance(weights, str):
        return True
    path = Path(weights)
    return path.name != weights or path.suffix.lower() in WEIGHT_SUFFIXES


def check_url(url: str, where: str) -> str:
    """Return an https address, or an http address of this machine; raise ValueError for others."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS:
        return url
    raise ValueError(f"{where}: expected an https address, got {url}")


def plugin_weights(plugin: Plugin) -> list[CatalogEntry]:
    """Return the weights that one plugin registers; errors of its hook propagate."""
    entries: list[CatalogEntry] = []

    def register(
        model: str,
        name: str,
        *,
        url: str,
        sha256: str,
        size: int,
        license: str,
        source: str,
        metrics: Mapping[str, float] | None = None,
        classes: str | None = None,
        preprocessing: Mapping[str, Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        converter: str | None = None,
        default: bool = False,
    ) -> None:
        entry = _checked(
            CatalogEntry(
                model,
                name,
                url,
                sha256,
                size,
                license,
                source,
                dict(metrics or {}),
                classes,
                None if preprocessing is None else deepcopy(dict(preprocessing)),
                deepcopy(dict(arguments or {})),
                converter,
                default,
                plugin.origin,
            )
        )
        for other in (other for other in entries if other.model == entry.model):
            if other.tag == entry.tag:
                raise ValueError(f"the weights {entry} are registered twice")
            if _is_same(other, entry):  # a file is recognized by its digest alone
                raise ValueError(f"the file of the weights {entry} is also that of {other}")
            if other.default and entry.default:
                raise ValueError(f"{model}: expected one default, got {other.tag} and {name}")
        entries.append(entry)

    plugin.call_hook("lucid_register_weights", register=register)
    return [_with_default(entry, entries) for entry in entries]


def _checked(entry: CatalogEntry) -> CatalogEntry:
    where = f"weights {entry.tag!r} of {entry.model!r}"
    for key in ("model", "url", "license", "source"):
        value = getattr(entry, key)
        if not isinstance(value, str) or not value.strip() or "\n" in value:
            raise ValueError(f"{where}: {key} must be one line of text, got {value!r}")
    if (
        not isinstance(entry.tag, str)
        or not _TAG.fullmatch(entry.tag)
        or entry.tag == DEFAULT
        or is_weight_path(entry.tag)
    ):
        raise ValueError(
            f"{where}: name must be lower case such as 'imagenet1k_v2', and neither 'default' nor "
            f"the name of a weight file, got {entry.tag!r}"
        )
    if not isinstance(entry.sha256, str) or not _SHA256.fullmatch(entry.sha256):
        raise ValueError(
            f"{where}: sha256 must be 64 hexadecimal digits in lower case, or the first 8 or more, "
            f"got {entry.sha256!r}"
        )
    if isinstance(entry.size, bool) or not isinstance(entry.size, int) or entry.size < 1:
        raise ValueError(f"{where}: size must be a positive number of bytes, got {entry.size!r}")
    if entry.classes is not None and not IMPORT_PATH.fullmatch(entry.classes):
        raise ValueError(
            f"{where}: classes must be 'package.module:attribute', got {entry.classes!r}"
        )
    for key in ("arguments", "preprocessing"):
        try:
            json.dumps(getattr(entry, key))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{where}: {key} must be numbers, strings, booleans, None, or lists and dicts of "
                f"them: {error}"
            ) from None
    for name, value in entry.metrics.items():
        if (
            not isinstance(name, str)
            or isinstance(value, bool)
            or not isinstance(value, int | float)
        ):
            raise ValueError(f"{where}: metrics must map names to numbers, got {name!r}: {value!r}")
    check_url(entry.url, f"{where}, url")
    if not PurePosixPath(urlsplit(entry.url).path).name:
        raise ValueError(f"{where}: url must end in a file name, got {entry.url}")
    if not entry.filename.isprintable() or "\\" in entry.filename:
        raise ValueError(f"{where}: url must end in a printable file name, got {entry.url!r}")
    return entry


def _with_default(entry: CatalogEntry, entries: Sequence[CatalogEntry]) -> CatalogEntry:
    """Mark the first entry of a model as default if none is marked."""
    own = [other for other in entries if other.model == entry.model]
    if own[0] is entry and not any(other.default for other in own):
        return replace(entry, default=True)
    return entry


def _no_weights_message(name: str, task: str) -> str:
    having = list(dict.fromkeys(entry.model for entry in list_weights()))
    same = [model for model in having if zoo.is_model(model) and model_info(model).task == task]
    if not same:
        return f"no published weights for {name}; no plugin registers weights for {task}"
    known = list_some(same, 20, quote=False)
    return f"no published weights for {name}; models for {task} that have some: {known}"
