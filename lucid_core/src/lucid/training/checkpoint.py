"""A whole training state in one file, so that one rename replaces all of it.

The state is a tree of dicts and lists.  Its tensors become tensors of a
safetensors file, named by their place; the tree without them is JSON in the
file's metadata.  Two files, or a directory, could be caught between two saves;
one file cannot.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from lucid.errors import WeightFileError
from lucid.tensor import Tensor
from lucid.weights.model_metadata import CHECKPOINT_KEY
from lucid.weights.serialization import StrPath, read_file, write_file

__all__ = ["check_storable", "load_checkpoint", "save_checkpoint"]

_REFERENCE = "$tensor"


def save_checkpoint(path: StrPath, state: Mapping[str, Any]) -> None:
    """Save a tree of tensors and plain data, in one step.

    Parameters
    ----------
    path : path-like
        A ``.safetensors`` file; replaced as :func:`lucid.save` does.
    state : mapping
        Dicts (keys are stored as strings) and lists of tensors, arrays,
        numbers, strings, booleans and None.  Tuples come back as lists.

    Raises
    ------
    TypeError
        If something else is in the tree, or two keys of a dict are the same as strings; the
        message says where.
    """
    tensors: dict[str, Any] = {}
    tree = _without_tensors(state, "", tensors)
    write_file(path, tensors, {CHECKPOINT_KEY: json.dumps(tree, ensure_ascii=False)})


def check_storable(name: str, state: Any) -> None:
    """Raise TypeError if a checkpoint cannot hold a state.

    Parameters
    ----------
    name : str
        Name of the state in the checkpoint, for the message.
    state : object
        What ``state_dict()`` returned.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"{name}: expected state_dict() to return a dict, got {state!r:.80}")
    _without_tensors(state, name, {})


def load_checkpoint(path: StrPath) -> dict[str, Any]:
    """Load what :func:`save_checkpoint` saved.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    dict
        The tree, its tensors with memory of their own.

    Raises
    ------
    WeightFileError
        If the file is damaged or holds no checkpoint.
    FileNotFoundError
        If there is no such file.
    """
    arrays, metadata = read_file(path)
    if CHECKPOINT_KEY not in metadata:
        raise WeightFileError(f"{os.fspath(path)}: holds weights, but no state of a training")
    try:
        tree = _with_tensors(json.loads(metadata[CHECKPOINT_KEY]), arrays)
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise WeightFileError(f"{os.fspath(path)}: its state is damaged: {error}") from None
    if not isinstance(tree, dict):
        raise WeightFileError(f"{os.fspath(path)}: its state is damaged: no dict")
    return tree


def _without_tensors(node: Any, place: str, tensors: dict[str, Any]) -> Any:
    if isinstance(node, Tensor | np.ndarray):
        while place in tensors:  # {"a/b": x} and {"a": {"b": y}}
            place += "'"
        tensors[place] = node
        return {_REFERENCE: place}
    if isinstance(node, Mapping):
        named = {str(key): value for key, value in node.items()}
        if len(named) < len(node) or named.keys() == {_REFERENCE}:
            raise TypeError(
                f"a checkpoint cannot hold the keys {list(node)!r:.80} (at "
                f"{place or 'its root'}); choose keys that differ as strings, other than "
                f"{_REFERENCE!r} alone"
            )
        return {
            key: _without_tensors(value, f"{place}/{key}" if place else key, tensors)
            for key, value in named.items()
        }
    if isinstance(node, list | tuple):
        return [_without_tensors(value, f"{place}/{i}", tensors) for i, value in enumerate(node)]
    if isinstance(node, np.generic):
        return node.item()
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(
        f"a checkpoint cannot hold {type(node).__name__} (at {place or 'its root'}); only "
        "tensors, arrays, numbers, strings, booleans, None, and lists and dicts of them"
    )


def _with_tensors(node: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        if node.keys() == {_REFERENCE}:
            return Tensor(arrays[node[_REFERENCE]])
        return {key: _with_tensors(value, arrays) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_tensors(value, arrays) for value in node]
    return node
