"""The plugin's part of the ``lucid`` command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

__all__ = ["class_names_in", "detect"]

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@click.command()
@click.argument(
    "images",
    nargs=-1,
    required=True,
    metavar="IMAGE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--weights",
    required=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The detector: a file of lucid.save_model, or the weights of a Faster R-CNN alone as "
    "torchvision saves them, such as fasterrcnn_resnet50_fpn_coco-258fb6c6.pth.",
)
@click.option(
    "--output",
    metavar="DIR|FILE",
    type=click.Path(path_type=Path),
    help="Where to write the images with the detections drawn on them: a directory, made if "
    "it is missing, or for one image a file such as boxes.png.",
)
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Leave out detections that score less.",
)
@click.option(
    "--scale",
    type=click.FloatRange(0, 32, min_open=True),
    default=1.0,
    show_default=True,
    help="Enlarge the drawn images, so that text is legible on small ones.",
)
@click.option(
    "--class-names",
    "names_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text file with the name of each class on a line, in the place of those in the file; "
    "the background's may be left out.",
)
@click.option(
    "--norm-eps",
    type=click.FloatRange(0),
    metavar="NUMBER",
    help="For torchvision's weights: what its normalisations add to the variance.  [default: 0 "
    "for the published COCO_V1 weights, 1e-5 for others, as torchvision has it]",
)
@click.option(
    "--coco-results",
    "results_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write every detection, whatever its score, to this JSON file in COCO's results "
    "format. Needs --data.",
)
@click.option(
    "--data",
    metavar="JSON",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The COCO file that --coco-results takes the ids of images and categories from.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def detect(
    images: tuple[Path, ...],
    weights: Path,
    output: Path | None,
    score_threshold: float,
    scale: float,
    names_file: Path | None,
    norm_eps: float | None,
    results_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Find objects in images with a saved detector."""
    from tqdm import tqdm

    from lucid.weights import atomic_write
    from lucid_models_classification.transforms import read_image
    from lucid_models_detection.checkpoints import open_detector
    from lucid_models_detection.coco_ids import CocoIds
    from lucid_models_detection.convert import to_records
    from lucid_models_detection.draw import draw_boxes

    if (results_file is None) != (data is None):
        raise click.UsageError("give --coco-results FILE and --data JSON together")
    pictures = _picture_paths(images, output)
    model, class_names = open_detector(weights, norm_eps)
    if names_file is not None:
        class_names = class_names_in(names_file, model.num_classes)
    ids = None
    if data is not None:
        ids = CocoIds(data, images, weights, class_names, named=names_file is not None)
    if results_file is not None:
        results_file.parent.mkdir(parents=True, exist_ok=True)
    reports: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    # disable=None: a bar only where somebody watches.
    bar = tqdm(list(zip(images, pictures, strict=True)), unit="image", disable=None)
    for number, (path, picture) in enumerate(bar):
        image = read_image(path)
        (found,) = model.predict([image])
        if ids is not None:
            results += ids.results(number, image, found)
        kept = {key: found[key][found["scores"] >= score_threshold] for key in found}
        if picture is not None:
            picture.parent.mkdir(parents=True, exist_ok=True)
            draw_boxes(image, **kept, class_names=class_names, scale=scale).save(picture)
        reports.append(_report(path, picture, image, to_records(kept, class_names)))
    if results_file is not None:
        with atomic_write(results_file) as file:
            file.write(json.dumps(results).encode())
    if as_json:
        whole = {"weights": str(weights), "model": model.model_name, "images": reports}
        click.echo(json.dumps(whole, indent=2))
    else:
        click.echo(_table(reports))


def class_names_in(path: Path, count: int) -> tuple[str, ...]:
    """The names in a text file, the background's first."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text, a name on each line: {error}") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) == count - 1:
        names = ("background", *names)
    if len(names) != count:
        raise ValueError(
            f"{path}: names {len(names)} classes, the detector tells {count - 1} and the "
            "background apart"
        )
    return names


def _report(
    path: Path, picture: Path | None, image: Any, records: list[dict[str, Any]]
) -> dict[str, Any]:
    """What is said of one image (3, H, W), as JSON holds it."""
    return {
        "image": str(path),
        "width": image.shape[2],
        "height": image.shape[1],
        "picture": None if picture is None else str(picture),
        "detections": records,
    }


def _picture_paths(images: Sequence[Path], output: Path | None) -> list[Path | None]:
    """Where each image is drawn; refused here, before any work, if two would be one file."""
    if output is None:
        return [None] * len(images)
    if output.suffix.lower() in PICTURE_SUFFIXES and not output.is_dir():
        if len(images) > 1:
            raise click.BadParameter(
                f"{output} is one file, but there are {len(images)} images; give a directory",
                param_hint="'--output'",
            )
        paths = [output]
    elif output.is_file():
        raise click.BadParameter(
            f"{output} is a file; expected a directory, or a name ending in "
            + ", ".join(PICTURE_SUFFIXES),
            param_hint="'--output'",
        )
    else:
        paths = [output / f"{image.stem}_detections.png" for image in images]
    first: dict[Path, Path] = {}
    for image, path in zip(images, paths, strict=True):
        if any(path.resolve() == other.resolve() for other in images):
            raise click.BadParameter(f"{path} is one of the images", param_hint="'--output'")
        if path in first:
            raise click.BadParameter(
                f"{first[path]} and {image} would both be drawn to {path}; name images apart or "
                "give them in two calls",
                param_hint="'--output'",
            )
        first[path] = image
    return list(paths)


def _table(results: Sequence[dict[str, Any]]) -> str:
    """One line for each detection; an image without any has a line that says so."""
    image_width = max(len("image"), *(len(result["image"]) for result in results))
    names = [found["class"] for result in results for found in result["detections"]]
    name_width = max(len(name) for name in ["class", *names])
    edges = "".join(f"{edge:>9}" for edge in ("x1", "y1", "x2", "y2"))
    lines = [f"{'image':<{image_width}}  {'class':<{name_width}}  score{edges}"]
    for result in results:
        if not result["detections"]:
            lines.append(f"{result['image']:<{image_width}}  nothing found")
        for found in result["detections"]:
            edges = "".join(f"{edge:9.1f}" for edge in found["box"])
            lines.append(
                f"{result['image']:<{image_width}}  {found['class']:<{name_width}}  "
                f"{found['score']:5.3f}{edges}"
            )
    drawn = [result["picture"] for result in results if result["picture"]]
    if drawn:
        lines += ["", *(f"drawn: {path}" for path in drawn)]
    return "\n".join(lines)
