"""Benchmark cases with PyTorch and torchvision's networks."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from agreement import check_detections, check_logits
from classifiers import PREDICTIONS, TRAINING_STEPS, torchvision_name
from inputs import PREDICTION_SIZE, TRAINING_SIZE, noise, pictures, targets
from layers import ATTENTION, LAYERS, Layer
from safetensors.torch import load_file
from torch_detection import faster_rcnn, retinanet, torchvision, watch

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))

VERSIONS = {
    "python": platform.python_version(),
    "torch": torch.__version__,
    "torchvision": torchvision.__version__,
}


def build(name: str) -> Any:
    return getattr(torchvision.models, torchvision_name(name))(weights=None)


def classify(
    name: str,
    count: int,
    folder: Path,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Callable[[], Any]:
    model = build(name).eval()
    # num_batches_tracked is not in the file and does not affect the output.
    model.load_state_dict(load_file(folder / f"{name}.safetensors"), strict=False)
    model.to(memory_format=memory_format)
    x = torch.from_numpy(noise(8, 3, 224, 224)[:count]).to(memory_format=memory_format)

    def call() -> Any:
        with torch.inference_mode():
            return model(x)

    check_logits(call().numpy(), name, folder)
    return call


def train_classifier(
    name: str,
    shape: tuple[int, ...],
    folder: Path,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Callable[[], Any]:
    model = build(name).train()
    model.to(memory_format=memory_format)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    x = torch.from_numpy(noise(*shape)).to(memory_format=memory_format)
    labels = torch.arange(shape[0])

    def call() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return call


DETECTORS = {"faster_rcnn": faster_rcnn, "retinanet": retinanet}


def detector(name: str, size: int, folder: Path) -> Any:
    model = DETECTORS[name](torchvision.ops.FrozenBatchNorm2d, size)
    model.load_state_dict(load_file(folder / f"{name}.safetensors"))
    return model


def detect(name: str, apart: tuple[str, ...], folder: Path) -> Callable[[], Any]:
    model = detector(name, PREDICTION_SIZE, folder).eval()
    picture = list(torch.from_numpy(pictures(1, PREDICTION_SIZE)))

    def call() -> float:
        with torch.inference_mode():
            model(picture)
        return watch.take(*apart)

    with torch.inference_mode():
        found = model(picture)[0]
    check_detections([found[key].numpy() for key in ("boxes", "labels", "scores")], name, folder)
    watch.take()
    return call


def train_detector(folder: Path) -> Callable[[], Any]:
    model = detector("faster_rcnn", TRAINING_SIZE, folder).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    images = list(torch.from_numpy(pictures(2, TRAINING_SIZE)))
    objects = [
        {name: torch.from_numpy(value) for name, value in target.items()}
        for target in targets(2, TRAINING_SIZE)
    ]

    def call() -> float:
        optimizer.zero_grad()
        sum(model(images, objects).values()).backward()
        optimizer.step()
        return watch.take("nms", "roi_align", "roi_align_backward")

    return call


def layer(description: Layer, folder: Path) -> Callable[[], Any]:
    module = getattr(torch.nn, description.kind)(*description.arguments, **description.options)
    module.train(description.trains)
    x = torch.from_numpy(noise(*description.shape)).requires_grad_(description.trains)

    def predict() -> Any:
        with torch.inference_mode():
            return module(x)

    gradient = torch.ones(predict().shape)

    def train() -> None:
        for leaf in (x, *module.parameters()):
            leaf.grad = None
        module(x).backward(gradient)

    return train if description.trains else predict


def attention(shape: tuple[int, ...], trains: bool, folder: Path) -> Callable[[], Any]:
    attend = torch.nn.functional.scaled_dot_product_attention
    inputs = [torch.from_numpy(part).requires_grad_(trains) for part in noise(3, *shape)]

    def predict() -> Any:
        with torch.inference_mode():
            return attend(*inputs)

    gradient = predict().clone()

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
    **{case: partial(attention, *given) for case, given in ATTENTION.items()},
    **{name: partial(layer, description) for name, description in LAYERS.items()},
}
