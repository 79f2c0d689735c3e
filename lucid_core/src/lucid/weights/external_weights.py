"""Load and export weights with the keys of another library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lucid.errors import PluginError
from lucid.weights.converter import WeightConverter, load_converted
from lucid.weights.converter_registry import (
    GuardedConverter,
    RegisteredConverter,
    weight_converters,
)
from lucid.weights.serialization import StrPath

if TYPE_CHECKING:
    from lucid.nn import Module
    from lucid.nn.state_dict import LoadResult
    from lucid.tensor import Tensor

__all__ = ["export_state_dict", "find_converter", "load_external_weights"]


def find_converter(model: Module, source: str) -> WeightConverter | None:
    """Find the converter from another library for a model.

    Converters registered for the model's name come first, then those that have all its keys.

    Parameters
    ----------
    model : lucid.nn.Module
        The model.
    source : str
        Library, such as ``"torchvision"``.

    Returns
    -------
    WeightConverter or None
        Converter for this model; None if there is none.
    """
    registered = _registered(model, source)
    return None if registered is None else registered.load().for_model(model)


def load_external_weights(
    model: Module,
    path_or_state_dict: StrPath | Mapping[str, Any],
    source: str,
    *,
    strict: bool = True,
    skip_mismatched: bool = False,
    ema: bool | None = None,
) -> LoadResult:
    """Load weights with the keys of another library, or of the model, into a model.

    Parameters
    ----------
    model : lucid.nn.Module
        The model; unchanged on errors.
    path_or_state_dict : path-like or mapping
        As for :func:`load_converted`.
    source : str
        The other library, such as ``"torchvision"``; see :func:`find_converter`.
    strict, skip_mismatched : bool
        As for :meth:`lucid.nn.Module.load_state_dict`.
    ema : bool, optional
        As for :func:`load_converted`.

    Returns
    -------
    LoadResult
        Loaded, missing, unexpected and skipped keys of the model.

    Raises
    ------
    lucid.WeightFileError, lucid.StateDictError
        As for :func:`load_converted`.
    lucid.PluginError
        If the converter fails.
    """
    registered = _registered(model, source)
    return load_converted(
        model,
        path_or_state_dict,
        None if registered is None else GuardedConverter(registered, registered.load()),
        strict=strict,
        skip_mismatched=skip_mismatched,
        ema=ema,
    )


def export_state_dict(model: Module, source: str) -> dict[str, Tensor]:
    """Return the state dict of a model with the keys of another library.

    Parameters
    ----------
    model : lucid.nn.Module
        Model of a registered family.
    source : str
        The other library, such as ``"torchvision"``.

    Returns
    -------
    dict of str to Tensor
        Entries that the other library has.

    Raises
    ------
    ValueError
        If no converter of that library is registered for the model.
    NotImplementedError
        If the converter does not define ``export_key``.
    """
    converter = find_converter(model, source)
    if converter is None:
        name = model.model_name or f"a {type(model).__name__} without a registered name"
        raise ValueError(f"expected a model with a weight converter for {source}, got {name}")
    names = ((converter.export_key(key), value) for key, value in model.state_dict().items())
    return {name: value for name, value in names if name is not None}


def _registered(model: Module, source: str) -> RegisteredConverter | None:
    candidates = [known for known in weight_converters() if known.source == source]
    named = (known for known in candidates if model.model_name in known.models)
    knowing = (known for known in candidates if _knows_all(known, model))
    return next(named, None) or next(knowing, None)


def _knows_all(registered: RegisteredConverter, model: Module) -> bool:
    try:
        knows = registered.load().has_key
        return all(registered.call(knows, key) for key in model.state_dict())
    except PluginError:  # of another model; reported when it is used
        return False
