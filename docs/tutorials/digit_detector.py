"""Train a detector of handwritten digits from scratch, on a CPU, in a few minutes.

The two training stages that every detector's page describes, on real data:

1. pretrain ``resnet_18`` as a classifier of digits, and save its weights;
2. load them into ``faster_rcnn_resnet_18_fpn`` and train it to detect digits in images.

Then evaluate it on images of held-out digits, save it as one file, and run ``lucid detect``
with that file.  Run ``python -m nox -s demo``, or directly::

    pip install "lucid-models-detection[coco,plot]" scikit-learn
    python docs/tutorials/digit_detector.py --output demo-output
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from digit_images import (
    CLASS_NAMES,
    DigitImages,
    DigitPatches,
    Digits,
    PlainPatches,
    split_digits,
)
from tqdm import tqdm

import lucid
from lucid import nn, optim
from lucid.data import DataLoader, Dataset
from lucid.models import faster_rcnn_resnet_18_fpn, resnet_18
from lucid.nn import functional as F
from lucid.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from lucid.training import LogEpochs, Trainer, plot_history
from lucid.vision.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalize
from lucid_models_detection import FasterRCNN
from lucid_models_detection.data import collate
from lucid_models_detection.draw import draw_boxes
from lucid_models_detection.evaluation import CocoEvaluator, DetectionMetrics
from lucid_models_detection.training.samples import make_grid

#: Three sizes per octave as by default, but starting at 11 pixels: digits are 16 to 48 long.
ANCHOR_SIZES = tuple(
    tuple(round(11 * 2 ** (level + k / 3), 1) for k in range(3)) for level in range(5)
)
#: Heights divided by widths: digits are upright.
ASPECT_RATIOS = (1.0, 1.5, 2.2)


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters, and the metrics that a full run must reach."""

    patch_size: int = 40
    patch_epochs: int = 16
    patch_batch: int = 64
    patch_lr: float = 2e-3
    image_size: int = 128
    images: int = 400
    image_epochs: int = 6
    image_batch: int = 4
    detector_lr: float = 4e-4
    backbone_lr: float = 1e-4
    hidden_dim: int = 256
    rois_per_image: int = 64
    proposals: tuple[int, int] = (128, 60)
    progress_images: int = 64
    test_images: int = 250
    expected_accuracy: float = 0.97
    expected_map: float = 0.65
    expected_map_50: float = 0.92


#: One pass through every step in seconds; it learns nothing.
QUICK = Recipe(
    patch_batch=32,
    patch_epochs=1,
    image_epochs=1,
    images=8,
    hidden_dim=32,
    progress_images=2,
    test_images=4,
    expected_accuracy=0.0,
    expected_map=0.0,
    expected_map_50=0.0,
)


