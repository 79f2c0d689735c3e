from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_detection import TinyBackbone

import lucid
from lucid import Tensor, nn
from lucid_models_detection import FasterRCNN, boxes, faster_rcnn_resnet_18_fpn
from lucid_models_detection.transform import raw_batch

#: Small enough to be quick, whole otherwise.
SMALL: dict[str, Any] = {
    "num_classes": 4,
    "hidden_dim": 16,
    "pool_size": 2,
    "rpn_pre_nms_top_n": (60, 40),
    "rpn_post_nms_top_n": (50, 20),
    "box_batch_size_per_image": 32,
}


def make(**options: Any) -> FasterRCNN:
    """On a backbone of five convolutions."""
    lucid.random.seed(0)
    return FasterRCNN(TinyBackbone(2), **(SMALL | options))


def make_on_resnet(**options: Any) -> FasterRCNN:
    return FasterRCNN.from_backbone("resnet_18", **(SMALL | {"backbone_num_classes": 2} | options))


@pytest.fixture(scope="module")
def model() -> FasterRCNN:
    """For tests that leave it as it is."""
    return make().eval()


def image(height: int = 40, width: int = 48, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((3, height, width), np.float32)


TARGET = {"boxes": np.array([[5, 6, 30, 35]], np.float32), "labels": np.array([2])}
NOTHING: dict[str, Any] = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, np.int64)}


# Raw mode


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (33, 50)])
def test_scores_and_offsets_of_a_fixed_number_of_regions(
    train: bool, size: tuple[int, int]
) -> None:
    model = make().train(train)
    cls_logits, bbox_deltas = model(lucid.random.randn(2, 3, *size))
    assert cls_logits.shape == (2, 20, 4)
    assert bbox_deltas.shape == (2, 20, 4)
    assert model.training is train


def test_number_of_regions_is_limited_by_anchors() -> None:
    model = make(rpn_post_nms_top_n=1000).eval()
    # One cell on P5 of a padded 32 x 32, so 8 * 8 + 4 * 4 + 2 * 2 + 1 + 1 locations of 9 anchors.
    cls_logits, bbox_deltas = model(lucid.random.randn(1, 3, 5, 7))
    assert cls_logits.shape == (1, 86 * 9, 4)
    assert bbox_deltas.shape == (1, 86 * 9, 4)


def test_propose_matches_raw_outputs(model: FasterRCNN) -> None:
    x = lucid.random.randn(2, 3, 64, 70)
    regions = model.propose(x)
    assert regions.shape == (2, 20, 4)
    assert not regions.requires_grad
    assert (regions.data >= 0).all()
    assert (regions.data <= [70, 64, 70, 64]).all()
    cls_logits, bbox_deltas = model(x)
    # The second stage on the very same regions.
    padded = lucid.zeros(2, 3, 64, 96)
    padded.data[:, :, :, :70] = x.data
    batch = raw_batch(padded, 32)
    logits, deltas = model.roi_heads(model.backbone(padded)[:-1], batch, list(regions.data))
    np.testing.assert_allclose(cls_logits.data.reshape(40, 4), logits.data, rtol=1e-3, atol=1e-5)
    best = 1 + logits.data[:, 1:].argmax(axis=1)
    np.testing.assert_allclose(
        bbox_deltas.data.reshape(40, 4), deltas.data[np.arange(40), best], rtol=1e-3, atol=1e-5
    )


def test_raw_outputs_do_not_normalize(model: FasterRCNN) -> None:
    """No normalizing: brightness must matter, unlike what a batch in [0, 1] would show."""
    x = lucid.random.randn(1, 3, 32, 32)
    seen: list[Tensor] = []
    handle = model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(x)
    handle.remove()
    assert seen[0] is x


def test_gradients_flow_through_raw_mode() -> None:
    model = make()
    x = lucid.random.randn(1, 3, 32, 40, dtype=lucid.float32).requires_grad_()
    cls_logits, bbox_deltas = model(x)
    (cls_logits.sum() + bbox_deltas.sum()).backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert model.roi_heads.box_predictor.bbox_pred.weight.grad is not None


