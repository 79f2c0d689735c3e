"""Damage: some of it blind, some of it to numbers, names and lengths, where readers trust files."""

from __future__ import annotations

import io
import random
import re
import zipfile
import zlib
from collections.abc import Sequence

__all__ = ["mutated"]

#: Numbers at which arithmetic on sizes and coordinates turns.
NUMBERS = [
    "0", "1", "2", "7", "8", "9", "-0", "-1", "-8", "255", "256", "65535", "65536", "2147483647",
    "2147483648", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709551616", "1e999", "-1e999", "1e308", "1e-320", "1e-9",
    "0.5", "1.0", "-0.0", "NaN", "Infinity", "-Infinity", "nan", "inf", "true", "false", "null",
    "[]", "{}", '""', "[1]", '{"a":1}', '"1"', "00", "0x10", "1_0", "+1", ".5", "1e5",
    "9" * 400, "9" * 5000, "1" + "0" * 300,
]  # fmt: skip
NAMES = [
    b"../../x", b"/etc/passwd", b"__metadata__", b"a\\b", b"\\u0000", b"\\ud800", b"\\u001b[31m",
    b"lucid.sha256", b"x" * 300, b"dtype", b"shape", b"data_offsets", b"BF16", b"F64", b"F8_E4M3",
    b"C64", b"BOOL", b"archive/data.pkl", b"torch._utils", b"os\nsystem", b"a/../b", b"%00",
]  # fmt: skip
LENGTHS = [n.to_bytes(w, "little") for w in (2, 4, 8) for n in (0, 1, 255, 2**15, 2 ** (8 * w) - 1)]
XML = [
    b"<!DOCTYPE annotation [<!ENTITY e 'eeeeeeee'>]>", b"&e;", b"&amp;", b"&#0;", b"&#xD800;",
    b"<![CDATA[1]]>", b"<!--", b"-->", b"<object>", b"</object>", b"<?xml version='1.0'?>",
    b"xmlns:a='b'", b"a:", b"encoding='utf-16'", b"encoding='latin-1'", b"encoding='gbk'",
    b"encoding='nonsense'", b"encoding='utf-7'", b"encoding='rot13'", b"\xef\xbb\xbf", b"\xff\xfe",
]  # fmt: skip
NESTS = [b"[" * 900, b"[" * 100_000, b'{"a":' * 900, b"<a>" * 900, b"(" * 3000, b"(" * 80]
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
WORD = re.compile(rb"[A-Za-z_.]{2,}")


def mutated(seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """One of the files, with one to four kinds of damage."""
    whole = rng.choice(seeds)
    if whole.startswith(b"PK") and rng.random() < 0.6:
        return _inside(whole, rng, seeds)
    if whole[8:9] == b"{" and rng.random() < 0.6:
        return _in_header(whole, rng, seeds)
    content = bytearray(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        rng.choice(DAMAGES)(content, rng, seeds)
    return bytes(content)


def _inside(archive: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Damage to one member of an archive, whose checksum is right all the same."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as source:
            members = [(info, source.read(info)) for info in source.infolist()]
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, EOFError, OSError):
        return archive  # one of the corpus, damaged enough as it is
    buffer, damaged = io.BytesIO(), rng.randrange(len(members)) if members else 0
    with zipfile.ZipFile(buffer, "w") as target:
        for i, (info, content) in enumerate(members):
            changed = bytearray(content)
            if i == damaged:
                for _ in range(rng.choice((1, 1, 2, 3))):
                    rng.choice(DAMAGES)(changed, rng, seeds)
            target.writestr(zipfile.ZipInfo(info.filename), bytes(changed), info.compress_type)
    return buffer.getvalue()


def _in_header(whole: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Damage to the header of a safetensors file, whose length is right all the same."""
    end = 8 + int.from_bytes(whole[:8], "little")
    header = bytearray(whole[8:end])
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(DAMAGES)(header, rng, seeds)
    return len(header).to_bytes(8, "little") + bytes(header) + whole[end:]


def _place(content: bytearray, rng: random.Random) -> int:
    return rng.randrange(len(content) + 1)


def _flip(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _byte(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    if content:
        content[rng.randrange(len(content))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def _cut(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    del content[_place(content, rng) :]


def _drop(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    start = _place(content, rng)
    del content[start : start + rng.choice((1, 2, 4, 8, 30))]


def _double(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    start = _place(content, rng)
    part = content[start : start + rng.choice((1, 8, 64, 500))]
    content[start:start] = part * rng.choice((1, 1, 2, 50))


def _move(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    start = _place(content, rng)
    part = content[start : start + rng.choice((4, 20, 100))]
    del content[start : start + len(part)]
    at = _place(content, rng)
    content[at:at] = part


def _splice(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    other = rng.choice(seeds)
    start = rng.randrange(len(other) + 1)
    at = _place(content, rng)
    content[at : at + rng.choice((0, 10, len(content)))] = other[start:]


def _number(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    found = [match.span() for match in NUMBER.finditer(content)]
    if found:
        start, end = rng.choice(found)
        content[start:end] = rng.choice(NUMBERS).encode()


def _word(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    found = [match.span() for match in WORD.finditer(content)]
    if found:
        start, end = rng.choice(found)
        other = content[slice(*rng.choice(found))]
        content[start:end] = rng.choice([*NAMES, other, other])


def _insert(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    at = _place(content, rng)
    content[at:at] = rng.choice([*XML, *NAMES, b'"', b"}", b"]", b",", b" ", b"\n", b"\0"])


def _length(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    written = rng.choice(LENGTHS)
    at = rng.choice((0, _place(content, rng)))
    content[at : at + len(written)] = written


def _nest(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    nest = rng.choice(NESTS)
    found = [match.start() for match in NUMBER.finditer(content)]
    at = rng.choice(found) if found else _place(content, rng)
    inside = rng.random() < 0.5  # closed again where that can be done
    closing = {b"[": b"]", b"{": b"}", b"(": b")"}.get(nest[:1], b"")
    content[at:at] = nest + b"1" + closing * nest.count(nest[:1]) if inside else nest


DAMAGES = [
    _flip, _flip, _byte, _cut, _drop, _double, _move, _splice, _number, _number, _number, _word,
    _word, _insert, _length, _nest,
]  # fmt: skip
