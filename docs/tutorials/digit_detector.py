"""Train a detector of handwritten digits from nothing, on a CPU, in a few minutes.

The two stages of every model page of the zoo, on real data from end to end:

1. pretrain ``resnet_18`` as a classifier of digits, and save its weights;
2. load them into ``faster_rcnn_resnet_18_fpn`` and train it to find the digits on canvases.

Then measure it on canvases of digits that neither stage has seen, save it as one file, and
give that file to ``lucid detect``.  Run ``python -m nox -s demo``, or by hand::

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
from digit_canvases import (
    CLASS_NAMES,
    DigitCanvases,
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
from lucid.training import ReportEpochs, Trainer, plot_history
from lucid.vision.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalize
from lucid_models_detection import FasterRCNN
from lucid_models_detection.data import collate
from lucid_models_detection.draw import draw_boxes
from lucid_models_detection.evaluation import CocoEvaluator, DetectionMetrics
from lucid_models_detection.training.samples import sheet

#: The default's three sizes an octave, but from 11 pixels up: our digits are 16 to 48 long.
ANCHOR_SIZES = tuple(
    tuple(round(11 * 2 ** (level + k / 3), 1) for k in range(3)) for level in range(5)
)
#: Heights divided by widths: digits are upright.
ASPECT_RATIOS = (1.0, 1.5, 2.2)


@dataclass(frozen=True)
class Recipe:
    """How long everything takes; what must come of it."""

    patch_size: int = 40
    patch_epochs: int = 16
    patch_batch: int = 64
    patch_lr: float = 2e-3
    canvas_size: int = 128
    canvases: int = 400
    canvas_epochs: int = 6
    canvas_batch: int = 4
    detector_lr: float = 4e-4
    backbone_lr: float = 1e-4
    hidden_dim: int = 256
    rois_per_image: int = 64
    proposals: tuple[int, int] = (128, 60)
    progress_canvases: int = 64
    test_canvases: int = 250
    expected_accuracy: float = 0.97
    expected_map: float = 0.65
    expected_map_50: float = 0.92


#: Everything once, in seconds: nothing is learnt, but everything runs.
QUICK = Recipe(
    patch_batch=32,
    patch_epochs=1,
    canvas_epochs=1,
    canvases=8,
    hidden_dim=32,
    progress_canvases=2,
    test_canvases=4,
    expected_accuracy=0.0,
    expected_map=0.0,
    expected_map_50=0.0,
)


def warm_up_then_cosine(optimizer: optim.Optimizer, steps: int) -> LRScheduler:
    """Raise the learning rates over the first steps, then lower them to almost nothing."""
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
    """Train resnet_18 to read single digits; give its history."""
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
        callbacks=[ReportEpochs()],
    )
    history = trainer.fit()
    lucid.save(classifier.state_dict(), output / "classifier.safetensors")
    return history


# --- Stage 2: the detector --------------------------------------------------------------------


def build_detector(recipe: Recipe, backbone: Path) -> FasterRCNN:
    """A detector for ten digits and the background, its backbone pretrained."""
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
    """Train on canvases of training digits; give the history."""

    def loss(model: FasterRCNN, batch: tuple[Any, Any]) -> dict[str, lucid.Tensor]:
        images, targets = batch
        return model(images, targets)

    def progress(model: FasterRCNN) -> dict[str, float]:
        # A few canvases of their own, to watch; the last model is taken, whatever they say.
        canvases = DigitCanvases(test, recipe.progress_canvases, recipe.canvas_size, seed + 1)
        metrics = evaluate(model, canvases)
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
    canvases = DigitCanvases(train, recipe.canvases, recipe.canvas_size)
    loader = DataLoader(canvases, recipe.canvas_batch, shuffle=True, collate=collate, seed=seed)
    trainer = Trainer(
        detector,
        optimizer,
        loader,
        loss,
        epochs=recipe.canvas_epochs,
        scheduler=warm_up_then_cosine(optimizer, recipe.canvas_epochs * len(loader)),
        max_grad_norm=5.0,
        validate=progress,
        callbacks=[ReportEpochs()],
    )
    return trainer.fit()


def evaluate(detector: FasterRCNN, canvases: DigitCanvases) -> DetectionMetrics:
    """COCO's measures of the detector on the canvases."""
    evaluator = CocoEvaluator(CLASS_NAMES)
    loader = DataLoader(canvases, 8, collate=collate, seed=0)
    # disable=None: a bar only where somebody watches.
    for images, targets in tqdm(loader, "evaluation", leave=False, unit="batch", disable=None):
        evaluator.update(detector.predict(images), targets)
    return evaluator.compute()


