"""A training from its options to its end: begun, interrupted, gone on with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import lucid
from lucid.data import DataLoader, Subset
from lucid.data.report import DataReport
from lucid.data.report_text import brief_lines
from lucid.optim import SGD, AdamW, Optimizer
from lucid.text import counted
from lucid.training import (
    Callback,
    Communicator,
    PlotEpochs,
    ReportEpochs,
    RunFolder,
    Trainer,
    default_communicator,
    warm_up_then,
)
from lucid.training.data_record import DataRecord
from lucid.training.runs import comparison_note
from lucid.training.trial import trial
from lucid_models_detection.data import collate
from lucid_models_detection.data.targets import SampleTransform
from lucid_models_detection.detector import Detector
from lucid_models_detection.evaluation.coco import import_pycocotools
from lucid_models_detection.training.data import TrainingData, files_of
from lucid_models_detection.training.fine_tuning import (
    freeze_stages,
    from_backbone,
    from_detector,
    new_detector,
    parameter_groups,
)
from lucid_models_detection.training.options import OPTIMIZERS, TrainingOptions, resolved
from lucid_models_detection.training.samples import SamplePictures
from lucid_models_detection.training.validation import Validation

__all__ = ["DetectorRun", "train_detector"]

DEFAULT_MODEL = "faster_rcnn_resnet_50_fpn"

#: Options that name data, and those that name a file to start from.
_DATA = ("data", "images", "val", "val_images")
_START_FILES = ("weights", "backbone_weights")

_MOMENTUM = 0.9
#: A pretrained backbone learns at this share of the others' rate, and keeps its first stages.
_PRETRAINED_SHARE = 0.1
_PRETRAINED_FROZEN = 2


@dataclass(frozen=True)
class DetectorRun:
    """A training that can be begun, and gone on with after an interruption.

    Attributes
    ----------
    folder : lucid.training.RunFolder
        Where it keeps its files.
    options : TrainingOptions
        What it follows from.
    trainer : lucid.training.Trainer
        The loop, ready to begin; afterwards with its ``history``.
    validation : Validation
        What it asks after each epoch.
    summary : str
        Model and data in a line, and in a second one what else is to be known.
    reports : tuple of lucid.data.report.DataReport
        What was found in the annotations to train on, and in those to validate on.
    """

    folder: RunFolder
    options: TrainingOptions
    trainer: Trainer
    validation: Validation
    summary: str
    reports: tuple[DataReport, ...]

    @classmethod
    def start(
        cls,
        folder: Path,
        options: TrainingOptions,
        workers: int = 0,
        transform: SampleTransform | None = None,
        communicator: Communicator | None = None,
        check_data: bool = True,
    ) -> DetectorRun:
        """Prepare a new run, on one rank or on several; its folder is locked until it ends.

        Parameters
        ----------
        folder : path
            Where it is to keep its files; it may hold no training yet.
        options : TrainingOptions
            What it follows from.
        workers : int, default 0
            As of :class:`lucid.data.DataLoader`.
        transform : callable, optional
            What is done to training images and their targets, in place of what
            ``options.augment`` names.
        communicator : lucid.training.Communicator, optional
            The ranks; by default those that ``mpiexec`` has started, else this process alone.
        check_data : bool, default True
            Whether every image is opened first, by rank 0 for all.

        Returns
        -------
        DetectorRun
            Ready for :meth:`fit`.

        Raises
        ------
        ValueError
            If the folder contains a run or another process trains in it, or if data and
            options do not fit.
        lucid.WeightFileError
            If the file to start from does not hold what it should.
        lucid.MissingPackageError
            If pycocotools is not installed.
        """
        kept, ranks = RunFolder(folder), communicator or default_communicator()
        for name in _DATA:
            kept.check_apart(name, getattr(options, name))
        with kept.prepared(ranks, resume=False):
            import_pycocotools()
            data = TrainingData.read(options, transform, ranks, check_data)
            return cls._started(kept, options, data, workers, ranks, check_data)

    @classmethod
    def _started(
        cls,
        kept: RunFolder,
        options: TrainingOptions,
        data: TrainingData,
        workers: int,
        ranks: Communicator,
        check_data: bool,
    ) -> DetectorRun:
        lucid.random.seed(options.seed)
        model, note = _built(options, data.class_names)
        run = cls._prepared(kept, options, model, data, workers, ranks, note)
        facts = {"model": model.model_name, "kwargs": dict(model.model_kwargs)}
        ranks.from_main(
            lambda: kept.start(options, facts, data.record(options, _START_FILES, check_data))
        )
        return run

    @classmethod
    def resume(
        cls,
        folder: Path,
        given: Mapping[str, Any],
        workers: int = 0,
        transform: SampleTransform | None = None,
        communicator: Communicator | None = None,
        check_data: bool = True,
    ) -> DetectorRun:
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
        transform : callable, optional
            As it was begun with.
        communicator : lucid.training.Communicator, optional
            The ranks, by default as of :meth:`start`; their number may differ.
        check_data : bool, default True
            As of :meth:`start`.

        Returns
        -------
        DetectorRun
            Ready for :meth:`fit`, which goes on after the last state that was kept.

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
                TrainingOptions, ("model", "kwargs"), given, _DATA, _START_FILES
            )
            import_pycocotools()
            before = _data_before(facts)
            started_from = [name for name in _START_FILES if name in given]
            files = DataRecord.of(files_of(options, started_from), {}, contents=False)
            ranks.from_main(lambda: kept.compare_data(files, before))  # before they are read
            data = TrainingData.read(options, transform, ranks, check_data)
            ranks.from_main(
                lambda: kept.check_data(
                    options, data.record(options, started_from, check_data), before
                )
            )
            if not ranks.from_main(lambda: kept.has_state):
                return cls._started(kept, options, data, workers, ranks, check_data)
            lucid.random.seed(options.seed)
            model = new_detector(facts["model"], facts["kwargs"])
            note = comparison_note(before, check_data)
            return cls._prepared(kept, options, model, data, workers, ranks, note)

    @classmethod
    def _prepared(
        cls,
        folder: RunFolder,
        options: TrainingOptions,
        model: Detector,
        data: TrainingData,
        workers: int,
        communicator: Communicator,
        note: str | None,
    ) -> DetectorRun:
        frozen = options.frozen_stages
        if frozen is None:
            frozen = _PRETRAINED_FROZEN if options.pretrained else 0
        freeze_stages(model, frozen)
        size, seed = options.batch_size, options.seed
        loader = DataLoader(
            data.train, size, shuffle=True, collate=collate, workers=workers, seed=seed
        )
        rest = len(data.train) % size or size
        if not options.synchronize_norms:
            rest //= communicator.size
        if rest <= 1:
            _check_batches_of_one(model, data)
        part = Subset(data.val, communicator.shard(len(data.val)))
        validation = Validation(
            DataLoader(part, size, collate=collate, workers=workers, seed=seed),
            data.class_names,
            communicator,
        )
        optimizer = _optimizer(options, model)
        trainer = Trainer(
            model,
            optimizer,
            loader,
            _losses,
            epochs=options.epochs,
            scheduler=warm_up_then(
                optimizer,
                options.epochs * -(-len(loader) // options.accumulate),
                then=options.schedule,
                warm_up=options.warm_up,
            ),
            accumulate=options.accumulate,
            max_grad_norm=options.max_grad_norm or None,
            validate=validation,
            monitor="mAP",
            directory=folder.path,
            checkpoint_every=options.checkpoint_every,
            callbacks=[
                SamplePictures(
                    data.val, options.samples, data.class_names, folder.path / "samples"
                ),
                PlotEpochs(folder.path / "training.png"),
            ],
            class_names=data.class_names,
            preprocessing=data.categories.as_preprocessing(),
            communicator=communicator,
            synchronize_norms=options.synchronize_norms,
        )
        summary = (
            f"{model.model_name}: {counted(len(data.class_names) - 1, 'class', 'classes')}, "
            f"{counted(len(data.train), 'image')} to train on, {len(data.val)} to validate on"
        )
        if note is not None:
            summary += f"\n{note}"
        return cls(folder, options, trainer, validation, summary, data.reports)

    @property
    def introduction(self) -> list[str]:
        """Lines on the data, and the summary."""
        return [*(line for each in self.reports for line in brief_lines(each)), self.summary]

    @property
    def draws(self) -> bool:
        """Whether losses and metrics are drawn: whether matplotlib is installed."""
        return any(isinstance(c, PlotEpochs) and c.able for c in self.trainer.callbacks)

    def fit(
        self, tell: Callable[[str], object] | None = None, callbacks: Sequence[Callback] = ()
    ) -> float | None:
        """Train to the end; gives the best mAP.

        Parameters
        ----------
        tell : callable, optional
            Called with a line of text after each epoch.
        callbacks : sequence of lucid.training.Callback, default ()
            Called beside the run's own; the same ones when it is gone on with.

        Returns
        -------
        float or None
            That mAP, in [0, 1]; None where it was NaN in every epoch.
        """
        told = ("loss", "val_loss", "mAP", "mAP@0.5")
        own = list(self.trainer.callbacks)
        report = ReportEpochs(tell or _silent, told)
        self.trainer.callbacks += [report, *callbacks]
        try:
            with closing(self.trainer.loader), closing(self.validation.loader):  # type: ignore[type-var]
                self.folder.train(self.trainer)
        finally:
            self.trainer.callbacks[:] = own  # a second call has as many as the state knows
        if tell is not None and self.trainer.communicator.is_main:
            for note in self.validation.notes:
                tell(f"note: {note}")
        report.say_if_finished(self.trainer)
        return self.trainer.best


def train_detector(
    data: str | os.PathLike[str],
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    resume: bool = False,
    workers: int = 0,
    transform: SampleTransform | None = None,
    callbacks: Sequence[Callback] = (),
    tell: Callable[[str], object] | None = print,
    communicator: Communicator | None = None,
    check_data: bool = True,
    **options: Any,
) -> DetectorRun:
    """Train a detector on a COCO file; what ``lucid train-detector`` does.

    Parameters
    ----------
    data, images : path-like
        The COCO file, and the folder that its images' names start from.
    output : path-like
        Folder of the run.  It gets ``best.safetensors``, the detector of the best mAP,
        which names its classes; ``last.safetensors``, from which ``resume`` goes on;
        ``metrics.csv``; ``training.png``; and ``samples/epoch_001.png``, ...
    resume : bool, default False
        Go on with the training in ``output``, bit for bit as if it had not been
        interrupted; the other options may be left out.
    workers : int, default 0
        Processes that read images; a script with any must start under
        ``if __name__ == "__main__":``.
    transform : callable, optional
        ``transform(image, target) -> (image, target)`` in the place of ``augment``.
    callbacks : sequence of lucid.training.Callback, default ()
        Called after steps and epochs.
    tell : callable or None, default print
        Called with a line of text now and then.
    communicator : lucid.training.Communicator, optional
        The ranks that train together, of which rank 0 tells and writes; by default those that
        ``mpiexec`` has started (:func:`lucid.training.default_communicator`), else this
        process alone.
    check_data : bool, default True
        Whether every image is opened before the first step and compared with its annotations.
    **options
        Of :class:`TrainingOptions`: ``val``, ``val_images``, ``val_fraction``, ``skip_invalid``,
        ``box_format``, ``box_orientation``,
        ``model``, ``model_options``, ``weights``, ``backbone_weights``, ``epochs``, ``batch_size``,
        ``accumulate``, ``optimizer``, ``lr``, ``backbone_lr``, ``schedule``, ``warm_up``,
        ``max_grad_norm``, ``frozen_stages``, ``augment``, ``samples``,
        ``checkpoint_every``, ``synchronize_norms``, ``seed``.

    Returns
    -------
    DetectorRun
        Its ``trainer`` holds the history, ``folder.best`` is the detector's file.

    Raises
    ------
    TypeError
        For an unknown option; lists the valid ones.
    ValueError
        If options and data do not fit, or ``output`` holds another training.
    FloatingPointError
        If the training has diverged; its last checkpoint is whole.

    Examples
    --------
    ::

        from lucid_models_detection import train_detector

        run = train_detector(
            "train.json", "images", "run", val="val.json",
            backbone_weights="resnet50-0676ba61.pth", epochs=12,
        )
        print(run.trainer.best, run.folder.best)
    """
    valid = [f.name for f in fields(TrainingOptions)]
    if unknown := sorted(set(options) - set(valid)):
        raise TypeError(
            f"train_detector got unexpected options {', '.join(map(repr, unknown))}; valid ones "
            f"are {', '.join(valid)}"
        )
    given = resolved({"data": data, "images": images, **options})
    folder = Path(output)
    if resume:
        run = DetectorRun.resume(folder, given, workers, transform, communicator, check_data)
    else:
        chosen = TrainingOptions(**given)
        run = DetectorRun.start(folder, chosen, workers, transform, communicator, check_data)
    if tell is not None and run.trainer.communicator.is_main:
        for line in run.introduction:
            tell(line)
    run.fit(tell, callbacks)
    return run


def _data_before(facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the run was trained on; Lucid 0.1.0 kept digests by path, ``data`` before ``val``."""
    if facts["data"] is not None or not isinstance(facts.get("digests"), dict):
        return facts["data"]  # type: ignore[no-any-return]
    digests = list(facts["digests"].values())
    return {"files": {"data": digests[0], "val": digests[-1]}, "images": {}}