def test_images_in_a_batch_do_not_influence_each_other(model: FasterRCNN) -> None:
    x = lucid.random.randn(2, 3, 64, 64)
    together = model(x)[0].data
    alone = np.concatenate([model(x[:1])[0].data, model(x[1:])[0].data])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-5)


# Losses

LOSSES = ["loss_box_reg", "loss_classifier", "loss_objectness", "loss_rpn_box_reg"]


@pytest.mark.parametrize("train", [False, True])
def test_losses_in_either_mode(train: bool) -> None:
    model = make().train(train)
    losses = model([image(), image(33, 64, 1)], [TARGET, NOTHING])
    assert sorted(losses) == LOSSES
    assert all(loss.shape == () and loss.item() >= 0 for loss in losses.values())
    sum(losses.values(), lucid.zeros(())).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == {"backbone.net.fc.weight", "backbone.net.fc.bias"}


def test_a_batch_and_a_list_are_the_same(model: FasterRCNN) -> None:
    batch = np.stack([image(), image(seed=1)])
    results = []
    for images in (batch, Tensor(batch), list(batch), [Tensor(x) for x in batch]):
        lucid.random.seed(1)
        losses = model(images, [TARGET, TARGET])
        results.append([losses[name].item() for name in LOSSES])
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-5)


def test_sampling_depends_on_the_seed(model: FasterRCNN) -> None:
    def total(seed: int) -> float:
        lucid.random.seed(seed)
        return sum(loss.item() for loss in model([image(96, 96)], [TARGET]).values())

    assert total(3) == total(3)
    assert total(3) != total(4)


def test_images_without_objects(model: FasterRCNN) -> None:
    for nothing in (NOTHING, {"boxes": np.zeros(0), "labels": []}):
        losses = model([image()], [nothing])
        assert losses["loss_box_reg"].item() == 0
        assert losses["loss_rpn_box_reg"].item() == 0
        assert losses["loss_classifier"].item() > 0


def test_targets_are_resized_with_their_image() -> None:
    model = make(min_size=64).eval()
    seen: list[Any] = []
    original = model.rpn.forward
    model.rpn.forward = lambda *args: seen.append(args) or original(*args)
    model([image(32, 48)], [{"boxes": [[4, 8, 20, 30]], "labels": [1]}])
    (_, batch, targets) = seen[0]
    assert batch.sizes == [(64, 96)]
    np.testing.assert_allclose(targets[0].boxes, [[8, 16, 40, 60]])


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("rpn.head.cls_logits.weight", "loss_objectness"),
        ("rpn.head.bbox_pred.bias", "loss_rpn_box_reg"),
        ("roi_heads.box_predictor.cls_score.bias", "loss_classifier"),
        ("roi_heads.box_predictor.bbox_pred.bias", "loss_box_reg"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_non_finite_loss_raises(where: str, names: str) -> None:
    model = make()
    model.state_dict()[where].data[...] = np.nan
    with pytest.raises(FloatingPointError, match=f"{names} is nan.*diverged"):
        model([image()], [TARGET])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 255, r"images\[1\]: .*\[0\.\d+, 25\d.*divide 8-bit values by 255"),
        (lambda x: (x - 0.485) / 0.229, r"images\[1\]: .*\[-2\.\d+, 2\.\d+\].*normalization"),
        (
            lambda x: np.where(x == x.max(), np.nan, x),
            r"images\[1\]: .*1 of 5760 values NaN or inf",
        ),
        (lambda x: np.full_like(x, -np.inf), r"images\[1\]: .*5760 of 5760 .*none is finite"),
    ],
    ids=["0 to 255", "normalized", "NaN", "infinite"],
)
def test_pixels_outside_the_range_are_refused_but_in_raw_mode(
    model: FasterRCNN, change: Any, message: str
) -> None:
    images = [image(), change(image()).astype(np.float32)]
    calls = (
        lambda: model.predict(images),
        lambda: model.predict(np.stack(images)),
        lambda: model.predict([lucid.Tensor(x) for x in images]),
        lambda: model(images, [TARGET, TARGET]),
        lambda: model.losses_and_detections(images, [TARGET, TARGET]),
    )
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    if np.isfinite(images[1]).all():
        logits, _ = model(lucid.Tensor(images[1][None]))
        assert np.isfinite(logits.numpy()).all()


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        ([], [], "images: expected at least one image, got none"),
        ([image()], [TARGET, TARGET], "targets: expected 1 .*got 2"),
        ([image()], [{"boxes": [[5, 5, 3, 9]], "labels": [1]}], r'targets\[0\]\["boxes"\]\[0\]'),
        ([image()], [{"boxes": [[5, 5, 9, 9]], "labels": [4]}], "expected 1 to 3"),
        ([image()], [{"boxes": [[5, 5, 9, 9]], "labels": [0]}], "0 is the background"),
        ([image(), image()[:1]], [TARGET, TARGET], r"images\[1\]: expected shape \(3, H, W\)"),
    ],
)
def test_bad_input_is_refused_before_anything_is_computed(
    model: FasterRCNN, images: Any, targets: Any, message: str
) -> None:
    state = lucid.random.get_state()
    with pytest.raises(ValueError, match=message):
        model(images, targets)
    assert lucid.random.get_state() == state


