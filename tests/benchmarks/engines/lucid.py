"""Benchmark cases with Lucid."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from agreement import check_detections, check_logits
from classifiers import PREDICTIONS, TRAINING_STEPS
from inputs import (
    NUM_CLASSES,
    PREDICTION_SIZE,
    TRAINING_SIZE,
    crowd,
    noise,
    pictures,
    regions,
    targets,
)
from layers import ATTENTION, LAYERS, Layer
from stopwatch import Stopwatch

import lucid
import lucid_models_detection as detection
from lucid import kernels

VERSIONS = {
    "python": platform.python_version(),
    "lucid-core": version("lucid-core"),
    "numpy": np.__version__,
    "numba": version("numba"),
}


def classify(name: str, count: int, folder: Path) -> Callable[[], Any]:
    model = lucid.load_model(folder / f"{name}.safetensors").eval()
    x = lucid.tensor(noise(8, 3, 224, 224)[:count])

    def call() -> Any:
        with lucid.no_grad():
            return model(x)

    check_logits(call().numpy(), name, folder)
    return call


def train_classifier(name: str, shape: tuple[int, ...], folder: Path) -> Callable[[], Any]:
    model = lucid.models.create_model(name).train()
    optimizer = lucid.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    x, labels = lucid.tensor(noise(*shape)), lucid.tensor(np.arange(shape[0]))

    def call() -> None:
        optimizer.zero_grad()
        lucid.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return call


def watch_kernels() -> Stopwatch:
    """Time all calls of NMS and RoIAlign in this process."""
    watch = Stopwatch()
    for name in ("nms", "roi_align", "roi_align_backward"):
        setattr(kernels, name, watch.timed(name, getattr(kernels, name)))
    return watch


def detector(name: str, size: int, folder: Path) -> Any:
    config = detection.torchvision_config(name) | {"min_size": size}
    model = lucid.models.create_model(f"{name}_resnet_50_fpn", num_classes=NUM_CLASSES, **config)
    detection.torchvision.load_torchvision_weights(model, folder / f"{name}.safetensors")
    return model


def detect(name: str, apart: tuple[str, ...], folder: Path) -> Callable[[], Any]:
    model = detector(name, PREDICTION_SIZE, folder).eval()
    picture = pictures(1, PREDICTION_SIZE)
    found = model.predict(picture)[0]
    check_detections([found["boxes"], found["labels"], found["scores"]], name, folder)
    watch = watch_kernels()

    def call() -> float:
        model.predict(picture)
        return watch.take(*apart)

    return call


def train_detector(folder: Path) -> Callable[[], Any]:
    model = detector("faster_rcnn", TRAINING_SIZE, folder).train()
    optimizer = lucid.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    images, objects = pictures(2, TRAINING_SIZE), targets(2, TRAINING_SIZE)
    watch = watch_kernels()

    def call() -> float:
        optimizer.zero_grad()
        sum(model(images, objects).values()).backward()
        optimizer.step()
        return watch.take("nms", "roi_align", "roi_align_backward")

    return call


def align_regions(folder: Path) -> Callable[[], Any]:
    features = lucid.tensor(kernels.channels_last(noise(1, 256, 200, 200)))
    boxes = regions(1000, 800)

    def call() -> Any:
        with lucid.no_grad():
            return detection.roi_align(features, [boxes], 7, 0.25, 2)

    np.testing.assert_allclose(call().numpy(), np.load(folder / "regions_expected.npy"), atol=1e-4)
    return call


def suppress(folder: Path) -> Callable[[], Any]:
    boxes, scores = crowd(10_000, 800)

    def call() -> Any:
        return detection.boxes.nms(boxes, scores, 0.5)

    np.testing.assert_array_equal(call(), np.load(folder / "crowd_expected.npy"))
    return call


def layer(description: Layer, folder: Path) -> Callable[[], Any]:
    module = getattr(lucid.nn, description.kind)(*description.arguments, **description.options)
    module.train(description.trains)
    # In the memory format that the previous layer would produce.
    x = lucid.tensor(kernels.channels_last(noise(*description.shape)))
    x.requires_grad_(description.trains)

    def predict() -> Any:
        with lucid.no_grad():
            return module(x)

    gradient = np.ones_like(predict().numpy())

    def train() -> None:
        for leaf in (x, *module.parameters()):
            leaf.grad = None
        module(x).backward(gradient)

    return train if description.trains else predict


def attention(shape: tuple[int, ...], trains: bool, folder: Path) -> Callable[[], Any]:
    attend = lucid.nn.functional.scaled_dot_product_attention
    inputs = [lucid.tensor(part, requires_grad=trains) for part in noise(3, *shape)]

    def predict() -> Any:
        with lucid.no_grad():
            return attend(*inputs)

    gradient = predict().numpy()

    def train() -> None:
        for leaf in inputs:
            leaf.grad = None
        attend(*inputs).backward(gradient)

    return train if trains else predict


CASES: dict[str, Callable[[Path], Callable[[], Any]]] = {
    **{case: partial(classify, *given) for case, given in PREDICTIONS.items()},
    **{case: partial(train_classifier, *given) for case, given in TRAINING_STEPS.items()},
    "Faster R-CNN R50-FPN prediction, 800 x 800": partial(
        detect, "faster_rcnn", ("nms", "roi_align")
    ),
    "RetinaNet R50-FPN prediction, 800 x 800": partial(detect, "retinanet", ("nms",)),
    "Faster R-CNN R50-FPN training step, 2 x 3 x 512 x 512": train_detector,
    "RoIAlign of 1,000 regions": align_regions,
    "NMS of 10,000 boxes": suppress,
    **{case: partial(attention, *given) for case, given in ATTENTION.items()},
    **{name: partial(layer, description) for name, description in LAYERS.items()},
}
