"""PyTorch's checkpoints: every element type, view, nesting and spelling that it writes."""

from __future__ import annotations

import zipfile

import numpy as np
import pth_files as pth
import pytest

import lucid
from lucid.weights import has_model_metadata, read_metadata

SIX = np.arange(6, dtype="<f4")

ARRAYS = {
    "double": np.array([1.5, -2.0, np.inf]),
    "float": np.arange(6, dtype="<f4").reshape(2, 3),
    "half": np.array([0.5, 65504], "<f2"),
    "long": np.array([-(2**62), 3]),
    "int": np.array([[-7]], "<i4"),
    "short": np.array([-300, 300], "<i2"),
    "char": np.array([-1, 1], "i1"),
    "byte": np.array([0, 255], "u1"),
    "bool": np.array([True, False]),
    "scalar": np.array(7, "<i8"),
    "empty": np.zeros((0, 4), "<f4"),
}


@pytest.fixture(params=["archive", "legacy"])
def write(request, tmp_path):
    """Write tensors by name, each with a storage of its own, in one of the two forms."""
    legacy = request.param == "legacy"

    def write(arrays, wrap=pth.ordered, filename="w.pth"):
        path = tmp_path / filename
        numbered = {str(i): array for i, array in enumerate(arrays.values())}
        value = wrap(
            {
                key: pth.of(number, array, legacy)
                for key, (number, array) in zip(arrays, numbered.items(), strict=True)
            }
        )
        if legacy:
            stored = {n: (array.size, array.tobytes()) for n, array in numbered.items()}
            return pth.write_legacy(path, value, stored)
        return pth.write_archive(path, value, {n: a.tobytes() for n, a in numbered.items()})

    return write


def assert_loads(path, expected):
    loaded = lucid.load(path)
    assert list(loaded) == list(expected)
    for key, array in expected.items():
        assert loaded[key].dtype == array.dtype, key
        assert loaded[key].shape == array.shape, key
        np.testing.assert_array_equal(loaded[key].numpy(), array, err_msg=key)
        assert loaded[key].numpy().flags.writeable
        assert loaded[key].numpy().flags.c_contiguous


def test_every_element_type_comes_back(write):
    assert_loads(write(ARRAYS), ARRAYS)


@pytest.mark.parametrize("filename", ["w.pt", "w.bin", "w.ckpt", "W.PTH", "w.safetensors", "w.npz"])
def test_format_is_detected_from_the_contents(write, filename):
    assert_loads(write({"w": SIX}, filename=filename), {"w": SIX})


def test_other_formats_are_recognized_under_a_checkpoints_name(tmp_path):
    for filename in ("w.safetensors", "w.npz"):
        lucid.save({"w": SIX}, tmp_path / filename)
        renamed = (tmp_path / filename).rename(tmp_path / "w.pth")
        assert_loads(renamed, {"w": SIX})


def test_bfloat16_becomes_float32(tmp_path):
    # By hand: 1 is 0x3F80, -2.5 is 0xC020.
    data = np.array([0x3F80, 0xC020], "<u2").tobytes()
    for path in (
        pth.write_archive(
            tmp_path / "a.pth",
            pth.ordered({"w": pth.tensor(pth.storage("0", "bf16", 2), (2,))}),
            {"0": data},
        ),
        pth.write_legacy(
            tmp_path / "l.pth",
            pth.ordered({"w": pth.tensor(pth.storage("0", "bf16", 2, True), (2,))}),
            {"0": (2, data)},
        ),
    ):
        assert_loads(path, {"w": np.array([1, -2.5], "<f4")})


VIEWS = {
    "transposed": ((3, 2), (1, 3), 0, SIX.reshape(2, 3).T),
    "row": ((3,), (1,), 3, SIX[3:]),
    "column": ((2,), (3,), 1, SIX.reshape(2, 3)[:, 1]),
    "every other": ((3,), (2,), 1, SIX[1::2]),
    "expanded": ((4, 2), (0, 1), 2, np.broadcast_to(SIX[2:4], (4, 2))),
    "overlapping": ((3, 2), (1, 1), 0, np.array([[0, 1], [1, 2], [2, 3]], "<f4")),
    "scalar": ((), (), 5, SIX[5]),
    "all": ((6,), (1,), 0, SIX),
    "stride never taken": ((1, 6), (10**15, 1), 0, SIX[None]),
    "empty beyond the end": ((0, 9), (9, 1), 100, np.zeros((0, 9), "<f4")),
}


