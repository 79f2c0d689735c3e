"""What the parts of a new plugin are called, derived from one name, and refused early.

Every refusal is a ``ValueError`` with one line that says what to choose instead.
"""

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

#: A name of a distribution, as PEP 508 has it.
_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

#: What the generated modules call something else; a model of that name would hide it.
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
    """The names in a plugin's project.

    Attributes
    ----------
    distribution : str
        What pip installs, as it was given.
    package : str
        What Python imports.
    entry_point : str
        Left side of the entry point.
    model : str
        The model in the zoo.
    class_name : str
        The class of the network.
    """

    distribution: str
    package: str
    entry_point: str
    model: str
    class_name: str


def plugin_names(distribution: str, model: str | None = None) -> PluginNames:
    """Derive the names of a new plugin's parts, and check that nobody has them.

    Parameters
    ----------
    distribution : str
        Name of the distribution (PEP 508).  The package has underscores instead
        of hyphens and dots, and small letters.
    model : str, optional
        Name of the model; by default that of the package without a leading
        ``lucid_models_`` or ``lucid_``, and ``_net`` behind it.

    Returns
    -------
    PluginNames
        Of the distribution, its package, its model and the model's class.

    Raises
    ------
    ValueError
        If a name is not valid, or taken by a distribution, a package or a model that
        is installed here.

    Examples
    --------
    >>> names = plugin_names("lucid-models-octave")
    >>> names.package, names.model, names.class_name
    ('lucid_models_octave', 'octave_net', 'OctaveNet')
    """
    if not _DISTRIBUTION.fullmatch(distribution):
        raise ValueError(
            "the name of a distribution has ASCII letters, digits, '-', '_' and '.', a letter or "
            f"digit first and last, as in 'lucid-models-tiny'; got {distribution!r}"
        )
    package = canonicalize_name(distribution).replace("-", "_")
    _check_package(distribution, package)
    _check_distribution(distribution)
    _check_importable(distribution, package)
    stem = package.removeprefix("lucid_models_").removeprefix("lucid_")
    if not stem.isidentifier():  # nothing is left of it, or what is left begins with a digit
        stem = package
    if model is None:
        model = stem if stem.endswith("_net") else f"{stem}_net"
    class_name = "".join(part[:1].upper() + part[1:] for part in model.split("_"))
    _check_model(model, class_name, package)
    return PluginNames(distribution, package, stem, model, class_name)


def _check_package(distribution: str, package: str) -> None:
    if not package.isidentifier() or keyword.iskeyword(package):
        raise ValueError(
            f"{distribution!r} would be imported as {package!r}, which is no name in Python; "
            f"choose one such as 'lucid-models-{distribution}'"
        )
    if package in sys.stdlib_module_names:
        raise ValueError(
            f"{distribution!r} would be imported as {package!r}, which is a module of Python's; "
            f"choose one such as 'lucid-models-{distribution}'"
        )


def _check_distribution(distribution: str) -> None:
    import importlib_metadata

    known = {canonicalize_name(known.distribution) for known in known_plugins()}
    if canonicalize_name(distribution) in {"lucid-core", *known}:
        raise ValueError(f"{distribution!r} is one of Lucid's own distributions; choose another")
    try:
        installed = importlib_metadata.distribution(distribution)
    except importlib_metadata.PackageNotFoundError:
        return
    raise ValueError(
        f"the distribution {distribution!r} is installed already, in version "
        f"{installed.version}; choose another name, or uninstall it first"
    )


def _check_importable(distribution: str, package: str) -> None:
    try:
        spec = importlib.util.find_spec(package)
        # A folder without __init__.py, such as one that happens to be here, is not in the way.
        there = None if spec is None else spec.origin
    except (ImportError, ValueError):  # a broken one is somebody's all the same
        there = "a module that says nothing of where it is from"
    if there is not None:
        raise ValueError(
            f"{distribution!r} would be imported as {package!r}, and {there} is; "
            "choose another name"
        )


def _check_model(model: str, class_name: str, package: str) -> None:
    try:
        check_name(model, zoo.RESERVED)
    except ValueError as error:
        raise ValueError(f"{error} (--model)") from None
    if model in _IN_USE or class_name in _IN_USE or model == class_name:
        raise ValueError(
            f"the model name {model!r} would collide with other names in the plugin's code; "
            f"choose another, such as '{model.lower()}_net' (--model)"
        )
    taken = [
        lucid.models.model_info(name)
        for name in lucid.models.list_models()
        if name.rpartition(":")[2] == model
    ]
    if taken:
        raise ValueError(
            f"a model called {model!r} is registered by {taken[0].origin} already; "
            "choose another name (--model)"
        )
