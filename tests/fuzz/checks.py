"""Invariants of the readers for arbitrary input bytes.

:func:`check_weights` and :func:`check_annotations` raise :class:`InvariantError` for a violation.
"""

from __future__ import annotations

import os
import re
import signal
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

import lucid
from lucid_models_detection.data import CocoDetection, VocDetection
from lucid_models_detection.data.coco import read_categories

__all__ = ["Figures", "InvariantError", "check_annotations", "check_weights", "hang_limit"]

#: What may be taken beyond the arrays that come back.
FREE_MEMORY = 16 * 2**20
#: Seconds of the processor for one file: other programs may take it away, and do not count.
TIME = 1.0

#: Why Lucid refuses files that the safetensors library reads; docs/security.md lists them.
STRICTER = re.compile(
    r"has dtype .* supported are"  # 8-bit floats, complex numbers
    r"|looks like a path|control characters|must be a non-empty string"
    r"|other than 0 and 1"  # bools
    r"|do not match the digest"
    r"|must be described by dtype, shape and data_offsets"  # other keys, or a list of the three
    r"|declares the impossible shape"  # more axes or elements than NumPy has
    r"|metadata must map strings to strings"  # null
    r"|has the key .* twice"
)


class InvariantError(AssertionError):
    """A reader violated an invariant."""


class HangError(BaseException):
    """Not an Exception, so that no reader takes it for damage of the file."""


@dataclass
class Figures:
    """What the files of one kind came to."""

    files: int = 0
    accepted: int = 0
    compared: int = 0
    most_memory: int = 0
    longest: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(self.errors.items()))
        return (
            f"{self.files} files, {self.accepted} read, refused: {kinds or 'none'}; "
            f"{self.compared} held against the safetensors library; "
            f"at most {self.most_memory / 2**20:.2f} MiB beyond what came back, "
            f"at most {self.longest:.3f} s"
        )