# Prediction


def check_detections(found: Any, size: tuple[int, int]) -> None:
    count = len(found["labels"])
    assert found["boxes"].shape == (count, 4)
    assert found["scores"].shape == (count,)
    dtypes = [found[key].dtype for key in ("boxes", "labels", "scores")]
    assert dtypes == [np.float32, np.int64, np.float32]
    assert (np.diff(found["scores"]) <= 0).all()
    assert ((found["labels"] >= 1) & (found["labels"] < 4)).all()
    assert (found["boxes"] >= 0).all()
    assert (found["boxes"] <= np.array([size[1], size[0]] * 2) + 1e-3).all()


@pytest.mark.parametrize("options", [{}, {"min_size": 48, "max_size": 60}])
def test_detections_of_images_of_different_sizes(options: dict[str, Any]) -> None:
    model = make(box_score_threshold=0.0, **options)
    sizes = [(40, 48), (7, 90), (1, 1), (64, 64)]
    found = model.predict([image(*size) for size in sizes])
    assert len(found) == 4
    assert any(len(detections["boxes"]) for detections in found)
    for detections, size in zip(found, sizes, strict=True):
        check_detections(detections, size)


@pytest.mark.parametrize("options", [{}, {"min_size": 48, "max_size": 60}])
def test_prediction_does_not_depend_on_the_rest_of_the_batch(options: dict[str, Any]) -> None:
    model = make(box_score_threshold=0.0, **options)
    sizes = [(64, 64), (64, 60), (40, 130), (64, 64), (96, 33)]
    images = [image(*size, seed) for seed, size in enumerate(sizes)]
    targets = [NOTHING] * len(images)
    together = (model.predict(images), model.losses_and_detections(images, targets)[1])
    for i, one in enumerate(images):
        (alone,) = model.predict([one])
        assert len(alone["scores"])
        for found in together:
            np.testing.assert_array_equal(found[i]["labels"], alone["labels"])
            np.testing.assert_allclose(found[i]["scores"], alone["scores"], rtol=1e-4)
            np.testing.assert_allclose(found[i]["boxes"], alone["boxes"], atol=1e-3)


def test_only_images_of_one_padded_size_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    batches: list[tuple[int, ...]] = []
    network = model.backbone.forward
    monkeypatch.setattr(
        model.backbone, "forward", lambda x: batches.append(tuple(x.shape)) or network(x)
    )
    model.predict([image(64, 64), image(40, 33), image(20, 90), image(33, 64)])
    assert batches == [(3, 3, 64, 64), (1, 3, 32, 96)]


def test_prediction_restores_every_mode_and_records_nothing() -> None:
    model = make().train()
    model.backbone.net.eval()
    before = [module.training for module in model.modules()]
    statistics = model.backbone.net.stem[1].running_mean.data.copy()
    model.predict(image()[None])
    assert [module.training for module in model.modules()] == before
    np.testing.assert_array_equal(model.backbone.net.stem[1].running_mean.data, statistics)
    with pytest.raises(TypeError):
        model.predict(None)
    assert [module.training for module in model.modules()] == before


