"""What every object detector is: images and targets in, losses or detections out.

N images, M objects of an image, C classes with background as class 0, D detections of an
image.  Boxes are xyxy in pixels.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, cast

import numpy as np

from lucid import ProtocolError, Tensor, nn, no_grad
from lucid.models import missing_members, record_builder, recorded_builder
from lucid_models_detection.backbones import backbone_arguments, make_backbone
from lucid_models_detection.config import DetectorConfig, check_options
from lucid_models_detection.detections import Detections
from lucid_models_detection.eval_mode import eval_mode
from lucid_models_detection.ground_truth import GroundTruth, check_targets
from lucid_models_detection.transform import (
    GeneralizedRCNNTransform,
    ImageList,
    check_pixels,
    raw_batch,
)

__all__ = ["Detector", "Images", "backbone_net", "check_detector"]

Array = np.ndarray[Any, np.dtype[Any]]
Images = Tensor | Array | Sequence[Tensor | Array]


class Detector(nn.Module):
    """Base class of object detectors.

    Commands, training and evaluation work on any subclass.  A subclass builds its networks,
    calls ``super().__init__``, and implements :meth:`compute_losses` and :meth:`detect` on
    batches that are already normalized, resized and padded, and :meth:`raw_outputs`, if
    ``model(x)`` is to run the network alone.  Everything else stands here: checks of images and
    targets, batches of images of different sizes, eval mode, boxes in the pixels of the given
    images.

    Parameters
    ----------
    backbone : lucid.nn.Module
        Maps a batch (N, 3, H, W) to the features that the heads read.  The classification
        network in it, which ``--backbone-weights`` fills and ``--frozen-stages`` freezes, is
        its attribute ``net``, or the backbone itself if it has none.
    transform : GeneralizedRCNNTransform
        Normalizes, resizes and pads images.

    Attributes
    ----------
    num_classes : int
        C, background included.
    head_prefixes : tuple of str
        Prefixes, in the state dict, of the parameters whose shape depends on ``num_classes``;
        of each such parameter the first axis is classes, or a multiple of them.
    class_axis : {0, 1}
        Order of the rows of these parameters where several belong to each class: 0 if the rows
        of a class stand together, 1 if those of an anchor do; see
        ``lucid.training.class_mapping.ClassMapping.apply``.
    score_threshold : float
        Detections need a greater score.
    config_class : type of DetectorConfig or None
        Options that the constructor takes by keyword after ``(net, num_classes)``; with it,
        :meth:`from_backbone` checks them before it builds the backbone.
    generic_builder : str or None
        Name of the registered model whose builder takes the name of a backbone as
        ``backbone`` and passes its arguments to :meth:`from_backbone`.  Not inherited.
    """

    config_class: ClassVar[type[DetectorConfig] | None] = None
    generic_builder: ClassVar[str | None] = None
    num_classes: int
    score_threshold: float
    head_prefixes: tuple[str, ...] = ()
    class_axis: int = 0

    def __init__(self, backbone: nn.Module, transform: GeneralizedRCNNTransform) -> None:
        super().__init__()
        self.backbone = backbone
        self.transform = transform

    @classmethod
    def valid_options(cls) -> tuple[str, ...]:
        """Names of the keyword arguments of the constructor: options, then parts."""
        own = () if cls.config_class is None else cls.config_class.names()
        constructors = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base)]
        parts = [
            parameter.name
            for constructor in constructors
            for parameter in inspect.signature(constructor).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        ]
        return (*own, *dict.fromkeys(parts))

    @classmethod
    def from_backbone(
        cls,
        backbone: str | nn.Module,
        num_classes: int | None = None,
        backbone_num_classes: int | None = None,
        *,
        norm: str = "batch",
        norm_eps: float | None = None,
        backbone_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Self:
        """Build a detector on any backbone.

        For subclasses whose constructor takes ``(net, num_classes, **options)``.  The detector
        can be saved by :func:`lucid.save_model` if the class has a ``generic_builder`` and
        the backbone comes from a registered builder.

        Parameters
        ----------
        backbone : str or lucid.nn.Module
            Name of a registered model, or a module, that satisfies
            :class:`lucid.models.Backbone`.  Of a module, ``features()`` and
            ``feature_channels`` suffice if its strides are 4, 8, 16, ...
        num_classes : int, optional
            Classes of the detector, background included.  Default: those of the constructor.
        backbone_num_classes : int, optional
            Classes of the backbone's own classifier.  Default: those of its builder.
        norm : {"batch", "frozen"}, default "batch"
            Normalization in the backbone.
        norm_eps : float, optional
            Added to the variance there.  Default: that of the backbone's builder.
        backbone_options : mapping, optional
            Further keyword arguments of the backbone's builder.
        **options
            Keyword arguments of the constructor: options, and parts of the detector.

        Raises
        ------
        TypeError, ValueError
            As the constructor; also if the model is no backbone, or if arguments of its
            builder are given with a module.
        lucid.errors.UnknownModelError
            If no model has this name.

        Examples
        --------
        >>> from lucid_models_detection import FasterRCNN
        >>> detector = FasterRCNN.from_backbone("resnext_50_32x4d", num_classes=3)
        >>> detector.model_name, detector.model_kwargs
        ('faster_rcnn_fpn', {'backbone': 'resnext_50_32x4d', 'num_classes': 3})
        """
        name = backbone if isinstance(backbone, str) else type(backbone).__name__
        if cls.config_class is not None:  # before the backbone is built, which takes time
            valid = ("norm", "norm_eps", "backbone_options", *cls.valid_options())
            check_options(options, valid, f"a detector on {name}")
            checked = cls.config_class.names()
            cls.config_class(**{key: options[key] for key in checked if key in options})
        net = make_backbone(backbone, backbone_num_classes, norm, norm_eps, backbone_options)
        if num_classes is not None:
            options["num_classes"] = num_classes
        build: Any = cls  # with the arguments of the subclass
        detector: Self = build(net, **options)
        # Of this class itself: the builder would not make an instance of a subclass.
        generic = vars(cls).get("generic_builder")
        if generic is not None and (recorded := recorded_builder(net)) is not None:
            arguments = {"backbone": recorded[0], **backbone_arguments(recorded[1]), **options}
            record_builder(detector, generic, arguments)
        return detector

    def compute_losses(
        self, features: Any, batch: ImageList, targets: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Parameters
        ----------
        features : object
            Result of the backbone.
        batch : ImageList
            The images that it was computed from.
        targets : sequence of GroundTruth
            Objects of each image, in the pixels of the batch.

        Returns
        -------
        dict of str to Tensor
            Scalars, whose sum is minimized.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement compute_losses")

    def detect(self, features: Any, batch: ImageList) -> list[Detections]:
        """Detect objects in a batch.

        Parameters
        ----------
        features : object
            Result of the backbone.
        batch : ImageList
            The images that it was computed from.

        Returns
        -------
        list of Detections
            For each image, boxes in the pixels of the batch.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement detect")

    def raw_outputs(self, features: Any, batch: ImageList) -> Any:
        """Outputs of the network for ``model(x)``, not decoded and not selected.

        Parameters
        ----------
        features : object
            Result of the backbone.
        batch : ImageList
            The images that it was computed from, as they were given.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement raw_outputs")

    def forward(self, images: Images, targets: Sequence[Mapping[str, Any]] | None = None) -> Any:
        """Compute the losses to train on, or the raw outputs of the network.

        Parameters
        ----------
        images : Tensor or sequence of Tensor
            With ``targets`` a batch (N, 3, H, W) or a list of (3, h, w) of different sizes,
            in [0, 1].  Without, a batch (N, 3, H, W) of any values, which is **not
            normalized**.
        targets : sequence of mapping, optional
            For each image ``"boxes"`` (M, 4), xyxy in its pixels, and ``"labels"`` (M,) in
            1..C-1; M may be 0.

        Returns
        -------
        dict of str to Tensor or object
            With targets, in train and in eval mode, losses by name, whose sum is minimized;
            without, the result of :meth:`raw_outputs`.

        Raises
        ------
        TypeError, ValueError
            For invalid images or targets; names the image and the box.
        FloatingPointError
            If a loss is not finite; names it.
        """
        if targets is None:
            batch = raw_batch(images, self.transform.size_divisible)
            return self.raw_outputs(self.backbone(batch.tensor), batch)
        checked = check_pixels(images)
        truth = check_targets(targets, [image.shape[1:] for image in checked], self.num_classes)
        batch = self.transform(checked, self._dtype, training=self.training)
        resized = self.transform.resize_targets(truth, batch)
        return self._finite_losses(self.backbone(batch.tensor), batch, resized)

    def predict(self, images: Images) -> list[Detections]:
        """Detect objects.

        Runs in eval mode and without gradients; modes are restored afterwards.

        Parameters
        ----------
        images : Tensor or sequence of Tensor
            A batch (N, 3, H, W) or a list of (3, h, w) of different sizes, in [0, 1].
            Detections of an image do not depend on the others beyond rounding: images
            that are padded to different sizes pass through the network separately.

        Returns
        -------
        list of dict
            For each image ``"boxes"`` (D, 4) float32 xyxy in its pixels, ``"labels"``
            (D,) int64 and ``"scores"`` (D,) float32, best first.

        Raises
        ------
        TypeError, ValueError
            For images of another shape or data type, or with values outside [0, 1];
            names the image.
        """
        checked = check_pixels(images)
        found: dict[int, Detections] = {}
        with eval_mode(self), no_grad():
            for members in self.transform.groups(checked):
                batch = self.transform([checked[i] for i in members], self._dtype)
                detections = self._restored(self.backbone(batch.tensor), batch)
                found.update(zip(members, detections, strict=True))
        return [found[i] for i in range(len(checked))]

    def losses_and_detections(
        self, images: Images, targets: Sequence[Mapping[str, Any]]
    ) -> tuple[dict[str, Tensor], list[Detections]]:
        """Compute losses and detections from one pass of the backbone, for validation.

        Runs in eval mode and without gradients; modes are restored afterwards.

        Parameters
        ----------
        images, targets
            As for the losses.

        Returns
        -------
        losses : dict of str to Tensor
            As of ``model(images, targets)``; the mean over images where these are padded to
            different sizes, as :meth:`predict` separates them.
        detections : list of dict
            As :meth:`predict`.

        Raises
        ------
        TypeError, ValueError, FloatingPointError
            As ``model(images, targets)``.
        """
        checked = check_pixels(images)
        truth = check_targets(targets, [image.shape[1:] for image in checked], self.num_classes)
        sums: dict[str, Tensor] = {}
        found: dict[int, Detections] = {}
        with eval_mode(self), no_grad():
            for members in self.transform.groups(checked):
                batch = self.transform([checked[i] for i in members], self._dtype)
                resized = self.transform.resize_targets([truth[i] for i in members], batch)
                features = self.backbone(batch.tensor)
                share = len(members) / len(checked)
                for name, loss in self._finite_losses(features, batch, resized).items():
                    sums[name] = loss * share + sums.get(name, 0.0)
                found.update(zip(members, self._restored(features, batch), strict=True))
        return sums, [found[i] for i in range(len(checked))]

    def _finite_losses(
        self, features: Any, batch: ImageList, targets: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        losses = self.compute_losses(features, batch, targets)
        broken = [name for name, loss in losses.items() if not np.isfinite(loss.data)]
        if broken:
            values = ", ".join(f"{name} is {losses[name].item()}" for name in broken)
            raise FloatingPointError(
                f"{values}: the images or the weights are not finite, or training has diverged "
                "(a lower learning rate, warm-up or gradient clipping may help)"
            )
        return losses

    def _restored(self, features: Any, batch: ImageList) -> list[Detections]:
        """Detections with boxes in the pixels of the images as given."""
        detections = self.detect(features, batch)
        for i, found in enumerate(detections):
            found["boxes"] = self.transform.restore_boxes(found["boxes"], batch, i)
        return detections

    @property
    def _dtype(self) -> Any:
        """Floating point type of the parameters, which images are converted to."""
        return next(self.parameters()).dtype


class _Members(Protocol):
    """What commands, training and evaluation need of a model to detect objects with it."""

    num_classes: int
    backbone: nn.Module
    head_prefixes: tuple[str, ...]
    score_threshold: float

    def predict(self, images: Images, /) -> list[Detections]: ...

    def losses_and_detections(
        self, images: Images, targets: Sequence[Mapping[str, Any]], /
    ) -> tuple[dict[str, Tensor], list[Detections]]: ...


def check_detector(model: nn.Module) -> Detector:
    """Return a model that commands can train, evaluate and detect with, or raise.

    A subclass of :class:`Detector` is one; so is any other module with its attributes
    ``num_classes``, ``backbone``, ``head_prefixes`` and ``score_threshold`` and its methods
    ``predict`` and ``losses_and_detections``.

    Parameters
    ----------
    model : lucid.nn.Module
        Model to check; it is not called.

    Returns
    -------
    Detector
        The same model.

    Raises
    ------
    lucid.ProtocolError
        If it lacks one of them; names the model, its class and everything that is missing.
    """
    if missing := missing_members(model, _Members):
        name = f"the model {model.model_name} of class " if model.model_name else "a "
        raise ProtocolError(
            f"expected a detector, got {name}{type(model).__name__}, which lacks "
            f"{', '.join(missing)}; see lucid_models_detection.Detector"
        )
    return cast(Detector, model)


def backbone_net(model: Detector) -> nn.Module:
    """Return the classification network in the backbone of a detector.

    Parameters
    ----------
    model : Detector
        Detector.

    Returns
    -------
    lucid.nn.Module
        ``model.backbone.net``, or ``model.backbone`` if it has no ``net``.
    """
    net: nn.Module = getattr(model.backbone, "net", model.backbone)
    return net
