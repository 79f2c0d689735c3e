"""Training of classifiers on class folders: ``lucid train-classifier``.

A run writes to one folder: ``run.json`` (options), ``last.safetensors`` (training state, to
resume from), ``best.safetensors`` (classifier with the best validation accuracy),
``metrics.csv`` and ``training.png``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lucid
from lucid import nn
from lucid.data import DataLoader, Subset
from lucid.models import check_classifier, create_model
from lucid.nn import functional as F
from lucid.optim import SGD
from lucid.training import (
    Communicator,
    InitialModel,
    PlotEpochs,
    RunFolder,
    Task,
    Trainer,
    TrainerSetup,
    schedule_with_warmup,
)
from lucid.training.dry_run import dry_run
from lucid.training.option_checks import check_floats, check_integers
from lucid.vision.transforms import (
    Compose,
    Grayscale,
    Normalize,
    RandomHorizontalFlip,
    RandomResizedCrop,
    build_transform,
    preprocessing,
)
from lucid_models_classification.loading import (
    LoadedClassifier,
    check_task,
    default_preprocessing,
    load_for_fine_tuning,
)
from lucid_models_classification.training_data import ClassifierData

__all__ = ["ClassifierOptions", "ClassifierTask"]

DEFAULT_MODEL = "resnet_18"

#: Minimum side of images.
MIN_IMAGE_SIZE = 8

_MOMENTUM, _WEIGHT_DECAY = 0.9, 1e-4
#: Minimum area of a random crop.  ImageNet's usual 0.08 needs more epochs than small datasets get.
_SMALLEST_CROP = 0.25
#: Usual ratio of center crop to resized side.
_CROP_SHARE = 224 / 256


@dataclass(frozen=True)
class ClassifierOptions:
    """Options of a training run.

    Attributes
    ----------
    data : str
        Folder with one folder of images per class, or with ``train`` and ``val`` folders of them.
    val : str or None
        Folder to validate on; None for the ``val`` folder in ``data``, else a held-out part.
    val_fraction : float
        Fraction of each class that is held out.
    skip_invalid : bool
        Leave out unreadable images and empty classes instead of raising.
    model : str or None
        Registered name; None for the model in ``weights``, else ResNet-18.
    model_options : dict
        Keyword arguments of its builder.
    weights : str or None
        Weight file to start from.
    ema : bool or None
        Whether to start from the EMA of its weights, as for :func:`lucid.load`.
    epochs, batch_size, image_size, seed : int
        Number of epochs, images per batch, side of the square crops, random seed.
    lr : float
        Peak learning rate of a linear warm-up and cosine decay.
    flip : bool
        Whether training images are flipped horizontally at random.
    synchronize_norms : bool
        Whether batch normalization uses the statistics of all ranks.
    """

    data: str
    val: str | None = None
    val_fraction: float = 0.2
    skip_invalid: bool = False
    model: str | None = None
    model_options: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    ema: bool | None = None
    epochs: int = 30
    batch_size: int = 32
    lr: float = 0.01
    image_size: int = 224
    flip: bool = True
    synchronize_norms: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_integers(self, ("epochs", "batch_size", "image_size"), 1)
        check_integers(self, ("seed",), 0)
        check_floats(self, ("lr",))
        if "num_classes" in self.model_options:
            raise ValueError("model_options: expected no num_classes, which follows from the data")


class ClassifierTask(Task[ClassifierOptions, ClassifierData]):
    """Training of an image classifier on class folders."""

    options = ClassifierOptions
    data_options = ("data", "val")
    start_files = ("weights",)
    metadata_keys = ("preprocessing",)
    logged = ("loss", "val_loss", "accuracy")

    def check_start(self, folder: RunFolder, options: ClassifierOptions) -> None:
        """Reject an output folder inside the data, and tiny images."""
        for name in self.data_options:
            folder.check_not_data_folder(name, getattr(options, name), within=True)
        _check_image_size(options)

    def read_data(
        self, options: ClassifierOptions, communicator: Communicator, check: bool
    ) -> ClassifierData:
        """Find the images, and open them if they are to be checked."""
        return communicator.call_on_main(
            lambda: ClassifierData.read(
                options.data,
                options.val,
                val_fraction=options.val_fraction,
                seed=options.seed,
                skip_invalid=options.skip_invalid,
                check=check,
            )
        )

    def build_model(self, options: ClassifierOptions, data: ClassifierData) -> InitialModel:
        """Build the classifier, from a file or randomly initialized."""
        classifier = _new_classifier(options, data.class_names)
        side = options.image_size
        described = preprocessing(
            resize_size=round(side / _CROP_SHARE),
            crop_size=side,
            mean=classifier.preprocessing["mean"],
            std=classifier.preprocessing["std"],
            interpolation=classifier.preprocessing.get("interpolation", "bilinear"),
        )
        return InitialModel(classifier.model, {"preprocessing": described}, classifier.note)

    def compare_unrecorded(
        self,
        folder: RunFolder,
        options: ClassifierOptions,
        record: Mapping[str, Any],
        data: ClassifierData,
    ) -> None:
        """Compare the image counts per class, all that Lucid 0.1.0 recorded."""
        if data.counts != record.get("classes"):
            raise ValueError(
                f"{options.data}: expected the images per class of the run in {folder.path}, "
                f"{record.get('classes')}, got {data.counts}"
            )

    def make_trainer(self, setup: TrainerSetup[ClassifierOptions], data: ClassifierData) -> Trainer:
        """Make loaders, optimizer, schedule and callbacks."""
        options, model, ranks = setup.options, setup.model, setup.communicator
        described = setup.metadata["preprocessing"]
        train, val = data.datasets(*_transforms(options, described))
        smallest = min(len(train), options.batch_size)
        if not options.synchronize_norms:
            smallest //= ranks.size
        if smallest <= 1:
            _check_batches_of_one(model, len(described["mean"]), options.image_size)
        loader = DataLoader(
            train,
            options.batch_size,
            shuffle=True,
            # A last batch of one image would have no variance.
            drop_last=len(train) > options.batch_size,
            workers=setup.workers,
            seed=options.seed,
        )
        optimizer = SGD(
            model.parameters(), lr=options.lr, momentum=_MOMENTUM, weight_decay=_WEIGHT_DECAY
        )
        return Trainer(
            model,
            optimizer,
            loader,
            _loss,
            epochs=options.epochs,
            scheduler=schedule_with_warmup(optimizer, options.epochs * len(loader)),
            validate=_Validation(val, options.batch_size, setup.workers, ranks),
            monitor="accuracy",
            directory=setup.folder.path,
            callbacks=[PlotEpochs(setup.folder.path / "training.png")],
            class_names=data.class_names,
            preprocessing=described,
            communicator=ranks,
            synchronize_norms=options.synchronize_norms,
        )


class _Validation:
    """Mean loss and accuracy over a dataset, sharded over the ranks."""

    def __init__(
        self, dataset: Any, batch_size: int, workers: int, communicator: Communicator
    ) -> None:
        part = Subset(dataset, communicator.shard(len(dataset)))
        self.loader = DataLoader(part, batch_size, workers=workers, seed=0)
        self.communicator = communicator

    def close(self) -> None:
        """Stop the worker processes of the loader."""
        self.loader.close()

    def __call__(self, model: nn.Module) -> dict[str, float]:
        total = right = count = 0.0
        for images, labels in self.loader:
            logits = model(images)
            total += float(F.cross_entropy(logits, labels, reduction="sum").item())
            right += float((logits.numpy().argmax(axis=1) == labels.numpy()).sum())
            count += len(labels.numpy())
        sums = self.communicator.sum_values({"total": total, "right": right, "count": count})
        return {
            "val_loss": sums["total"] / sums["count"],
            "accuracy": sums["right"] / sums["count"],
        }


def _loss(model: nn.Module, batch: Any) -> Any:
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def _new_classifier(options: ClassifierOptions, class_names: Sequence[str]) -> LoadedClassifier:
    if options.weights is not None:
        return load_for_fine_tuning(
            Path(options.weights), class_names, options.model, options.ema, options.model_options
        )
    name = options.model or DEFAULT_MODEL
    check_task(name)
    model = create_model(name, num_classes=len(class_names), **options.model_options)
    check_classifier(model)
    return LoadedClassifier(model, preprocessing=default_preprocessing(options.model_options))


def _check_image_size(options: ClassifierOptions) -> None:
    side = options.image_size
    if side < MIN_IMAGE_SIZE:
        raise ValueError(
            f"--image-size: expected at least {MIN_IMAGE_SIZE} pixels, got {side} (batches of "
            f"{options.batch_size} images of {side} x {side}); pass a larger --image-size"
        )


def _check_batches_of_one(model: nn.Module, channels: int, side: int) -> None:
    """Raise ``ValueError`` if the model cannot train on one image of this size."""
    try:
        with dry_run(model):
            model(lucid.zeros((1, channels, side, side)))
    except ValueError as error:
        raise ValueError(
            f"expected at least two images of {side} x {side} pixels per batch and rank, got one "
            f"({error}); pass a larger --batch-size or --image-size"
        ) from error


def _transforms(
    options: ClassifierOptions, described: Mapping[str, Any]
) -> tuple[Compose, Compose]:
    """Build the transforms of training and validation images."""
    mean, std = tuple(described["mean"]), tuple(described["std"])
    steps: list[Any] = [Grayscale()] if len(mean) == 1 else []
    steps.append(RandomResizedCrop(options.image_size, scale=(_SMALLEST_CROP, 1.0)))
    if options.flip:
        steps.append(RandomHorizontalFlip())
    return Compose((*steps, Normalize(mean, std))), build_transform(described)
