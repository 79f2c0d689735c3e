"""Prefixes of wrappers are stripped where that gives the model's names, and nowhere else."""

from __future__ import annotations

import warnings

import pytest

import lucid
from lucid import nn
from lucid.weights import load_weights, rename_state_dict, strip_prefix

NAMES = ["conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "fc.weight", "fc.bias"]
STATE = {name: i for i, name in enumerate(NAMES)}
known = set(NAMES).__contains__


def under(prefix, state=STATE):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "_orig_mod.module._orig_mod.module.",
        "model.",
        "net.",
        "backbone.",
        "encoder.",
        "module.encoder_q.",
        "student.backbone.",
        "model._orig_mod.module.network.",
        "a.name.nobody.has_key.",
    ],
)
def test_common_prefix_is_stripped(prefix):
    assert strip_prefix(under(prefix), known) == STATE


def test_wrapped_layers_in_the_middle_of_names():
    state = {
        "conv1._orig_mod.weight": 0,
        "bn1.weight": 1,
        "bn1.bias": 2,
        "layer1._orig_mod.0.module.conv1._fsdp_wrapped_module.weight": 3,
        "fc._checkpoint_wrapped_module.weight": 4,
        "fc.bias": 5,
    }
    assert strip_prefix(state, known) == STATE
    assert strip_prefix(under("module.model.", state), known) == STATE


def test_matching_keys_are_kept():
    assert strip_prefix(STATE, known) == STATE
    own = {"module.weight": 0, "module.bias": 1, "module.module.weight": 2}
    assert strip_prefix(own, set(own).__contains__) == own


def test_names_of_another_network_stay():
    other = {"blocks.0.attn.weight": 0, "fc.weight": 1, "blocks.0.attn.bias": 2}
    assert strip_prefix(under("model.", other), known) == under("model.", other)
    big = {f"transformer.{i}.weight": i for i in range(20)} | under("head.")
    assert strip_prefix(big, known) == big  # a small part of something else
    assert strip_prefix({}, known) == {}


def test_skipped_entries_warn():
    state = under("model.") | {"criterion.weight": 7, "metric.total": 8}
    with pytest.warns(
        lucid.WeightFileWarning, match=r"w\.ckpt: .* 'model\.'; skipped other entries"
    ):
        assert strip_prefix(state, known, source="w.ckpt") == STATE


def test_ema_counters_are_skipped_silently():
    assert strip_prefix(under("module.") | {"n_averaged": 7}, known) == STATE


def test_keys_under_the_prefix_are_kept():
    state = under("model.") | {"model.aux.weight": 7}
    assert strip_prefix(state, known) == STATE | {"aux.weight": 7}


def test_head_under_another_prefix():
    body = {key: value for key, value in STATE.items() if not key.startswith("fc.")}
    head = {key: value for key, value in STATE.items() if key.startswith("fc.")}
    with pytest.warns(lucid.WeightFileWarning, match=r"'backbone\.' and 'head\.fc\.weight'"):
        assert strip_prefix(under("backbone.", body) | under("head.", head), known) == STATE
    with pytest.warns(lucid.WeightFileWarning, match=r"'encoder\.' and 'fc\.weight'"):
        assert strip_prefix(under("encoder.", body) | head, known) == STATE
    two = under("backbone.", body) | under("head.", head) | under("aux_head.", head)
    with pytest.warns(lucid.WeightFileWarning, match="skipped other entries"):
        assert strip_prefix(two, known) == body  # which of the two is unknown


def doubled(first, second):
    return under(first) | dict.fromkeys(under(second), -1)


@pytest.mark.parametrize(
    ("plain", "averaged"),
    [("model.", "model_ema."), ("student.", "teacher."), ("online_model.", "ema_model.module.")],
)
def test_ema_next_to_the_model(plain, averaged):
    state = doubled(plain, averaged)
    with pytest.warns(lucid.WeightFileWarning, match=rf"EMA .* '{averaged}'; '{plain}'"):
        assert set(strip_prefix(state, known).values()) == {-1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lucid.WeightFileWarning)
        assert set(strip_prefix(state, known, ema=True).values()) == {-1}
        assert strip_prefix(state, known, ema=False) == STATE


