"""Damaged and hostile PyTorch checkpoints: an error that names the file, and no code runs.

What is in their pickles is in ``test_pth_pickles.py``.
"""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pth_files as pth
import pytest
from weight_file_damage import (
    assert_every_truncation_is_refused,
    assert_refused,
    assert_same,
    loaded_with_each_bit_flipped,
    refused_in_little_memory,
)

import lucid

ARRAYS = {"conv.weight": np.arange(6, dtype="<f4").reshape(2, 3), "seen": np.array(7, "<i8")}


def whole(path, legacy):
    """A small checkpoint with other entries beside the state dict."""
    numbered = {str(i): array for i, array in enumerate(ARRAYS.values())}
    state = {
        key: pth.of(number, array, legacy)
        for key, (number, array) in zip(ARRAYS, numbered.items(), strict=True)
    }
    value = pth.dict_({"epoch": pth.plain(3), "state_dict": pth.ordered(state)})
    if legacy:
        stored = {n: (array.size, array.tobytes()) for n, array in numbered.items()}
        return pth.write_legacy(path, value, stored)
    return pth.write_archive(path, value, {n: a.tobytes() for n, a in numbered.items()})


@pytest.fixture(params=[False, True], ids=["archive", "legacy"])
def saved(request, tmp_path):
    return whole(tmp_path / "w.pth", request.param)


def test_all_truncations_are_rejected(saved):
    assert_every_truncation_is_refused(saved, ARRAYS)


def test_flipped_bits_of_an_archive_are_rejected_or_harmless(tmp_path):
    path = whole(tmp_path / "w.pth", legacy=False)
    for loaded in loaded_with_each_bit_flipped(path):
        if loaded is not None:
            assert_same(loaded, ARRAYS)


def test_flipped_bits_of_a_legacy_file_are_file_errors(tmp_path):
    """The format has no checksum, so other numbers or names are possible."""
    path = whole(tmp_path / "w.pth", legacy=True)
    bytes_of_it = path.stat().st_size
    refused = sum(loaded is None for loaded in loaded_with_each_bit_flipped(path))
    assert refused > 4 * bytes_of_it


def test_trailing_bytes_of_a_legacy_file_are_rejected(tmp_path):
    path = whole(tmp_path / "w.pth", legacy=True)
    path.write_bytes(path.read_bytes() + b"\0")
    assert_refused(path, "1 bytes after the last storage")


# --- payloads -------------------------------------------------------------------------------------


def payloads(canary):
    """Pickle fragments that create a directory when unpickled."""
    make = pth.plain(str(canary))
    code = pth.plain(f"__import__('os').mkdir({str(canary)!r})")
    getattr_ = pth.call("builtins", "getattr", pth.name("os", "path"), pth.plain("os"))
    mkdir = pth.call("builtins", "getattr", getattr_, pth.plain("mkdir"))
    # A map is made by its __new__ and runs when the __new__ of bytes goes through it.
    mapped = pth.name("builtins", "map") + pth.name("os", "mkdir") + b"]" + make + b"a\x86\x81"
    return {
        "os.mkdir": pth.call("os", "mkdir", make),
        "posix.mkdir": pth.call("posix", "mkdir", make),
        "os.system": pth.call("os", "system", pth.plain(f"mkdir {canary}")),
        "subprocess": pth.call("subprocess", "check_call", pth.plain(["mkdir", str(canary)])),
        "eval": pth.call("builtins", "eval", code),
        "eval of Python 2": pth.call("__builtin__", "eval", code),
        "exec": pth.call("builtins", "exec", code),
        "getattr": mkdir + pth.tuple_(make) + b"R",
        "new object": pth.name("builtins", "bytes") + mapped + b"\x85\x81",
        "new object with keywords": pth.name("builtins", "bytes") + mapped + b"\x85}\x92",
        "name from the stack": pth.plain("os") + pth.plain("mkdir") + b"\x93" + make + b"\x85R",
        "attribute of a module": pth.plain("builtins") + pth.plain("eval") + b"\x93" + code
        + b"\x85R",
        "old instance": b"(" + make + b"ios\nmkdir\n",
        "old object": b"(" + pth.name("os", "mkdir") + make + b"o",
        "map": pth.call("builtins", "list", pth.call(
            "builtins", "map", pth.name("os", "mkdir"), pth.plain([str(canary)])
        )),
        "in a list": b"]" + pth.call("os", "mkdir", make) + b"a",
        "as a key": b"}" + pth.call("os", "mkdir", make) + b"K\x01s",
        "dropped": pth.call("os", "mkdir", make) + b"0}",
        "in a state": b"}" + pth.call("os", "mkdir", make) + b"b",
        "unpickled directly": pth.call(
            "pickle", "loads", pth.plain(pickle.dumps(Payload(canary)))
        ),
        "partial": pth.call(
            "functools", "partial", pth.name("os", "mkdir"), make
        ) + b")R",
    }  # fmt: skip


class Payload:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        import os

        return os.mkdir, (self.canary,)


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "legacy"])
@pytest.mark.parametrize("case", payloads(""))
def test_payloads_are_rejected_and_never_run(tmp_path, case, legacy):
    canary = tmp_path / "canary"
    fragment = payloads(canary)[case]
    path = tmp_path / "w.pth"
    beside = pth.dict_({"w": pth.of("0", ARRAYS["seen"], legacy), "x": fragment})
    for value in (fragment, beside):
        if legacy:
            pth.write_legacy(path, value, {"0": (1, bytes(8))})
        else:
            pth.write_archive(path, value, {"0": bytes(8)})
        assert_refused(path)
        assert not canary.exists()