@contextmanager
def hang_limit(seconds: float) -> Iterator[None]:
    """Break off what takes the processor for longer, where the system has such a clock."""
    if not hasattr(signal, "ITIMER_PROF"):
        yield
        return

    def stop(*_: Any) -> None:
        raise HangError(f"more than {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def measured(
    read: Callable[[], Any], size_of: Callable[[Any], int], allowed: tuple[type[Exception], ...]
) -> tuple[Any, Exception | None, int, float]:
    """The result or the error of one reading, and what it took beyond the result."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    began = time.process_time()
    result, refusal = None, None
    try:
        with hang_limit(TIME), warnings.catch_warnings():
            warnings.simplefilter("error")
            result = read()
    except allowed as error:
        refusal = error.with_traceback(None)
    except HangError as error:
        raise InvariantError(str(error)) from error
    except BaseException as error:
        raise InvariantError(f"{type(error).__name__}: {error!s:.300}") from error
    took = time.process_time() - began
    extra = tracemalloc.get_traced_memory()[1] - before - (0 if refusal else size_of(result))
    return result, refusal, max(extra, 0), took


def _note(figures: Figures, refusal: Exception | None, extra: int, took: float) -> None:
    figures.files += 1
    figures.most_memory = max(figures.most_memory, extra)
    figures.longest = max(figures.longest, took)
    if refusal is None:
        figures.accepted += 1
    else:
        name = type(refusal).__name__
        figures.errors[name] = figures.errors.get(name, 0) + 1
    if extra > FREE_MEMORY:
        raise InvariantError(f"took {extra} bytes more than what came back")
    if took > TIME:
        raise InvariantError(f"took {took:.2f} s")


def _named(refusal: Exception | None, path: Path) -> None:
    if refusal is not None and str(path) not in str(refusal):
        raise InvariantError(f"an error that does not name the file: {refusal!r:.300}")


# --- weights --------------------------------------------------------------------------------------


def check_weights(content: bytes, path: Path, figures: Figures) -> None:
    """A weight file is read, or refused by a WeightFileError that names it.

    What the safetensors library refuses is refused; what it reads is read the same, or
    refused for one of the reasons of :data:`STRICTER`.
    """
    path.write_bytes(content)
    arrays, refusal, extra, took = measured(
        lambda: {name: tensor.data for name, tensor in lucid.load(path).items()},
        lambda arrays: sum(array.nbytes for array in arrays.values()),
        (lucid.WeightFileError,),
    )
    _note(figures, refusal, extra, took)
    _named(refusal, path)
    if refusal is None:
        for name, array in arrays.items():
            if array.dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
                raise InvariantError(f"{name!r} has bools that are neither 0 nor 1")
    if path.suffix == ".safetensors" and not content.startswith((b"PK", b"\x80")):
        _compare(content, arrays, refusal)
        figures.compared += 1


def _compare(content: bytes, ours: dict[str, Any] | None, refusal: Exception | None) -> None:
    try:
        theirs = dict(safetensors.deserialize(content))
    except SafetensorError as error:
        if refusal is None:
            raise InvariantError(f"safetensors refuses what we read: {error}") from error
        return
    if refusal is not None:
        if not STRICTER.search(str(refusal)):
            raise InvariantError(f"refused without a stated reason: {refusal}")
        return
    assert ours is not None
    if ours.keys() != theirs.keys():
        raise InvariantError(f"names differ: {sorted(ours)} and {sorted(theirs)}")
    for name, entry in theirs.items():
        if list(ours[name].shape) != list(entry["shape"]):
            raise InvariantError(
                f"shapes of {name!r} differ: {ours[name].shape} and {entry['shape']}"
            )
        if _bytes_of(ours[name], entry["dtype"]) != bytes(entry["data"]):
            raise InvariantError(f"the elements of {name!r} differ")


def _bytes_of(array: Any, code: str) -> bytes:
    if code == "BF16":  # the upper halves of what became float32
        return (array.view(np.uint32) >> 16).astype("<u2").tobytes()
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


# --- annotations ----------------------------------------------------------------------------------


def check_annotations(kind: str, content: bytes, folder: Path, figures: Figures) -> None:
    """An annotation file is read into sound targets, or refused by an error that names it."""
    read = _coco if kind == "coco" else _voc
    path = folder / f"annotations.{'json' if kind == 'coco' else 'xml'}"
    path.write_bytes(content)
    allowed = (ValueError, FileNotFoundError) if kind == "voc" else (ValueError,)
    for on_invalid in ("raise", "skip"):
        targets, refusal, extra, took = measured(
            lambda policy=on_invalid: read(path, folder, policy), lambda _: 0, allowed
        )
        _note(figures, refusal, extra, took)
        _named(refusal, path)
        for target in targets or ():
            _sound(target)
    if kind == "coco":
        _, refusal, _, _ = measured(lambda: read_categories(path), lambda _: 0, (ValueError,))
        _named(refusal, path)


def _coco(path: Path, folder: Path, on_invalid: Any) -> list[Any]:
    dataset = CocoDetection(path, folder, on_invalid=on_invalid)
    for entry in dataset.entries:
        if not os.path.realpath(entry.path).startswith(os.path.realpath(folder)):
            raise InvariantError(f"an image outside of its folder: {entry.path}")
    return _targets(dataset)


def _voc(path: Path, folder: Path, on_invalid: Any) -> list[Any]:
    dataset = VocDetection(folder, folder, on_invalid=on_invalid)
    return _targets(dataset)


def _targets(dataset: CocoDetection | VocDetection) -> list[Any]:
    return [
        (dataset.target(i), entry.width, entry.height, dataset.num_classes)
        for i, entry in enumerate(dataset.entries)
    ]


def _sound(entry: Any) -> None:
    target, width, height, classes = entry
    for boxes, labels in (("boxes", "labels"), ("ignored_boxes", "ignored_labels")):
        found = target[boxes]
        if found.shape != (len(target[labels]), 4) or not np.isfinite(found).all():
            raise InvariantError(f"{boxes} are {found!r:.200}")
        limit = np.array([width, height, width, height], np.float32)
        if (found < 0).any() or (found > limit).any():
            raise InvariantError(
                f"{boxes} reach out of the image of {width} x {height}: {found!r:.200}"
            )
        if ((target[labels] < 1) | (target[labels] >= classes)).any():
            raise InvariantError(f"{labels} are {target[labels]!r:.200} of {classes} classes")
        if (found[:, 2:] <= found[:, :2]).any():
            raise InvariantError(f"{boxes} without an area: {found!r:.200}")
    if not (np.isfinite(target["area"]).all() and (target["area"] > 0).all()):
        raise InvariantError(f"areas are {target['area']!r:.200}")
