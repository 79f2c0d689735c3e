"""Base class of object detectors.

N images, M objects of an image, C classes with background as class 0, D detections of an image.
Boxes are xyxy in pixels.
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

    Commands, training and evaluation work with any subclass.  A subclass builds its networks, calls
    ``super().__init__``, and implements :meth:`compute_losses` and :meth:`detect` on normalized,
    resized and padded batches, and :meth:`raw_outputs` if ``model(x)`` is to run the network alone.
    The base class checks images and targets, batches images of different sizes, manages eval mode,
    and converts boxes to the pixels of the given images.

    Parameters
    ----------
    backbone : lucid.nn.Module
        Maps a batch (N, 3, H, W) to features.  Its attribute ``net``, or the backbone itself
        without one, is the classification network that ``--backbone-weights`` loads and
        ``--frozen-stages`` freezes.
    transform : GeneralizedRCNNTransform
        Normalizes, resizes and pads images.

    Attributes
    ----------
    num_classes : int
        C, background included.
    head_prefixes : tuple of str
        State-dict prefixes of the parameters whose first axis is classes, or a multiple of them.
    class_axis : {0, 1}
        Order of that axis if several rows belong to a class: 0 for (classes, outputs), 1 for
        (anchors, classes).
    score_threshold : float
        Scores of detections must be greater.
    config_class : type of DetectorConfig or None
        Options that the constructor takes by keyword after ``(net, num_classes)``;
        :meth:`from_backbone` validates them before it builds the backbone.
    generic_builder : str or None
        Name of the registered model whose builder passes ``backbone``, a name, and its other
        arguments to :meth:`from_backbone`.  Not inherited.
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
        """Return the keyword arguments of the constructor: options, then parts."""
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

        For subclasses whose constructor takes ``(net, num_classes, **options)``.
        :func:`lucid.save_model` can save the detector if the class has a ``generic_builder`` and
        the backbone comes from a registered builder.

        Parameters
        ----------
        backbone : str or lucid.nn.Module
            A :class:`lucid.models.Backbone`, or the name of a registered one.  For a module,
            ``features()`` and ``feature_channels`` suffice if its strides are 4, 8, 16, ...
        num_classes : int, optional
            Number of classes, background included.  Default: that of the constructor.
        backbone_num_classes : int, optional
            Number of classes of the backbone's classifier.  Default: that of its builder.
        norm : {"batch", "frozen"}, default "batch"
            Normalization in the backbone.
        norm_eps : float, optional
            Added to the variance in it.  Default: that of the backbone's builder.
        backbone_options : mapping, optional
            Further keyword arguments of the backbone's builder.
        **options
            Keyword arguments of the constructor: options and parts.

        Raises
        ------
        TypeError, ValueError
            As the constructor; also if the model is not a backbone, or arguments of its builder are
            passed with a module.
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
        if cls.config_class is not None:  # validate before the slow build of the backbone
            valid = ("norm", "norm_eps", "backbone_options", *cls.valid_options())
            check_options(options, valid, f"a detector on {name}")
            checked = cls.config_class.names()
            cls.config_class(**{key: options[key] for key in checked if key in options})
        net = make_backbone(backbone, backbone_num_classes, norm, norm_eps, backbone_options)
        if num_classes is not None:
            options["num_classes"] = num_classes
        build: Any = cls  # with the arguments of the subclass
        detector: Self = build(net, **options)
        # Not inherited: the builder would not build a subclass.
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
            Output of the backbone.
        batch : ImageList
            The images.
        targets : sequence of GroundTruth
            Objects of each image, in pixels of the batch.

        Returns
        -------
        dict of str to Tensor
            Scalar losses; their sum is minimized.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement compute_losses")

    def detect(self, features: Any, batch: ImageList) -> list[Detections]:
        """Detect objects in a batch.

        Parameters
        ----------
        features : object
            Output of the backbone.
        batch : ImageList
            The images.

        Returns
        -------
        list of Detections
            For each image, with boxes in pixels of the batch.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement detect")

    def raw_outputs(self, features: Any, batch: ImageList) -> Any:
        """Compute the raw outputs of the network, the result of ``model(x)``.

        Parameters
        ----------
        features : object
            Output of the backbone.
        batch : ImageList
            The images, neither normalized nor resized.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement raw_outputs")

    def forward(self, images: Images, targets: Sequence[Mapping[str, Any]] | None = None) -> Any:
        """Compute losses, or without targets the raw outputs of the network.

        Parameters
        ----------
        images : Tensor or sequence of Tensor
            With ``targets``, a batch (N, 3, H, W) or a list of (3, h, w), in [0, 1].  Without, a
            batch (N, 3, H, W), which is **not normalized**.
        targets : sequence of mapping, optional
            For each image ``"boxes"`` (M, 4), xyxy in its pixels, and ``"labels"`` (M,) in 1..C-1;
            M may be 0.

        Returns
        -------
        dict of str to Tensor or object
            With targets, losses by name, in training and in eval mode; without, the result of
            :meth:`raw_outputs`.

        Raises
        ------
        TypeError, ValueError
            If images or targets are invalid; names the image and the box.
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

        Runs in eval mode without gradients, and restores the mode.

        Parameters
        ----------
        images : Tensor or sequence of Tensor
            A batch (N, 3, H, W) or a list of (3, h, w), in [0, 1].  Images that are padded to
            different sizes run separately, so that detections do not depend on the other images.

        Returns
        -------
        list of dict
            For each image ``"boxes"`` (D, 4) float32 xyxy in its pixels, ``"labels"`` (D,) int64
            and ``"scores"`` (D,) float32, by descending score.

        Raises
        ------
        TypeError, ValueError
            If images have another shape or dtype, or values outside [0, 1]; names the image.
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
        """Compute losses and detections in one pass of the backbone, for validation.

        Runs in eval mode without gradients, and restores the mode.

        Parameters
        ----------
        images, targets
            As for :meth:`forward`.

        Returns
        -------
        losses : dict of str to Tensor
            As of ``model(images, targets)``, averaged over images of different padded sizes.
        detections : list of dict
            As of :meth:`predict`.

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
                f"{values}: expected finite losses; images or weights are not finite, or training "
                "has diverged: use a lower learning rate, warm-up or gradient clipping"
            )
        return losses

    def _restored(self, features: Any, batch: ImageList) -> list[Detections]:
        """Detect objects, with boxes in pixels of the given images."""
        detections = self.detect(features, batch)
        for i, found in enumerate(detections):
            found["boxes"] = self.transform.restore_boxes(found["boxes"], batch, i)
        return detections

    @property
    def _dtype(self) -> Any:
        """Dtype of the parameters, to which images are converted."""
        return next(self.parameters()).dtype


class _Members(Protocol):
    """Members that commands, training and evaluation use."""

    num_classes: int
    backbone: nn.Module
    head_prefixes: tuple[str, ...]
    score_threshold: float

    def predict(self, images: Images, /) -> list[Detections]: ...

    def losses_and_detections(
        self, images: Images, targets: Sequence[Mapping[str, Any]], /
    ) -> tuple[dict[str, Tensor], list[Detections]]: ...


def check_detector(model: nn.Module) -> Detector:
    """Return the model if it has the members of :class:`Detector` that commands use.

    These are ``num_classes``, ``backbone``, ``head_prefixes``, ``score_threshold``, ``predict`` and
    ``losses_and_detections``.  Raises :class:`lucid.ProtocolError` that names all missing ones.
    """
    if missing := missing_members(model, _Members):
        name = f"the model {model.model_name} of class " if model.model_name else "a "
        raise ProtocolError(
            f"expected a detector, got {name}{type(model).__name__}, which lacks "
            f"{', '.join(missing)}; see lucid_models_detection.Detector"
        )
    return cast(Detector, model)


def backbone_net(model: Detector) -> nn.Module:
    """Return ``model.backbone.net``, or ``model.backbone`` if it has no ``net``."""
    net: nn.Module = getattr(model.backbone, "net", model.backbone)
    return net