def test_an_image_without_objects_gives_empty_arrays() -> None:
    model = make(box_score_threshold=1.0)
    (found,) = model.predict([image()])
    assert found["boxes"].shape == (0, 4)
    assert found["labels"].shape == found["scores"].shape == (0,)
    check_detections(found, (40, 48))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ValueError, "at least one image"),
        (np.zeros((0, 3, 8, 8), np.float32), ValueError, "at least one image"),
        (image(), ValueError, "put a single image in a list"),
        ([image().astype(np.uint8)], TypeError, "divide by 255"),
        ([image(0, 5)], ValueError, "at least one pixel"),
    ],
)
def test_invalid_images_are_rejected(
    model: FasterRCNN, images: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model.predict(images)


def test_list_without_targets_gives_a_remedy(model: FasterRCNN) -> None:
    with pytest.raises(TypeError, match=r"use model.predict\(images\)"):
        model([image()])


# Construction


def test_the_net_inside_is_a_complete_classifier() -> None:
    model = make_on_resnet().eval()
    assert model.backbone.net(lucid.random.randn(2, 3, 32, 32)).shape == (2, 2)
    assert model.backbone.stem is model.backbone.net.stem


def test_weights_move_in_and_out_of_the_net() -> None:
    classifier = lucid.models.create_model("resnet_18", num_classes=2)
    model = make_on_resnet()
    model.backbone.net.load_state_dict(classifier.state_dict())
    expected = classifier.state_dict()["layer3.0.conv1.conv.weight"].data
    np.testing.assert_array_equal(
        model.state_dict()["backbone.net.layer3.0.conv1.conv.weight"].data, expected
    )
    stem = classifier.state_dict()["stem.conv.weight"].data
    np.testing.assert_array_equal(model.state_dict()["backbone.stem.conv.weight"].data, stem)
    other = make_on_resnet()
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other.state_dict()["backbone.stem.conv.weight"].data, stem)


def test_a_classifier_of_another_number_of_classes_is_refused_or_skipped() -> None:
    weights = lucid.models.create_model("resnet_18", num_classes=5).state_dict()
    model = make_on_resnet()
    with pytest.raises(lucid.StateDictError, match=r"fc\.weight"):
        model.backbone.net.load_state_dict(weights)
    report = model.backbone.net.load_state_dict(weights, skip_mismatched=True)
    assert sorted(report.skipped) == ["fc.bias", "fc.weight"]


def test_unknown_arguments_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(TypeError, match=r"'anchors'; valid ones are .*anchor_sizes.*pool_size"):
        FasterRCNN.from_backbone("resnet_18", anchors=3)
    with pytest.raises(TypeError, match="valid ones are anchor_sizes"):
        FasterRCNN(nn.Identity(), norm="frozen")


def test_options_are_checked_before_the_backbone_is_built() -> None:
    with pytest.raises(ValueError, match="rpn_nms_threshold"):
        FasterRCNN.from_backbone("no_such_model", rpn_nms_threshold=2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_classes": 1}, ValueError, "num_classes: .*at least 2 .*background.*got 1"),
        ({"num_classes": 2.0}, TypeError, "num_classes: expected an integer .* got 2.0"),
        ({"backbone_num_classes": 0}, ValueError, "num_classes: expected an integer .* got 0"),
        ({"anchor_sizes": (32, 64)}, ValueError, r"anchor_sizes: .*5 levels \(P2 to P6\), got 2"),
        ({"norm": "layer"}, ValueError, "norm"),
        ({"norm_eps": -1.0}, ValueError, "norm_eps"),
        ({"image_std": (1, 1)}, ValueError, "image_std"),
    ],
)
def test_arguments_are_checked(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_on_resnet(**options)


def test_frozen_norms_and_their_epsilon() -> None:
    model = make_on_resnet(norm="frozen", norm_eps=0.5)
    norms = [m for m in model.modules() if isinstance(m, nn.FrozenBatchNorm2d)]
    assert len(norms) == 20
    assert {norm.eps for norm in norms} == {0.5}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_the_head_is_built_from_the_anchors() -> None:
    model = make(anchor_sizes=(16, 32, 64, 128, 256), aspect_ratios=(0.5, 1.0))
    assert model.rpn.head.cls_logits.weight.shape == (2, 256, 1, 1)
    assert model.rpn.head.bbox_pred.weight.shape == (8, 256, 1, 1)


def test_a_bottleneck_backbone_by_name() -> None:
    model = FasterRCNN.from_backbone("resnext_50_32x4d", **SMALL).eval()
    assert model(lucid.random.randn(1, 3, 32, 32))[0].shape == (1, 20, 4)


class ToyNet(nn.Module):
    """A backbone of somebody else's: two stages at strides 8 and 16, no stem, no classifier."""

    feature_channels = (6, 10)
    feature_strides = (8, 16)

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 9, stride=8, padding=4)
        self.second = nn.Conv2d(width, 10, 3, stride=2, padding=1)

    def features(self, x: Tensor) -> list[Tensor]:
        first = nn.functional.relu(self.first(x))
        return [first, nn.functional.relu(self.second(first))]


