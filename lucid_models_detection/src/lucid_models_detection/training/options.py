"""Training options of a detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lucid.training.option_checks import check_floats, check_integers
from lucid.weights import is_weight_path, resolve_weights
from lucid_models_detection.data import ColorJitter, RandomCrop, RandomHorizontalFlip, ScaleJitter
from lucid_models_detection.data.box_formats import BoxFormat, check_box_format
from lucid_models_detection.data.orientation import BoxOrientation, check_box_orientation
from lucid_models_detection.data.types import SampleTransform
from lucid_models_detection.training.fine_tuning import backbone_name, check_task

__all__ = ["AUGMENTATIONS", "DEFAULT_MODEL", "OPTIMIZERS", "TrainingOptions", "resolve_paths"]

DEFAULT_MODEL = "faster_rcnn_resnet_50_fpn"

#: Default peak learning rate and weight decay of each optimizer.  SGD: torchvision's, scaled to
#: batches of four; AdamW: chosen on small datasets.
OPTIMIZERS: dict[str, tuple[float, float]] = {"adamw": (2e-4, 0.01), "sgd": (5e-3, 1e-4)}

#: Random transforms of training images and boxes, by the value of ``augment``.
AUGMENTATIONS: dict[str, tuple[SampleTransform, ...]] = {
    "none": (),
    "flip": (RandomHorizontalFlip(),),
    "full": (ScaleJitter(), RandomCrop(p=0.5), RandomHorizontalFlip(), ColorJitter()),
}


@dataclass(frozen=True)
class TrainingOptions:
    """Training options of a detector.

    Attributes
    ----------
    data, images : str
        COCO file and image folder of the training set.
    val, val_images : str or None
        COCO file and image folder of the validation set.  Without ``val``, a fraction of
        ``data`` is held out; ``val_images`` defaults to ``images``.
    val_fraction : float
        Fraction of images held out for validation, of those with objects.
    skip_invalid : bool
        Leave out invalid images and annotations, unless they are more than half; by default
        they raise.
    box_format, box_orientation : str or None
        Format of the boxes, and the image they refer to if it has an EXIF orientation, as in
        :class:`~lucid_models_detection.data.CocoDetection`.
    model : str or None
        Registered model name; None takes the model of ``weights``, or Faster R-CNN with
        ResNet-50.
    model_options : dict
        Keyword arguments of the model builder.
    weights : str or None
        Weights of a pretrained detector: a file, or ``"default"`` or another tag of the model's
        published weights.
    backbone_weights : str or None
        Weights of a pretrained classifier for the backbone, a file or a tag.
    ema : bool or None
        Whether to use the EMA of the weights in either, as in :func:`lucid.load`.
    epochs : int
        Number of passes over the training set.
    batch_size, accumulate : int
        Images per batch, and batches accumulated per optimizer step.
    optimizer : {"adamw", "sgd"}
        With weight decay 0.01 and 1e-4; SGD with momentum 0.9.
    lr : float or None
        Peak learning rate; None is 2e-4 for AdamW, 5e-3 for SGD.
    backbone_lr : float or None
        Peak learning rate of the backbone; None is ``lr / 10`` if pretrained, else ``lr``.
    schedule : {"cosine", "step", "constant"}
        Learning rate schedule after the warm-up; see
        :func:`lucid.training.schedule_with_warmup`.
    warm_up : int or None
        Number of warm-up steps.
    max_grad_norm : float
        Maximum norm of the gradients; 0 disables clipping.
    frozen_stages : int or None
        Number of backbone stages to freeze, from the input, such as 2 of the 5 of a ResNet.
        None is 2 if pretrained, else 0.
    augment : {"none", "flip", "full"}
        Data augmentation: none, horizontal flips, or also random scale, crop and color.
    samples : int
        Number of images to draw detections on after each epoch.
    checkpoint_every : int or None
        Also save the state every so many steps.
    synchronize_norms : bool
        Whether batch norms use the statistics of all ranks.
    seed : int
        Random seed.

    Raises
    ------
    ValueError
        If ``optimizer`` or ``augment`` is unknown, a number is out of range, both ``weights``
        and ``backbone_weights`` are given, or ``model_options`` has ``num_classes``, which is
        set by the data.
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
            raise ValueError("weights and backbone_weights: pass only one")
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"val_fraction: expected a number in (0, 1), got {self.val_fraction}")
        check_integers(self, ("epochs", "batch_size", "accumulate", "checkpoint_every"), 1)
        check_integers(self, ("warm_up", "frozen_stages", "samples", "seed"), 0)
        check_floats(self, ("lr",))
        check_floats(self, ("backbone_lr", "max_grad_norm"), zero=True)
        if "num_classes" in self.model_options:
            raise ValueError("model_options: num_classes follows from the data; leave it out")

    @property
    def pretrained(self) -> bool:
        """Whether the backbone starts from pretrained weights."""
        return self.weights is not None or self.backbone_weights is not None


def resolve_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    """Make the paths among the options absolute, as recorded in ``run.json``.

    Tags of published weights become the paths of their files, which are fetched if needed.
    """
    paths = ("data", "images", "val", "val_images", "weights", "backbone_weights")
    found = {name: options[name] for name in paths if options.get(name) is not None}
    for name in ("weights", "backbone_weights"):
        if name in found and not is_weight_path(found[name]):
            model, chosen = options.get("model"), options.get("model_options")
            model = model or DEFAULT_MODEL
            check_task(model)
            if name == "backbone_weights":
                model = backbone_name(model, chosen or {})
            found[name] = resolve_weights(found[name], model)
    return {**options, **{name: str(Path(value).resolve()) for name, value in found.items()}}
