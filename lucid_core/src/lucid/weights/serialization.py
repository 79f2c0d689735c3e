"""``save`` and ``load``: state dicts to and from files."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np

from lucid.errors import WeightFileError, WeightFileWarning, find_stack_level
from lucid.tensor import Tensor
from lucid.weights import npz_format, safetensors_format, torch_checkpoint, unsupported_files
from lucid.weights.atomic_file import atomic_write
from lucid.weights.format_checks import (
    CODES,
    DIGEST,
    Array,
    MalformedError,
    check_digest,
    check_metadata,
    check_name,
    digest,
)
from lucid.weights.key_prefixes import is_ema_key
from lucid.weights.zip_archive import open_archive

__all__ = ["load", "read_metadata", "save"]

StrPath = str | os.PathLike[str]

_PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl", ".pickle")
_RESERVED = "lucid."


def save(
    state_dict: Mapping[str, Tensor | Array],
    path: StrPath,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Save a state dict to a file.

    The write is atomic: a crash leaves the old file.  The file contains a SHA-256 digest, which
    :func:`load` checks.

    Parameters
    ----------
    state_dict : mapping of str to Tensor or numpy.ndarray
        Tensors by name, for example ``model.state_dict()``: bool, integers and floats of 8 to 64
        bits, in any memory layout.  Shared arrays are stored once per name.
    path : path-like
        The suffix ``.npz`` selects NumPy's format, any other safetensors.  Suffixes of pickled
        checkpoints are errors.
    metadata : mapping of str to str, optional
        Text to store with the tensors; see :func:`read_metadata`.  Keys that start with
        ``lucid.`` are reserved.

    Raises
    ------
    WeightFileError
        If a name cannot be stored (empty, ``__metadata__``, a path such as ``../x``, control
        characters), the metadata cannot be encoded as UTF-8, or the suffix is that of a pickle.
    TypeError
        If ``state_dict`` is not a mapping, a value is not a numeric array, or the metadata is not
        text.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"save expected a mapping of names to tensors, got {type(state_dict).__name__}; pass "
            "model.state_dict(), or use lucid.save_model(model, path)"
        )
    for key in metadata or ():
        if isinstance(key, str) and key.startswith(_RESERVED):
            raise ValueError(
                f"expected metadata keys without the reserved prefix {_RESERVED!r}, got {key!r}"
            )
    write_file(path, state_dict, metadata or {})


def load(path: StrPath, *, ema: bool | None = None) -> dict[str, Tensor]:
    """Load a state dict from a file.

    Nothing in the file is executed, and declared sizes are checked against the file size before
    memory is allocated.

    Parameters
    ----------
    path : path-like
        A safetensors or ``.npz`` file of any library, or a PyTorch checkpoint (``.pth``,
        ``.pt``, ``.bin``; zip and legacy format) with a state dict at the top level or under a
        usual key such as ``"state_dict"``, ``"model"`` or ``"model_ema"``.  The format is
        detected from the contents, then from the suffix.
    ema : bool, optional
        For a checkpoint with an exponential moving average (EMA) of the weights: True loads the
        EMA, False the raw weights.  Default: the EMA if there is one, with a
        :class:`lucid.WeightFileWarning`.

    Returns
    -------
    dict of str to Tensor
        In file order, without shared memory.  bfloat16 becomes float32; other dtypes are kept.
        Other objects in a checkpoint are skipped.  Keys are those of the file; prefixes such as
        ``module.`` are stripped when the weights are loaded into a model, see
        :func:`lucid.weights.strip_prefix`.

    Raises
    ------
    WeightFileError
        If the file is damaged, malicious or of an unknown format.
    FileNotFoundError
        If the file does not exist.
    """
    return {name: Tensor(array) for name, array in read_file(path, ema)[0].items()}


def read_metadata(path: StrPath) -> dict[str, str]:
    """Read the metadata of a weight file.

    The tensors are not read, so the digest is not checked.

    Parameters
    ----------
    path : path-like
        A file that :func:`load` reads.

    Returns
    -------
    dict of str to str
        Empty for files without metadata, such as PyTorch's.  Keys that start with ``lucid.`` are
        reserved for Lucid.

    Raises
    ------
    WeightFileError, FileNotFoundError
        As for :func:`load`.
    """
    with _reading(path) as (form, file, size):
        metadata: dict[str, str] = form.read_metadata(file, size)
        return metadata


def write_file(
    path: StrPath, values: Mapping[str, Tensor | Array], metadata: Mapping[str, str]
) -> None:
    """:func:`save` without the restriction on metadata keys."""
    for key, text in metadata.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"metadata: expected str to str, got {key!r}: {text!r:.60}")
    try:
        form = _written_format(path)
        check_metadata(dict(metadata))
        arrays = {check_name(name): _storable(name, value) for name, value in values.items()}
        signed = {**metadata, DIGEST: digest(arrays, metadata)}
        with atomic_write(path) as file:
            form.write(file, arrays, signed)
    except MalformedError as error:
        raise WeightFileError(f"cannot save {os.fspath(path)}: {error}") from None


def read_file(path: StrPath, ema: bool | None = None) -> tuple[dict[str, Array], dict[str, str]]:
    """Read ``(arrays, metadata)`` of a weight file and check the digest."""
    metadata: dict[str, str] = {}
    notes: list[str] = []
    with _reading(path) as (form, file, size):
        if form is torch_checkpoint:
            arrays, notes = torch_checkpoint.read(file, size, ema)
        else:
            arrays, metadata = form.read(file, size)
            if ema and not any(map(is_ema_key, arrays)):
                raise MalformedError("has no EMA of the weights; remove ema=True (--ema)")
        check_digest(arrays, metadata)
    if shard := unsupported_files.describe_shard(path):
        notes = [*notes, shard]
    for note in notes:
        warnings.warn(
            f"{os.fspath(path)}: {note}", WeightFileWarning, stacklevel=find_stack_level()
        )
    return arrays, metadata


def _written_format(path: StrPath) -> ModuleType:
    suffix = Path(path).suffix.lower()
    if suffix in _PICKLES:
        raise MalformedError(
            f"expected .safetensors or .npz, got {suffix}, a pickle format that is only read"
        )
    return npz_format if suffix == ".npz" else safetensors_format


def _format_in(file: BinaryIO, path: StrPath, size: int) -> ModuleType:
    """Detect the format from the first bytes, then from the suffix."""
    start = file.read(9)
    file.seek(0)
    if start[8:] == b"{":  # after the header length
        return safetensors_format
    unsupported_files.check_start(file, size)
    suffix = Path(path).suffix.lower()
    if start.startswith(b"PK\3\4"):
        return _archived_format(file, torch_checkpoint if suffix in _PICKLES else npz_format)
    if suffix in _PICKLES or (start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5"):
        return torch_checkpoint
    return npz_format if suffix == ".npz" else safetensors_format


def _archived_format(file: BinaryIO, default: ModuleType) -> ModuleType:
    """Detect the format of a zip archive; ``default`` if its directory is damaged."""
    try:
        with open_archive(file, "archive") as archive:
            names = archive.namelist()
    except MalformedError:
        return default
    finally:
        file.seek(0)
    if any(map(torch_checkpoint.PICKLE_IN_ARCHIVE.fullmatch, names)):
        return torch_checkpoint
    if names and (what := unsupported_files.describe_archive(names)) is not None:
        raise MalformedError(f"expected weights, got {what}")
    return npz_format


def _storable(name: str, value: Tensor | Array) -> Array:
    array = value.data if isinstance(value, Tensor) else value
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name!r}: expected a Tensor or numpy.ndarray, got {type(value).__name__}")
    little = array.dtype.newbyteorder("<")
    if little not in CODES:
        known = ", ".join(dtype.name for dtype in CODES)
        raise TypeError(f"{name!r}: expected one of the dtypes {known}, got {array.dtype}")
    return array.astype(little, copy=False)


@contextmanager
def _reading(path: StrPath) -> Iterator[tuple[ModuleType, BinaryIO, int]]:
    """Open a file; yield format, file and size; MalformedError becomes WeightFileError."""
    try:
        # Checked first: opening a named pipe would block.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise MalformedError(unsupported_files.describe_folder(path))
        if not stat.S_ISREG(mode):
            raise MalformedError("is not a regular file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            yield _format_in(file, path, size), file, size
    except MalformedError as error:
        raise WeightFileError(
            f"{os.fspath(path)}: {error}{unsupported_files.unfinished_download(path)}"
        ) from None
