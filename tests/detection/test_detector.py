"""The base class of detectors, by a detector that needs no training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid_models_detection import FasterRCNN
from lucid_models_detection.detections import Detections
from lucid_models_detection.detector import Detector, backbone_net, check_detector
from lucid_models_detection.faster_rcnn import BoxPredictor
from lucid_models_detection.ground_truth import GroundTruth
from lucid_models_detection.transform import GeneralizedRCNNTransform, ImageList


class Brightest(Detector):
    """Finds the pixel with the largest feature, at half the resolution of the image."""

    head_prefixes = ("scale",)

    def __init__(self, **sizes: Any) -> None:
        super().__init__(
            nn.Conv2d(3, 1, 1, bias=False), GeneralizedRCNNTransform((0,) * 3, (1,) * 3, **sizes)
        )
        nn.init.ones_(self.backbone.weight)
        self.scale = nn.Parameter([0.5])
        self.num_classes = 2
        self.score_threshold = 0.0
        self.batches: list[tuple[int, ...]] = []

    def compute_losses(
        self, features: Any, batch: ImageList, targets: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        wanted = sum(float(target.boxes.sum()) for target in targets)
        return {
            "loss_mean": features.mean() * self.scale[0],
            "loss_boxes": self.scale.sum() * wanted,
        }

    def detect(self, features: Any, batch: ImageList) -> list[Detections]:
        assert not self.training
        assert not lucid.is_grad_enabled()
        self.batches.append(batch.tensor.shape)
        found: list[Detections] = []
        for image in features.data[:, 0]:
            y, x = np.unravel_index(image.argmax(), image.shape)
            found.append(
                {
                    "boxes": np.array([[x, y, x + 1, y + 1]], np.float32),
                    "labels": np.array([1]),
                    "scores": np.array([0.5], np.float32),
                }
            )
        return found


def dark_with_a_bright_pixel(height: int, width: int, y: int, x: int) -> Any:
    image = np.zeros((3, height, width), np.float32)
    image[:, y, x] = 1
    return image


IMAGES = [dark_with_a_bright_pixel(40, 40, 7, 11), dark_with_a_bright_pixel(30, 50, 2, 3)]
TARGETS = [{"boxes": [[1, 2, 3, 4]], "labels": [1]}, {"boxes": [], "labels": []}]


def test_boxes_are_in_the_pixels_of_each_image_in_the_order_of_the_images() -> None:
    model = Brightest()
    found = model.predict(IMAGES)
    assert [each["boxes"].tolist() for each in found] == [[[11, 7, 12, 8]], [[3, 2, 4, 3]]]
    assert model.training
    assert sorted(model.batches) == [(1, 3, 32, 64), (1, 3, 64, 64)]


def test_boxes_of_resized_images_are_brought_back() -> None:
    image = np.repeat(np.repeat(dark_with_a_bright_pixel(20, 20, 5, 8), 2, axis=1), 2, axis=2)
    (found,) = Brightest(min_size=(20,)).predict([image])
    assert found["boxes"].tolist() == [[16, 10, 18, 12]]


def test_losses_are_those_of_the_subclass() -> None:
    model = Brightest()
    losses = model(IMAGES, TARGETS)
    assert losses["loss_boxes"].item() == pytest.approx(0.5 * (1 + 2 + 3 + 4))
    sum(losses.values()).backward()
    assert model.scale.grad is not None


def test_validation_gives_both_at_once() -> None:
    model = Brightest()
    losses, found = model.losses_and_detections(IMAGES, TARGETS)
    assert losses["loss_boxes"].item() == pytest.approx(0.5 * 10 / 2)
    assert [each["boxes"].tolist() for each in found] == [[[11, 7, 12, 8]], [[3, 2, 4, 3]]]
    assert not losses["loss_boxes"].requires_grad


def test_non_finite_loss_is_named() -> None:
    model = Brightest()
    model.scale.data[:] = np.inf
    with pytest.raises(FloatingPointError, match="loss_boxes is inf"):
        model(IMAGES, TARGETS)


@pytest.mark.parametrize(
    ("images", "targets", "expected"),
    [
        ([IMAGES[0] * 255], TARGETS[:1], r"images\[0\].*255"),
        (IMAGES, TARGETS[:1], "targets: expected 2 .*got 1"),
        (IMAGES[:1], [{"boxes": [[1, 2, 3, 4]], "labels": [2]}], "num_classes=2"),
    ],
)
def test_invalid_inputs_are_rejected(images: Any, targets: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Brightest()(images, targets)


def test_unimplemented_methods_raise() -> None:
    class Unfinished(Detector):
        num_classes = 2

    model = Unfinished(nn.Conv2d(3, 1, 1), GeneralizedRCNNTransform((0,) * 3, (1,) * 3))
    with pytest.raises(NotImplementedError, match=r"Unfinished.*detect"):
        model.predict(IMAGES)
    with pytest.raises(NotImplementedError, match=r"Unfinished.*compute_losses"):
        model(IMAGES, TARGETS)


def test_a_batch_without_targets_gives_the_raw_outputs() -> None:
    class Raw(Brightest):
        def raw_outputs(self, features: Any, batch: ImageList) -> Any:
            return features, batch.padded_size, batch.sizes

    x = np.full((1, 3, 40, 33), -2.0, np.float32)  # neither in [0, 1] nor padded
    features, padded, sizes = Raw()(x)
    assert (padded, sizes) == ((64, 64), [(40, 33)])
    assert (features.numpy()[0, 0, :40, :33] == -6).all()
    with pytest.raises(TypeError, match=r"\(N, 3, H, W\) .*got a list; use model.predict"):
        Raw()(IMAGES)
    with pytest.raises(NotImplementedError, match="Brightest does not implement raw_outputs"):
        Brightest()(x)


def test_from_backbone_of_a_subclass_without_options() -> None:
    class Simple(Brightest):
        def __init__(self, net: nn.Module, num_classes: int, **options: Any) -> None:
            super().__init__()
            self.backbone, self.num_classes, self.options = net, num_classes, options

    model = Simple.from_backbone("resnet_18", 3, 7, norm="frozen", radius=2)
    assert type(model) is Simple
    assert (model.num_classes, model.options) == (3, {"radius": 2})
    assert model.backbone.model_kwargs == {"num_classes": 7, "norm": "frozen"}


def test_the_number_of_classes_follows_an_exchanged_predictor() -> None:
    model = FasterRCNN.from_backbone(
        "resnet_18", num_classes=3, hidden_dim=8, rpn_post_nms_top_n=8, rpn_pre_nms_top_n=16
    )
    model.roi_heads.box_predictor = BoxPredictor(8, num_classes=5)
    assert model.num_classes == 5
    image = np.zeros((3, 64, 64), np.float32)
    model([image], [{"boxes": [[8, 8, 40, 40]], "labels": [4]}])
    assert model(lucid.zeros(1, 3, 64, 64))[0].shape == (1, 8, 5)


def test_any_module_with_the_members_of_a_detector_is_one() -> None:
    class Duck(nn.Module):
        num_classes, head_prefixes, score_threshold = 2, ("head.",), 0.05
        predict = losses_and_detections = Brightest.predict

    model = Duck()
    with pytest.raises(lucid.ProtocolError, match=r"a Duck, which lacks backbone;"):
        check_detector(model)
    model.backbone = nn.Linear(1, 1)
    assert check_detector(model) is model
    assert backbone_net(model) is model.backbone


def test_predictor_without_num_classes_is_named() -> None:
    model = FasterRCNN.from_backbone("resnet_18", hidden_dim=8)
    model.roi_heads.box_predictor = nn.Linear(8, 5)
    with pytest.raises(TypeError, match=r"box_predictor: expected .* num_classes.*got Linear"):
        _ = model.num_classes


def test_the_base_of_from_backbone_is_kept() -> None:
    class Mine(FasterRCNN):
        pass

    assert type(Mine.from_backbone("resnet_18", hidden_dim=8)) is Mine
