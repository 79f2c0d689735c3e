"""``save_model`` and ``load_model``: weights and how to rebuild the model in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucid.errors import LucidError, StateDictError, UnknownModelError, WeightFileError
from lucid.weights.catalog import entry_of_file
from lucid.weights.converter import WeightConverter, load_converted
from lucid.weights.converter_registry import find_converter_by_name
from lucid.weights.identify import identify_weights, prefix_path
from lucid.weights.key_prefixes import strip_prefix
from lucid.weights.model_metadata import (
    MODEL_KEY,
    decode_metadata,
    encode_metadata,
    find_saved_model,
    metadata_from_model,
    refuse_training_checkpoint,
)
from lucid.weights.serialization import StrPath, read_file, write_file
from lucid.weights.weights_info import (
    info_of_copy,
    info_of_identified,
    info_of_saved,
    set_weights_info,
)

if TYPE_CHECKING:
    from lucid.nn import Module
    from lucid.nn.state_dict import LoadResult

__all__ = ["load_model", "load_weights", "save_model"]


def save_model(
    model: Module,
    path: StrPath,
    *,
    class_names: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> None:
    """Save a model with the metadata that rebuilds it.

    Parameters
    ----------
    model : lucid.nn.Module
        Model from a registered builder.
    path : path-like
        As for :func:`lucid.save`; replaced atomically.
    class_names : sequence of str, optional
        Class names by index.  Default: those in ``model.weights_info``, if any.
    preprocessing : mapping, optional
        Preprocessing of images: numbers, strings, booleans, None, and lists and dicts of them.
        Default: that in ``model.weights_info``, if any.

    Raises
    ------
    ValueError
        If the model has no registered name or was changed after it was built (a replaced layer,
        another shape), or ``class_names`` has duplicates or not ``num_classes`` names.
    TypeError
        If a builder argument or the preprocessing is not plain data, or ``class_names`` is not a
        sequence of str.
    WeightFileError
        If the suffix is that of a format that is not written.
    """
    text = encode_metadata(model, class_names, preprocessing)
    write_file(path, model.state_dict(), {MODEL_KEY: text})


def load_model(path: StrPath, *, ema: bool | None = None) -> Module:
    """Rebuild a model from a file of :func:`save_model`, or of another library.

    Files without model metadata, such as torchvision's, are loaded by the weight converter of a
    plugin that recognizes them; see ``lucid_register_weight_converters`` in
    ``lucid.models.hookspecs``.

    Parameters
    ----------
    path : path-like
        The file.
    ema : bool, optional
        As for :func:`lucid.load`.

    Returns
    -------
    lucid.nn.Module
        The model in training mode.

    Raises
    ------
    WeightFileError
        If the file is damaged, has no model metadata and is not recognized by exactly one
        converter, or the weights do not match the model.
    UnknownModelError
        If no plugin has the model, or one that it is built from; names the distribution to
        install.
    PluginError
        If a weight converter fails or returns keys that the model does not have.
    FileNotFoundError
        If the file does not exist.
    """
    from lucid.models import create_model

    arrays, metadata = read_file(path, ema)
    refuse_training_checkpoint(path, metadata)
    if MODEL_KEY not in metadata and (converted := _convert(path, arrays, ema)) is not None:
        return converted
    saved = decode_metadata(path, metadata)
    find_saved_model(path, saved)
    try:
        model = create_model(saved.name, **saved.kwargs)
    except UnknownModelError as error:  # a component, such as a backbone
        raise UnknownModelError(
            f"{os.fspath(path)} holds {saved.name}, which needs another model: {error}"
        ) from None
    except (LucidError, ImportError):
        raise  # an error of the installation, not of the file
    except Exception as error:  # invalid arguments can cause any error in a builder
        raise WeightFileError(f"{os.fspath(path)}: {saved} cannot be built: {error}") from error
    try:
        _load_arrays(model, arrays, path, ema)
    except StateDictError as error:
        version = f" of {saved.distribution} {saved.distribution_version}"
        raise WeightFileError(
            f"{os.fspath(path)}: its weights do not match its model, {saved}"
            f"{version if saved.distribution else ''}: {error}"
        ) from error
    set_weights_info(model, info_of_saved(path, saved))
    return model


def _convert(path: StrPath, arrays: Mapping[str, Any], ema: bool | None) -> Module | None:
    """Build the model that a converter recognizes; None if none does."""
    source = os.fspath(path)
    try:
        found = identify_weights(arrays, path=Path(path), ema=ema)
    except StateDictError as error:
        raise WeightFileError(prefix_path(path, error)) from None
    if found is None:
        return None
    model = found.build()
    try:
        found.load_into(model)
    except StateDictError as error:
        raise WeightFileError(f"{source}: its weights do not fit {found.name}: {error}") from error
    set_weights_info(model, info_of_identified(path, found))
    return model


def load_weights(
    model: Module,
    path: StrPath,
    *,
    strict: bool = True,
    skip_mismatched: bool = False,
    ema: bool | None = None,
) -> LoadResult:
    """Load the weights of a file into a model.

    Parameters
    ----------
    model : lucid.nn.Module
        The model; unchanged on errors.
    path : path-like
        File of :func:`save_model`, :func:`lucid.save` or another library.  Prefixes of wrappers
        are stripped, see :func:`lucid.weights.strip_prefix`; keys of other libraries are renamed
        by the weight converter of the model.
    strict, skip_mismatched : bool
        As for :meth:`lucid.nn.Module.load_state_dict`.
    ema : bool, optional
        As for :func:`lucid.load`.

    Returns
    -------
    LoadResult
        Loaded, missing, unexpected and skipped keys.

    Raises
    ------
    WeightFileError
        If the file is damaged or its weights do not match the model.
    FileNotFoundError
        If the file does not exist.
    """
    from lucid.models.structure import structure_changes

    arrays, metadata = read_file(path, ema)
    refuse_training_checkpoint(path, metadata)
    try:
        converter = None if MODEL_KEY in metadata else find_converter_by_name(model.model_name)
        options = {"strict": strict, "skip_mismatched": skip_mismatched}
        result = _load_arrays(model, arrays, path, ema, converter, **options)
    except StateDictError as error:
        wanted = str(metadata_from_model(model) or type(model).__name__)
        if structure_changes(model):
            wanted += ", changed since (skip_mismatched=True loads all layers that still fit)"
        raise WeightFileError(
            f"{os.fspath(path)} holds {_describe_file(path, arrays, metadata)}; the model is "
            f"{wanted}: {error}"
        ) from error
    whole = not (result.missing or result.skipped)
    if whole and MODEL_KEY in metadata:
        set_weights_info(model, info_of_saved(path, decode_metadata(path, metadata)))
    elif whole:
        entry = entry_of_file(path, model.model_name)
        own = entry is not None and entry.model == model.model_name
        set_weights_info(model, info_of_copy(path, entry if own else None))
    return result


def _load_arrays(
    model: Module,
    arrays: Mapping[str, Any],
    path: StrPath,
    ema: bool | None,
    converter: WeightConverter | None = None,
    **options: bool,
) -> LoadResult:
    own = model.state_dict()
    if converter is not None and not own.keys() <= arrays.keys():
        return load_converted(model, arrays, converter.for_model(model), ema=ema, **options)
    unwrapped = strip_prefix(arrays, own.__contains__, ema=ema, source=os.fspath(path))
    return model.load_state_dict(unwrapped, **options)


def _describe_file(path: StrPath, arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    """Describe the model of a file, for an error."""
    if MODEL_KEY in metadata:
        return str(decode_metadata(path, metadata))
    from lucid.models.structure import find_matching_model

    name = find_matching_model({key: array.shape for key, array in arrays.items()})
    return "weights of an unnamed model" if name is None else f"weights of {name}"