def _built(options: TrainingOptions, class_names: Sequence[str]) -> tuple[Detector, str | None]:
    """The model, and what was done with the last layer of the file that it starts from."""
    if options.weights is not None:
        path = Path(options.weights)
        return from_detector(path, class_names, options.model, options.model_options, options.ema)
    name = options.model or DEFAULT_MODEL
    chosen = {"num_classes": len(class_names), **options.model_options}
    if options.backbone_weights is not None:
        path = Path(options.backbone_weights)
        return from_backbone(name, path, chosen, options.ema), None
    return new_detector(name, chosen), None


def _check_batches_of_one(model: Detector, data: TrainingData) -> None:
    """Refuse a batch of one small image that batch normalization has one value per channel of.

    Raises
    ------
    ValueError
        If the model cannot be trained on the smallest image alone.
    """
    dataset = data.sources["images"]
    entries = dataset.entries
    index = min(range(len(entries)), key=lambda i: entries[i].width * entries[i].height)
    width, height = entries[index].width, entries[index].height
    try:
        with trial(model):
            model([lucid.zeros((3, height, width))], [dataset.target(index)])
    except ValueError as error:
        raise ValueError(
            f"expected at least two images per batch and rank, got a batch of one image "
            f"({counted(len(data.train), 'image')}; {error}, for {entries[index].path} of "
            f"{width} x {height} pixels); give another --batch-size, or a larger --model-option "
            "min_size"
        ) from error


def _optimizer(options: TrainingOptions, model: Detector) -> Optimizer:
    default_lr, weight_decay = OPTIMIZERS[options.optimizer]
    lr = default_lr if options.lr is None else options.lr
    backbone_lr = options.backbone_lr
    if backbone_lr is None:
        backbone_lr = lr * (_PRETRAINED_SHARE if options.pretrained else 1)
    groups = parameter_groups(model, lr, backbone_lr)
    if options.optimizer == "sgd":
        return SGD(groups, lr=lr, momentum=_MOMENTUM, weight_decay=weight_decay)
    return AdamW(groups, lr=lr, weight_decay=weight_decay)


def _losses(model: Detector, batch: Any) -> Any:
    images, targets = batch
    return model(images, targets)


def _silent(line: str) -> None:
    """Tell nothing; a run has as many callbacks whether or not it tells."""
