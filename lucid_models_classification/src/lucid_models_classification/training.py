"""``lucid train-classifier``: from a folder of images for each class to a saved classifier.

A run keeps everything in one folder: ``run.json`` (what it was started with),
``last.safetensors`` (the state to resume from), ``best.safetensors`` (the classifier
of the best validation accuracy), ``metrics.csv`` and ``training.png``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lucid
from lucid import nn
from lucid.data import DataLoader, Subset
from lucid.models import create_model
from lucid.nn import functional as F
from lucid.optim import SGD
from lucid.training import (
    Communicator,
    PlotEpochs,
    ReportEpochs,
    RunFolder,
    Trainer,
    default_communicator,
    warm_up_then,
)
from lucid_models_classification.checkpoints import Classifier, check_task, start_from
from lucid_models_classification.image_folder import ImageFolder, split_by_class
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
        Folder with a folder of images for each class.
    val : str or None
        Such a folder to validate on; None takes a share of ``data``.
    val_fraction : float
        That share.
    model : str or None
        Registered name; None is the one in ``weights``, or ResNet-18.
    weights : str or None
        File to start from.
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
    model: str | None = None
    weights: str | None = None
    epochs: int = 30
    batch_size: int = 32
    lr: float = 0.01
    image_size: int = 224
    flip: bool = True
    synchronize_norms: bool = False
    seed: int = 0


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
        Model and data in a line.
    """

    folder: RunFolder
    options: Options
    trainer: Trainer
    validation: _Validation
    summary: str

    @classmethod
    def start(
        cls,
        folder: Path,
        options: Options,
        workers: int = 0,
        communicator: Communicator | None = None,
    ) -> ClassifierRun:
        """Prepare a new training, on one rank or on several.

        Without a ``communicator`` they are those that ``mpiexec`` has started.

        Raises
        ------
        ValueError
            If the folder holds a training already, or data and options do not fit.
        lucid.WeightFileError
            If the file to start from holds no classifier, or another one.
        """
        kept, ranks = RunFolder(folder), communicator or default_communicator()
        ranks.from_main(kept.check_free)
        lucid.random.seed(options.seed)
        train = ImageFolder(options.data)
        classifier = _new_classifier(options, len(train.class_names))
        if classifier.model.model_name is None:
            raise ValueError("the model does not know its name in lucid.models")
        side = options.image_size
        described = preprocessing(
            resize_size=round(side / _CROP_SHARE),
            crop_size=side,
            mean=classifier.preprocessing["mean"],
            std=classifier.preprocessing["std"],
        )
        facts = {
            "model": classifier.model.model_name,
            "kwargs": dict(classifier.model.model_kwargs),
            "preprocessing": described,
            "classes": _counts(train),
        }
        run = cls._prepared(kept, options, classifier.model, described, workers, ranks)
        ranks.from_main(lambda: kept.begin(options, facts))
        return run

    @classmethod
    def resume(
        cls,
        folder: Path,
        given: Mapping[str, Any],
        workers: int = 0,
        communicator: Communicator | None = None,
    ) -> ClassifierRun:
        """Prepare to go on with a training.

        Parameters
        ----------
        folder : path
            Where it keeps its files.
        given : mapping
            Options that were given again; they must be what they were.
        workers : int
            As of :class:`lucid.data.DataLoader`; may differ.
        communicator : lucid.training.Communicator, optional
            The ranks, by default as of :meth:`start`; their number may differ.

        Raises
        ------
        ValueError
            If there is no training, or options or data are others than they were.
        FileNotFoundError
            If it was interrupted before its first state was saved, and the file that it was
            to start from has gone.
        """
        kept, ranks = RunFolder(folder), communicator or default_communicator()
        options, facts = kept.begun_with(
            Options, ("model", "kwargs", "preprocessing", "classes"), given
        )
        if (found := _counts(ImageFolder(options.data))) != facts["classes"]:
            raise ValueError(
                f"{options.data}: the training in {folder} began with the images by class "
                f"{facts['classes']}, found {found}"
            )
        if not ranks.from_main(lambda: kept.has_state):
            return cls.start(folder, options, workers, ranks)
        lucid.random.seed(options.seed)
        model = create_model(facts["model"], **facts["kwargs"])
        return cls._prepared(kept, options, model, facts["preprocessing"], workers, ranks)

    @classmethod
    def _prepared(
        cls,
        folder: RunFolder,
        options: Options,
        model: nn.Module,
        described: Mapping[str, Any],
        workers: int,
        communicator: Communicator,
    ) -> ClassifierRun:
        train, val, class_names = _datasets(options, described)
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
            class_names=class_names,
            preprocessing=described,
            communicator=communicator,
            synchronize_norms=options.synchronize_norms,
        )
        summary = (
            f"{model.model_name}: {len(class_names)} classes, {len(train)} images to train on, "
            f"{len(val)} to validate on"
        )
        return cls(folder, options, trainer, validation, summary)

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
        self.trainer.callbacks.append(ReportEpochs(tell, told))
        try:
            with closing(self.trainer.loader), closing(self.validation.loader):  # type: ignore[type-var]
                self.folder.train(self.trainer)
        finally:
            self.trainer.callbacks[:] = own  # a second call has as many as the state knows
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


def _new_classifier(options: Options, num_classes: int) -> Classifier:
    if options.weights is not None:
        return start_from(Path(options.weights), num_classes, options.model)
    name = options.model or DEFAULT_MODEL
    check_task(name)
    return Classifier(create_model(name, num_classes=num_classes))


def _datasets(options: Options, described: Mapping[str, Any]) -> tuple[Any, Any, tuple[str, ...]]:
    """What is trained on, what is validated on, and the classes of both."""
    mean, std = tuple(described["mean"]), tuple(described["std"])
    steps: list[Any] = [Grayscale()] if len(mean) == 1 else []
    steps.append(RandomResizedCrop(options.image_size, scale=(_SMALLEST_CROP, 1.0)))
    if options.flip:
        steps.append(RandomHorizontalFlip())
    augment = Compose((*steps, Normalize(mean, std)))
    as_saved = transform_of(described)
    train = ImageFolder(options.data, augment)
    if options.val is not None:
        return train, ImageFolder(options.val, as_saved, train.class_names), train.class_names
    first, second = split_by_class(train.labels, options.val_fraction, options.seed)
    if not second:
        raise ValueError(
            f"{options.data}: no class has two images, so none is left to validate on; give --val"
        )
    val = ImageFolder(options.data, as_saved)
    return Subset(train, first), Subset(val, second), train.class_names


def _counts(dataset: ImageFolder) -> dict[str, int]:
    counts = dict.fromkeys(dataset.class_names, 0)
    for label in dataset.labels:
        counts[dataset.class_names[label]] += 1
    return counts
