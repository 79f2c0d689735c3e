"""Checkpoint format: one safetensors file, so that a save is atomic.

The state is a tree of dicts and lists.  Its tensors are tensors of the file, named by their path
in the tree; the tree without them is JSON in the file's metadata.
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
    """Save a tree of tensors and plain data atomically.

    Parameters
    ----------
    path : path-like
        A ``.safetensors`` file, replaced as by :func:`lucid.save`.
    state : mapping
        Dicts and lists of tensors, arrays, numbers, strings, booleans and None.  Keys are stored
        as strings, tuples as lists.

    Raises
    ------
    TypeError
        If the tree contains other objects, or keys of a dict are equal as strings.
    """
    tensors: dict[str, Any] = {}
    tree = _without_tensors(state, "", tensors)
    write_file(path, tensors, {CHECKPOINT_KEY: json.dumps(tree, ensure_ascii=False)})


def check_storable(name: str, state: Any) -> None:
    """Raise TypeError if a checkpoint cannot store the state dict of an object named ``name``."""
    if not isinstance(state, Mapping):
        raise TypeError(f"{name}: expected state_dict() to return a dict, got {state!r:.80}")
    _without_tensors(state, name, {})


def load_checkpoint(path: StrPath) -> dict[str, Any]:
    """Load a checkpoint of :func:`save_checkpoint`.

    Parameters
    ----------
    path : path-like
        Checkpoint file.

    Returns
    -------
    dict
        The state.

    Raises
    ------
    WeightFileError
        If the file is damaged or is no checkpoint.
    FileNotFoundError
        If the file does not exist.
    """
    arrays, metadata = read_file(path)
    if CHECKPOINT_KEY not in metadata:
        raise WeightFileError(
            f"{os.fspath(path)}: expected a checkpoint of a run, got weights only"
        )
    try:
        tree = _with_tensors(json.loads(metadata[CHECKPOINT_KEY]), arrays)
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise WeightFileError(f"{os.fspath(path)}: damaged checkpoint: {error}") from None
    if not isinstance(tree, dict):
        raise WeightFileError(f"{os.fspath(path)}: damaged checkpoint: no dict")
    return tree


def _without_tensors(node: Any, path: str, tensors: dict[str, Any]) -> Any:
    if isinstance(node, Tensor | np.ndarray):
        while path in tensors:  # {"a/b": x} and {"a": {"b": y}}
            path += "'"
        tensors[path] = node
        return {_REFERENCE: path}
    if isinstance(node, Mapping):
        named = {str(key): value for key, value in node.items()}
        if len(named) < len(node) or named.keys() == {_REFERENCE}:
            raise TypeError(
                f"a checkpoint cannot store the keys {list(node)!r:.80} (at {path or 'the root'}); "
                f"choose keys that differ as strings, other than {_REFERENCE!r} alone"
            )
        return {
            key: _without_tensors(value, f"{path}/{key}" if path else key, tensors)
            for key, value in named.items()
        }
    if isinstance(node, list | tuple):
        return [_without_tensors(value, f"{path}/{i}", tensors) for i, value in enumerate(node)]
    if isinstance(node, np.generic):
        return node.item()
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(
        f"a checkpoint cannot store {type(node).__name__} (at {path or 'the root'}); expected "
        "tensors, arrays, numbers, strings, booleans, None, or lists and dicts of them"
    )


def _with_tensors(node: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        if node.keys() == {_REFERENCE}:
            return Tensor(arrays[node[_REFERENCE]])
        return {key: _with_tensors(value, arrays) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_tensors(value, arrays) for value in node]
    return node