def test_views_of_one_storage_come_back_as_arrays_of_their_own(tmp_path):
    def views(legacy):
        return pth.ordered(
            {
                key: pth.tensor(pth.storage("7", "f4", 6, legacy), shape, strides, offset)
                for key, (shape, strides, offset, _) in VIEWS.items()
            }
        )

    expected = {key: np.asarray(array) for key, (*_, array) in VIEWS.items()}
    for path in (
        pth.write_archive(tmp_path / "a.pth", views(False), {"7": SIX.tobytes()}),
        pth.write_legacy(tmp_path / "l.pth", views(True), {"7": (6, SIX.tobytes())}),
    ):
        assert_loads(path, expected)
        loaded = lucid.load(path)
        loaded["all"].data[:] = -1
        assert loaded["row"].tolist() == [3, 4, 5]


def test_parts_of_legacy_storages(tmp_path):
    """PyTorch before 0.4 wrote views of storages: (key of the view, offset, count)."""
    part = pth.storage("0", "f4", 6, legacy=True, part=("view", 2, 3))
    value = pth.ordered({"w": pth.tensor(part, (2,), offset=1)})
    path = pth.write_legacy(tmp_path / "w.pth", value, {"0": (6, SIX.tobytes())})
    assert_loads(path, {"w": SIX[3:5]})
    value = pth.ordered({"w": pth.tensor(part, (3,), offset=1)})
    pth.write_legacy(path, value, {"0": (6, SIX.tobytes())})
    with pytest.raises(lucid.WeightFileError, match="reaches to element 4 of a storage of 3"):
        lucid.load(path)


def test_big_endian_archives(tmp_path):
    path = pth.write_archive(
        tmp_path / "w.pth",
        pth.ordered({"w": pth.of("0", SIX), "b": pth.tensor(pth.storage("1", "bf16", 1), (1,))}),
        {"0": SIX.astype(">f4").tobytes(), "1": b"\x3f\x80"},
        members={"byteorder": b"big"},
    )
    assert_loads(path, {"w": SIX, "b": np.ones(1, "<f4")})


def test_unsigned_integers_stand_in_untyped_storages(tmp_path):
    array = np.array([1, 2, 65535], "<u2")
    value = pth.call(
        "torch._utils",
        "_rebuild_tensor_v3",
        pth.storage("0", "UntypedStorage", 6, module="torch.storage"),
        pth.plain(1),
        pth.plain((2,)),
        pth.plain((1,)),
        pth.plain(False),
        pth.call("collections", "OrderedDict"),
        pth.name("torch", "uint16"),
    )
    path = pth.write_archive(tmp_path / "w.pth", pth.ordered({"w": value}), {"0": array.tobytes()})
    assert_loads(path, {"w": array[1:]})


def parameter(value):
    return pth.call(
        "torch._utils",
        "_rebuild_parameter",
        value,
        pth.plain(True),
        pth.call("collections", "OrderedDict"),
    )


def tagged(value):
    """A tensor with attributes of its own: the call and its arguments, and the attributes."""
    function = pth.name("torch._utils", "_rebuild_tensor_v2")
    arguments = value.removeprefix(function).removesuffix(b"R")
    return pth.call(
        "torch._tensor",
        "_rebuild_from_type_v2",
        function,
        pth.name("torch", "Tensor"),
        arguments,
        pth.plain({"tag": 3}),
    )


@pytest.mark.parametrize("wrap", [parameter, tagged])
def test_parameters_and_tensors_with_attributes(tmp_path, wrap):
    value = pth.ordered({"w": wrap(pth.of("0", SIX))})
    assert_loads(pth.write_archive(tmp_path / "w.pth", value, {"0": SIX.tobytes()}), {"w": SIX})


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict"])
def test_state_dict_of_a_training(write, key):
    def nested(state):
        beside = {
            "epoch": pth.plain(7),
            "loss": pth.plain(0.25),
            "arch": pth.plain("resnet50"),
            "nothing": pth.plain(None),
            "history": pth.plain([(1, 0.5), (2, 0.25)]),
            "optimizer": pth.plain({"state": {0: {"step": 3}}, "param_groups": [{"lr": 0.1}]}),
            "lr_scheduler": pth.call("collections", "Counter", pth.plain({30: 1})),
            "args": pth.call("argparse", "Namespace") + pth.plain({"lr": 0.1}) + b"b",
            "path": pth.call("pathlib", "PosixPath", pth.plain("/"), pth.plain("tmp")),
            "names": pth.call("__builtin__", "set", pth.plain(["a", "b"])),
            "dtype": pth.name("torch", "float16"),
            "device": pth.call("torch", "device", pth.plain("cpu")),
            7: pth.plain("a key that is not text"),
            (1, 2): pth.plain("another"),
        }
        return pth.dict_({**beside, key: pth.ordered(state)})

    assert_loads(write({"w": SIX, "b": SIX[:2]}, nested), {"w": SIX, "b": SIX[:2]})


