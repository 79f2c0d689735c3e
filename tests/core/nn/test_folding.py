"""Folded inference equals the separate layers, also after changes."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.autograd.mutation import epoch

rng = np.random.default_rng(0)


def draw(*shape):
    return lucid.Tensor(rng.standard_normal(shape).astype(np.float32))


def unit(norm="batch", **options):
    """Return a ConvNormAct with a normalization other than the identity."""
    made = nn.ConvNormAct(8, 16, 3, norm=norm, **options)
    if made.norm is not None:
        made.norm.running_mean.copy_(draw(16))
        made.norm.running_var.copy_(rng.uniform(0.5, 2, 16))
        for tensor in (made.norm.weight, made.norm.bias):
            with lucid.no_grad():
                tensor.copy_(draw(16))
    return made.eval()


def check(layer, x=None, **inputs):
    """Compare folded inference with the output under recorded gradients, which is never folded."""
    x = draw(2, 8, 9, 7) if x is None else x
    expected = layer(x, **inputs).numpy()
    with lucid.no_grad():
        result = layer(x, **inputs)
    assert not result.requires_grad
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-4, atol=1e-5)
    return result.numpy()


@pytest.mark.parametrize("norm", ["batch", "frozen", None])
@pytest.mark.parametrize("activation", ["relu", "silu", None])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 4}, {"dilation": 2}])
@pytest.mark.parametrize("with_residual", [False, True])
def test_folded_output_is_the_same(norm, activation, options, with_residual):
    layer = unit(norm, activation=activation, **options)
    x = draw(2, 8, 9, 7)
    inputs = {"residual": draw(*layer(x).shape)} if with_residual else {}
    check(layer, x, **inputs)


def test_plain_convolution_with_bias():
    check(nn.Conv2d(8, 5, (1, 3), padding=(0, 1)))


def test_weights_are_folded_once():
    layer = unit()
    x = draw(1, 8, 5, 5).numpy()
    assert layer._fold(x) is None  # gradients are recorded
    with lucid.no_grad():
        first = layer._fold(x)
        assert first is not None
        assert layer._fold(x) is first
        unit().conv.stride = (2, 2)  # a change of another layer
        assert first.epoch is not epoch()
        assert layer._fold(x) is first
        assert first.epoch is epoch()


def change_by_loading(layer):
    state = {k: v.numpy() * 1.5 + 0.1 for k, v in layer.state_dict().items() if v.dtype.kind == "f"}
    layer.load_state_dict(state, strict=False)


def change_by_a_step(layer):
    # A large step makes weights so large that results are rounding errors.
    optimizer = lucid.optim.SGD(layer.parameters(), lr=0.01)
    layer(draw(2, 8, 9, 7)).sum().backward()
    optimizer.step()


def change_by_training(layer):
    layer.train()
    layer(draw(4, 8, 9, 7) * 3 + 1)
    layer.eval()


def change_in_place(layer):
    with lucid.no_grad():
        layer.conv.weight[0] = 3
        layer.norm.running_mean.fill_(2)


def change_by_a_view(layer):
    with lucid.no_grad():
        layer.conv.weight[2:].transpose(0, 1).fill_(2)


def change_what_is_detached(layer):
    layer.norm.weight.detach().copy_(draw(16))


def change_the_data(layer):
    layer.norm.running_var.data[...] = 3


def change_the_array_that_numpy_gives(layer):
    layer.conv.weight.numpy()[...] *= -1


def change_what_is_taken_as_an_array(layer):
    np.asarray(layer.norm.bias)[...] = 7


def change_what_is_exported(layer):
    np.from_dlpack(layer.norm.bias)[...] = 7


def change_an_array_held_for_longer(layer):
    array = layer.conv.weight.numpy()[1:]
    check(layer)
    array[...] = 1


def change_by_an_operator(layer):
    with lucid.no_grad():
        layer.conv.weight *= 3


def change_by_a_function_of_numpy(layer):
    np.copyto(layer.norm.running_mean, 5)


def change_through_a_buffer(layer):
    buffer = memoryview(layer.norm.bias.numpy())
    check(layer)
    buffer[3] = 40.0


def change_behind_a_transposed_view(layer):
    seen = np.transpose(layer.norm.running_var)
    check(layer)
    seen[...] = 9


def change_the_entry(layer):
    layer.norm._buffers["running_mean"] = lucid.full(16, 5.0)


def change_the_forward_of_the_convolution(layer):
    conv = layer.conv
    conv.forward = lambda x: lucid.conv2d(x, conv.weight, padding=1) * 3


def change_the_class_of_the_normalization(layer):
    class Shifted(nn.BatchNorm2d):
        def forward(self, x, residual=None, activation=None):
            return super().forward(x + 1, residual, activation)

    layer.norm.__class__ = Shifted


def change_the_array(layer):
    layer.conv.weight.data = layer.conv.weight.data * 2


def change_the_parameter(layer):
    layer.norm.bias = nn.Parameter(np.full(16, 5, np.float32))


def change_eps(layer):
    layer.norm.eps = 0.5


def change_the_activation(layer):
    layer.activation = None


def change_the_convolution(layer):
    layer.conv = nn.Conv2d(8, 16, 3, padding=1, bias=False)


def change_the_normalization(layer):
    layer.norm = unit("frozen").norm


def change_a_setting_of_the_convolution(layer):
    layer.conv.padding_mode = "reflect"


@pytest.mark.parametrize(
    "change",
    [
        change_by_loading,
        change_by_a_step,
        change_by_training,
        change_in_place,
        change_by_a_view,
        change_what_is_detached,
        change_the_data,
        change_the_array_that_numpy_gives,
        change_what_is_taken_as_an_array,
        change_what_is_exported,
        change_an_array_held_for_longer,
        change_by_an_operator,
        change_by_a_function_of_numpy,
        change_through_a_buffer,
        change_behind_a_transposed_view,
        change_the_entry,
        change_the_forward_of_the_convolution,
        change_the_class_of_the_normalization,
        change_the_array,
        change_the_parameter,
        change_eps,
        change_the_activation,
        change_the_convolution,
        change_the_normalization,
        change_a_setting_of_the_convolution,
    ],
)
def test_output_follows_a_change(change):
    layer = unit()
    x = draw(2, 8, 9, 7)
    before = check(layer, x)
    change(layer)
    assert np.abs(check(layer, x) - before).max() > 1e-3


def test_held_arrays_are_compared_until_they_are_released():
    layer = unit()
    x = draw(1, 8, 5, 5)
    held = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
    with lucid.no_grad():
        for name in ("conv.weight", "norm.weight", "norm.bias", "norm.running_mean"):
            for _ in range(2):
                before = layer(x).numpy()
                kept = layer._folded
                np.testing.assert_array_equal(layer(x).numpy(), before)
                assert layer._folded is kept  # compared, not recomputed
                held[name] *= 0.5
                after = layer(x).numpy()
                assert layer._folded is not kept
                with lucid.enable_grad():
                    expected = layer(x).numpy()
                np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5)
        held["norm.running_var"][:] = 3  # released before the next prediction
        held.clear()
        del kept
        check(layer, x)
        assert layer._folded.epoch is epoch()
        first = layer._folded
        layer(x)
        assert layer._folded is first


def test_external_memory_is_always_compared():
    buffer = bytearray(16 * 4)
    layer = unit()
    layer.norm.bias.data = np.frombuffer(buffer, np.float32)
    x = draw(1, 8, 5, 5)
    before = check(layer, x)
    buffer[:] = np.full(16, 2, np.float32).tobytes()
    assert np.abs(check(layer, x) - before).max() > 1e-3


def test_copies_are_independent():
    layer = unit()
    x = draw(2, 8, 9, 7)
    before = check(layer, x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_allclose(check(other, x), before, rtol=1e-6)
        change_in_place(other)
        assert np.abs(check(other, x) - before).max() > 1e-3
        np.testing.assert_array_equal(check(layer, x), before)


def test_training_mode_uses_the_batch_without_gradients_too():
    layer = unit().train()
    x = draw(4, 8, 5, 5)
    with lucid.no_grad():
        y = layer(x).numpy()
    conv = lucid.conv2d(x, layer.conv.weight, padding=1).numpy()
    normed = (conv - conv.mean((0, 2, 3), keepdims=True)) / conv.std((0, 2, 3), keepdims=True)
    scaled = normed * layer.norm.weight.numpy()[:, None, None]
    expected = np.maximum(scaled + layer.norm.bias.numpy()[:, None, None], 0)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)


def test_hooks_of_submodules_are_called():
    layer = unit()
    check(layer)
    seen = []
    handles = [
        child.register_forward_hook(lambda module, args, output: seen.append(type(module).__name__))
        for child in (layer.conv, layer.norm)
    ]
    x = draw(2, 8, 9, 7)
    with lucid.no_grad():
        watched = layer(x).numpy()
    assert seen == ["Conv2d", "BatchNorm2d"]
    for handle in handles:
        handle.remove()
    np.testing.assert_allclose(check(layer, x), watched, rtol=1e-4, atol=1e-5)


def test_float64_and_wrong_shapes_are_not_folded():
    layer = unit().to("float64")
    check(layer, lucid.Tensor(rng.standard_normal((1, 8, 5, 5))))
    layer = unit()
    with lucid.no_grad(), pytest.raises(ValueError, match=r"\(N, 8, H, W\), got \(1, 7, 5, 5\)"):
        layer(draw(1, 7, 5, 5))
    with lucid.no_grad(), pytest.raises(ValueError, match=r"height.* got 3"):
        nn.Conv2d(8, 4, 5)(draw(1, 8, 3, 3))
    with lucid.no_grad(), pytest.raises(ValueError, match="residual"):
        layer(draw(1, 8, 5, 5), residual=draw(1, 16, 4, 4))


def test_folded_weights_are_freed_with_the_layer():
    layer = unit()
    with lucid.no_grad():
        layer(draw(1, 8, 5, 5))
        kept = weakref.ref(layer._folded)
    assert kept() is not None
    del layer
    gc.collect()
    assert kept() is None
