"""Write what users of Lucid 0.1.0 hold: models, weights, interrupted runs and reports.

Runs in an environment of Lucid 0.1.0: ``python write.py FOLDER``.  ``test_files.py`` opens the
files with the present Lucid and compares them with the results that are written beside them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from lucid_models_detection.training.run import DetectorRun
from PIL import Image

import lucid
from lucid.cli import main
from lucid.models import create_model, list_models
from lucid.training import Trainer
from lucid_models_classification.training import ClassifierRun, Options
from lucid_models_detection import FasterRCNN
from lucid_models_detection.training.options import TrainingOptions

COLORS = {"disc": (220, 40, 40), "square": (40, 60, 220)}

#: Arguments of a detector that is quick to train and to run.
SMALL = {
    "hidden_dim": 8,
    "rpn_pre_nms_top_n": 60,
    "rpn_post_nms_top_n": (40, 20),
    "box_batch_size_per_image": 16,
}


def picture(rng: np.random.Generator, boxes: list[list[int]], colors: list[Any]) -> Image.Image:
    pixels = rng.integers(100, 140, (64, 64, 3)).astype(np.uint8)
    for (x, y, w, h), color in zip(boxes, colors, strict=True):
        pixels[y : y + h, x : x + w] = color
    return Image.fromarray(pixels)


def write_data(folder: Path) -> None:
    """Twelve images in class folders, and six with COCO annotations."""
    rng = np.random.default_rng(0)
    names = list(COLORS)
    for name in names:
        (folder / "classes" / name).mkdir(parents=True)
        for number in range(6):
            image = picture(rng, [[16, 16, 32, 32]], [COLORS[name]])
            image.save(folder / "classes" / name / f"{number}.png")
    (folder / "scenes").mkdir()
    images, annotations = [], []
    for number in range(6):
        box = [*rng.integers(0, 28, 2).tolist(), *rng.integers(20, 36, 2).tolist()]
        name = names[number % 2]
        picture(rng, [box], [COLORS[name]]).save(folder / "scenes" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
        annotations.append(
            {"id": number + 1, "image_id": number, "category_id": 1 + number % 2, "bbox": box,
             "area": box[2] * box[3], "iscrowd": 0}
        )  # fmt: skip
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(names)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "scenes.json").write_text(json.dumps(coco))


def write_models(folder: Path) -> None:
    """A classifier and a detector as whole models and as weights, with what they give."""
    rng = np.random.default_rng(1)
    lucid.random.seed(0)
    classifier = create_model("resnet_18", num_classes=2)
    preprocessing = {
        "resize_size": 36, "crop_size": 32, "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225), "interpolation": "bilinear",
    }  # fmt: skip
    lucid.save_model(
        classifier, folder / "classifier.safetensors", class_names=list(COLORS),
        preprocessing=preprocessing,
    )  # fmt: skip
    for suffix in ("safetensors", "npz"):
        lucid.save(classifier.state_dict(), folder / f"weights.{suffix}")
    batch = rng.standard_normal((2, 3, 64, 64)).astype(np.float32)
    with lucid.no_grad():
        logits = classifier.eval()(lucid.tensor(batch)).numpy()
    detector = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, **SMALL)
    lucid.save_model(detector, folder / "detector.safetensors", class_names=["background", *COLORS])
    image = rng.random((3, 64, 80)).astype(np.float32)
    (found,) = detector.predict([image])
    np.savez(folder / "results.npz", batch=batch, logits=logits, image=image, **found)


def write_layouts(folder: Path) -> None:
    """Names and shapes of every model's parameters and buffers."""
    layouts = {}
    for name in list_models():
        state = create_model(name).state_dict()
        layouts[name] = {key: list(value.shape) for key, value in state.items()}
    (folder / "layouts.json").write_text(json.dumps(layouts))


@contextmanager
def stopped_after(steps: int) -> Iterator[None]:
    """Stop trainings after some steps, in the middle of an epoch; 0 for never."""
    after_step = Trainer._after_step

    def stop(trainer: Trainer, losses: dict[str, float]) -> None:
        after_step(trainer, losses)
        if steps and trainer.step >= steps:
            trainer.stop()

    Trainer._after_step = stop  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer._after_step = after_step  # type: ignore[method-assign]


def write_runs(folder: Path) -> None:
    """Each training twice: to its end, and interrupted in its second epoch."""
    classes = Options(str(folder / "classes"), epochs=2, batch_size=4, image_size=32, lr=0.01)
    scenes = TrainingOptions(
        str(folder / "scenes.json"), str(folder / "scenes"), model="faster_rcnn_resnet_18_fpn",
        model_options=SMALL, epochs=2, batch_size=2, samples=0,
    )  # fmt: skip
    for suffix, of_classifier, of_detector in (("whole", 0, 0), ("part", 3, 4)):
        with stopped_after(of_classifier):
            ClassifierRun.start(folder / f"classifier-{suffix}", classes).fit(print)
        with stopped_after(of_detector):
            DetectorRun.start(folder / f"detector-{suffix}", scenes).fit(print)


def write_reports(folder: Path) -> None:
    """Detections of a folder of images: of all of them, and stopped by Ctrl-C at the fourth."""
    options = [
        "--weights", str(folder / "detector.safetensors"), "--score-threshold", "0.05",
    ]  # fmt: skip
    predict, calls = FasterRCNN.predict, 0

    def interrupted(self: FasterRCNN, images: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return predict(self, images)

    for name in ("whole", "part"):
        for suffix in ("json", "jsonl"):
            calls = 0
            FasterRCNN.predict = predict if name == "whole" else interrupted  # type: ignore[method-assign]
            output = str(folder / f"{name}.{suffix}")
            try:
                main(["detect", str(folder / "scenes"), "--output", output, *options])
            except SystemExit as end:
                if bool(end.code) != (name == "part"):
                    raise


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    for write in (write_data, write_models, write_layouts, write_runs, write_reports):
        write(target)
