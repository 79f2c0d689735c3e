"""Which of the dicts in a checkpoint is taken, and what may stand beside it."""

from __future__ import annotations

import enum
import functools
import pickle
import sys
import types

import numpy as np
import pth_files as pth
import pytest

import lucid

ONE, TWO = np.ones(2, "<f4"), np.full(2, 2, "<f4")
A, B = pth.dict_({"w": pth.of("1", ONE)}), pth.dict_({"w": pth.of("2", TWO)})


@pytest.fixture
def write(tmp_path):
    def write(entries):
        value = entries if isinstance(entries, bytes) else pth.dict_(entries)
        return pth.write_archive(
            tmp_path / "w.pth", value, {"1": ONE.tobytes(), "2": TWO.tobytes()}
        )

    return write


def inside(path, value):
    for name in reversed(path.split("/")):
        value = pth.dict_({name: value})
    return value


@pytest.mark.parametrize(
    "path",
    [
        *("state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights"),
        *("model/state_dict", "state_dict/model", "net/module", "a_name_nobody_knows"),
    ],
)
def test_usual_keys(write, path):
    assert lucid.load(write(inside(path, A)))["w"].tolist() == [1, 1]


def test_optimizers_and_generators_are_no_state_dicts(write):
    beside = {"optimizer": B, "rng_state": B, "mine": A}
    assert lucid.load(write(beside))["w"].tolist() == [1, 1]


def test_dicts_of_classes_of_their_own(write):
    """Options of configuration libraries, which are subclasses of dict."""
    new = pth.name("easydict", "EasyDict") + b")\x81"
    for value in (
        new + pth.dict_({"epoch": pth.plain(1), "model": A}, b""),
        pth.dict_({"model": new + pth.dict_({"w": pth.of("1", ONE)}, b"")}),
        new + pth.dict_({"w": pth.of("1", ONE)}, b""),
    ):
        assert lucid.load(write(value))["w"].tolist() == [1, 1]


def test_several_state_dicts_are_rejected(write):
    for entries in ({"model": A, "state_dict": B}, {"left": A, "right": B}):
        names = ", ".join(map(repr, entries))
        with pytest.raises(lucid.WeightFileError, match=f"several state dicts, {names}; .*torch"):
            lucid.load(write(entries))


