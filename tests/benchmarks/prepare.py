"""Write the files that engines share: weights, ONNX graphs and reference outputs.

    python tests/benchmarks/prepare.py FOLDER [CASE ...]

A separate process, so that its memory is not measured.  Without cases, those of all are written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from classifiers import CLASSIFIERS, torchvision_name
from graphs.faster_rcnn import save_faster_rcnn
from graphs.mobilenet import (
    save_mobilenet_v2,
    save_mobilenet_v3_large,
    save_mobilenet_v3_small,
)
from graphs.operators import save_nms, save_roi_align
from graphs.resnet import save_resnet
from graphs.retinanet import save_retinanet
from inputs import NUM_CLASSES, PREDICTION_SIZE, crowd, noise, pictures, regions
from torch_detection import faster_rcnn, retinanet, torchvision

import lucid


def fit_norms(network: Any, images: torch.Tensor) -> None:
    """Set the running statistics of random networks from their activations, as training would."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over what is seen
    with torch.no_grad():
        network.train()(images)
    network.eval()


def save_weights(network: Any, path: Path) -> dict[str, np.ndarray]:
    weights = {
        name: value.numpy()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    lucid.save(weights, path)
    return weights


GRAPHS = {
    "mobilenet_v2": save_mobilenet_v2,
    "mobilenet_v3_small": save_mobilenet_v3_small,
    "mobilenet_v3_large": save_mobilenet_v3_large,
}


def prepare_classifier(name: str, folder: Path) -> None:
    torch.manual_seed(0)
    network = getattr(torchvision.models, torchvision_name(name))(weights=None)
    images = torch.from_numpy(noise(8, 3, 224, 224))
    fit_norms(network, images)
    with torch.inference_mode():
        np.save(folder / f"{name}_expected.npy", network(images).numpy())
    weights = save_weights(network, folder / f"{name}.safetensors")
    GRAPHS.get(name, save_resnet)(weights, folder / f"{name}.onnx")


def prepare_faster_rcnn(folder: Path) -> None:
    """Weights that give NMS and RoIAlign as much work as trained ones.

    Scaled so that three thousand anchors survive the first suppression, the best
    thousand of them are proposals, and two hundred times a class of a region is
    likely enough to be a detection.
    """
    torch.manual_seed(0)
    network = faster_rcnn(torch.nn.BatchNorm2d, PREDICTION_SIZE)
    fit_norms(network.backbone, torch.from_numpy(pictures(4, 256, seed=9)) * 4 - 2)
    with torch.no_grad():
        network.rpn.head.cls_logits.weight *= 4
        network.roi_heads.box_predictor.cls_score.weight *= 0.3
    save_detections(network.eval(), "faster_rcnn", folder)
    weights = save_weights(network, folder / "faster_rcnn.safetensors")
    save_faster_rcnn(weights, folder / "faster_rcnn.onnx", PREDICTION_SIZE)


def prepare_retinanet(folder: Path) -> None:
    """Weights that give about two thousand candidates over all levels, as trained ones do.

    The background's logits are so low that it is never detected, which Lucid never does.
    """
    torch.manual_seed(0)
    network = retinanet(torch.nn.BatchNorm2d, PREDICTION_SIZE)
    fit_norms(network.backbone, torch.from_numpy(pictures(4, 256, seed=9)) * 4 - 2)
    with torch.no_grad():
        picture, _ = network.transform(list(torch.from_numpy(pictures(1, PREDICTION_SIZE))))
        levels = list(network.backbone(picture.tensors).values())
        classes, boxes = network.head.classification_head, network.head.regression_head
        spread_out(classes, classes.cls_logits, levels, 0.4)
        spread_out(boxes, boxes.bbox_reg, levels, 0.1)
        classes.cls_logits.bias.view(-1, NUM_CLASSES)[:, 0] = -100
    save_detections(network.eval(), "retinanet", folder)
    weights = save_weights(network, folder / "retinanet.safetensors")
    save_retinanet(weights, folder / "retinanet.onnx", PREDICTION_SIZE)


def spread_out(head: Any, last: Any, levels: list[torch.Tensor], deviation: float) -> None:
    """Scale a head so that its outputs vary over positions like trained ones."""
    for layer in head.conv.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    last.weight *= deviation / (head(levels) - last.bias.mean()).std()


def save_detections(network: Any, name: str, folder: Path) -> None:
    picture = torch.from_numpy(pictures(1, PREDICTION_SIZE))
    with torch.inference_mode():
        found = network(list(picture))[0]
    np.savez(folder / f"{name}_expected.npz", **{k: v.numpy() for k, v in found.items()})


def prepare_operators(folder: Path) -> None:
    """RoIAlign and NMS alone, with torchvision's outputs."""
    features, boxes = (
        torch.from_numpy(noise(1, 256, 200, 200)),
        torch.from_numpy(regions(1000, 800)),
    )
    rois = torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)
    pooled = torchvision.ops.poolers.roi_align(features, rois, (7, 7), 0.25, 2)
    np.save(folder / "regions_expected.npy", pooled.numpy())
    kept = torchvision.ops.nms(*map(torch.from_numpy, crowd(10_000, 800)), 0.5)
    np.save(folder / "crowd_expected.npy", kept.numpy())
    save_roi_align(folder / "roi_align.onnx")
    save_nms(folder / "nms.onnx")


def main(folder: Path, cases: list[str]) -> None:
    def wanted(*titles: str) -> bool:
        return not cases or any(title in case for title in titles for case in cases)

    for title, name in CLASSIFIERS.items():
        if wanted(title):
            prepare_classifier(name, folder)
    if wanted("Faster R-CNN"):
        prepare_faster_rcnn(folder)
    if wanted("RetinaNet"):
        prepare_retinanet(folder)
    if wanted("RoIAlign", "NMS"):
        prepare_operators(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
