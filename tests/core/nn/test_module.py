"""Modules: registration, iteration, hooks, modes, conversion, copies."""

import copy
import gc
import pickle

import numpy as np
import pytest

import lucid
from lucid import nn


class Net(nn.Module):
    """Two linear layers, the first under two names."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.again = self.first
        self.second = nn.Linear(4, 2, bias=False)
        self.scale = nn.Parameter(np.ones(1, np.float32))
        self.register_buffer("count", lucid.zeros(()))
        self.register_buffer("scratch", lucid.zeros(2), persistent=False)

    def forward(self, x):
        return self.second(self.first(x)) * self.scale


def test_shared_parameters_are_yielded_once_under_the_first_name():
    net = Net()
    names = ["scale", "first.weight", "first.bias", "second.weight"]
    assert [name for name, _ in net.named_parameters()] == names
    assert len(list(net.parameters())) == 4
    every = [name for name, _ in net.named_parameters(remove_duplicate=False)]
    assert every == [*names[:3], "again.weight", "again.bias", names[3]]
    assert [name for name, _ in net.named_parameters("net", recurse=False)] == ["net.scale"]


def test_parameter_size_and_distinct_parameter_size():
    net = Net()
    assert net.distinct_parameter_size == 1 + 12 + 4 + 8
    assert net.parameter_size == 1 + 2 * (12 + 4) + 8


def test_parameter_in_two_modules_is_yielded_once():
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    assert tied.distinct_parameter_size == 9
    assert tied.parameter_size == 18


def test_buffers_are_not_parameters():
    net = Net()
    assert [name for name, _ in net.named_buffers()] == ["count", "scratch"]
    assert len(list(net.buffers())) == 2
    assert "count" in net.state_dict()
    assert "scratch" not in net.state_dict()
    net.count = lucid.ones(())
    assert net.state_dict()["count"].item() == 1


def test_named_modules_and_children():
    net = Net()
    assert [name for name, _ in net.named_modules()] == ["", "first", "second"]
    every = [name for name, _ in net.named_modules("net", remove_duplicate=False)]
    assert every == ["net", "net.first", "net.again", "net.second"]
    assert list(net.modules()) == [net, net.first, net.second]
    assert [name for name, _ in net.named_children()] == ["first", "second"]
    assert list(net.children()) == [net.first, net.second]
    assert net.get_submodule("again") is net.first
    assert net.get_submodule("") is net
    with pytest.raises(AttributeError, match=r"'first\.third'.*first \(Linear\) has no submodule"):
        net.get_submodule("first.third")


def test_apply_calls_children_first():
    seen = []
    net = Net()
    assert net.apply(seen.append) is net
    assert seen == [net.first, net.second, net]


def test_attribute_can_change_its_kind():
    net = Net()
    net.note = None
    net.note = nn.Identity()
    assert [name for name, _ in net.named_children()] == ["first", "second", "note"]
    net.note = nn.Parameter(np.zeros(2, np.float32))
    assert "note" in dict(net.named_parameters())
    net.note = None
    assert net.note is None
    assert "note" not in dict(net.named_parameters())
    del net.note
    assert not hasattr(net, "note")
    with pytest.raises(AttributeError):
        del net.note


def test_dir_lists_registered_names():
    assert {"first", "scale", "count", "forward"} <= set(dir(Net()))


@pytest.mark.parametrize(
    ("assign", "error", "message"),
    [
        (
            lambda n: setattr(n, "scale", lucid.ones(1)),
            TypeError,
            "Net.scale: .*Parameter or None, got Tensor",
        ),
        (
            lambda n: setattr(n, "first", "linear"),
            TypeError,
            "Net.first: .*Module or None, got str",
        ),
        (lambda n: setattr(n, "count", 3), TypeError, "Net.count: .*Tensor or None, got int"),
        (
            lambda n: n.register_parameter("w", lucid.ones(1)),
            TypeError,
            "'w': .*Parameter or None, got Tensor",
        ),
        (lambda n: n.register_buffer("w", np.ones(1)), TypeError, "plain Tensor"),
        (lambda n: n.register_buffer("w", n.scale), TypeError, "plain Tensor"),
        (lambda n: n.add_module("m", 3), TypeError, "'m': .*Module or None, got int"),
        (lambda n: n.add_module("a.b", nn.Identity()), ValueError, r"got 'a\.b'"),
        (lambda n: n.add_module("", nn.Identity()), ValueError, "got ''"),
        (lambda n: n.add_module(1, nn.Identity()), TypeError, "string.* got 1"),
        (lambda n: n.add_module("train", nn.Identity()), ValueError, "cannot register 'train'"),
        (lambda n: setattr(n, "me", n), ValueError, "Net cannot contain itself"),
        (lambda n: n.first.add_module("up", n), ValueError, "Linear cannot contain itself"),
        (lambda n: n.train("yes"), ValueError, "bool, got 'yes'"),
        (lambda n: n.missing, AttributeError, "'Net' object has no attribute 'missing'"),
        (lambda n: n.to("int64"), TypeError, "float32 or float64, got int64"),
        (lambda n: n.register_forward_hook(3), TypeError, "callable.* got int"),
    ],
)
def test_invalid_use_raises(assign, error, message):
    with pytest.raises(error, match=message):
        assign(Net())


def test_assignment_before_init_raises():
    class Forgetful(nn.Module):
        def __init__(self):
            self.layer = nn.Identity()

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\) in Forgetful"):
        Forgetful()


def test_missing_forward_raises():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty defines no forward\(\)"):
        Empty()(1)


def test_train_and_eval():
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net[1].train()
    assert [module.training for module in net.modules()] == [False, False, True, True]


def test_requires_grad_and_zero_grad():
    net = Net()
    net.second.requires_grad_(False)
    net(lucid.ones(1, 3)).sum().backward()
    assert net.second.weight.grad is None
    assert net.first.weight.grad is not None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_hooks_receive_and_replace_values():
    net = nn.Linear(2, 2)
    seen = []
    handle = net.register_forward_hook(lambda m, args, out: seen.append((m, args[0].shape)))
    net(lucid.ones(3, 2))
    assert seen == [(net, (3, 2))]
    handle.remove()
    handle.remove()
    net(lucid.ones(3, 2))
    assert len(seen) == 1

    with net.register_forward_pre_hook(lambda m, args: args[0] * 0):
        np.testing.assert_array_equal(net(lucid.ones(1, 2)).numpy()[0], net.bias.numpy())
    with net.register_forward_hook(lambda m, args, out: out * 0):
        assert not net(lucid.ones(1, 2)).numpy().any()
    assert net(lucid.ones(1, 2)).numpy().any()


def test_handle_outlives_its_module():
    handle = nn.Linear(2, 2).register_forward_hook(lambda *args: None)
    gc.collect()
    assert handle._hooks() is None
    handle.remove()


def test_none_entries_are_skipped():
    net = Net()
    net.register_parameter("offset", None)
    net.register_buffer("mask", None)
    net.add_module("head", None)
    assert (net.offset, net.mask, net.head) == (None, None, None)
    assert net.state_dict().keys() == Net().state_dict().keys()
    assert [name for name, _ in net.named_modules()] == ["", "first", "second"]
    assert net.to("float64").eval().scale.dtype == np.float64


def test_pre_hooks_may_return_a_tuple():
    class Sum(nn.Module):
        def forward(self, a, b):
            return a + b

    add = Sum()
    add.register_forward_pre_hook(lambda m, args: (args[0], 10))
    assert add(1, 2) == 11


def test_hook_may_remove_itself():
    net, calls = nn.Identity(), []

    def once(module, args, output):
        calls.append(1)
        handle.remove()

    handle = net.register_forward_hook(once)
    net(1)
    net(1)
    assert calls == [1]


def test_to_converts_floating_tensors_and_keeps_memory_order():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    net(lucid.zeros(2, 3, 5, 5)).sum().backward()
    assert net.to(lucid.float64) is net
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float64)}
    assert net[0].weight.grad.dtype == np.float64
    assert net[1].running_mean.dtype == np.float64
    assert net[1].num_batches_tracked.dtype == np.int64
    assert lucid.kernels.is_channels_last(net[0].weight.data)
    assert net(lucid.zeros(2, 3, 5, 5, dtype="float64")).dtype == np.float64


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal_and_independent_with_the_same_layout(duplicate):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(Net()))
    net.eval()
    twin = duplicate(net)
    assert list(twin.state_dict()) == list(net.state_dict())
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(twin.state_dict()[name].numpy(), value.numpy())
        assert not np.shares_memory(twin.state_dict()[name].numpy(), value.numpy())
    assert type(twin[0].weight) is nn.Parameter
    assert twin[0].weight.requires_grad
    assert lucid.kernels.is_channels_last(twin[0].weight.data)
    assert twin[2][0].first is twin[2][0].again
    assert not twin.training
    assert repr(twin) == repr(net)


def test_repr_is_a_tree():
    assert repr(nn.Sequential(nn.Linear(1, 2), nn.ModuleList([nn.ReLU()]))) == (
        "Sequential(\n"
        "  (0): Linear(in_features=1, out_features=2)\n"
        "  (1): ModuleList(\n"
        "    (0): ReLU()\n"
        "  )\n"
        ")"
    )


def test_parameter_converts_lists_and_shares_arrays():
    assert nn.Parameter([1.0, 2.0]).dtype == np.float32
    array = np.zeros(3)
    assert nn.Parameter(array).data is array
    assert nn.Parameter(lucid.Tensor(array)).data is array
    assert not nn.Parameter(array, requires_grad=False).requires_grad
    with pytest.raises(TypeError, match=r"floating.* got int64"):
        nn.Parameter(np.zeros(3, np.int64))
    assert repr(nn.Parameter([1.0])).startswith("Parameter containing:\ntensor([1.]")


def test_nn_exports_sgd():
    from lucid import optim

    assert nn.SGD is optim.SGD
    assert "SGD" in dir(nn)
    assert not hasattr(nn, "LBFGS")


@pytest.mark.parametrize(
    ("module", "args", "kwargs", "message"),
    [
        (nn.ReLU(), (), {}, "ReLU expects (x): missing a required argument: 'x'"),
        (nn.ReLU(), (1.0, 2.0), {}, "ReLU expects (x): too many positional arguments"),
        (nn.ReLU(), (), {"input": 1.0}, "ReLU expects (x), got an unexpected keyword argument "
         "'input': use x="),
        (nn.ReLU(), (1.0,), {"mask": 1}, "got an unexpected keyword argument 'mask'"),
        (nn.CrossEntropyLoss(), (1.0,), {}, "CrossEntropyLoss expects (input, target): missing a "
         "required argument: 'target'"),
        (nn.ConvNormAct(1, 1, 1), (), {}, "ConvNormAct expects (x, residual=None): missing"),
        (nn.Sequential(nn.ReLU()), (), {}, "Sequential expects (x): missing"),
    ],
)  # fmt: skip
def test_call_with_wrong_arguments_names_class_and_arguments(module, args, kwargs, message):
    with pytest.raises(TypeError) as caught:
        module(*args, **kwargs)
    assert message in str(caught.value)


def test_type_error_inside_forward_is_unchanged():
    class Inner(nn.Module):
        def forward(self, x, y):
            return x + y

    class Outer(nn.Module):
        def __init__(self, fault):
            super().__init__()
            self.inner, self.fault = Inner(), fault

        def forward(self, x):
            return self.inner(x) if self.fault == "call" else len(x)

    with pytest.raises(TypeError, match=r"^Inner expects \(x, y\): missing .* 'y'$"):
        Outer("call")(1)
    with pytest.raises(TypeError, match=r"^object of type 'int' has no len\(\)$"):
        Outer("len")(1)
