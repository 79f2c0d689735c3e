"""What a training follows from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lucid.training.option_checks import check_floats, check_integers
from lucid_models_detection.data import ColorJitter, RandomCrop, RandomHorizontalFlip, ScaleJitter
from lucid_models_detection.data.box_formats import BoxFormat, check_box_format
from lucid_models_detection.data.orientation import BoxOrientation, check_box_orientation
from lucid_models_detection.data.types import SampleTransform

__all__ = ["AUGMENTATIONS", "OPTIMIZERS", "TrainingOptions", "resolve_paths"]

#: Highest learning rate, and weight decay, of each optimizer.  SGD's are torchvision's
#: for batches of four; AdamW's are what small data sets were trained well with.
OPTIMIZERS: dict[str, tuple[float, float]] = {"adamw": (2e-4, 0.01), "sgd": (5e-3, 1e-4)}

#: What is done to training images, with their boxes, at random.
AUGMENTATIONS: dict[str, tuple[SampleTransform, ...]] = {
    "none": (),
    "flip": (RandomHorizontalFlip(),),
    "full": (ScaleJitter(), RandomCrop(p=0.5), RandomHorizontalFlip(), ColorJitter()),
}


@dataclass(frozen=True)
class TrainingOptions:
    """What a training follows from.

    Attributes
    ----------
    data, images : str
        COCO file to train on, and where its images are.
    val, val_images : str or None
        The same to validate on; without ``val`` a share of ``data``, without
        ``val_images`` the same folder.
    val_fraction : float
        That share.
    skip_invalid : bool
        Leave out images and annotations that cannot be used, unless that would be more than
        half; by default such files are refused.
    box_format, box_orientation : str or None
        How boxes are written, and what they were drawn on where images have an EXIF
        orientation; as of :class:`~lucid_models_detection.data.CocoDetection`.
    model : str or None
        Registered name; None is the one in ``weights``, or Faster R-CNN on ResNet-50.
    model_options : dict
        Keyword arguments of its builder.
    weights : str or None
        Detector to start from.
    backbone_weights : str or None
        Classifier that the backbone starts from.
    ema : bool or None
        Whether to use the EMA of the weights in either, as of :func:`lucid.load`.
    epochs, batch_size, accumulate : int
        Batches of ``batch_size`` images; a step follows from ``accumulate`` of them.
    optimizer : {"adamw", "sgd"}
        With a weight decay of 0.01 and of 1e-4; SGD with a momentum of 0.9.
    lr : float or None
        Highest learning rate; None is 2e-4 for AdamW, 5e-3 for SGD.
    backbone_lr : float or None
        The backbone's; None is a tenth of ``lr`` where it was pretrained, else ``lr``.
    schedule : {"cosine", "step", "constant"}
        What follows the warm-up; see :func:`lucid.training.schedule_with_warmup`.
    warm_up : int or None
        Steps of it.
    max_grad_norm : float
        Limit of the gradients' norm; 0 for none.
    frozen_stages : int or None
        Number of stages of the backbone to freeze, from the image on, such as 2 of
        the 5 of a ResNet.  None is 2 where the backbone was pretrained, else 0.
    augment : {"none", "flip", "full"}
        What is done to training images: nothing, mirrored, or also scaled, cropped and
        colored otherwise.
    samples : int
        Images that detections are drawn on after each epoch.
    checkpoint_every : int or None
        Save the state after so many steps, too.
    synchronize_norms : bool
        Whether batch norms see the batch of all ranks, or each the part of its own.
    seed : int
        Everything random follows from it.

    Raises
    ------
    ValueError
        If ``optimizer`` or ``augment`` is unknown, a number is out of range, both
        ``weights`` and ``backbone_weights`` are given, or ``model_options`` has
        ``num_classes``, which follows from the data.
    """

    data: str
    images: str
    val: str | None = None
    val_images: str | None = None
    val_fraction: float = 0.2
    skip_invalid: bool = False
    box_format: BoxFormat | None = None
    box_orientation: BoxOrientation | None = None
    model: str | None = None
    model_options: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    backbone_weights: str | None = None
    ema: bool | None = None
    epochs: int = 20
    batch_size: int = 4
    accumulate: int = 1
    optimizer: str = "adamw"
    lr: float | None = None
    backbone_lr: float | None = None
    schedule: str = "cosine"
    warm_up: int | None = None
    max_grad_norm: float = 5.0
    frozen_stages: int | None = None
    augment: str = "flip"
    samples: int = 8
    checkpoint_every: int | None = None
    synchronize_norms: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}"
            )
        if self.augment not in AUGMENTATIONS:
            raise ValueError(
                f"augment: expected one of {', '.join(AUGMENTATIONS)}, got {self.augment!r}"
            )
        check_box_format(self.box_format)
        check_box_orientation(self.box_orientation)
        if self.weights is not None and self.backbone_weights is not None:
            raise ValueError("give weights of a detector or backbone_weights, not both")
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"val_fraction: expected a share of images, got {self.val_fraction}")
        check_integers(self, ("epochs", "batch_size", "accumulate", "checkpoint_every"), 1)
        check_integers(self, ("warm_up", "frozen_stages", "samples", "seed"), 0)
        check_floats(self, ("lr",))
        check_floats(self, ("backbone_lr", "max_grad_norm"), zero=True)
        if "num_classes" in self.model_options:
            raise ValueError("model_options: num_classes follows from the data")

    @property
    def pretrained(self) -> bool:
        """Whether the backbone begins with weights from a file."""
        return self.weights is not None or self.backbone_weights is not None


def resolve_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with every path made absolute, as a run writes them down."""
    paths = ("data", "images", "val", "val_images", "weights", "backbone_weights")
    return {
        name: str(Path(value).resolve()) if name in paths and value is not None else value
        for name, value in options.items()
    }