def test_ema_only():
    with pytest.warns(lucid.WeightFileWarning, match="the only weights in"):
        assert strip_prefix(under("ema.module."), known) == STATE
    with pytest.raises(lucid.StateDictError, match=r"other than an EMA, got only 'ema\.module\.'"):
        strip_prefix(under("ema.module."), known, ema=False)


@pytest.mark.parametrize("prefix", ["model_ema.", "teacher.module."])
def test_ema_next_to_keys_without_prefix(prefix):
    average = under(prefix, dict.fromkeys(NAMES, -1))
    with pytest.warns(lucid.WeightFileWarning, match=f"EMA .* prefix '{prefix}'; the keys"):
        assert strip_prefix(STATE | average, known) == dict.fromkeys(NAMES, -1)
    assert strip_prefix(STATE | average, known, ema=True) == dict.fromkeys(NAMES, -1)
    assert strip_prefix(STATE | average, known, ema=False) == STATE
    both = STATE | average  # a model that has a teacher of its own keeps it
    assert strip_prefix(both, both.__contains__) == both


def test_momentum_copies_are_skipped():
    state = doubled("module.encoder_q.", "module.encoder_k.")
    with pytest.warns(lucid.WeightFileWarning, match=r"'module\.encoder_q\.'; skipped other"):
        assert strip_prefix(state, known) == STATE
    assert strip_prefix(under("encoder_k."), known) == STATE


def test_two_networks_that_fit_are_rejected():
    with pytest.raises(lucid.StateDictError, match=r"several networks .* 'left\.', 'right\.'"):
        strip_prefix(doubled("left.", "right."), known)


def test_two_entries_of_one_name_are_rejected():
    state = under("module.") | {"module._orig_mod.fc.weight": 7, "module._orig_mod.bn1.bias": 8}
    state = {k: v for k, v in state.items() if k not in ("module.fc.bias", "module.conv1.weight")}
    state |= {"module._orig_mod.fc.bias": 1, "module._orig_mod.conv1.weight": 2}
    with pytest.raises(lucid.StateDictError, match=r"would both become 'fc\.weight'|both be"):
        strip_prefix(state, known)


def test_renaming_keeps_the_models_own_names():
    convert = {"conv1.weight": "stem.conv.weight"}
    assert rename_state_dict(STATE, STATE, lambda key: convert.get(key, key)) == STATE
    renamed = rename_state_dict(
        {"conv1.weight": 1}, {"stem.conv.weight"}, lambda key: convert.get(key, key)
    )
    assert renamed == {"stem.conv.weight": 1}
    both = {"conv1.weight": 1, "stem.conv.weight": 2}
    with pytest.raises(lucid.StateDictError, match=r"'conv1\.weight' and 'stem\.conv\.weight'"):
        rename_state_dict(both, {"stem.conv.weight"}, lambda key: convert.get(key, key))


def test_files_with_prefixes_load_into_models(tmp_path):
    model, path = nn.Linear(2, 3), tmp_path / "w.safetensors"
    lucid.save({"module.weight": lucid.ones(3, 2), "module.bias": lucid.ones(3)}, path)
    assert load_weights(model, path).loaded == ["weight", "bias"]
    assert model.bias.tolist() == [1, 1, 1]
    lucid.save({"a.weight": lucid.zeros(3, 2), "a.bias": lucid.zeros(3)} | {
        "b.weight": lucid.zeros(3, 2), "b.bias": lucid.zeros(3)}, path)  # fmt: skip
    with pytest.raises(lucid.WeightFileError, match="several networks"):
        load_weights(model, path)
    assert model.bias.tolist() == [1, 1, 1]
