"""Parts of detectors are replayed, with the bits of unplanned predictions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.kernels import compiled_in_use
from lucid.models import create_model
from lucid.nn.replay import Plan, plans_of
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.parts import BackboneWithFPN, DenseHead, LastLevelP6P7

pytestmark = pytest.mark.skipif(not compiled_in_use(), reason="only compiled kernels are replayed")

rng = np.random.default_rng(0)

#: Calls with a shape until a part is replayed.
CALLS = 2


def images(n=1, height=64, width=96):
    return lucid.Tensor(rng.random((n, 3, height, width), np.float32))


def arrays(output):
    """Return the arrays in tensors, lists and dicts."""
    if isinstance(output, dict):
        return arrays(list(output.values()))
    if isinstance(output, list | tuple):
        return [array for part in output for array in arrays(part)]
    return [np.array(output)]


def assert_same_bits(first, second):
    for a, b in zip(arrays(first), arrays(second), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert a.tobytes() == b.tobytes()


@pytest.fixture
def unplanned(monkeypatch):
    """Call a function without replay."""

    def call(function, *args):
        monkeypatch.setenv("LUCID_REPLAY", "0")
        with lucid.no_grad():
            output = function(*args)
        monkeypatch.delenv("LUCID_REPLAY")
        return output

    return call


def is_planned(part):
    return any(isinstance(entry, Plan) for entry in plans_of(part).values())


@pytest.fixture
def check(unplanned):
    """Compare predictions for some images with unplanned ones; return the last one."""

    def compare(function, *shape):
        for _ in range(CALLS + 2):
            x = images(*shape)
            expected = unplanned(function, x)
            with lucid.no_grad():
                assert_same_bits(function(x), expected)
        return expected

    return compare


def build(extra=None):
    lucid.random.seed(0)
    return BackboneWithFPN(create_model("resnet_18", num_classes=2), 16, extra).eval()


@pytest.mark.parametrize("name", ["faster_rcnn_resnet_18_fpn", "retinanet_resnet_18_fpn"])
def test_detector(name, check):
    lucid.random.seed(0)
    model = create_model(name, num_classes=3, min_size=64, max_size=96).eval()
    model.score_threshold = 0.0
    detections = check(lambda x: model.predict(x))
    assert len(detections[0]["boxes"]) > 0
    check(model, 2)
    assert is_planned(model.backbone)
    if name.startswith("retinanet"):
        assert is_planned(model.classification_head)
        assert is_planned(model.regression_head)


def test_selection_runs_in_every_prediction(monkeypatch):
    model = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, min_size=64, max_size=96)
    model.eval()
    calls, nms = [], box_ops.batched_nms
    monkeypatch.setattr(box_ops, "batched_nms", lambda *a: calls.append(0) or nms(*a))
    for _ in range(CALLS):
        model.predict(images())
    assert is_planned(model.backbone)
    before = len(calls)
    model.predict(images())
    assert len(calls) > before


@pytest.mark.parametrize("size", [(1, 64, 96), (2, 320, 320)])  # small and large sums
@pytest.mark.parametrize("in_channels", [512, 16])  # P6 of C5 or of P5
def test_pyramid(size, in_channels, check):
    backbone = build(LastLevelP6P7(in_channels, 16))
    assert len(check(backbone, *size)) == 6
    assert is_planned(backbone)


def scale(tensor):
    with lucid.no_grad():
        tensor *= 1.5


CHANGES = {
    "stem": lambda m: scale(m.stem.conv.weight),
    "statistics": lambda m: m.net.layer3[0].conv1.norm.running_mean.fill_(0.5),
    "lateral": lambda m: scale(m.fpn.lateral[1].weight),
    "output": lambda m: m.fpn.output[0].bias.fill_(1),
    "state dict": lambda m: m.load_state_dict(
        {k: v * 1.1 if v.dtype.kind == "f" else v for k, v in m.state_dict().items()}
    ),
    "array": lambda m: np.multiply(m.fpn.output[0].weight.numpy(), 2, m.fpn.output[0].weight.data),
    "layer": lambda m: setattr(m.fpn.lateral, "0", nn.Conv2d(64, 16, 1)),
    "hook": lambda m: m.fpn.output[0].register_forward_hook(lambda layer, args, y: y * 2),
    "extra levels": lambda m: setattr(m.fpn, "extra_blocks", LastLevelP6P7(16, 16)),
    "forward": lambda m: setattr(m.fpn.output[0], "forward", lambda x: x * 3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_pyramid_follows_a_change(change, check):
    backbone = build()
    check(backbone)
    assert is_planned(backbone)
    x = images()
    with lucid.no_grad():
        before = arrays(backbone(x))
        CHANGES[change](backbone)
        after = arrays(backbone(x))
    changed = [np.abs(a - b).max() for a, b in zip(before, after, strict=False)]
    assert len(before) != len(after) or max(changed) > 1e-3
    check(backbone)


def test_training_mode_of_one_layer_is_not_replayed():
    backbone = build()
    backbone.net.layer2[0].conv1.norm.train()
    with lucid.no_grad():
        for _ in range(CALLS + 1):
            backbone(images(2))
    assert not is_planned(backbone)


def test_alternating_shapes_settle(check):
    backbone = build()
    shapes = [(1, 64, 96), (1, 96, 64), (2, 64, 64), (1, 128, 64)]
    with lucid.no_grad():
        for shape in shapes * CALLS:
            backbone(images(*shape))
    assert sum(isinstance(entry, Plan) for entry in plans_of(backbone).values()) == 4
    for shape in shapes:
        check(backbone, *shape)


def test_python_threads_share_a_backbone(unplanned):
    backbone = build()
    inputs = [images(1, 64, 64 + 32 * k) for k in range(3)]
    expected = [unplanned(backbone, x) for x in inputs]
    start = threading.Barrier(3)

    def work(first):
        start.wait(30)
        with lucid.no_grad():
            return [(k % 3, arrays(backbone(inputs[k % 3]))) for k in range(first, first + 20)]

    with ThreadPoolExecutor(3) as callers:
        for results in callers.map(work, range(3)):
            for k, levels in results:
                assert_same_bits(levels, expected[k])


def test_hook_that_raises_while_recording(check):
    backbone = build()
    with lucid.no_grad():
        backbone(images())

    def fail(layer, args, output):
        raise KeyboardInterrupt

    with backbone.net.layer4.register_forward_hook(fail), lucid.no_grad():
        for _ in range(CALLS + 1):
            with pytest.raises(KeyboardInterrupt):
                backbone(images())
    check(backbone)
    assert is_planned(backbone)


# Lists of levels


def levels(n=1, channels=8):
    sizes = [(12, 16), (6, 8), (3, 4)]
    return [lucid.Tensor(rng.standard_normal((n, channels, *s)).astype(np.float32)) for s in sizes]


@pytest.fixture
def head():
    lucid.random.seed(0)
    return DenseHead(channels=8, num_anchors=3, num_outputs=5).eval()


@pytest.mark.parametrize("n", [1, 3])
def test_head(head, unplanned, n):
    kept = []
    for _ in range(CALLS + 3):
        x = levels(n)
        expected = unplanned(head, x)
        with lucid.no_grad():
            found = head(x)
        assert_same_bits(found, expected)
        kept.append((found, arrays(found)))
    assert is_planned(head)
    for found, before in kept:
        assert_same_bits(found, before)


def test_levels_in_a_tuple_are_not_replayed(head, unplanned):
    for _ in range(CALLS + 2):
        x = tuple(levels())
        expected = unplanned(head, x)
        with lucid.no_grad():
            assert_same_bits(head(x), expected)
    assert plans_of(head) == {}


def test_levels_that_share_memory(head, unplanned):
    """A plan for one tensor twice would read the wrong one of two tensors."""
    for k in range(2 * CALLS + 2):
        x = levels()[:1] * 2 if k < CALLS else [levels()[0], levels()[0]]
        expected = unplanned(head, x)
        with lucid.no_grad():
            assert_same_bits(head(x), expected)


def test_a_level_and_a_list_of_one(check):
    """The two have plans of their own."""

    class Either(nn.Module):
        replayable = True

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x):
            return [self.conv(y) for y in x] if isinstance(x, list) else self.conv(x)

    model = Either().eval()
    check(model)
    check(lambda x: model([x]))
    assert len(plans_of(model)) == 2
    assert is_planned(model)


@pytest.mark.parametrize("other", ["a number", "float64", "no level"])
def test_other_lists(head, other):
    x = levels()
    if other == "a number":
        with lucid.no_grad(), pytest.raises(ValueError, match="3"):
            head([*x, 3])
    elif other == "float64":
        head.to("float64")
        with lucid.no_grad():
            found = head([lucid.Tensor(y.numpy().astype(np.float64)) for y in x])
        assert {y.dtype.name for y in found} == {"float64"}
    else:
        with lucid.no_grad():
            assert head([]) == []
    assert plans_of(head) == {}
