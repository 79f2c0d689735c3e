"""Names of the distribution, package, model and class of a new plugin."""

from __future__ import annotations

import builtins
import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass

import lucid.models
from lucid.models import zoo
from lucid.models.info import canonicalize_name, check_name
from lucid.models.suggestions import known_plugins

__all__ = ["PluginNames", "plugin_names"]

#: Name of a distribution (PEP 508).
_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

#: Names used in the generated modules, which a model must not shadow.
_IN_USE = frozenset(
    {
        *("Any", "Check", "RegisterModel", "TYPE_CHECKING", "Tensor", "annotations", "lucid"),
        *("builders", "hookimpl", "network", "nn", "plugin", "pytest", "register"),
        *("channels", "checks", "logits", "model", "num_classes", "register_model", "width"),
        *dir(builtins),
    }
)


@dataclass(frozen=True)
class PluginNames:
    """Names in a plugin project.

    Attributes
    ----------
    distribution : str
        Name of the distribution, as given.
    package : str
        Name of the package.
    entry_point : str
        Name of the entry point.
    model : str
        Registered name of the model.
    class_name : str
        Class of the network.
    """

    distribution: str
    package: str
    entry_point: str
    model: str
    class_name: str


def plugin_names(distribution: str, model: str | None = None) -> PluginNames:
    """Derive the names of a new plugin and check that they are valid and available.

    Parameters
    ----------
    distribution : str
        Name of the distribution (PEP 508).  The name of the package is its lowercase form
        with underscores.
    model : str, optional
        Name of the model.  Default: name of the package without the prefix ``lucid_models_``
        or ``lucid_``, followed by ``_net``.

    Returns
    -------
    PluginNames
        Names of the distribution, package, entry point, model and class.

    Raises
    ------
    ValueError
        If a name is invalid or used by an installed distribution, package or model.

    Examples
    --------
    >>> names = plugin_names("lucid-models-octave")
    >>> names.package, names.model, names.class_name
    ('lucid_models_octave', 'octave_net', 'OctaveNet')
    """
    if not _DISTRIBUTION.fullmatch(distribution):
        raise ValueError(
            "expected a distribution name of ASCII letters, digits, '-', '_' and '.', such as "
            f"'lucid-models-tiny', got {distribution!r}"
        )
    package = canonicalize_name(distribution).replace("-", "_")
    _check_package(distribution, package)
    _check_distribution(distribution)
    _check_importable(distribution, package)
    stem = package.removeprefix("lucid_models_").removeprefix("lucid_")
    if not stem.isidentifier():  # empty, or begins with a digit
        stem = package
    if model is None:
        model = stem if stem.endswith("_net") else f"{stem}_net"
    class_name = "".join(part[:1].upper() + part[1:] for part in model.split("_"))
    _check_model(model, class_name, package)
    return PluginNames(distribution, package, stem, model, class_name)


def _check_package(distribution: str, package: str) -> None:
    if not package.isidentifier() or keyword.iskeyword(package):
        raise ValueError(
            f"the package name {package!r} of {distribution!r} is not a Python identifier; use a "
            f"name such as 'lucid-models-{distribution}'"
        )
    if package in sys.stdlib_module_names:
        raise ValueError(
            f"the package name {package!r} of {distribution!r} is in the standard library; "
            f"use a name such as 'lucid-models-{distribution}'"
        )


def _check_distribution(distribution: str) -> None:
    import importlib_metadata

    known = {canonicalize_name(known.distribution) for known in known_plugins()}
    if canonicalize_name(distribution) in {"lucid-core", *known}:
        raise ValueError(f"{distribution!r} is a distribution of Lucid; use another name")
    try:
        installed = importlib_metadata.distribution(distribution)
    except importlib_metadata.PackageNotFoundError:
        return
    raise ValueError(
        f"the distribution {distribution!r} is already installed (version {installed.version}); "
        "use another name, or uninstall it"
    )


def _check_importable(distribution: str, package: str) -> None:
    try:
        spec = importlib.util.find_spec(package)
        # A folder without __init__.py, such as one in the working directory, does not conflict.
        origin = None if spec is None else spec.origin
    except (ImportError, ValueError):  # a broken package also conflicts
        origin = "an unknown location"
    if origin is not None:
        raise ValueError(
            f"the package name {package!r} of {distribution!r} is already used by {origin}; use "
            "another name"
        )


def _check_model(model: str, class_name: str, package: str) -> None:
    try:
        check_name(model, zoo.RESERVED)
    except ValueError as error:
        raise ValueError(f"{error} (--model)") from None
    if model in _IN_USE or class_name in _IN_USE or model == class_name:
        raise ValueError(
            f"the model name {model!r} conflicts with a name in the generated code; use another, "
            f"such as --model {model.lower()}_net"
        )
    taken = [
        lucid.models.model_info(name)
        for name in lucid.models.list_models()
        if name.rpartition(":")[2] == model
    ]
    if taken:
        raise ValueError(
            f"the model name {model!r} is already registered by {taken[0].origin}; use another "
            "name with --model"
        )
