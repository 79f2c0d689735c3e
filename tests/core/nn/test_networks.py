"""Whole networks: number of threads, shared layers, memory."""

import gc
import weakref

import numpy as np
import pytest

import lucid
from lucid import kernels, nn
from lucid.kernels import memory
from lucid.nn import functional as F
from lucid.nn.layers import folding

rng = np.random.default_rng(0)


def draw(*shape):
    return lucid.Tensor(rng.standard_normal(shape).astype(np.float32))


@pytest.fixture
def use_threads():
    """Set the number of threads for one test."""
    before = kernels.get_num_threads()
    yield kernels.set_num_threads
    kernels.set_num_threads(before)


class Network(nn.Module):
    """Network with one layer for each kernel algorithm, for 64 x 64 images."""

    def __init__(self, classes=10):
        super().__init__()
        self.stem = nn.ConvNormAct(3, 64, 7, stride=2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.inner = nn.ConvNormAct(64, 64, 3)
        self.outer = nn.ConvNormAct(64, 64, 1)
        self.narrow = nn.ConvNormAct(64, 64, 3, groups=16)
        self.wide = nn.ConvNormAct(64, 80, 3, groups=2)
        self.strided = nn.ConvNormAct(80, 96, 3, stride=2)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.average = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(96, classes)

    def forward(self, x):
        x = self.pool(self.stem(x))
        x = self.outer(self.inner(x), residual=x)
        x = self.up(self.strided(self.wide(self.narrow(x))))
        return self.fc(self.average(x).flatten(1))


def train(model, x, labels, steps=1):
    """Return the losses of some steps and the model state after them."""
    optimizer = lucid.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    results = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        results += [loss.numpy(), *(p.grad.numpy().copy() for p in model.parameters())]
        optimizer.step()
    return results + [value.numpy().copy() for value in model.state_dict().values()]


def test_training_is_bitwise_equal_for_any_number_of_threads(use_threads):
    """Compare losses, gradients, parameters, running statistics and predictions."""
    x, labels = draw(6, 3, 64, 64), lucid.tensor(np.arange(6))
    state, results = Network().state_dict(), []
    for threads in (1, 2, 3):
        use_threads(threads)
        model = Network()
        model.load_state_dict(state)
        image = x.detach().requires_grad_()
        found = train(model, image, labels, steps=2)
        with lucid.no_grad():
            found += [image.grad.numpy(), model.eval()(x).numpy(), model(x[:1]).numpy()]
        results.append(found)
    for other in results[1:]:
        for i, (one, same) in enumerate(zip(results[0], other, strict=True)):
            np.testing.assert_array_equal(one, same, err_msg=f"result {i}")


def test_two_models_share_layers():
    """A step of one model changes the other's predictions despite folded weights."""
    one, other = Network(), Network(classes=3)
    other.inner, other.narrow.conv.weight = one.inner, one.narrow.conv.weight
    x, labels = draw(4, 3, 64, 64), lucid.tensor(np.arange(4))
    for model, partner in ((one, other), (other, one)):
        before = []
        for each in (one, other):
            with lucid.no_grad():
                before.append(each.eval()(x).numpy())
        train(model.train(), x, labels % len(model.fc.bias))
        for each, was in zip((one, other), before, strict=True):
            expected = each.eval()(x).numpy()  # gradients are recorded, so nothing is folded
            with lucid.no_grad():
                result = each(x).numpy()
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
            assert np.abs(result - was).max() > 10 * np.abs(result - expected).max()
        assert partner.inner is model.inner


def test_gradients_of_a_layer_used_twice_accumulate():
    layer = nn.ConvNormAct(8, 8, 3)
    apart = [nn.ConvNormAct(8, 8, 3) for _ in range(2)]
    for copy in apart:
        copy.load_state_dict(layer.state_dict())
    x = draw(2, 8, 9, 7)
    (layer(layer(x)) ** 2).sum().backward()
    (apart[1](apart[0](x)) ** 2).sum().backward()
    expected = sum(copy.conv.weight.grad.numpy() for copy in apart)
    atol = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(layer.conv.weight.grad.numpy(), expected, atol=atol)


@pytest.mark.slow
def test_deleted_models_leave_no_memory():
    """Memory pool and folded weights do not grow with the number of deleted models."""
    labels = lucid.tensor(np.arange(2))

    def live(i):
        model = Network()
        x = draw(2, 3, 64 + 8 * (i % 3), 64)
        train(model, x, labels)
        with lucid.no_grad():
            model.eval()(x)
        return weakref.ref(model)

    held, folded = [], []
    for i in range(12):
        gone = live(i)
        gc.collect()
        assert gone() is None
        held.append(sum(memory.pool.held()))
        folded.append(sum(isinstance(kept, folding.Folded) for kept in gc.get_objects()))
    assert max(folded) == folded[0]
    assert max(held[6:]) <= max(held[:6])