TOY = {k: v for k, v in SMALL.items() if k != "backbone_num_classes"} | {
    "anchor_sizes": (16, 32, 64)
}


def test_any_module_with_features_is_a_backbone() -> None:
    net = ToyNet()
    model = FasterRCNN.from_backbone(net, **TOY)
    assert model.backbone.net is net
    assert model.backbone.stride == 16
    assert model(lucid.random.randn(1, 3, 40, 40))[0].shape == (1, 20, 4)
    losses = model([image(50, 61), image()], [TARGET, NOTHING])
    sum(losses.values(), lucid.zeros(())).backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    # Regions are read from the level that fits them, of strides 8 and 16.
    for found, size in zip(
        model.predict([image(50, 61), image()]), [(50, 61), (40, 48)], strict=True
    ):
        check_detections(found, size)


def test_default_anchors_follow_the_strides_of_the_levels() -> None:
    model = FasterRCNN.from_backbone(ToyNet(), **{**TOY, "anchor_sizes": None})
    assert [sizes[0] for sizes in model.rpn.anchor_generator.sizes] == [64, 128, 256]
    assert model.config.anchor_sizes == model.rpn.anchor_generator.sizes


def test_invalid_strides_are_named() -> None:
    net = ToyNet()
    net.feature_strides = (8, 24)
    with pytest.raises(ValueError, match=r"ToyNet.feature_strides: .* got 24 after 8"):
        FasterRCNN.from_backbone(net, **TOY)


def test_any_registered_model_with_features_is_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    from lucid.models import register_model, zoo
    from lucid.models.registry import ModelRegistry

    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))

    @register_model(name="toy_net", task="image-classification", family="toy")
    def toy_net(**kwargs: Any) -> ToyNet:
        return ToyNet(**kwargs)

    model = FasterRCNN.from_backbone("toy_net", **TOY)
    assert model.backbone.net.model_name == "toy_net"
    with pytest.raises(TypeError, match="num_classes"):
        FasterRCNN.from_backbone("toy_net", backbone_num_classes=7, **TOY)
    with pytest.raises(lucid.errors.UnknownModelError, match="toy_nett"):
        FasterRCNN.from_backbone("toy_nett", **TOY)


