"""Helpers for damaged weight files."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid

#: Loads files with 128 MiB to spare; prints why each is refused.
IN_LITTLE_MEMORY = textwrap.dedent("""
    import resource, sys, zipfile
    import lucid
    import lucid.weights.npz_format, lucid.weights.safetensors_format
    import lucid.weights.torch_checkpoint
    lucid.load  # import before the memory limit is set
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limit = held + 128 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for path in sys.argv[1:]:
        try:
            lucid.load(path)
        except lucid.WeightFileError as error:
            print(error)
""")


def assert_refused(path: Path, match: str | None = None) -> None:
    with pytest.raises(lucid.WeightFileError, match=match) as caught:
        lucid.load(path)
    assert str(path) in str(caught.value)


def loaded_or_refused(path: Path) -> dict[str, lucid.Tensor] | None:
    """Load a file; return None if it is rejected with an error that names it."""
    try:
        return lucid.load(path)
    except lucid.WeightFileError as caught:
        error = caught
    assert str(path) in str(error)
    return None


def assert_same(loaded: Mapping[str, lucid.Tensor], arrays: Mapping[str, Any]) -> None:
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name].numpy(), array)


def assert_every_truncation_is_refused(path: Path, arrays: Mapping[str, Any]) -> None:
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert_refused(path)
    path.write_bytes(content)
    assert_same(lucid.load(path), arrays)


def loaded_with_each_bit_flipped(path: Path) -> Iterator[dict[str, lucid.Tensor] | None]:
    """Yield the result of the file with each bit flipped in turn."""
    content = path.read_bytes()
    for position in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            yield loaded_or_refused(path)


def refused_in_little_memory(*paths: Path) -> str:
    """Run a process with little memory; return its output, which names each file."""
    done = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(str(path) in done.stdout for path in paths)
    return done.stdout
