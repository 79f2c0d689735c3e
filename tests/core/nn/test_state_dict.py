"""State dict loading: all or nothing, all problems in one error."""

import numpy as np
import pytest

import lucid
from lucid import StateDictError, nn
from lucid.autograd.mutation import track
from lucid.autograd.variable import next_order


class Twice(nn.Module):
    """Module with one layer under two names, like a detector's stem."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 3))
        self.stem = self.net[0]


def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def snapshot(module):
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


def assert_unchanged(module, before):
    for name, value in module.state_dict().items():
        assert value.numpy().tobytes() == before[name].tobytes(), name


def test_state_dict_shares_memory_and_is_detached():
    module = net()
    state = module.state_dict()
    assert state["0.weight"].numpy() is module[0].weight.numpy()
    assert not state["0.weight"].requires_grad
    assert list(state) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
        "1.num_batches_tracked", "2.weight", "2.bias",
    ]  # fmt: skip


def test_loading_copies_values_into_the_module():
    source, target = net(), net()
    arrays = {name: p.data for name, p in target.named_parameters()}
    before = next_order()
    result = target.load_state_dict(source.state_dict())
    assert result.loaded == list(source.state_dict())
    assert result.missing == result.unexpected == result.skipped == []
    for name, p in target.named_parameters():
        assert p.data is arrays[name]
        np.testing.assert_array_equal(p.numpy(), source.state_dict()[name].numpy())
    assert not np.shares_memory(target[0].weight.data, source[0].weight.data)
    assert lucid.kernels.is_channels_last(target[0].weight.data)
    assert track(target[0].weight._data).written > before


def test_all_problems_are_listed_and_nothing_changes():
    module = net()
    before = snapshot(module)
    state = {name: value.numpy() + 1 for name, value in module.state_dict().items()}
    del state["0.bias"], state["1.running_mean"]
    state["extra"] = state["head.weight"] = np.zeros(1)
    state["0.weight"] = np.zeros((4, 3, 1, 1))
    state["2.weight"] = state["2.weight"].T
    with pytest.raises(StateDictError) as caught:
        module.load_state_dict(state)
    text = str(caught.value)
    assert text == (
        "the state dict does not match Sequential; nothing was loaded\n"
        "  missing (2):\n"
        "    0.bias\n"
        "    1.running_mean\n"
        "  unexpected (2):\n"
        "    extra\n"
        "    head.weight\n"
        "  wrong shape (2):\n"
        "    0.weight: expected shape (4, 3, 3, 3), got (4, 3, 1, 1)\n"
        "    2.weight: expected shape (2, 4), got (4, 2)"
    )
    assert_unchanged(module, before)


def test_non_strict_loading_reports_problems():
    module = net()
    state = {"2.bias": np.array([1.0, 2.0]), "extra": np.zeros(1)}
    result = module.load_state_dict(state, strict=False)
    assert result.loaded == ["2.bias"]
    assert result.unexpected == ["extra"]
    assert "0.weight" in result.missing
    assert len(result.missing) == 8
    np.testing.assert_array_equal(module[2].bias.numpy(), [1, 2])
    with pytest.raises(StateDictError, match="wrong shape"):
        module.load_state_dict({"2.bias": np.zeros(3)}, strict=False)


def test_skip_mismatched_skips_a_head_with_other_classes():
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 10))
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 7))
    last = snapshot(module)
    result = module.load_state_dict(other.state_dict(), skip_mismatched=True)
    assert result.skipped == ["1.weight", "1.bias"]
    assert result.loaded == ["0.weight", "0.bias"]
    np.testing.assert_array_equal(module[0].weight.numpy(), other[0].weight.numpy())
    assert module[1].weight.numpy().tobytes() == last["1.weight"].tobytes()
    # Missing keys are still an error.
    with pytest.raises(StateDictError, match=r"missing \(1\):\n    0.bias"):
        module.load_state_dict(
            {k: v for k, v in other.state_dict().items() if k != "0.bias"}, skip_mismatched=True
        )


@pytest.mark.parametrize("names", [["net.0"], ["stem"], ["net.0", "stem"]])
def test_either_name_of_a_shared_layer_is_accepted(names):
    module = Twice()
    state = {f"{name}.weight": np.full((3, 2), 5.0) for name in names}
    state |= {f"{names[-1]}.bias": np.full(3, 6.0)}
    result = module.load_state_dict(state)
    assert set(result.loaded) == set(state)
    assert result.missing == []
    np.testing.assert_array_equal(module.stem.weight.numpy(), np.full((3, 2), 5))


def test_two_values_for_one_tensor_are_rejected():
    module = Twice()
    before = snapshot(module)
    state = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    state["stem.weight"] += 1
    for options in ({}, {"strict": False}, {"skip_mismatched": True}):
        with pytest.raises(StateDictError, match=r"net\.0\.weight and stem\.weight"):
            module.load_state_dict(state, **options)
    assert_unchanged(module, before)


def test_missing_shared_layer_lists_all_names():
    with pytest.raises(StateDictError) as caught:
        Twice().load_state_dict({"stem.weight": np.zeros((3, 2))})
    assert "missing (2):\n    net.0.bias\n    stem.bias" in str(caught.value)


def test_one_matching_name_suffices_with_skip_mismatched():
    module = Twice()
    state = {
        "net.0.weight": np.zeros((9, 9)),
        "stem.weight": np.full((3, 2), 4.0),
        "stem.bias": np.zeros(3),
    }
    result = module.load_state_dict(state, skip_mismatched=True)
    assert result.skipped == ["net.0.weight"]
    np.testing.assert_array_equal(module.net[0].weight.numpy(), np.full((3, 2), 4))


def test_values_are_cast_to_the_module_dtype():
    module = nn.Linear(2, 1)
    module.load_state_dict({"weight": np.array([[1.0, 2.0]]), "bias": np.zeros(1, np.float16)})
    assert module.weight.dtype == module.bias.dtype == np.float32
    module.to("float64").load_state_dict({"weight": np.ones((1, 2), ">f4"), "bias": np.zeros(1)})
    np.testing.assert_array_equal(module.weight.numpy(), [[1, 1]])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("1.num_batches_tracked", np.array(1.5), "expected int64, got float64"),
        ("1.num_batches_tracked", np.array(True), "expected int64, got bool"),
        ("1.num_batches_tracked", np.array(2**63, "u8"), "expected int64, got uint64"),
        ("1.running_mean", np.ones(4, np.uint8), r"1\.running_mean: expected float32, got uint8"),
        ("2.weight", np.ones((2, 4), np.int8), r"2\.weight: expected float32, got int8"),
        ("2.weight", np.ones((2, 4), bool), r"2\.weight: expected float32, got bool"),
        ("2.weight", [[1.0], [1.0, 2.0]], r"2\.weight: expected an array, got list"),
        ("2.bias", np.ma.array([1.0, 2.0], mask=[0, 1]), r"2\.bias: .* a masked one; fill it"),
        ("2.weight", np.ones((9, 4), int), r"2\.weight: expected float32, got int64"),
        ("2.bias", np.array([1e300, 0]), "expected float32, got float64"),
        ("2.bias", np.array(["a", "b"]), "expected float32, got <U1"),
        ("2.bias", np.array([1j, 0]), "expected float32, got complex128"),
    ],
)
def test_values_out_of_range_are_rejected(key, value, message):
    module = net()
    before = snapshot(module)
    with pytest.raises(StateDictError, match=message):
        module.load_state_dict({**module.state_dict(), key: value})
    with pytest.raises(StateDictError, match=message):
        module.load_state_dict({key: value}, strict=False, skip_mismatched=True)
    assert_unchanged(module, before)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.uint64])
def test_integer_widths_may_differ(dtype):
    module = net()
    module.load_state_dict({**module.state_dict(), "1.num_batches_tracked": np.array(7, dtype)})
    assert module[1].num_batches_tracked.dtype == np.int64
    assert module[1].num_batches_tracked.item() == 7


def test_infinity_and_nan_are_loaded():
    module = nn.Linear(2, 1)
    module.load_state_dict({"weight": np.array([[np.inf, np.nan]]), "bias": np.zeros(1)})
    np.testing.assert_array_equal(module.weight.numpy(), [[np.inf, np.nan]])


def test_read_only_parameter_is_rejected_before_copying():
    module = nn.Linear(2, 1)
    frozen = np.zeros(1, np.float32)
    frozen.flags.writeable = False
    module.bias.data = frozen
    before = snapshot(module)
    with pytest.raises(StateDictError, match=r"bias: .*read-only"):
        module.load_state_dict({"weight": np.ones((1, 2)), "bias": np.ones(1)})
    assert_unchanged(module, before)


def test_layers_of_one_module_can_swap_values():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    before = snapshot(module)
    state = module.state_dict()
    module.load_state_dict({"0.weight": state["1.weight"], "1.weight": state["0.weight"]})
    np.testing.assert_array_equal(module[0].weight.numpy(), before["1.weight"])
    np.testing.assert_array_equal(module[1].weight.numpy(), before["0.weight"])


def test_transposed_view_of_itself_is_loaded():
    module = nn.Linear(3, 3, bias=False)
    before = module.weight.numpy().copy()
    module.load_state_dict({"weight": module.weight.numpy().T})
    np.testing.assert_array_equal(module.weight.numpy(), before.T)


def test_frozen_norms_ignore_num_batches_tracked():
    trained, frozen = nn.BatchNorm2d(3), nn.FrozenBatchNorm2d(3)
    result = frozen.load_state_dict(trained.state_dict())
    assert result.skipped == ["num_batches_tracked"]
    assert len(result.loaded) == 4


@pytest.mark.parametrize("wrong", [None, [("weight", 1)], "weights.safetensors"])
def test_other_types_than_mappings_are_rejected(wrong):
    with pytest.raises(TypeError, match="expected a mapping of names to tensors, got"):
        net().load_state_dict(wrong)


def test_result_has_a_short_repr():
    result = nn.Linear(2, 1).load_state_dict({"bias": np.zeros(1)}, strict=False)
    assert repr(result) == "LoadResult(1 loaded, missing=['weight'], unexpected=[], skipped=[])"


def test_common_prefix_is_reported():
    model = nn.Linear(2, 3)
    wrapped = {f"module.{key}": value for key, value in model.state_dict().items()}
    with pytest.raises(StateDictError, match=r"'module\.': .*load_weights"):
        model.load_state_dict(wrapped)


def test_error_lists_ten_keys_of_each_kind():
    extra = {f"layer.{i}": np.zeros(1) for i in range(25)}
    model = nn.Linear(2, 3)
    with pytest.raises(StateDictError) as caught:
        model.load_state_dict({**model.state_dict(), **extra})
    text = str(caught.value)
    assert "unexpected (25):" in text
    assert "layer.9\n" in text
    assert "layer.10" not in text
    assert text.endswith("... and 15 more")