@pytest.mark.parametrize("case", payloads(""))
def test_payloads_run_in_pickle(tmp_path, case):
    canary = tmp_path / "canary"
    text = pth.pickled(payloads(canary)[case])
    try:
        pickle.load(io.BytesIO(text))
    except Exception as error:
        print(f"{case} failed after its deed: {error}")
    assert canary.exists()


def test_payloads_in_all_pickles_of_a_legacy_file_are_rejected(tmp_path):
    """Put a payload into each of the five pickles."""
    canary, path = tmp_path / "canary", tmp_path / "w.pth"
    payload = pth.pickled(pth.call("os", "mkdir", pth.plain(str(canary))))
    good = [pth.plain(pth.MAGIC), pth.plain(1001), b"}", b"}", b"]"]
    for place in range(5):
        parts = [pth.pickled(part) for part in good]
        parts[place] = payload
        path.write_bytes(b"".join(parts))
        assert_refused(path, "has the global 'os.mkdir'")
    assert not canary.exists()


# --- containers -----------------------------------------------------------------------------------

FLOATS = pth.storage("0", "f4", 6)
STATE = pth.dict_({"w": pth.of("0", ARRAYS["conv.weight"])})


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archive_members_are_checked(tmp_path):
    path = tmp_path / "w.pth"
    for message, options in {
        "compressed": {"compression": zipfile.ZIP_DEFLATED},
        "unknown byte order": {"members": {"byteorder": b"middle"}},
        "longer than 16 bytes": {"members": {"byteorder": b"little" * 9}},
        "TorchScript": {"members": {"constants.pkl": b""}},
        "looks like a path": {"members": {"../../x": b""}},
        "control characters": {"members": {"a\nb": b""}},
    }.items():
        assert_refused(pth.write_archive(path, STATE, {"0": bytes(24)}, **options), message)
    pth.write_archive(path, STATE, {"0": bytes(24)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", bytes(24))
    assert_refused(path, "twice")
    pth.write_archive(path, STATE, {"0": bytes(24)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", b"")
    assert_refused(path, r"one member data\.pkl in one folder")


def test_archive_without_pickle_is_rejected(tmp_path):
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", b"hello")
    assert_refused(path, "readme.txt")


def test_legacy_files_must_be_consistent(tmp_path):
    path = tmp_path / "w.pth"
    value, stored = pth.dict_({"w": pth.of("0", ARRAYS["seen"], True)}), {"0": (1, bytes(8))}
    assert lucid.load(pth.write_legacy(path, value, stored))
    for message, (keys, data) in {
        "lists other storages": ([], b""),
        "lists other storages than": (["0", "1"], bytes(32)),
        "lists other storages than its": (["0", "0"], bytes(32)),
        "holds 2 elements, expected 1": (["0"], (2).to_bytes(8, "little") + bytes(8)),
        "ends at byte": (["0"], bytes(15)),
    }.items():
        path.write_bytes(pth.legacy_pickles(value, keys) + data)
        assert_refused(path, message)
    path.write_bytes(pth.legacy_pickles(value, [1]) + bytes(16))
    assert_refused(path, "has no list of storages")
    numbers = [pth.plain(pth.MAGIC), pth.plain(1001), b"}", value, b"N"]
    for place, other, message in (
        (0, pth.plain(7), "not a PyTorch checkpoint"),
        (1, pth.plain(1002), "version 1001"),
        (2, pth.plain("here"), "system information"),
        (4, b"N", "has no list of storages"),
    ):
        parts = [*numbers[:place], other, *numbers[place + 1 :]]
        path.write_bytes(b"".join(map(pth.pickled, parts)))
        assert_refused(path, message)


# --- in little memory -----------------------------------------------------------------------------


def test_bombs_are_rejected_before_allocation(tmp_path):
    expanded = pth.dict_({"w": pth.tensor(FLOATS, (2**38,), (0,))})
    declared = pth.dict_({"w": pth.tensor(pth.storage("0", "f4", 2**38), (2**38,))})
    old = pth.dict_({"w": pth.tensor(pth.storage("0", "f4", 2**38, True), (2**38,))})
    many = pth.dict_({f"w{i}": pth.of("0", ARRAYS["conv.weight"]) for i in range(10_000)})
    compressed = {"compression": zipfile.ZIP_DEFLATED}
    bombs = {
        "expanded": pth.write_archive(tmp_path / "a.pth", expanded, {"0": bytes(24)}),
        "declared": pth.write_archive(tmp_path / "b.pth", declared, {"0": bytes(24)}),
        "old": pth.write_legacy(tmp_path / "c.pth", old, {"0": (2**38, bytes(24))}),
        "inflated": pth.write_archive(tmp_path / "d.pth", STATE, {"0": bytes(2**28)}, **compressed),
        "text": pth.write_archive(tmp_path / "e.pth", b"X\xff\xff\xff\x7f", {}),
    }
    big = np.zeros(2**18, "<f4")
    many = pth.dict_({f"w{i}": pth.of("0", big) for i in range(1000)})
    bombs["many views"] = pth.write_archive(tmp_path / "f.pth", many, {"0": big.tobytes()})
    refused_in_little_memory(*bombs.values())


def test_file_truncated_while_reading_is_rejected(tmp_path):
    from lucid.weights import torch_checkpoint
    from lucid.weights.format_checks import MalformedError

    path = whole(tmp_path / "w.pth", legacy=True)
    content = path.read_bytes()
    with pytest.raises(MalformedError, match="truncated in the data of storage"):
        torch_checkpoint.read(io.BytesIO(content[:-4]), len(content))