# --- What is left behind ----------------------------------------------------------------------


def draw_detections(detector: FasterRCNN, canvases: DigitCanvases, path: Path) -> None:
    """The first twelve canvases, side by side, with what is found on them."""
    shown = [canvases[i][0] for i in range(min(12, len(canvases)))]
    pictures = [
        draw_boxes(image, **found, class_names=CLASS_NAMES, score_threshold=0.5, scale=3)
        for image, found in zip(shown, detector.predict(shown), strict=True)
    ]
    sheet(pictures).save(path)


def run_command_line(weights: Path, canvases: DigitCanvases, output: Path) -> None:
    """Save a canvas as PNG and let ``lucid detect`` find its digits with the one file."""
    image, _ = canvases[0]
    held_out = output / "held_out.png"
    draw_boxes(image, []).save(held_out)
    arguments = ["detect", str(held_out), "--weights", str(weights)]
    arguments += ["--output", str(output / "held_out_detections.png"), "--scale", "4"]
    print(f"\n$ lucid {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "lucid.cli", *arguments], check=True)


def load_scans() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's digits: ink (1797, 8, 8) from 0 to 1, and what they show (1797,)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)


def run(recipe: Recipe, seed: int, output: Path) -> dict[str, Any]:
    """The whole tutorial; give what ``metrics.json`` holds."""
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

    canvases = DigitCanvases(test, recipe.test_canvases, recipe.canvas_size, seed)
    metrics = evaluate(detector, canvases)
    evaluated = time.perf_counter()
    weights = output / "detector.safetensors"
    lucid.save_model(detector, weights, class_names=CLASS_NAMES)

    draw_detections(detector, canvases, output / "detections.png")
    plot_history(classifier_history, output / "pretraining.png")
    plot_history(detector_history, output / "training.png")
    print(f"\n{metrics.table()}")
    run_command_line(weights, canvases, output)

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
    parser.add_argument("--seed", type=int, default=0, help="everything follows from it")
    parser.add_argument("--quick", action="store_true", help="everything once, learning nothing")
    arguments = parser.parse_args()
    recipe = QUICK if arguments.quick else Recipe()
    report = run(recipe, arguments.seed, arguments.output)

    accuracy = report["classifier"]["test_accuracy"]
    mean, map_50 = report["detector"]["map"], report["detector"]["map_50"]
    print(
        f"\nclassifier: accuracy {accuracy:.3f} on {report['classifier']['digits']} held-out digits"
        f"\ndetector:   mAP {mean:.3f}, mAP@0.5 {map_50:.3f} on "
        f"{report['detector']['images']} held-out canvases"
        f"\ntime:       {report['seconds']['total'] / 60:.1f} minutes"
        f"\nresults:    {arguments.output}"
    )
    expected = (recipe.expected_accuracy, recipe.expected_map, recipe.expected_map_50)
    if any(got < least for got, least in zip((accuracy, mean, map_50), expected, strict=True)):
        print(
            f"expected an accuracy of {expected[0]}, a mAP of {expected[1]} and a mAP@0.5 of "
            f"{expected[2]}: something is wrong",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