def test_other_values_next_to_tensors_are_skipped(write):
    def mixed(state):
        extras = {"n": 3, "x": 0.5, "s": "text", "none": None, "t": (1, [2]), "d": {"a": 1}}
        return pth.ordered({**{k: pth.plain(v) for k, v in extras.items()}, **state})

    assert_loads(write({"w": SIX}, mixed), {"w": SIX})


def test_attributes_of_a_state_dict_are_skipped(write):
    def with_metadata(state):
        return pth.ordered(state) + pth.plain({"_metadata": {"": {"version": 1}}}) + b"b"

    assert_loads(write({"w": SIX}, with_metadata), {"w": SIX})


def test_tensor_counter_next_to_the_state_dict(tmp_path):
    value = pth.dict_(
        {"rng": pth.of("0", np.zeros(3, "u1")), "model": pth.ordered({"w": pth.of("1", SIX)})}
    )
    path = pth.write_archive(tmp_path / "w.pth", value, {"0": b"\0\0\0", "1": SIX.tobytes()})
    assert_loads(path, {"w": SIX})


def test_dicts_of_python_2(tmp_path):
    """They were made of a list of lists, and text was bytes (here "ü" in UTF-8)."""
    key = b"U\x03w\xc3\xbc"
    pairs = b"]" + b"]" + key + b"a" + pth.of("0", SIX, True) + b"a" + b"a"
    path = tmp_path / "w.pth"
    value = pth.call("collections", "OrderedDict", pairs)
    assert_loads(pth.write_legacy(path, value, {"0": (6, SIX.tobytes())}), {"wü": SIX})


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_later_protocols(tmp_path, protocol):
    """Frames, a name from the stack, a memo by counting, and short text."""

    def text(value):
        return b"\x8c" + bytes([len(value)]) + value.encode() + b"\x94"

    stored = (
        b"(" + text("storage") + text("torch") + text("FloatStorage") + b"\x93"
        b"" + text("0") + text("cpu") + b"K\x06tQ"
    )
    dictionary = text("collections") + text("OrderedDict") + b"\x93)R"
    value = (
        dictionary + b"(" + text("w")
        + text("torch._utils") + text("_rebuild_tensor_v2") + b"\x93("
        + stored + b"K\x00K\x06\x85K\x01\x85\x89" + dictionary + b"tR"
        + text("again") + b"h\x00" + b"u"
    )  # fmt: skip
    framed = b"\x80" + bytes([protocol, 0x95]) + len(value + b".").to_bytes(8, "little") + value
    path = pth.write_archive(tmp_path / "w.pth", framed + b".", {"0": SIX.tobytes()})
    assert_loads(path, {"w": SIX})


def test_archive_without_checksums(tmp_path):
    """``torch.serialization.set_crc32_options(False)`` writes 0 for each."""
    path = pth.write_archive(
        tmp_path / "w.pth", pth.ordered({"w": pth.of("0", SIX)}), {"0": SIX.tobytes()}
    )
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            checksum = info.CRC.to_bytes(4, "little")
            while (at := content.find(checksum)) >= 0:
                content[at : at + 4] = bytes(4)
    path.write_bytes(content)
    assert_loads(path, {"w": SIX})


@pytest.mark.parametrize("prefix", ["", "archive/", "resnet50-0676ba61/"])
def test_folder_in_an_archive_may_have_any_name(tmp_path, prefix):
    path = pth.write_archive(
        tmp_path / "w.pth",
        pth.ordered({"w": pth.of("0", SIX)}),
        {"0": SIX.tobytes()},
        prefix=prefix,
        members={".data/serialization_id": b"123", ".storage_alignment": b"64"},
    )
    assert_loads(path, {"w": SIX})


def test_empty_state_dict(write):
    assert_loads(write({}), {})


def test_checkpoint_has_no_metadata(write):
    path = write({"w": SIX})
    assert read_metadata(path) == {}
    assert not has_model_metadata(path)
    with pytest.raises(lucid.WeightFileError, match=r"w\.pth: has weights but no model metadata"):
        lucid.load_model(path)


def test_checkpoints_load_into_models(write):
    model = lucid.nn.Linear(3, 2)
    path = write({"weight": SIX.reshape(2, 3), "bias": SIX[:2]})
    lucid.weights.load_weights(model, path)
    np.testing.assert_array_equal(model.weight.numpy(), SIX.reshape(2, 3))
    with pytest.raises(lucid.WeightFileError, match="holds weights of an unnamed model"):
        lucid.weights.load_weights(lucid.nn.Linear(4, 2), path)