def warm_up_then_cosine(optimizer: optim.Optimizer, steps: int) -> LRScheduler:
    """Linear warm-up followed by cosine annealing."""
    warm_up = max(1, min(50, steps // 10))
    return SequentialLR(
        optimizer,
        [
            LinearLR(optimizer, start_factor=0.05, total_iters=warm_up),
            CosineAnnealingLR(optimizer, T_max=max(1, steps - warm_up)),
        ],
        milestones=[warm_up],
    )


# --- Stage 1: a classifier --------------------------------------------------------------------


def train_classifier(
    train: Digits, test: Digits, recipe: Recipe, seed: int, output: Path
) -> list[dict[str, Any]]:
    """Train resnet_18 to classify single digits and return the history."""
    normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)  # as the detector does it

    def loss(model: nn.Module, batch: tuple[lucid.Tensor, lucid.Tensor]) -> lucid.Tensor:
        patches, classes = batch
        return F.cross_entropy(model(normalized(patches)), classes, label_smoothing=0.1)

    def normalized(patches: lucid.Tensor) -> lucid.Tensor:
        return lucid.Tensor(np.stack([normalize(patch) for patch in patches.numpy()]))

    def accuracy(model: nn.Module, patches: Dataset[Any]) -> float:
        right = [
            model(normalized(images)).numpy().argmax(axis=1) == classes.numpy()
            for images, classes in DataLoader(patches, 128, seed=0)
        ]
        return float(np.concatenate(right).mean())

    def examine(model: nn.Module) -> dict[str, float]:
        disturbed = DigitPatches(test, len(test), recipe.patch_size, seed)
        return {
            "accuracy": accuracy(model, PlainPatches(test, recipe.patch_size)),
            "accuracy_disturbed": accuracy(model, disturbed),
        }

    classifier = resnet_18(num_classes=10)
    patches = DigitPatches(train, len(train), recipe.patch_size)
    loader = DataLoader(patches, recipe.patch_batch, shuffle=True, drop_last=True, seed=seed)
    optimizer = optim.AdamW(classifier.parameters(), lr=recipe.patch_lr, weight_decay=0.01)
    trainer = Trainer(
        classifier,
        optimizer,
        loader,
        loss,
        epochs=recipe.patch_epochs,
        scheduler=warm_up_then_cosine(optimizer, recipe.patch_epochs * len(loader)),
        max_grad_norm=5.0,
        validate=examine,
        callbacks=[LogEpochs()],
    )
    history = trainer.fit()
    lucid.save(classifier.state_dict(), output / "classifier.safetensors")
    return history


# --- Stage 2: the detector --------------------------------------------------------------------


def build_detector(recipe: Recipe, backbone: Path) -> FasterRCNN:
    """Build a detector for ten digits plus background, with a pretrained backbone."""
    detector = faster_rcnn_resnet_18_fpn(
        num_classes=11,
        backbone_num_classes=10,  # as the classifier was trained
        anchor_sizes=ANCHOR_SIZES,
        aspect_ratios=ASPECT_RATIOS,
        rpn_pre_nms_top_n=500,
        rpn_post_nms_top_n=recipe.proposals,
        box_batch_size_per_image=recipe.rois_per_image,
        hidden_dim=recipe.hidden_dim,
    )
    detector.backbone.net.load_state_dict(lucid.load(backbone))
    return detector


def train_detector(
    detector: FasterRCNN, train: Digits, test: Digits, recipe: Recipe, seed: int
) -> list[dict[str, Any]]:
    """Train on images of training digits and return the history."""

    def loss(model: FasterRCNN, batch: tuple[Any, Any]) -> dict[str, lucid.Tensor]:
        images, targets = batch
        return model(images, targets)

    def progress(model: FasterRCNN) -> dict[str, float]:
        # Separate images that only monitor progress; the last model is kept regardless.
        metrics = evaluate(
            model, DigitImages(test, recipe.progress_images, recipe.image_size, seed + 1)
        )
        return {"mAP": metrics.map, "mAP@0.5": metrics.map_50}

    pretrained = list(detector.backbone.net.parameters())
    known = {id(parameter) for parameter in pretrained}
    new = [parameter for parameter in detector.parameters() if id(parameter) not in known]
    optimizer = optim.AdamW(
        [
            {"params": new, "lr": recipe.detector_lr},
            {"params": pretrained, "lr": recipe.backbone_lr},
        ],
        weight_decay=0.01,
    )
    images = DigitImages(train, recipe.images, recipe.image_size)
    loader = DataLoader(images, recipe.image_batch, shuffle=True, collate=collate, seed=seed)
    trainer = Trainer(
        detector,
        optimizer,
        loader,
        loss,
        epochs=recipe.image_epochs,
        scheduler=warm_up_then_cosine(optimizer, recipe.image_epochs * len(loader)),
        max_grad_norm=5.0,
        validate=progress,
        callbacks=[LogEpochs()],
    )
    return trainer.fit()


def evaluate(detector: FasterRCNN, dataset: DigitImages) -> DetectionMetrics:
    """Compute COCO's metrics of the detector on a data set."""
    evaluator = CocoEvaluator(CLASS_NAMES)
    loader = DataLoader(dataset, 8, collate=collate, seed=0)
    # disable=None: show the bar on terminals only.
    for images, targets in tqdm(loader, "evaluation", leave=False, unit="batch", disable=None):
        evaluator.update(detector.predict(images), targets)
    return evaluator.compute()


# --- Results ----------------------------------------------------------------------------------


def draw_detections(detector: FasterRCNN, dataset: DigitImages, path: Path) -> None:
    """Draw the detections on the first twelve images, side by side."""
    shown = [dataset[i][0] for i in range(min(12, len(dataset)))]
    pictures = [
        draw_boxes(image, **found, class_names=CLASS_NAMES, score_threshold=0.5, scale=3)
        for image, found in zip(shown, detector.predict(shown), strict=True)
    ]
    make_grid(pictures).save(path)


def run_command_line(weights: Path, dataset: DigitImages, output: Path) -> None:
    """Save an image as PNG and run ``lucid detect`` on it with the saved weights."""
    image, _ = dataset[0]
    held_out = output / "held_out.png"
    draw_boxes(image, []).save(held_out)
    arguments = ["detect", str(held_out), "--weights", str(weights)]
    arguments += ["--output", str(output / "held_out_detections.png"), "--scale", "4"]
    print(f"\n$ lucid {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "lucid.cli", *arguments], check=True)


def load_scans() -> tuple[np.ndarray, np.ndarray]:
    """Load scikit-learn's digits: ink (1797, 8, 8) in [0, 1] and classes (1797,)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)


def run(recipe: Recipe, seed: int, output: Path) -> dict[str, Any]:
    """Run the whole tutorial and return the content of ``metrics.json``."""
    output.mkdir(parents=True, exist_ok=True)
    lucid.random.seed(seed)
    train, test = split_digits(*load_scans(), seed=seed)
    print(f"{len(train)} digits to train on, {len(test)} held out")
    began = time.perf_counter()

    print("\nStage 1: resnet_18 learns to read digits")
    classifier_history = train_classifier(train, test, recipe, seed, output)
    classified = time.perf_counter()

    print("\nStage 2: faster_rcnn_resnet_18_fpn learns to find them")
    detector = build_detector(recipe, output / "classifier.safetensors")
    detector_history = train_detector(detector, train, test, recipe, seed)
    trained = time.perf_counter()

    test_set = DigitImages(test, recipe.test_images, recipe.image_size, seed)
    metrics = evaluate(detector, test_set)
    evaluated = time.perf_counter()
    weights = output / "detector.safetensors"
    lucid.save_model(detector, weights, class_names=CLASS_NAMES)

    draw_detections(detector, test_set, output / "detections.png")
    plot_history(classifier_history, output / "pretraining.png")
    plot_history(detector_history, output / "training.png")
    print(f"\n{metrics.table()}")
    run_command_line(weights, test_set, output)

    report = {
        "seed": seed,
        "lucid": lucid.__version__,
        "python": platform.python_version(),
        "recipe": asdict(recipe),
        "classifier": {
            "test_accuracy": classifier_history[-1]["accuracy"],
            "test_accuracy_disturbed": classifier_history[-1]["accuracy_disturbed"],
            "digits": len(test),
        },
        "detector": metrics.as_dict(),
        "seconds": {
            "classifier": round(classified - began, 1),
            "detector": round(trained - classified, 1),
            "evaluation": round(evaluated - trained, 1),
            "total": round(time.perf_counter() - began, 1),
        },
        "history": {"classifier": classifier_history, "detector": detector_history},
    }
    (output / "metrics.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description="Train a detector of handwritten digits.")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="directory")
    parser.add_argument("--seed", type=int, default=0, help="random seed (0)")
    parser.add_argument("--quick", action="store_true", help="one pass in seconds, for a test")
    arguments = parser.parse_args()
    recipe = QUICK if arguments.quick else Recipe()
    report = run(recipe, arguments.seed, arguments.output)

    accuracy = report["classifier"]["test_accuracy"]
    mean, map_50 = report["detector"]["map"], report["detector"]["map_50"]
    print(
        f"\nclassifier: accuracy {accuracy:.3f} on {report['classifier']['digits']} held-out digits"
        f"\ndetector:   mAP {mean:.3f}, mAP@0.5 {map_50:.3f} on "
        f"{report['detector']['images']} held-out images"
        f"\ntime:       {report['seconds']['total'] / 60:.1f} minutes"
        f"\nresults:    {arguments.output}"
    )
    expected = (recipe.expected_accuracy, recipe.expected_map, recipe.expected_map_50)
    if any(got < least for got, least in zip((accuracy, mean, map_50), expected, strict=True)):
        print(
            f"expected an accuracy of {expected[0]}, a mAP of {expected[1]} and a mAP@0.5 of "
            f"{expected[2]}",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