EMA_FILES = {
    "torchvision": {"model": A, "model_ema": B},
    "timm": {"state_dict": A, "state_dict_ema": B},
    "nested": {"model": A, "ema": pth.dict_({"module": B, "decay": pth.plain(0.99)})},
    "shadows": {"model": A, "ema": pth.dict_({"shadow": B})},
    "a name of its own before": {"netG": A, "ema_netG": B},
    "a name of its own after": {"network": A, "network_ema": B, "optimizer": pth.plain({})},
    "a callback of Lightning": {
        "state_dict": A,
        "callbacks": pth.dict_({"EMA": pth.dict_({"ema_state_dict": B})}),
    },
    "WeightAveraging of Lightning, which swaps them": {"current_model_state": A, "state_dict": B},
    "mmengine, which swaps them": {
        "message_hub": pth.plain({}), "state_dict": B, "ema_state_dict": A,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", EMA_FILES)
def test_ema_and_raw_weights(write, case):
    path = write(EMA_FILES[case])
    with pytest.warns(lucid.WeightFileWarning, match=r"w\.pth: using the EMA .* has the raw"):
        assert lucid.load(path)["w"].tolist() == [2, 2]
    assert lucid.load(path, ema=True)["w"].tolist() == [2, 2]
    assert lucid.load(path, ema=False)["w"].tolist() == [1, 1]


def test_ema_only(write):
    path = write({"state_dict_ema": B})
    with pytest.warns(lucid.WeightFileWarning, match="'state_dict_ema', the only weights"):
        assert lucid.load(path)["w"].tolist() == [2, 2]
    with pytest.raises(lucid.WeightFileError, match="only an EMA of the weights, 'state_dict_ema'"):
        lucid.load(path, ema=False)


def test_unsupported_ema_warns(write):
    path = write({"model": A, "ema": pth.call("mine", "ModelEMA")})
    with pytest.warns(lucid.WeightFileWarning, match="the EMA .* 'ema', is an unsupported object"):
        assert lucid.load(path)["w"].tolist() == [1, 1]
    with pytest.raises(lucid.WeightFileError, match="has no EMA"):
        lucid.load(path, ema=True)


@pytest.mark.parametrize("name", ["ema", "teacher_center"])
def test_ema_settings_are_not_an_ema(write, name):
    model = pth.dict_({key: pth.of("1", ONE) for key in "uvwxy"})
    path = write({"model": model, name: pth.dict_({"decay": pth.of("2", TWO)})})
    assert sorted(lucid.load(path)) == list("uvwxy")


def test_ema_without_keys_warns(write):
    for average in (
        pth.list_([pth.of("1", ONE)]),
        pth.dict_({"params": pth.list_([pth.of("2", TWO)])}),
    ):
        path = write({"model": A, "ema": pth.dict_({"shadow_params": average})})
        with pytest.warns(
            lucid.WeightFileWarning, match="the EMA .* 'ema', is an unsupported object"
        ):
            assert lucid.load(path)["w"].tolist() == [1, 1]


def test_no_ema(write, tmp_path):
    with pytest.raises(lucid.WeightFileError, match=r"has no EMA .*'model_ema'.*--ema"):
        lucid.load(write({"model": A}), ema=True)
    lucid.save({"w": lucid.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(lucid.WeightFileError, match="has no EMA"):
        lucid.load(tmp_path / "w.safetensors", ema=True)


class Mode(enum.Enum):
    FAST = 1


class Outer:
    class Inner:
        pass


class History(list):
    pass


class Options(dict):
    pass


def double(x):
    return 2 * x


def with_attributes():
    thing = Outer.Inner()
    thing.values, thing.more = [1, 2], Options(a=History([3]))
    return thing


OBJECTS = {
    "enum": Mode.FAST,
    "nested class": with_attributes(),
    "subclass of list": History([1, 2, Mode.FAST]),
    "subclass of dict": Options(a=1, b=Options()),
    "function": double,
    "partial": functools.partial(double, Mode.FAST),
    "class": Outer,
    "numpy scalar": np.float64(0.5),
    "numpy array": np.arange(3),
    "numpy generator": np.random.default_rng(0),
    "exception": ValueError("no"),
    "complex": 1j,
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("case", OBJECTS)
def test_objects_beside_a_state_dict_are_skipped(write, case, protocol):
    text = pickle.dumps(OBJECTS[case], protocol)[2:-1]
    # Keys that are not kept in the memo: the object counts what it keeps from 0.
    entries = b"(X\x04\0\0\0meta" + text + b"X\x0a\0\0\0state_dict" + A + b"d."
    assert lucid.load(write(b"\x80\x04" + entries))["w"].tolist() == [1, 1]


def test_objects_are_not_imported_or_run(write, tmp_path, monkeypatch):
    module = types.ModuleType("lucid_test_canary")
    monkeypatch.setitem(sys.modules, "lucid_test_canary", module)

    def fail(*_):
        raise AssertionError("was run")

    module.Thing = fail
    module.__getattr__ = fail
    calls = {
        "missing": pth.call("lucid_test_missing.sub", "Thing", pth.plain(1)) + b"}b",
        "there": pth.call("lucid_test_canary", "Thing", pth.plain(1)) + b"}b",
        "state_dict": A,
    }
    assert lucid.load(write(calls))["w"].tolist() == [1, 1]
    assert "lucid_test_missing" not in sys.modules


def test_classes_of_modules_in_the_older_format(tmp_path):
    """A persistent identity with the source of the class, which nobody reads."""
    source = pth.plain("/net.py"), pth.plain("raise SystemExit")
    net = pth.tuple_(pth.plain("module"), pth.name("mine", "Net"), *source) + b"Q"
    net += b")\x81" + pth.dict_({"_parameters": b"}", "_modules": b"}"}) + b"b"
    path, stored = tmp_path / "w.pth", {"1": (2, ONE.tobytes())}
    state = pth.dict_({"w": pth.of("1", ONE, legacy=True)})
    pth.write_legacy(path, pth.dict_({"net": net, "state_dict": state}), stored)
    assert lucid.load(path)["w"].tolist() == [1, 1]
    pth.write_legacy(path, net, {})
    with pytest.raises(lucid.WeightFileError, match=r"pickled module of class 'mine\.Net'"):
        lucid.load(path)


def test_warnings_point_at_the_caller(write):
    with pytest.warns(lucid.WeightFileWarning) as caught:
        lucid.load(write({"ema": B}))
    assert caught[0].filename == __file__


UNREAD = {
    "sparse": ("_rebuild_sparse_tensor", "sparse tensor; call to_dense"),
    "quantized": ("_rebuild_qtensor", "quantized tensor; call dequantize"),
    "meta": ("_rebuild_meta_tensor_no_storage", "meta device"),
    "nested": ("_rebuild_nested_tensor", "nested tensor"),
    "subclass": ("_rebuild_wrapper_subclass", "tensor subclass"),
    "xla": ("_rebuild_device_tensor_from_numpy", "another device"),
}


@pytest.mark.parametrize("case", UNREAD)
def test_tensors_that_are_not_read_are_named(write, case):
    function, message = UNREAD[case]
    tensor = pth.call("torch._utils", function, pth.plain(1))
    with pytest.raises(lucid.WeightFileError, match=f"entry 'x' is .*{message}"):
        lucid.load(write({"w": pth.of("1", ONE), "x": tensor}))
    assert lucid.load(write({"model": A, "beside": tensor}))["w"].tolist() == [1, 1]


def test_negated_views_are_rejected(write):
    view = pth.call(
        "torch._utils", "_rebuild_tensor_v2", pth.storage("1", "f4", 2), pth.plain(0),
        pth.plain((2,)), pth.plain((1,)), b"\x89", b"}", pth.plain({"neg": True}),
    )  # fmt: skip
    with pytest.raises(lucid.WeightFileError, match=r"entry 'w' is .*resolve_neg"):
        lucid.load(write({"w": view}))


def test_numpy_arrays_among_tensors_warn(write):
    array = pickle.dumps(np.ones(3), 2)[2:-1]
    with pytest.warns(lucid.WeightFileWarning, match="NumPy arrays .* 'x'"):
        assert list(lucid.load(write({"w": pth.of("1", ONE), "x": array}))) == ["w"]


def test_state_of_an_optimizer_is_named(write):
    moments = pth.dict_({"exp_avg": pth.of("1", ONE)})
    entries = {"state": pth.dict_({0: moments}), "param_groups": pth.list_([pth.dict_({})])}
    with pytest.raises(lucid.WeightFileError, match=r"got the state of an optimizer\. .*state_d"):
        lucid.load(write(entries))


@pytest.mark.parametrize("name", ["state_dict", "model", "ema"])
def test_empty_state_dict_is_named(write, name):
    with pytest.raises(lucid.WeightFileError, match=rf"a state dict, '{name}' is empty"):
        lucid.load(write({name: pth.dict_({}), "epoch": pth.plain(3)}))
