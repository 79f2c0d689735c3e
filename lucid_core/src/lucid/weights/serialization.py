"""``save`` and ``load``: state dicts to and from files, the format chosen by the name."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Mapping
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
    """Save tensors by name.

    The file appears whole or not at all: an existing one is replaced in one
    step, and a crash at any moment leaves the old one.  It carries a SHA-256
    digest of its contents, which :func:`load` checks.

    Parameters
    ----------
    state_dict : mapping of str to Tensor or numpy.ndarray
        What to save, for example ``model.state_dict()``.  Any memory layout;
        bool, integers and floats of 8 to 64 bits.  An array that stands under
        two names is stored under both.
    path : path-like
        ``.npz`` gives NumPy's format; every other suffix safetensors, usually
        ``.safetensors``.  Suffixes of pickled checkpoints are refused.
    metadata : mapping of str to str, optional
        Text to store beside the tensors; see :func:`read_metadata`.  Keys that
        begin with ``lucid.`` are reserved.

    Raises
    ------
    WeightFileError
        If a name cannot be stored (empty, ``__metadata__``, a path such as
        ``../x``, control characters), metadata are no text that UTF-8 can hold, or
        the suffix belongs to pickled files.
    TypeError
        If ``state_dict`` is not a mapping, a value is no array of numbers, or metadata are
        no text.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"save expected a mapping of names to tensors, got {type(state_dict).__name__}; pass "
            "model.state_dict(), or use lucid.save_model(model, path)"
        )
    for key in metadata or ():
        if isinstance(key, str) and key.startswith(_RESERVED):
            raise ValueError(f"metadata keys that begin with {_RESERVED!r} are reserved: {key!r}")
    write_file(path, state_dict, metadata or {})


def load(path: StrPath, *, ema: bool | None = None) -> dict[str, Tensor]:
    """Load the tensors of a weight file.

    Nothing in the file is executed, and no declared size is believed before it
    has been held against the size of the file.

    Parameters
    ----------
    path : path-like
        A safetensors or ``.npz`` file, of Lucid or of any other library, or a
        checkpoint of PyTorch (``.pth``, ``.pt``, ``.bin``; zip archives as well as
        the older form): a state dict, at the top or under a usual name such as
        ``"state_dict"``, ``"model"`` or ``"model_ema"``.  The contents decide what
        a file is; its name only where they do not.
    ema : bool, optional
        For a checkpoint that holds an exponential moving average (EMA) of the weights
        beside them: True selects the EMA, False the weights as trained.  Default: the
        EMA where there is one, with a :class:`lucid.WeightFileWarning` that says so.

    Returns
    -------
    dict of str to Tensor
        In the file's order, each with memory of its own.  bfloat16 becomes
        float32, everything else keeps its element type.  Numbers, text and objects
        that stand beside the tensors of a checkpoint are left out.  Names are those
        of the file: prefixes such as ``module.`` are stripped where the weights are
        loaded into a model, see :func:`lucid.weights.strip_prefix`.

    Raises
    ------
    WeightFileError
        If the file is damaged, truncated, hostile or of an unknown format.
    FileNotFoundError
        If there is no such file.
    """
    return {name: Tensor(array) for name, array in read_file(path, ema)[0].items()}


def read_metadata(path: StrPath) -> dict[str, str]:
    """Read the text that stands beside the tensors of a weight file.

    The tensors themselves are not read, and so the digest is not checked.

    Parameters
    ----------
    path : path-like
        A file that :func:`load` reads.

    Returns
    -------
    dict of str to str
        Empty if the file carries none, as PyTorch's do.  Keys that begin with ``lucid.`` are
        Lucid's own.

    Raises
    ------
    WeightFileError
        If the file is damaged, truncated, hostile or of an unknown format.
    FileNotFoundError
        If there is no such file.
    """
    try:
        with _opened(path) as file:
            form = _format_in(file, path)
            metadata: dict[str, str] = form.read_metadata(file, _size_of(file))
            return metadata
    except MalformedError as error:
        raise WeightFileError(
            f"{os.fspath(path)}: {error}{unsupported_files.unfinished_download(path)}"
        ) from None


def write_file(
    path: StrPath, values: Mapping[str, Tensor | Array], metadata: Mapping[str, str]
) -> None:
    """:func:`save` without the restriction on metadata keys."""
    for key, text in metadata.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"metadata must map str to str, got {key!r}: {text!r:.60}")
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
    """Read ``(arrays, metadata)`` of a weight file in one go, digest checked."""
    metadata: dict[str, str] = {}
    notes: list[str] = []
    try:
        with _opened(path) as file:
            form = _format_in(file, path)
            if form is torch_checkpoint:
                arrays, notes = torch_checkpoint.read(file, _size_of(file), ema)
            else:
                arrays, metadata = form.read(file, _size_of(file))
                if ema and not any(map(is_ema_key, arrays)):
                    raise MalformedError("holds no EMA of the weights; leave out ema=True (--ema)")
        check_digest(arrays, metadata)
    except MalformedError as error:
        raise WeightFileError(
            f"{os.fspath(path)}: {error}{unsupported_files.unfinished_download(path)}"
        ) from None
    if part := unsupported_files.describe_part(path):
        notes = [*notes, part]
    for note in notes:
        warnings.warn(
            f"{os.fspath(path)}: {note}", WeightFileWarning, stacklevel=find_stack_level()
        )
    return arrays, metadata


def _written_format(path: StrPath) -> ModuleType:
    suffix = Path(path).suffix.lower()
    if suffix in _PICKLES:
        raise MalformedError(
            f"{suffix} files are pickles, which are read but not written; "
            "supported are .safetensors and .npz"
        )
    return npz_format if suffix == ".npz" else safetensors_format


def _format_in(file: BinaryIO, path: StrPath) -> ModuleType:
    """The format of what is in a file: by its first bytes, and by its name where they fail."""
    start = file.read(9)
    file.seek(0)
    if start[8:] == b"{":  # after the length of the header
        return safetensors_format
    unsupported_files.check_start(file, _size_of(file))
    suffix = Path(path).suffix.lower()
    if start.startswith(b"PK\3\4"):
        return _archived_format(file, torch_checkpoint if suffix in _PICKLES else npz_format)
    if suffix in _PICKLES or (start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5"):
        return torch_checkpoint
    return npz_format if suffix == ".npz" else safetensors_format


def _archived_format(file: BinaryIO, default: ModuleType) -> ModuleType:
    """The format of a zip archive; ``default`` if its list of members is damaged."""
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
        raise MalformedError(f"expected weights, it is {what}")
    return npz_format


def _storable(name: str, value: Tensor | Array) -> Array:
    array = value.data if isinstance(value, Tensor) else value
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"{name!r} must be a Tensor or numpy.ndarray to be saved, got {type(value).__name__}"
        )
    little = array.dtype.newbyteorder("<")
    if little not in CODES:
        known = ", ".join(dtype.name for dtype in CODES)
        raise TypeError(f"{name!r} has dtype {array.dtype}, which cannot be saved; {known} can")
    return array.astype(little, copy=False)


def _opened(path: StrPath) -> BinaryIO:
    # Asked before opening: to open a named pipe would wait for its writer.
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise MalformedError(unsupported_files.describe_folder(path))
    if not stat.S_ISREG(mode):
        raise MalformedError("is no regular file")
    return open(path, "rb")


def _size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
