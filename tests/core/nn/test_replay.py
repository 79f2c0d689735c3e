"""Replayed predictions have the bits of unplanned ones, also after changes of the model."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.kernels import compiled_in_use, get_num_threads, memory, recording, set_num_threads
from lucid.kernels.layout import channels_last
from lucid.kernels.memory import Pool
from lucid.models import create_model
from lucid.nn import functional as F
from lucid.nn import replay
from lucid.nn.replay import Plan, plans_of

pytestmark = pytest.mark.skipif(not compiled_in_use(), reason="only compiled kernels are replayed")

rng = np.random.default_rng(0)

#: Calls with a shape until the prediction is replayed.
CALLS = 2


class Block(nn.Module):
    replayable = "part"

    def __init__(self, channels):
        super().__init__()
        self.expand = nn.ConvNormAct(channels, 2 * channels, 1, activation="hardswish")
        self.depthwise = nn.ConvNormAct(2 * channels, 2 * channels, 3, groups=2 * channels)
        self.se = nn.SqueezeExcitation(2 * channels, 8)
        self.project = nn.ConvNormAct(2 * channels, channels, 1, activation=None)

    def forward(self, x):
        return self.project(self.se(self.depthwise(self.expand(x))), residual=x)


class Small(nn.Module):
    """Every kind of layer that is replayed."""

    replayable = True

    def __init__(self, norm="batch"):
        super().__init__()
        self.stem = nn.ConvNormAct(3, 16, 3, stride=2, norm=norm)
        self.pool = nn.MaxPool2d(2)
        self.block = Block(16)
        self.head = nn.ConvNormAct(16, 32, 3, norm=norm)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = self.head(self.block(self.pool(self.stem(x))))
        return self.fc(self.average(x).flatten(1))


def draw(*shape):
    return lucid.Tensor(rng.standard_normal(shape).astype(np.float32))


def images(n=1, size=16):
    return draw(n, 3, size, size)


def build(kind=Small, *args):
    """Return a model in eval mode whose normalizations are no identities."""
    lucid.random.seed(0)
    model = kind(*args)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d | nn.FrozenBatchNorm2d):
            part.running_mean.copy_(rng.standard_normal(part.num_features))
            part.running_var.copy_(rng.uniform(0.5, 2, part.num_features))
            with lucid.no_grad():
                part.weight.copy_(rng.uniform(0.5, 2, part.num_features))
                part.bias.copy_(rng.standard_normal(part.num_features))
    return model.eval()


@contextmanager
def replay_off():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUCID_REPLAY", "0")
        yield


def arrays(output):
    """Copy an output, one tensor or a list of them."""
    return [np.array(y) for y in (output if isinstance(output, list | tuple) else [output])]


def assert_same_bits(first, second):
    for a, b in zip(arrays(first), arrays(second), strict=True):
        assert a.shape == b.shape
        np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def predict(model, x):
    with lucid.no_grad():
        return model(x)


def check(model, x, calls=CALLS + 2):
    """Compare predictions for x and other images with unplanned ones; return the one for x."""
    for k in range(calls):
        given = x if k % 2 == 0 else lucid.Tensor(x.numpy() * 0.5 + 1)
        with replay_off():
            expected = predict(model, given)
        assert_same_bits(predict(model, given), expected)
    with replay_off():
        return np.array(predict(model, x))


def entries(model):
    return list(plans_of(model).values())


def is_planned(model):
    return any(isinstance(entry, Plan) for entry in entries(model))


def plan(model, x):
    """Predict until the model is planned for the shape of x."""
    for _ in range(CALLS):
        y = predict(model, x)
    assert is_planned(model), plans_of(model)
    return y


@pytest.mark.parametrize("norm", ["batch", "frozen", None])
@pytest.mark.parametrize("n", [1, 4, 8, 32])
def test_replay_has_the_same_bits(norm, n):
    model = build(Small, norm)
    check(model, images(n))
    assert is_planned(model)


def test_replay_runs_no_python():
    model, calls = build(), []
    plan(model, images())
    model.__dict__["forward"] = calls.append  # behind the back of the mutation tracking
    predict(model, images())
    assert calls == []


def test_matrix_products_are_not_replayed():
    model = build()
    check(model, images(33))
    assert not is_planned(model)


def _transposed(x):
    return lucid.Tensor(np.ascontiguousarray(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2))


def _every_other(x):
    return lucid.Tensor(np.repeat(channels_last(x), 2, axis=3)[:, :, :, ::2])


def _read_only(x):
    y = channels_last(x.copy())
    y.flags.writeable = False
    return lucid.Tensor(y)


def _unaligned(x):
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    memory = np.empty(x.nbytes + 1, np.uint8)
    y = memory[1:].view(x.dtype).reshape(nhwc.shape)
    y[...] = nhwc
    return lucid.Tensor(y.transpose(0, 3, 1, 2))


LAYOUTS = {
    "planes": lambda x: lucid.Tensor(np.ascontiguousarray(x)),
    "channels last": lambda x: lucid.Tensor(channels_last(x)),
    "transposed": _transposed,
    "every other column": _every_other,
    "reversed": lambda x: lucid.Tensor(channels_last(x)[::-1].copy()[::-1]),
    "read-only": _read_only,
    "unaligned": _unaligned,
    "broadcast": lambda x: lucid.Tensor(np.broadcast_to(x[:1], x.shape)),
}


def test_layout_of_each_input_counts():
    class Both(nn.Module):
        replayable = True

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3)

        def forward(self, pair):
            return [self.conv(x) for x in pair]

    model, planes, last = Both().eval(), LAYOUTS["planes"], LAYOUTS["channels last"]
    for first, second in ((planes, last), (last, planes)):
        for _ in range(CALLS + 1):
            a, b = (rng.random((1, 3, 12, 12), np.float32) for _ in range(2))
            found = predict(model, [first(a), second(b)])
            with replay_off():
                expected = predict(model, [planes(a), planes(b)])
            assert_same_bits(found, expected)
    assert len(plans_of(model)) == 2
    assert is_planned(model)


@pytest.mark.parametrize("recorded", ["planes", "channels last"])
@pytest.mark.parametrize("replayed", LAYOUTS)
def test_layouts_of_the_input(recorded, replayed):
    model = build()
    plan(model, LAYOUTS[recorded](images(2).numpy()))
    x = LAYOUTS[replayed](images(2).numpy())
    result = predict(model, x)
    assert is_planned(model)
    with replay_off():
        assert_same_bits(result, predict(model, x))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_while_recording(layout):
    model = build()
    for _ in range(CALLS):
        predict(model, LAYOUTS[layout](images(2).numpy()))
    assert is_planned(model), plans_of(model)
    check(model, images(2))


def test_recorded_with_zeros():
    """Zeros are their own negatives, and the usual input to warm up with."""
    model = build()
    for _ in range(CALLS):
        predict(model, lucid.zeros(2, 3, 16, 16))
    check(model, images(2))
    assert is_planned(model)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 1e-42])
def test_special_values(value):
    model = build()
    x = images()
    x.data[0, :, 3, 5] = value
    check(model, x)
    plan(model, images())
    check(model, x)


def test_other_dtypes_are_not_replayed():
    model = build().to("float64")
    for _ in range(CALLS + 1):
        assert predict(model, lucid.Tensor(images().numpy().astype(np.float64))).dtype == "float64"
    assert plans_of(model) == {}


def test_wrong_shapes_raise_after_planning():
    model = build()
    plan(model, images())
    for _ in range(CALLS + 1):
        with pytest.raises(ValueError, match="3"):
            predict(model, draw(1, 4, 16, 16))
    check(model, images())


def test_gradients_are_recorded_after_planning():
    model = build()
    x = images()
    plan(model, x)
    y = model(x)
    assert y.requires_grad
    y.sum().backward()
    assert model.stem.conv.weight.grad is not None
    assert not predict(model, x).requires_grad


def test_turned_off(monkeypatch):
    monkeypatch.setenv("LUCID_REPLAY", "0")
    model = build()
    for _ in range(CALLS + 1):
        predict(model, images())
    assert plans_of(model) == {}
    monkeypatch.setenv("LUCID_REPLAY", "1")
    plan(model, images())


def test_class_without_the_attribute():
    class Plain(Small):
        replayable = False

    model = build(Plain)
    check(model, images())
    assert plans_of(model) == {}


def test_subclass_is_not_replayable():
    class Scaled(Small):
        factor = 1.0

        def forward(self, x):
            return super().forward(x) * self.factor

    model = build(Scaled)
    check(model, images())
    assert not is_planned(model)


# Changes of the model


def change_by_a_step(model):
    optimizer = lucid.optim.SGD(model.parameters(), lr=0.05)
    model(images(2)).sum().backward()
    optimizer.step()


def change_by_adam(model):
    optimizer = lucid.optim.Adam(model.parameters(), lr=0.05)
    model(images(2)).sum().backward()
    optimizer.step()


def change_by_training(model):
    model.train()
    model(images(4) * 3 + 1)
    model.eval()


def change_by_loading(model):
    state = {k: v.numpy() * 1.5 + 0.1 for k, v in model.state_dict().items() if v.dtype.kind == "f"}
    model.load_state_dict(state, strict=False)


def change_by_initialization(model):
    nn.init.normal_(model.head.conv.weight)


def change_the_statistics(model):
    model.stem.norm.running_mean.fill_(0.7)


def change_eps(model):
    model.stem.norm.eps = 0.5


def change_the_activation(model):
    model.stem.activation = None


def change_the_stride(model):
    model.head.conv.stride = (2, 2)


def replace_a_layer(model):
    model.fc = nn.Linear(32, 10)


def replace_a_layer_by_another_class(model):
    class Doubled(nn.Module):
        def forward(self, x):
            return x * 2

    model.average = nn.Sequential(nn.AdaptiveAvgPool2d(1), Doubled())


def replace_a_parameter(model):
    model.fc.bias = nn.Parameter(np.full(10, 5, np.float32))


def replace_a_buffer(model):
    model.stem.norm._buffers["running_mean"] = lucid.full(16, 0.5)


def remove_a_parameter(model):
    model.fc.bias = None


def override_forward_of_a_layer(model):
    linear = model.fc
    linear.forward = lambda x: F.linear(x, linear.weight, linear.bias) * 3


def override_forward_of_the_model(model):
    forward = model.forward
    model.forward = lambda x: forward(x) + 1


def change_the_class_of_a_layer(model):
    class Shifted(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    model.fc.__class__ = Shifted


def train_one_layer(model):
    model.stem.norm.train()


def add_a_hook(model):
    model.register_forward_hook(lambda module, args, output: output * 2)


def add_a_pre_hook(model):
    model.register_forward_pre_hook(lambda module, args: args[0] * 2)


def add_a_hook_to_a_layer(model):
    model.head.register_forward_hook(lambda module, args, output: output * 2)


def add_a_pre_hook_to_a_layer(model):
    model.block.register_forward_pre_hook(lambda module, args: args[0] * 2)


_VERBS = ("change_", "replace_", "remove_", "override_", "train_", "add_")
CHANGES = [change for name, change in list(globals().items()) if name.startswith(_VERBS)]


@pytest.mark.parametrize("change", CHANGES)
def test_replay_follows_a_change(change):
    model = build()
    x = images()
    before = check(model, x)
    assert is_planned(model)
    change(model)
    if change is train_one_layer:  # statistics change with every call
        twin = copy.deepcopy(model)
        for _ in range(CALLS + 2):
            with replay_off():
                expected = predict(twin, x)
            assert_same_bits(predict(model, x), expected)
        assert not is_planned(model)
        after = expected.numpy()
    else:
        after = check(model, x)
    assert np.abs(after - before).max() > 1e-3


#: A parameter or buffer of each kind of layer.
TENSORS = [
    "stem.conv.weight",
    "stem.norm.weight",
    "stem.norm.running_var",
    "block.depthwise.conv.weight",
    "block.se.fc1.weight",
    "block.se.fc2.bias",
    "head.norm.bias",
    "fc.weight",
    "fc.bias",
]


def write_with_an_operator(tensor):
    with lucid.no_grad():
        tensor *= 1.5


def write_an_item(tensor):
    with lucid.no_grad():
        tensor[1:] = 0.5


def write_into_a_view(tensor):
    with lucid.no_grad():
        tensor[1:].fill_(0.5)


def write_what_is_detached(tensor):
    tensor.detach().copy_(tensor.numpy() * 1.5 + 0.1)


def write_the_data(tensor):
    tensor.data[...] *= 1.5


def write_the_array(tensor):
    tensor.numpy()[...] *= 1.5


def write_what_is_taken_as_an_array(tensor):
    np.asarray(tensor.detach())[...] = 0.7


def write_what_is_exported(tensor):
    np.from_dlpack(tensor.detach())[...] = 0.7


def write_by_a_function_of_numpy(tensor):
    np.copyto(tensor.detach(), 0.7)


def replace_the_data(tensor):
    tensor.data = tensor.data * 1.5


def replace_the_data_by_another_order(tensor):
    tensor.data = np.asfortranarray(tensor.data * 1.5)


def replace_the_data_by_itself(tensor):
    tensor.data *= 1.5


def change_what_is_added_to(tensor):
    data = tensor.data
    data += 0.1
    tensor.data = data


WRITES = [
    write_with_an_operator,
    write_an_item,
    write_into_a_view,
    write_what_is_detached,
    write_the_data,
    write_the_array,
    write_what_is_taken_as_an_array,
    write_what_is_exported,
    write_by_a_function_of_numpy,
    replace_the_data,
    replace_the_data_by_another_order,
    replace_the_data_by_itself,
    change_what_is_added_to,
]


def tensor_of(model, name):
    path, _, last = name.rpartition(".")
    return getattr(model.get_submodule(path), last)


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("write", WRITES)
def test_replay_follows_a_write(write, name):
    model = build()
    x = images()
    before = check(model, x)
    assert is_planned(model)
    write(tensor_of(model, name))
    after = check(model, x)
    assert np.abs(after - before).max() > 1e-5
    write(tensor_of(model, name))  # of what was recorded again
    check(model, x)


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("order", ["K", "F"])
def test_writes_to_an_array_that_the_user_holds(name, order):
    model = build()
    x = images()
    tensor = tensor_of(model, name)
    if order == "F":
        tensor.data = np.asfortranarray(tensor.data)
    check(model, x)
    held = tensor.numpy()
    for _ in range(CALLS + 2):
        before = check(model, x)
        held *= 1.5
        assert np.abs(check(model, x) - before).max() > 1e-5


@pytest.mark.parametrize("name", TENSORS)
def test_writes_to_a_state_dict_that_the_user_holds(name):
    model = build()
    x = images()
    state = model.state_dict()
    for _ in range(3):
        before = check(model, x)
        state[name].copy_(state[name].numpy() * 1.5 + 0.1)
        assert np.abs(check(model, x) - before).max() > 1e-5


@pytest.mark.parametrize("name", ["fc.weight", "block.se.fc1.weight", "stem.conv.weight"])
def test_parameters_in_memory_of_the_user(name):
    model = build()
    x = images()
    tensor = tensor_of(model, name)
    memory = bytearray(tensor.numpy().astype(np.float32).tobytes())
    tensor.data = np.frombuffer(memory, np.float32).reshape(tensor.shape)
    for _ in range(2):
        before = check(model, x)
        np.frombuffer(memory, np.float32)[...] *= 1.5
        assert np.abs(check(model, x) - before).max() > 1e-5


def test_replayed_after_an_array_is_released():
    model = build()
    x = images()
    state, held = model.state_dict(), model.fc.weight.numpy()
    check(model, x, 20)
    assert not is_planned(model)
    del state, held
    check(model, x, 32)
    assert is_planned(model)


def test_replayed_again_after_a_change():
    model = build()
    x = images()
    for _ in range(3):
        plan(model, x)
        with lucid.no_grad():
            model.fc.weight *= 1.5
        assert not is_planned(model)
        check(model, x)
        assert is_planned(model)


def test_requires_grad_does_not_matter():
    model = build()
    x = images()
    before = check(model, x)
    model.requires_grad_(False)
    np.testing.assert_array_equal(check(model, x), before)
    model.requires_grad_()
    np.testing.assert_array_equal(check(model, x), before)
    assert is_planned(model)


def test_planned_again_after_training_mode():
    model = build()
    x = images(2)
    plan(model, x)
    model.train()
    training = [np.array(predict(model, x)) for _ in range(CALLS + 1)]
    assert not is_planned(model)
    model.eval()
    assert np.abs(check(model, x) - training[-1]).max() > 1e-3
    assert is_planned(model)


@pytest.mark.parametrize("path", ["", "block.se", "fc"])
def test_hooks_run_in_every_prediction(path):
    model = build()
    x = images()
    plan(model, x)
    seen = []
    layer = model.get_submodule(path)
    handle = layer.register_forward_hook(lambda module, args, output: seen.append(output))
    results = [predict(model, x) for _ in range(CALLS + 2)]
    assert len(seen) == CALLS + 2
    kept = [np.array(y) for y in seen]
    handle.remove()
    plan(model, x)
    check(model, x)
    for y, before in zip(seen, kept, strict=True):
        np.testing.assert_array_equal(y.numpy(), before)
    if path == "":
        for mine, theirs in zip(results, seen, strict=True):
            assert mine is theirs


# Shapes, threads and memory


@contextmanager
def counting(model):
    """Count the calls of forward, behind the back of the mutation tracking."""
    calls, forward = [], model.forward
    model.__dict__["forward"] = lambda x: calls.append(x.shape) or forward(x)
    try:
        yield calls
    finally:
        del model.__dict__["forward"]


@pytest.mark.parametrize("order", [1, -1])
def test_alternating_shapes_settle(order):
    model = build()
    shapes = [(1, 16), (2, 16), (1, 24), (3, 20), (1, 17), (4, 16), (1, 40), (2, 33)][::order]
    assert len(shapes) == replay._MAX_PLANS
    for _ in range(CALLS):
        for shape in shapes:
            predict(model, images(*shape))
    with counting(model) as calls:
        for shape in shapes * 2:
            predict(model, images(*shape))
    assert calls == []
    for shape in shapes * 2:
        x = images(*shape)
        with replay_off():
            expected = predict(model, x)
        assert_same_bits(predict(model, x), expected)


def test_more_shapes_than_plans():
    """Some are replayed, and the others are seldom recorded in their place."""
    model = build()
    shapes = range(16, 16 + replay._MAX_PLANS + 4)
    for size in shapes:
        plan(model, images(1, size))
    with counting(model) as calls:
        for _ in range(20):
            for size in shapes:
                predict(model, images(1, size))
    replayed = 20 * len(shapes) - len(calls)
    assert replayed > 20 * len(shapes) // 2
    assert sum(isinstance(entry, Plan) for entry in entries(model)) == replay._MAX_PLANS
    for size in shapes:
        check(model, images(1, size), 1)


def test_plan_that_was_not_used_lately_is_dropped():
    model = build()
    sizes = list(range(16, 16 + replay._MAX_PLANS))
    for size in sizes:
        plan(model, images(1, size))
    for _ in range(replay._REPLAYS_PER_RECORDING):  # enough for another recording
        predict(model, images(1, sizes[0]))
    plan(model, images(1, 64))
    planned = [key[0][0][2] for key, entry in plans_of(model).items() if isinstance(entry, Plan)]
    assert planned == [*sizes[2:], sizes[0], 64]


@pytest.fixture
def fresh_pool(monkeypatch):
    """A pool that has seen no other tests."""
    fresh = Pool()
    monkeypatch.setattr(memory, "pool", fresh)
    return fresh


def test_replays_hold_no_more_memory_than_predictions(fresh_pool):
    """Plans of all shapes together, since a replay takes its memory from the pool."""
    model = build()
    shapes = [(8, 64), (4, 96), (8, 72), (1, 128)]

    def most(rounds):
        held = []
        for shape in shapes * rounds:
            predict(model, images(*shape))
            held.append(sum(fresh_pool.held()))
        return max(held)

    with replay_off():
        unplanned = most(3)
    assert most(CALLS) <= 1.25 * unplanned  # while recording
    assert all(isinstance(entry, Plan) for entry in entries(model))
    most(2)
    assert most(3) <= unplanned


def test_memory_is_bounded_with_many_shapes(fresh_pool):
    model = build()
    held = []
    for size in range(16, 216):
        x = images(1, size)
        for _ in range(CALLS + 1):
            y = predict(model, x)
            held.append(sum(fresh_pool.held()))
        with replay_off():
            assert_same_bits(y, predict(model, x))
        assert len(plans_of(model)) <= 40
        assert sum(isinstance(entry, Plan) for entry in entries(model)) <= replay._MAX_PLANS
    # The largest image has 16 times 108 * 108 floats after the first layer.
    assert max(held) < 3 * 16 * 108 * 108 * 4


def test_large_outputs_are_not_replayed(monkeypatch):
    model = build(Returns, lambda y, mean, x: [y, mean])
    monkeypatch.setattr(replay, "_MAX_OUTPUT_BYTES", 4 * (16 * 16 * 16 + 16))
    for _ in range(CALLS + 1):
        predict(model, images(1, 16))
        predict(model, images(1, 17))
    planned = {key[0][0][2]: isinstance(v, Plan) for key, v in plans_of(model).items()}
    assert planned == {16: True, 17: False}


def test_recording_frees_its_memory():
    model = build(Returns, lambda y, mean, x: mean)
    predict(model, images(1, 256))
    predict(model, images(1, 32))
    tracemalloc.start()
    try:
        y = predict(model, images(1, 256))
        memory.pool.release()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert y.shape == (1, 16, 1, 1)
    assert held < 16 * 256 * 256 * 4  # the features


def test_shapes_that_do_not_repeat_are_not_recorded():
    model = build()
    for size in range(16, 216):
        predict(model, images(1, size))
    assert not is_planned(model)


def test_dropped_plans_free_their_memory():
    model = build()
    plan(model, images())
    (entry,) = entries(model)
    gone = weakref.ref(entry)
    del entry
    model.fc.bias = None  # invalidates the plans
    predict(model, images())
    gc.collect()
    assert gone() is None


def test_plan_does_not_keep_the_model_alive():
    model = build()
    plan(model, images())
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.fixture
def threads_as_before():
    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.mark.usefixtures("threads_as_before")
def test_number_of_threads_changes():
    model = build()
    x = images(4, 32)
    for count in (1, 2, 3, 1, 3):
        set_num_threads(count)
        check(model, x)
        assert is_planned(model)


@pytest.mark.usefixtures("threads_as_before")
def test_two_python_threads_share_a_model():
    set_num_threads(2)
    model = build()
    inputs = [images(2, 24) for _ in range(6)]
    with replay_off():
        expected = [predict(model, x) for x in inputs]
    start = threading.Barrier(3)

    def work(first):
        start.wait(30)
        return [(k % 6, np.array(predict(model, inputs[k % 6]))) for k in range(first, first + 60)]

    with ThreadPoolExecutor(3) as callers:
        for results in callers.map(work, range(3)):
            for k, y in results:
                assert_same_bits(y, expected[k])


@pytest.fixture
def switching():
    """Let Python threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_python_threads_predict_many_shapes():
    model = build(Returns, lambda y, mean, x: mean)
    inputs = [images(1 + k % 4, 3 + k // 4) for k in range(160)]
    with replay_off():
        expected = [predict(model, x) for x in inputs]

    def work(seed):
        for k in np.random.default_rng(seed).permutation(np.repeat(np.arange(160), 2)):
            assert_same_bits(predict(model, inputs[k]), expected[k])

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(work, range(4)))


@pytest.mark.usefixtures("switching")
def test_python_threads_begin_together():
    """The references of one thread's predictions are not those of the user to another's."""
    for _ in range(10):
        model = build()
        x = images()
        with replay_off():
            expected = predict(model, x)
        start = threading.Barrier(3)

        def work(_, model=model, x=x, start=start):
            start.wait(30)
            return [predict(model, x) for _ in range(10)]

        with ThreadPoolExecutor(3) as callers:
            for results in callers.map(work, range(3)):
                for y in results:
                    assert_same_bits(y, expected)
        check(model, x, 32)
        assert is_planned(model), plans_of(model)


def test_interruption_of_a_replay():
    """Ctrl-C raises, and the next predictions are right."""
    model = build()
    x = images(4, 64)
    plan(model, x)
    for delay in (0.01, 0.02, 0.03):
        timer = threading.Timer(delay, signal.raise_signal, (signal.SIGINT,))
        timer.start()

        def for_ever():
            while True:
                predict(model, x)

        with pytest.raises(KeyboardInterrupt):
            for_ever()
        timer.join()
        check(model, x)
        assert is_planned(model)


def test_one_thread_predicts_while_another_changes_weights():
    """Each prediction is one of the old or the new bias."""
    model = build()
    x = images()
    stop = threading.Event()
    with lucid.no_grad():
        model.fc.weight.fill_(0)
        model.fc.bias.fill_(0)
    seen, failures = set(), []

    def work():
        try:
            while not stop.is_set():
                seen.update(predict(model, x).numpy().ravel().tolist())
        except BaseException as error:
            failures.append(error)

    caller = threading.Thread(target=work)
    caller.start()
    for k in range(200):
        with lucid.no_grad():
            model.fc.bias.fill_(k)
        np.testing.assert_array_equal(predict(model, x).numpy(), np.full((1, 10), k))
    stop.set()
    caller.join(30)
    assert failures == []
    assert seen <= set(map(float, range(200)))


def test_another_model_predicts_between():
    first, second = build(), build()
    with lucid.no_grad():
        second.fc.bias.fill_(3)
    x = images()
    plan(first, x)
    plan(second, x)
    for _ in range(3):
        assert np.abs(check(first, x) - check(second, x)).max() > 0.1
    assert is_planned(first)
    assert is_planned(second)


def test_models_that_share_a_layer():
    first, second = build(), build()
    x = images()
    check(first, x)
    check(second, x)
    second.fc = first.fc
    before = check(second, x)
    np.testing.assert_array_equal(check(first, x), check(first, x))
    with lucid.no_grad():
        first.fc.weight *= 2
    assert np.abs(check(second, x) - before).max() > 1e-3


def _predict_in_child(model, x, results):
    found = [predict(model, x).numpy().copy() for _ in range(CALLS + 1)]
    results.put((found, is_planned(model)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.usefixtures("threads_as_before")
@pytest.mark.slow
def test_forked_child_predicts():
    set_num_threads(2)
    model = build()
    x = images(2, 32)
    expected = check(model, x)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_predict_in_child, args=(model, x, results))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    found, planned = results.get()
    assert planned
    for y in found:
        assert_same_bits(y, expected)
    np.testing.assert_array_equal(check(model, x), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.usefixtures("threads_as_before")
@pytest.mark.slow
@pytest.mark.parametrize("held", ["nothing", "recording", "plans"])
def test_child_forked_while_another_thread_predicts(held):
    """The child needs no lock that a thread held at the fork."""
    set_num_threads(2)
    model = build()
    x = images(2, 32)
    expected = predict(model, x).numpy().copy()
    plan(model, x)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            predict(model, x)

    other = threading.Thread(target=work)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_predict_in_child, args=(model, x, results))
    if held == "nothing":
        other.start()
        child.start()
    else:
        with recording._lock if held == "recording" else replay._models[model]._lock:
            child.start()
    child.join(30)
    stop.set()
    alive = child.is_alive()
    child.terminate()
    assert not alive
    found, planned = results.get()
    # Arrays on the stack of a thread that is gone are never released.
    assert planned or held == "nothing"
    for y in found:
        assert_same_bits(y, expected)
    if held == "nothing":
        other.join(30)


# Copies


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copy_of_a_planned_model(duplicate):
    model = build()
    x = images()
    before = check(model, x)
    twin = duplicate(model)
    assert plans_of(twin) == {}
    np.testing.assert_array_equal(check(twin, x), before)
    assert is_planned(twin)
    with lucid.no_grad():
        twin.fc.weight *= 2
        twin.stem.conv.weight *= 2
    assert np.abs(check(twin, x) - before).max() > 1e-3
    np.testing.assert_array_equal(check(model, x), before)


# Outputs


def test_outputs_stay_unchanged_and_may_be_written_to():
    model = build()
    plan(model, images(2))
    kept = []
    for k in range(6):
        x = images(2)
        with replay_off():
            expected = predict(model, x)
        y = predict(model, x)
        assert_same_bits(y, expected)
        y.data[0] = k
        kept.append((y, y.numpy().copy()))
    for y, before in kept:
        np.testing.assert_array_equal(y.numpy(), before)
    check(model, images(2))


def test_output_as_the_next_input():
    class Same(nn.Module):
        replayable = True

        def __init__(self):
            super().__init__()
            self.conv = nn.ConvNormAct(16, 16, 3)

        def forward(self, x):
            return self.conv(x)

    model = build(Same)
    x = draw(1, 16, 20, 20)
    with replay_off():
        expected = x
        for _ in range(5):
            expected = predict(model, expected)
    plan(model, x)
    y = x
    for _ in range(5):
        y = predict(model, y)
    assert_same_bits(y, expected)


class Returns(nn.Module):
    """Returns what a function makes of features, of their channel means and of the input."""

    replayable = True

    def __init__(self, select):
        super().__init__()
        self.conv = nn.ConvNormAct(3, 16, 3)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.select = (select,)

    def forward(self, x):
        y = self.conv(x)
        return self.select[0](y, self.average(y), x)


OUTPUTS = {
    "features": (lambda y, m, x: y, True),
    "list": (lambda y, m, x: [y, m], True),
    "reversed list": (lambda y, m, x: [m, y], True),
    "list of one": (lambda y, m, x: [y], True),
    "view": (lambda y, m, x: y[:, 4:12, 1:-1, ::2], None),
    "flat view": (lambda y, m, x: m.flatten(1), None),
    "transposed view": (lambda y, m, x: y.transpose(2, 3), None),
    "one image": (lambda y, m, x: y[1], None),
    "two views of one array": (lambda y, m, x: [y[:, :8], y[:, 8:]], None),
    "one tensor twice": (lambda y, m, x: [y, y], None),
    "overlapping views": (lambda y, m, x: [y, y[:, :8], m], None),
    "tuple": (lambda y, m, x: (y, m), None),
    "empty list": (lambda y, m, x: [], None),
    "empty view": (lambda y, m, x: y[:, :0], None),
    "input": (lambda y, m, x: x, False),
    "view of the input": (lambda y, m, x: x[:, 1:], False),
    "list with the input": (lambda y, m, x: [y, x], False),
    "array": (lambda y, m, x: y.numpy(), False),
    "integers": (lambda y, m, x: y.argmax(1).astype("float32"), False),
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("size", [8, 64])  # of malloc's and of the pool's memory
def test_kinds_of_outputs(name, size):
    select, planned = OUTPUTS[name]
    model = build(Returns, select)
    kept = []
    for _ in range(CALLS + 3):
        x = images(2, size)
        with replay_off():
            expected = predict(model, x)
        y = predict(model, x)
        assert type(y) is type(expected)
        assert_same_bits(y, expected)
        kept.append((y, arrays(y)))
    for y, before in kept:
        assert_same_bits(y, before)
    if planned is not None:
        assert is_planned(model) == planned, plans_of(model)


def test_outputs_that_are_no_tensors():
    model = build(Returns, lambda y, m, x: {"features": y, "mean": m, "size": 3})
    for _ in range(CALLS + 2):
        x = images(2)
        with replay_off():
            expected = predict(model, x)
        y = predict(model, x)
        assert list(y) == ["features", "mean", "size"]
        assert y["size"] == 3
        assert_same_bits([y["features"], y["mean"]], [expected["features"], expected["mean"]])
    assert not is_planned(model)


def test_nested_outputs():
    model = build(Returns, lambda y, m, x: [y, [m, None]])
    for _ in range(CALLS + 2):
        x = images(2)
        with replay_off():
            expected = predict(model, x)
        y = predict(model, x)
        assert_same_bits([y[0], y[1][0]], [expected[0], expected[1][0]])
        assert y[1][1] is None


def test_shared_output_memory_is_shared_as_before():
    """A write to one of two views of an output is a write to the other."""
    model = build(Returns, lambda y, m, x: [y, y[:, :8]])
    for _ in range(CALLS + 2):
        whole, part = predict(model, images(2))
        part.fill_(7)
        assert (whole.numpy()[:, :8] == 7).all()


# Forward passes that cannot be replayed


def by_numpy(y):
    return lucid.Tensor(np.tanh(y.numpy()))


def by_an_operator(y):
    return y * 2 + 1


def by_a_reduction(y):
    return y - y.mean()


def by_numpy_in_place(y):
    y.data[...] = np.minimum(y.data, 0.5)
    return y


def by_an_array_in_place(y):
    array = np.asarray(y)
    np.minimum(array, 30, out=array)
    return y


def by_an_in_place_operator(y):
    y *= 2
    return y


def by_an_item(y):
    y[:, 0] = 1
    return y


def by_a_mask_that_seldom_applies(y):
    y[y > 30] = 30
    return y


def by_the_largest_value(y):
    return y / float(y.numpy().max())


def by_noise(y):
    return y + lucid.Tensor(rng.standard_normal(y.shape).astype(np.float32))


def by_noise_in_place(y):
    y += rng.standard_normal(y.shape).astype(np.float32)
    return y


def by_dropout(y):
    return F.dropout(y, 0.5, training=True)


def by_another_kernel(y):
    return F.interpolate(y, scale_factor=2, mode="bilinear")


def by_sorting(y):
    return y.sort(1)[0]


def by_a_convolution_that_a_value_scales(y):
    scale = float(abs(y).max())
    return F.conv2d(y, lucid.Tensor(np.full((16, 16, 1, 1), scale, np.float32)))


def by_a_convolution_that_a_mean_scales(y):
    weight = np.ones((16, 16, 1, 1), np.float32) * y.numpy().mean()
    return F.conv2d(y, lucid.Tensor(weight))


def by_a_branch(y):
    return y if (y.numpy() < 30).all() else F.relu(y)


def by_the_item_of_a_branch(y):
    return y if y.max().item() < 30 else F.avg_pool2d(y, 3, 1, 1)


def by_the_truth_of_a_branch(y):
    return F.avg_pool2d(y, 3, 1, 1) if (y > 30).any() else y


@pytest.mark.parametrize(
    "work",
    [
        by_numpy,
        by_an_operator,
        by_a_reduction,
        by_numpy_in_place,
        by_an_array_in_place,
        by_an_in_place_operator,
        by_an_item,
        by_a_mask_that_seldom_applies,
        by_the_largest_value,
        by_noise,
        by_noise_in_place,
        by_dropout,
        by_another_kernel,
        by_sorting,
        by_a_convolution_that_a_value_scales,
        by_a_convolution_that_a_mean_scales,
        by_a_branch,
        by_the_item_of_a_branch,
        by_the_truth_of_a_branch,
    ],
)
@pytest.mark.parametrize("then", ["return", "pool"])
@pytest.mark.parametrize("first", ["zeros", "drawn"])
def test_work_outside_of_kernels_is_noticed(work, then, first):
    """Whether it comes last or before another kernel, and also where it seldom has an effect."""

    def select(y, mean, x):
        y = work(y)
        return F.avg_pool2d(y, 2) if then == "pool" else y

    model = build(Returns, select)
    for k in range(CALLS + 4):
        x = lucid.zeros(1, 3, 16, 16) if first == "zeros" and k < CALLS else images()
        if k > CALLS:  # beyond the limits and on the other side of the branches
            x = x * 100
        if work in (by_noise, by_noise_in_place):
            rng.bit_generator.state = np.random.default_rng(k).bit_generator.state
            lucid.random.seed(k)
        elif work is by_dropout:
            lucid.random.seed(k)
        with replay_off():
            expected = predict(model, x)
        if work in (by_noise, by_noise_in_place):
            rng.bit_generator.state = np.random.default_rng(k).bit_generator.state
        elif work is by_dropout:
            lucid.random.seed(k)
        assert_same_bits(predict(model, x), expected)
    assert not is_planned(model)


@pytest.mark.parametrize(
    "view",
    [
        lambda y: y[:, :, ::2],
        lambda y: y[:, 2:10],
        lambda y: y[:, ::-1],
        lambda y: y[1:],
        lambda y: y[:, :, 1:-1, 2:],
        lambda y: y.transpose(2, 3),
        lambda y: y.reshape(1, 32, *y.shape[2:]),
    ],
)
@pytest.mark.parametrize("first", ["zeros", "drawn"])
def test_views_between_kernels(view, first):
    """Kernels copy views that are not dense, by NumPy."""
    model = build(Returns, lambda y, mean, x: F.avg_pool2d(view(y), 2))
    for k in range(CALLS + 3):
        x = lucid.zeros(2, 3, 16, 16) if first == "zeros" and k < CALLS else images(2)
        with replay_off():
            expected = predict(model, x)
        assert_same_bits(predict(model, x), expected)


def test_replaced_forward_of_a_layer_runs_in_every_prediction():
    model, calls = build(), []
    linear = model.fc

    def forward(x):
        calls.append(0)
        return F.linear(x, linear.weight, linear.bias)

    linear.forward = forward
    for _ in range(CALLS + 2):
        predict(model, images())
    assert len(calls) == CALLS + 2


def test_training_mode_runs_in_every_prediction():
    class Counting(nn.Module):
        replayable = "part"

        def __init__(self):
            super().__init__()
            self.calls = []

        def forward(self, x):
            if self.training:
                self.calls.append(0)
            return x

    model = build()
    model.head = nn.Sequential(model.head, Counting()).eval()
    plan(model, images())
    counting = model.head[1]
    counting.train()
    for _ in range(CALLS + 2):
        predict(model, images())
    assert len(counting.calls) == CALLS + 2
    counting.eval()
    plan(model, images())


# Errors


@pytest.mark.parametrize("call", range(CALLS + 2))
def test_forward_that_raises_once(call):
    """The prediction raises, and the next ones are right."""
    calls = []

    def select(y, mean, x):
        calls.append(0)
        if len(calls) == call + 1:
            raise RuntimeError("once")
        return y

    model = build(Returns, select)
    failures = 0
    for _ in range(CALLS + 3):
        x = images()
        try:
            y = predict(model, x)
        except RuntimeError:
            failures += 1
            y = predict(model, x)
        mean = model.conv(x)
        with lucid.no_grad():
            assert_same_bits(y, model.conv(x))
        assert mean.requires_grad
    assert failures <= 1
    assert is_planned(model) == (call != CALLS)  # the verification's


def test_hook_that_raises_while_recording():
    model = build()
    x = images()
    plan(model, x)

    def hook(module, args, output):
        raise RuntimeError("always")

    with model.head.register_forward_hook(hook):
        for _ in range(CALLS + 1):
            with pytest.raises(RuntimeError, match="always"):
                predict(model, x)
    check(model, x)
    assert is_planned(model)


def test_forward_that_accepts_only_some_values():
    """The input of the verification is not one that the user passes."""

    def select(y, mean, x):
        if np.min(x._data) < 0:
            raise ValueError("expected pixels of at least 0")
        return y

    model = build(Returns, select)
    for _ in range(CALLS + 2):
        x = lucid.Tensor(rng.random((1, 3, 16, 16), np.float32))
        with lucid.no_grad():
            assert_same_bits(model(x), model.conv(x))
    with pytest.raises(ValueError, match="pixels"):
        predict(model, lucid.full((1, 3, 8, 8), -1.0))


def test_model_inside_a_model():
    """The outer model is planned, the inner one is not."""

    class Outer(nn.Module):
        replayable = True

        def __init__(self):
            super().__init__()
            self.inner = Small()
            self.scale = nn.Linear(10, 10)

        def forward(self, x):
            return self.scale(self.inner(x))

    model = build(Outer)
    check(model, images())
    assert is_planned(model)
    assert plans_of(model.inner) == {}
    check(model.inner, images())
    check(model, images())


def test_model_inside_one_that_is_not_replayable():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Small()

        def forward(self, x):
            return self.inner(x * 2) + 1

    model = build(Outer)
    check(model, images())
    assert is_planned(model.inner)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mobilenet_v2", "resnet_18"])
def test_registered_model(name):
    model = create_model(name, num_classes=10).eval()
    for n in (1, 8):
        check(model, images(n, 64))
        assert is_planned(model), plans_of(model)
    with lucid.no_grad():
        for parameter in model.parameters():
            parameter *= 1.01
    check(model, images(1, 64))
    assert is_planned(model)