@pytest.mark.parametrize(
    ("net", "options", "error", "message"),
    [
        (ToyNet(), {"norm": "frozen"}, TypeError, "norm: .* ToyNet"),
        (ToyNet(), {"backbone_num_classes": 5}, TypeError, "num_classes: .* ToyNet"),
        (ToyNet(), {"anchors": 5}, TypeError, "a detector on ToyNet got .*'anchors'; valid ones"),
        (
            ToyNet(),
            {"anchor_sizes": (16, 32)},
            ValueError,
            r"anchor_sizes: .*3 levels \(P3 to P5\), got 2",
        ),
        (
            ToyNet(),
            {"aspect_ratios": ((1.0,), (2.0,))},
            ValueError,
            r"aspect_ratios: .*3 \(P3 to P5\), got 2",
        ),
        (nn.Linear(2, 2), {}, lucid.ProtocolError, "a Linear, which lacks feature_channels, feat"),
    ],
)
def test_unsuitable_backbones_are_rejected(
    net: nn.Module, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FasterRCNN.from_backbone(net, **(TOY | options))


def test_wrong_feature_channels_are_rejected() -> None:
    model = FasterRCNN.from_backbone(ToyNet(width=7), **TOY)
    with pytest.raises(ValueError, match=r"ToyNet.*\(6, 10\) .*feature_channels.*\(7, 10\)"):
        model(lucid.random.randn(1, 3, 32, 32))


def test_in_double_precision() -> None:
    model = make().to(lucid.float64)
    losses = model([image()], [TARGET])
    assert {loss.dtype for loss in losses.values()} == {np.dtype(np.float64)}
    (found,) = model.predict([image()])
    assert found["boxes"].dtype == np.float32


# Learning


@pytest.mark.slow
def test_it_learns_two_images() -> None:
    """Rectangles on gray, two classes of different color."""
    lucid.random.seed(1)
    model = FasterRCNN.from_backbone(
        "resnet_18",
        3,
        2,
        anchor_sizes=(8, 16, 32, 64, 128),
        hidden_dim=64,
        rpn_post_nms_top_n=100,
        box_batch_size_per_image=32,
    )
    wanted = [[[6, 8, 28, 30], [32, 28, 60, 54]], [[20, 6, 46, 32]]]
    labels = [[1, 2], [2]]
    images = np.full((2, 3, 64, 64), 0.4, np.float32)
    for picture, objects, classes in zip(images, wanted, labels, strict=True):
        for (x1, y1, x2, y2), label in zip(objects, classes, strict=True):
            picture[label, y1:y2, x1:x2] = 1
    targets = [{"boxes": b, "labels": c} for b, c in zip(wanted, labels, strict=True)]
    optimizer = lucid.optim.Adam(model.parameters(), lr=3e-4)
    totals, steps = [], 50
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-4 * min(1, 2 * (1 - step / steps))
        optimizer.zero_grad()
        total = sum(model(images, targets).values(), lucid.zeros(()))
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0] / 4
    for found, objects, classes in zip(model.predict(images), wanted, labels, strict=True):
        for box, label in zip(objects, classes, strict=True):
            best = np.flatnonzero(found["labels"] == label)[0]
            assert found["scores"][best] > 0.3
            assert boxes.iou(found["boxes"][best : best + 1], [box])[0, 0] > 0.6


def test_losses_and_detections_match_separate_calls():
    lucid.random.seed(3)
    model = faster_rcnn_resnet_18_fpn(
        num_classes=3, hidden_dim=8, rpn_post_nms_top_n=40, min_size=(64, 96)
    )
    # Resized to 96 x 120 and 96 x 128: padded to one size, so one batch.
    images = [lucid.random.rand(3, 64, 80), lucid.random.rand(3, 48, 64)]
    targets = [{"boxes": [[4.0, 5, 40, 50]], "labels": [2]}, {"boxes": [], "labels": []}]
    lucid.random.seed(4)
    losses, detections = model.losses_and_detections(images, targets)
    assert model.training
    assert not any(loss.requires_grad for loss in losses.values())
    expected = model.predict(images)
    for found, other in zip(detections, expected, strict=True):
        for key in ("boxes", "labels", "scores"):
            np.testing.assert_array_equal(found[key], other[key])
    model.eval()
    lucid.random.seed(4)
    with lucid.no_grad():
        apart = model(images, targets)
    assert {name: loss.item() for name, loss in apart.items()} == {
        name: loss.item() for name, loss in losses.items()
    }


def test_losses_average_over_padded_sizes():
    model = make(min_size=(64, 96))
    images = [image(64, 80), image(72, 48), image(64, 80, 1)]
    targets = [TARGET, NOTHING, TARGET]
    lucid.random.seed(4)
    losses, _ = model.losses_and_detections(images, targets)
    model.eval()
    lucid.random.seed(4)
    with lucid.no_grad():
        first = model([images[0], images[2]], [TARGET, TARGET])
        second = model([images[1]], [NOTHING])
    for name, loss in losses.items():
        expected = (2 * first[name].item() + second[name].item()) / 3
        assert loss.item() == pytest.approx(expected, rel=1e-6)
