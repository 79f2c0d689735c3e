"""``lucid train-classifier``: from a folder of images for each class to a saved classifier.

A run keeps everything in one folder: ``run.json`` (what it was started with),
``last.safetensors`` (the state to resume from), ``best.safetensors`` (the classifier
of the best validation accuracy), ``metrics.csv`` and ``training.png``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lucid
from lucid import nn
from lucid.data import DataLoader, Subset
from lucid.data.report import DataReport
from lucid.models import check_classifier, create_model
from lucid.nn import functional as F
from lucid.optim import SGD
from lucid.text import counted
from lucid.training import (
    Communicator,
    PlotEpochs,
    ReportEpochs,
    RunFolder,
    Trainer,
    default_communicator,
    warm_up_then,
)
from lucid.training.data_record import DataRecord
from lucid.training.option_checks import check_counts, check_rates
from lucid.training.runs import comparison_note
from lucid.training.trial import trial
from lucid_models_classification.checkpoints import Classifier, check_task, start_from
from lucid_models_classification.training_data import ClassifierData
from lucid_models_classification.transforms import (
    Compose,
    Grayscale,
    Normalize,
    RandomHorizontalFlip,
    RandomResizedCrop,
    preprocessing,
    transform_of,
)

__all__ = ["ClassifierRun", "Options"]

DEFAULT_MODEL = "resnet_18"

#: Side of the smallest images that a network with several strides sees anything in.
MIN_IMAGE_SIZE = 8

#: Options that name data, and the one that names a file to start from.
_DATA, _START_FILES = ("data", "val"), ("weights",)

_MOMENTUM, _WEIGHT_DECAY = 0.9, 1e-4
#: Share of an image's area that a training crop shows at least.  ImageNet's usual 0.08
#: asks for more epochs than a small dataset is trained for.
_SMALLEST_CROP = 0.25
#: ImageNet's usual proportion of the crop to the resized shorter side.
_CROP_SHARE = 224 / 256


@dataclass(frozen=True)
class Options:
    """What a training follows from.

    Attributes
    ----------
    data : str
        Folder with one folder of images per class, or with ``train`` and ``val`` folders
        around them.
    val : str or None
        Folder to validate on; None takes the ``val`` folder in ``data``, else a part of it.
    val_fraction : float
        That part.
    skip_invalid : bool
        Leave out unreadable images and empty classes; by default such data are refused.
    model : str or None
        Registered name; None is the one in ``weights``, or ResNet-18.
    weights : str or None
        File to start from.
    ema : bool or None
        Whether to start from the EMA of the weights in it, as of :func:`lucid.load`.
    epochs, batch_size, image_size, seed : int
        As they say; images are cropped to squares.
    lr : float
        Highest learning rate: it rises over the first steps and falls along a cosine.
    flip : bool
        Whether training images are mirrored at random.
    synchronize_norms : bool
        Whether batch norms see the batch of all ranks, or each the part of its own.
    """

    data: str
    val: str | None = None
    val_fraction: float = 0.2
    skip_invalid: bool = False
    model: str | None = None
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
        check_counts(self, ("epochs", "batch_size", "image_size"), 1)
        check_counts(self, ("seed",), 0)
        check_rates(self, ("lr",))


@dataclass(frozen=True)
class ClassifierRun:
    """A training that can be begun, and gone on with after an interruption.

    Attributes
    ----------
    folder : lucid.training.RunFolder
        Where it keeps its files.
    options : Options
        What it follows from.
    trainer : lucid.training.Trainer
        The loop, ready to begin.
    validation : callable
        What it asks after each epoch.
    summary : str
        Model and data in a line, and in a second one what else is to be known.
    report : lucid.data.report.DataReport
        What was found in the data.
    """

    folder: RunFolder
    options: Options
    trainer: Trainer
    validation: _Validation
    summary: str
    report: DataReport

    @classmethod
    def start(
        cls,
        folder: Path,
        options: Options,
        workers: int = 0,
        communicator: Communicator | None = None,
        check_data: bool = True,
    ) -> ClassifierRun:
        """Prepare a new run, on one rank or on several; its folder is locked until it ends.

        Parameters
        ----------
        folder : path
            The folder of the run; may not contain one yet.
        options : Options
            What it follows from.
        workers : int, default 0
            As of :class:`lucid.data.DataLoader`.
        communicator : lucid.training.Communicator, optional
            The ranks; by default those that ``mpiexec`` has started, else this process alone.
        check_data : bool, default True
            Whether every image is opened first, by rank 0 for all.

        Raises
        ------
        ValueError
            If the folder contains a run or another process trains in it, or if data and
            options do not fit.
        lucid.WeightFileError
            If the file to start from holds no classifier, or another one.
        """
        kept, ranks = RunFolder(folder), communicator or default_communicator()
        for name in _DATA:  # inside, the output would be a class of the data
            kept.check_apart(name, getattr(options, name), within=True)
        _check_image_size(options)
        with kept.prepared(ranks, resume=False):
            data = _read_data(options, check_data, ranks)
            return cls._started(kept, options, data, workers, ranks, check_data)

    @classmethod
    def _started(
        cls,
        kept: RunFolder,
        options: Options,
        data: ClassifierData,
        workers: int,
        ranks: Communicator,
        check_data: bool,
    ) -> ClassifierRun:
        lucid.random.seed(options.seed)
        classifier = _new_classifier(options, data.class_names)
        if classifier.model.model_name is None:
            raise ValueError("the model does not know its name in lucid.models")
        side = options.image_size
        described = preprocessing(
            resize_size=round(side / _CROP_SHARE),
            crop_size=side,
            mean=classifier.preprocessing["mean"],
            std=classifier.preprocessing["std"],
            interpolation=classifier.preprocessing.get("interpolation", "bilinear"),
        )
        facts = {
            "model": classifier.model.model_name,
            "kwargs": dict(classifier.model.model_kwargs),
            "preprocessing": described,
        }
        model, note = classifier.model, classifier.note
        run = cls._prepared(kept, options, model, described, data, workers, ranks, note)
        ranks.from_main(
            lambda: kept.start(options, facts, _record(options, data, _START_FILES, check_data))
        )
        return run

    @classmethod
    def resume(
        cls,
        folder: Path,
        given: Mapping[str, Any],
        workers: int = 0,
        communicator: Communicator | None = None,
        check_data: bool = True,
    ) -> ClassifierRun:
        """Prepare to continue a run.

        Parameters
        ----------
        folder : path
            The folder of the run.
        given : mapping
            Options that were given again.  Paths may differ, for data that have moved, as
            long as the data are the same; all else must be what it was.
        workers : int
            As of :class:`lucid.data.DataLoader`; may differ.
        communicator : lucid.training.Communicator, optional
            The ranks, by default as of :meth:`start`; their number may differ.
        check_data : bool, default True
            As of :meth:`start`.

        Raises
        ------
        ValueError
            If there is no run, another process trains in the folder, or options or data
            differ from those that the run started with.
        FileNotFoundError
            If it was interrupted before its first state was saved, and the file that it was
            to start from has gone.
        """
        kept, ranks = RunFolder(folder), communicator or default_communicator()
        with kept.prepared(ranks, resume=True):
            options, facts = kept.load_options(
                Options, ("model", "kwargs", "preprocessing"), given, _DATA, _START_FILES
            )
            data = _read_data(options, check_data, ranks)
            before, described = facts["data"], facts["preprocessing"]
            if before is None and data.counts != facts.get("classes"):  # Lucid 0.1.0
                raise ValueError(
                    f"{options.data}: the run in {folder} started with the images by class "
                    f"{facts.get('classes')}, found {data.counts}"
                )
            started_from = [name for name in _START_FILES if name in given]
            ranks.from_main(
                lambda: kept.check_data(
                    options, _record(options, data, started_from, check_data), before
                )
            )
            if not ranks.from_main(lambda: kept.has_state):
                return cls._started(kept, options, data, workers, ranks, check_data)
            lucid.random.seed(options.seed)
            model = create_model(facts["model"], **facts["kwargs"])
            note = comparison_note(before, check_data)
            return cls._prepared(kept, options, model, described, data, workers, ranks, note)

    @classmethod
    def _prepared(
        cls,
        folder: RunFolder,
        options: Options,
        model: nn.Module,
        described: Mapping[str, Any],
        data: ClassifierData,
        workers: int,
        communicator: Communicator,
        note: str | None,
    ) -> ClassifierRun:
        train, val = data.datasets(*_transforms(options, described))
        smallest = min(len(train), options.batch_size)
        if not options.synchronize_norms:
            smallest //= communicator.size
        if smallest <= 1:
            _check_batches_of_one(model, len(described["mean"]), options.image_size)
        loader = DataLoader(
            train,
            options.batch_size,
            shuffle=True,
            # A rest of one image has no variance to normalise by.
            drop_last=len(train) > options.batch_size,
            workers=workers,
            seed=options.seed,
        )
        optimizer = SGD(
            model.parameters(), lr=options.lr, momentum=_MOMENTUM, weight_decay=_WEIGHT_DECAY
        )
        validation = _Validation(val, options.batch_size, workers, communicator)
        trainer = Trainer(
            model,
            optimizer,
            loader,
            _loss,
            epochs=options.epochs,
            scheduler=warm_up_then(optimizer, options.epochs * len(loader)),
            validate=validation,
            monitor="accuracy",
            directory=folder.path,
            callbacks=[PlotEpochs(folder.path / "training.png")],
            class_names=data.class_names,
            preprocessing=described,
            communicator=communicator,
            synchronize_norms=options.synchronize_norms,
        )
        summary = (
            f"{model.model_name}: {counted(len(data.class_names), 'class', 'classes')}, "
            f"{counted(len(train), 'image')} to train on, {len(val)} to validate on "
            f"({data.validation})"
        )
        if note is not None:
            summary += f"\n{note}"
        return cls(folder, options, trainer, validation, summary, data.report)

    @property
    def draws(self) -> bool:
        """Whether losses and accuracy are drawn: whether matplotlib is installed."""
        return any(isinstance(c, PlotEpochs) and c.able for c in self.trainer.callbacks)

    def fit(self, tell: Callable[[str], object]) -> float | None:
        """Train to the end; gives the best validation accuracy.

        Parameters
        ----------
        tell : callable
            Called with a line of text after each epoch.
        """
        told = ("loss", "val_loss", "accuracy")
        own = list(self.trainer.callbacks)
        report = ReportEpochs(tell, told)
        self.trainer.callbacks.append(report)
        try:
            with closing(self.trainer.loader), closing(self.validation.loader):  # type: ignore[type-var]
                self.folder.train(self.trainer)
        finally:
            self.trainer.callbacks[:] = own  # a second call has as many as the state knows
        report.say_if_finished(self.trainer)
        return self.trainer.best


class _Validation:
    """Mean loss and share of right answers over a dataset, of which each rank takes a part."""

    def __init__(
        self, dataset: Any, batch_size: int, workers: int, communicator: Communicator
    ) -> None:
        part = Subset(dataset, communicator.shard(len(dataset)))
        self.loader = DataLoader(part, batch_size, workers=workers, seed=0)
        self.communicator = communicator

    def __call__(self, model: nn.Module) -> dict[str, float]:
        total = right = count = 0.0
        for images, labels in self.loader:
            logits = model(images)
            total += float(F.cross_entropy(logits, labels, reduction="sum").item())
            right += float((logits.numpy().argmax(axis=1) == labels.numpy()).sum())
            count += len(labels.numpy())
        sums = self.communicator.add_up({"total": total, "right": right, "count": count})
        return {
            "val_loss": sums["total"] / sums["count"],
            "accuracy": sums["right"] / sums["count"],
        }


def _loss(model: nn.Module, batch: Any) -> Any:
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def _record(
    options: Options, data: ClassifierData, start_files: Collection[str], check: bool
) -> DataRecord:
    """Identity of the images, and of those files to start from that are named."""
    files = {name: getattr(options, name) for name in start_files}
    return DataRecord.of(files, data.sources(), contents=check)


def _new_classifier(options: Options, class_names: Sequence[str]) -> Classifier:
    if options.weights is not None:
        return start_from(Path(options.weights), class_names, options.model, options.ema)
    name = options.model or DEFAULT_MODEL
    check_task(name)
    model = create_model(name, num_classes=len(class_names))
    check_classifier(model)
    return Classifier(model)


def _check_image_size(options: Options) -> None:
    if options.image_size < MIN_IMAGE_SIZE:
        raise ValueError(
            f"expected an image size of at least {MIN_IMAGE_SIZE} pixels, got "
            f"{options.image_size} (batches of {options.batch_size} images of "
            f"{options.image_size} x {options.image_size}); give a larger --image-size"
        )


def _check_batches_of_one(model: nn.Module, channels: int, side: int) -> None:
    """Refuse batches of one image where batch normalization has one value per channel.

    Raises
    ------
    ValueError
        If the model cannot be trained on one image of this size.
    """
    try:
        with trial(model):
            model(lucid.zeros((1, channels, side, side)))
    except ValueError as error:
        raise ValueError(
            f"expected batches of at least two images of {side} x {side} pixels, got one image "
            f"per batch and rank ({error}); give a larger --batch-size or --image-size"
        ) from error


def _read_data(options: Options, check: bool, communicator: Communicator) -> ClassifierData:
    """The data, found and checked by rank 0 for all."""
    return communicator.from_main(
        lambda: ClassifierData.read(
            options.data,
            options.val,
            val_fraction=options.val_fraction,
            seed=options.seed,
            skip_invalid=options.skip_invalid,
            check=check,
        )
    )


def _transforms(options: Options, described: Mapping[str, Any]) -> tuple[Compose, Compose]:
    """What is done to images to train on, and to images to validate on."""
    mean, std = tuple(described["mean"]), tuple(described["std"])
    steps: list[Any] = [Grayscale()] if len(mean) == 1 else []
    steps.append(RandomResizedCrop(options.image_size, scale=(_SMALLEST_CROP, 1.0)))
    if options.flip:
        steps.append(RandomHorizontalFlip())
    return Compose((*steps, Normalize(mean, std))), transform_of(described)
