"""Detection task of :class:`lucid.training.Run`, and ``train_detector``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import lucid
from lucid.data import DataLoader, Subset
from lucid.optim import SGD, AdamW, Optimizer
from lucid.text import pluralize
from lucid.training import (
    Callback,
    Checkpointable,
    Communicator,
    InitialModel,
    PlotEpochs,
    Run,
    Task,
    Trainer,
    TrainerSetup,
    schedule_with_warmup,
)
from lucid.training.dry_run import dry_run
from lucid_models_detection.data import collate
from lucid_models_detection.data.types import SampleTransform
from lucid_models_detection.detector import Detector, check_detector
from lucid_models_detection.evaluation.coco import import_pycocotools
from lucid_models_detection.training.data import TrainingData
from lucid_models_detection.training.fine_tuning import (
    accepts_argument,
    freeze_stages,
    from_backbone,
    from_detector,
    new_detector,
    parameter_groups,
)
from lucid_models_detection.training.options import (
    DEFAULT_MODEL,
    OPTIMIZERS,
    TrainingOptions,
    resolve_paths,
)
from lucid_models_detection.training.samples import SampleDetections
from lucid_models_detection.training.validation import Validation

__all__ = ["DetectorTask", "train_detector"]

_MOMENTUM = 0.9
#: Factor of the backbone's learning rate, and number of frozen stages, if it is pretrained.
_PRETRAINED_LR_FACTOR = 0.1
_PRETRAINED_FROZEN = 2


class DetectorTask(Task[TrainingOptions, TrainingData]):
    """Training of an object detector on COCO files.

    Parameters
    ----------
    transform : callable, optional
        Transform of training images and targets, instead of ``options.augment``.
    checkpointables : mapping of str to Checkpointable, optional
        As in :class:`lucid.training.Trainer`.
    """

    options = TrainingOptions
    data_options = ("data", "images", "val", "val_images")
    start_files = ("weights", "backbone_weights")
    logged = ("loss", "val_loss", "mAP", "mAP@0.5")

    def __init__(
        self,
        transform: SampleTransform | None = None,
        checkpointables: Mapping[str, Checkpointable] | None = None,
    ) -> None:
        self.transform = transform
        self.checkpointables = checkpointables

    def check_packages(self) -> None:
        """Raise MissingPackageError if pycocotools is not installed."""
        import_pycocotools()

    def files(self, options: TrainingOptions) -> dict[str, str | None]:
        """Return the annotation files by option."""
        return {"data": options.data, "val": options.val}

    def read_data(
        self, options: TrainingOptions, communicator: Communicator, check: bool
    ) -> TrainingData:
        """Read the annotations, and check the images if ``check``."""
        return TrainingData.read(options, self.transform, communicator, check)

    def build_model(self, options: TrainingOptions, data: TrainingData) -> InitialModel:
        """Build the detector, randomly initialized or from pretrained weights."""
        model, note = _build_model(options, data.class_names)
        return InitialModel(model, {}, note)

    def rebuild_model(self, name: str, kwargs: Mapping[str, Any]) -> Detector:
        """Build the detector of a run that is resumed."""
        return new_detector(name, kwargs)

    def recorded_data(self, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the record of the data; 0.1.0 kept digests by path, ``data`` before ``val``."""
        if record["data"] is not None or not isinstance(record.get("digests"), dict):
            return super().recorded_data(record)
        digests = list(record["digests"].values())
        return {"files": {"data": digests[0], "val": digests[-1]}, "images": {}}

    def make_trainer(self, setup: TrainerSetup[TrainingOptions], data: TrainingData) -> Trainer:
        """Freeze stages; create loaders, optimizer, schedule and callbacks."""
        options, folder, ranks = setup.options, setup.folder, setup.communicator
        model = check_detector(setup.model)
        frozen = options.frozen_stages
        if frozen is None:
            frozen = _PRETRAINED_FROZEN if options.pretrained else 0
        freeze_stages(model, frozen)
        loader_options: dict[str, Any] = {
            "workers": setup.workers,
            "seed": options.seed,
            "collate": collate,
        }
        loader = DataLoader(data.train, options.batch_size, shuffle=True, **loader_options)
        last_batch = len(data.train) % options.batch_size or options.batch_size
        if not options.synchronize_norms:
            last_batch //= ranks.size
        if last_batch <= 1:
            _check_batches_of_one(model, data)
        shard = Subset(data.val, ranks.shard(len(data.val)))
        optimizer = _optimizer(options, model)
        return Trainer(
            model,
            optimizer,
            loader,
            _losses,
            epochs=options.epochs,
            scheduler=schedule_with_warmup(
                optimizer,
                options.epochs * -(-len(loader) // options.accumulate),
                schedule=options.schedule,
                warmup_steps=options.warm_up,
            ),
            accumulate=options.accumulate,
            max_grad_norm=options.max_grad_norm or None,
            validate=Validation(
                DataLoader(shard, options.batch_size, **loader_options), data.class_names, ranks
            ),
            monitor="mAP",
            directory=folder.path,
            checkpoint_every=options.checkpoint_every,
            callbacks=[
                SampleDetections(
                    data.val, options.samples, data.class_names, folder.path / "samples"
                ),
                PlotEpochs(folder.path / "training.png"),
            ],
            checkpointables=self.checkpointables,
            class_names=data.class_names,
            preprocessing=data.categories.as_preprocessing(),
            communicator=ranks,
            synchronize_norms=options.synchronize_norms,
        )

    def notes(self, trainer: Trainer) -> Sequence[str]:
        """Return the notes on the COCO metrics of the last epoch."""
        return trainer.validate.notes if isinstance(trainer.validate, Validation) else ()


def train_detector(
    data: str | os.PathLike[str],
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    resume: bool = False,
    workers: int = 0,
    transform: SampleTransform | None = None,
    callbacks: Sequence[Callback] = (),
    checkpointables: Mapping[str, Checkpointable] | None = None,
    log: Callable[[str], object] | None = print,
    communicator: Communicator | None = None,
    check_data: bool = True,
    **options: Any,
) -> Run[TrainingOptions]:
    """Train a detector on a COCO file, as ``lucid train-detector`` does.

    Parameters
    ----------
    data, images : path-like
        COCO file, and the folder that its file names are relative to.
    output : path-like
        Run directory.  It gets ``best.safetensors``, the detector with the best mAP and its
        class names; ``last.safetensors``, to resume from; ``metrics.csv``; ``training.png``;
        and ``samples/epoch_001.png``, ...
    resume : bool, default False
        Continue the run in ``output``, bit for bit as if it had not been interrupted; other
        options can be omitted.
    workers : int, default 0
        Number of worker processes that load images; 0 loads in the main process.  A script
        with workers must start under ``if __name__ == "__main__":``.
    transform : callable, optional
        ``transform(image, target) -> (image, target)``, instead of ``augment``.
    callbacks : sequence of lucid.training.Callback, default ()
        Called after steps and epochs.
    checkpointables : mapping of str to lucid.training.Checkpointable, optional
        Objects with a state to save in ``last.safetensors``, such as a ``transform``, by name;
        pass the same names to resume.
    log : callable or None, default print
        Called with each line of progress.
    communicator : lucid.training.Communicator, optional
        Process group; rank 0 logs and writes files.  Default: the ranks started by
        ``mpiexec`` (:func:`lucid.training.default_communicator`), else this process alone.
    check_data : bool, default True
        Whether to check the header of every image against its annotations first.
    **options
        Options of :class:`TrainingOptions`: ``val``, ``val_images``, ``val_fraction``,
        ``skip_invalid``, ``box_format``, ``box_orientation``, ``model``, ``model_options``,
        ``weights``, ``backbone_weights``, ``ema``, ``epochs``, ``batch_size``, ``accumulate``,
        ``optimizer``, ``lr``, ``backbone_lr``, ``schedule``, ``warm_up``, ``max_grad_norm``,
        ``frozen_stages``, ``augment``, ``samples``, ``checkpoint_every``,
        ``synchronize_norms``, ``seed``.

    Returns
    -------
    lucid.training.Run
        Its ``trainer`` has the history; ``folder.best`` is the file of the best detector.

    Raises
    ------
    TypeError
        If an option is unknown; lists the valid ones.
    ValueError
        If options and data do not fit, or ``output`` contains another run.
    FloatingPointError
        If training diverges; the last checkpoint is intact.

    Examples
    --------
    ::

        from lucid_models_detection import train_detector

        run = train_detector(
            "train.json", "images", "run", val="val.json",
            backbone_weights="default", epochs=12,
        )
        print(run.trainer.best, run.folder.best)
    """
    valid = [f.name for f in fields(TrainingOptions)]
    if unknown := sorted(set(options) - set(valid)):
        raise TypeError(
            f"train_detector() got unexpected options {', '.join(map(repr, unknown))}; valid "
            f"options are {', '.join(valid)}"
        )
    given = resolve_paths({"data": data, "images": images, **options})
    folder = Path(output)
    task, arguments = DetectorTask(transform, checkpointables), (workers, communicator, check_data)
    if resume:
        run = Run.resume(task, folder, given, *arguments)
    else:
        run = Run.start(task, folder, TrainingOptions(**given), *arguments)
    if log is not None and run.trainer.communicator.is_main:
        for line in run.introduction:
            log(line)
    run.fit(log, callbacks)
    return run


def _build_model(
    options: TrainingOptions, class_names: Sequence[str]
) -> tuple[Detector, str | None]:
    """Build the model; also return a note on the last layer of pretrained weights."""
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
    """Raise if the smallest image alone leaves batch norm a single value per channel."""
    dataset = data.sources["images"]
    entries = dataset.entries
    index = min(range(len(entries)), key=lambda i: entries[i].width * entries[i].height)
    width, height = entries[index].width, entries[index].height
    try:
        with dry_run(model):
            model([lucid.zeros((3, height, width))], [dataset.target(index)])
    except ValueError as error:
        larger = ""
        if model.model_name is not None and accepts_argument(model.model_name, "min_size"):
            larger = ", or a larger --model-option min_size"
        raise ValueError(
            f"expected at least two images per batch and rank, got a batch of one image "
            f"({pluralize(len(data.train), 'image')}; {error}, for {entries[index].path} of "
            f"{width} x {height} pixels); pass another --batch-size{larger}"
        ) from error


def _optimizer(options: TrainingOptions, model: Detector) -> Optimizer:
    default_lr, weight_decay = OPTIMIZERS[options.optimizer]
    lr = default_lr if options.lr is None else options.lr
    backbone_lr = options.backbone_lr
    if backbone_lr is None:
        backbone_lr = lr * (_PRETRAINED_LR_FACTOR if options.pretrained else 1)
    groups = parameter_groups(model, lr, backbone_lr)
    if options.optimizer == "sgd":
        return SGD(groups, lr=lr, momentum=_MOMENTUM, weight_decay=weight_decay)
    return AdamW(groups, lr=lr, weight_decay=weight_decay)


def _losses(model: Detector, batch: Any) -> Any:
    images, targets = batch
    return model(images, targets)
