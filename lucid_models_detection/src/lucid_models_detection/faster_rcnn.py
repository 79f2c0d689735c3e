"""Faster R-CNN on a feature pyramid, the whole story in one place.

Ren et al. 2015, "Faster R-CNN: Towards Real-Time Object Detection with Region
Proposal Networks" (arXiv:1506.01497); Lin et al. 2017, "Feature Pyramid Networks
for Object Detection" (arXiv:1612.03144).

N images, M objects of an image, R regions of an image, C classes with background
as class 0, D detections of an image.  Boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lucid import Tensor, nn, no_grad, pad, stack
from lucid_models_detection.anchors import AnchorGenerator
from lucid_models_detection.config import DetectorConfig
from lucid_models_detection.eval_mode import eval_mode
from lucid_models_detection.fpn import PyramidBackbone
from lucid_models_detection.matcher import Matcher
from lucid_models_detection.pooler import MultiScaleRoIAlign
from lucid_models_detection.roi_heads import BoxHead, BoxPredictor, Detections, RoIHeads
from lucid_models_detection.rpn import RegionProposalNetwork
from lucid_models_detection.sampler import BalancedSampler
from lucid_models_detection.targets import Target, check_targets
from lucid_models_detection.transform import (
    ImageBatch,
    Transform,
    check_images,
    check_pixels,
    pad_to_multiple,
)

__all__ = ["FasterRCNN"]

Array = np.ndarray[Any, np.dtype[Any]]
Images = Tensor | Array | Sequence[Tensor | Array]

#: Anchors of an image that the first stage is trained on, and the largest share of foreground.
_RPN_BATCH_SIZE, _RPN_POSITIVE_FRACTION = 256, 0.5


class FasterRCNN(nn.Module):
    """Two-stage object detector: propose regions, then classify them and refine their boxes.

    ``model(images, targets)`` gives the losses to train on, ``model.predict(images)``
    the detections, and ``model(x)`` what the network says of each proposed region.
    :meth:`from_backbone` and the builders make one by the name of its backbone.

    Parameters
    ----------
    net : lucid.nn.Module
        Backbone with ``features()`` and ``feature_channels``.
    num_classes : int, default 21
        C: classes of objects plus one for the background.
    **options
        The arguments of :class:`~lucid_models_detection.config.DetectorConfig`.

    Attributes
    ----------
    backbone : PyramidBackbone
        ``backbone.net`` is the complete ``net``, ``backbone.fpn`` the pyramid.
    rpn : RegionProposalNetwork
        First stage.
    roi_heads : RoIHeads
        Second stage.
    transform : Transform
        Normalises, resizes and batches images.
    config : DetectorConfig
        The options, checked and complete.
    num_classes : int
        As given, with the background.

    Raises
    ------
    TypeError
        For an unknown option (lists the valid ones) or one of the wrong kind.
    ValueError
        For a value out of range, or two that contradict each other.
    """

    def __init__(self, net: nn.Module, num_classes: int = 21, **options: Any) -> None:
        super().__init__()
        check_options(options, DetectorConfig.names(), "FasterRCNN")
        if isinstance(num_classes, bool) or not hasattr(num_classes, "__index__"):
            raise TypeError(f"num_classes: expected an integer of at least 2, got {num_classes!r}")
        if num_classes < 2:
            raise ValueError(
                "num_classes: expected an integer of at least 2, since class 0 is the "
                f"background, got {num_classes}"
            )
        config = DetectorConfig(**options)
        self.num_classes = int(num_classes)
        self.config = config
        self.backbone = PyramidBackbone(net)
        levels = self.backbone.level_names
        if len(config.anchor_sizes) != len(levels):
            raise ValueError(
                f"anchor_sizes: expected sizes for {len(levels)} levels, {levels[0]} to "
                f"{levels[-1]}, got {len(config.anchor_sizes)}"
            )
        if len(config.aspect_ratios) != len(levels):
            raise ValueError(
                f"aspect_ratios: expected ratios for all levels or for each of {len(levels)}, "
                f"{levels[0]} to {levels[-1]}, got {len(config.aspect_ratios)}"
            )
        channels = self.backbone.fpn.out_channels
        self.rpn = _make_rpn(config, channels)
        self.roi_heads = _make_roi_heads(config, channels, self.num_classes)
        self.transform = Transform(
            config.image_mean,
            config.image_std,
            config.min_size,
            config.max_size,
            self.backbone.stride,
        )

    @classmethod
    def from_backbone(
        cls,
        backbone: str | nn.Module,
        num_classes: int = 21,
        backbone_num_classes: int | None = None,
        *,
        norm: str = "batch",
        norm_eps: float = 1e-5,
        backbone_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> FasterRCNN:
        """Build a detector on any backbone, of the registry or of one's own.

        Parameters
        ----------
        backbone : str or lucid.nn.Module
            The name of a model of :func:`lucid.models.list_models`, or a module.
            Either offers ``features(x)``, which gives maps of the images at half the
            resolution each of the one before, ``feature_channels``, their channels, and
            ``feature_strides``, where those are not 4, 8, 16, ...
        num_classes : int, default 21
            Classes of the detector, background included.
        backbone_num_classes : int, optional
            Classes of the backbone's own classifier; by default as many as the model has
            by default.
        norm : {"batch", "frozen"}, default "batch"
            Normalisation of the backbone.
        norm_eps : float, default 1e-5
            Added to the variance there.
        backbone_options : mapping, optional
            Further keyword arguments of the backbone's builder.
        **options
            The arguments of :class:`~lucid_models_detection.config.DetectorConfig`.

        Raises
        ------
        TypeError, ValueError
            As the constructor; also if the model is no backbone, or if arguments of its
            builder are given with a module, which is built already.
        lucid.errors.UnknownModelError
            If no model has this name.

        Examples
        --------
        >>> from lucid_models_detection import FasterRCNN
        >>> detector = FasterRCNN.from_backbone("resnext_50_32x4d", num_classes=3)
        >>> detector.backbone.net.model_name
        'resnext_50_32x4d'
        """
        from lucid.models import create_model

        # What is the default everywhere is not passed on: not every backbone takes it.
        chosen: dict[str, Any] = dict(backbone_options or {})
        if backbone_num_classes is not None:
            chosen["num_classes"] = backbone_num_classes
        if norm != "batch":
            chosen["norm"] = norm
        if norm_eps != 1e-5:
            chosen["norm_eps"] = norm_eps
        # Before the backbone is built, which takes a moment.
        name = backbone if isinstance(backbone, str) else type(backbone).__name__
        valid = ("norm", "norm_eps", "backbone_options", *DetectorConfig.names())
        check_options(options, valid, f"a detector on {name}")
        DetectorConfig(**options)
        if isinstance(backbone, str):
            return cls(create_model(backbone, **chosen), num_classes, **options)
        if chosen:
            raise TypeError(
                f"{', '.join(chosen)}: how a backbone is built by its name, but {name} is built "
                "already; leave it out, or give a name of lucid.models.list_models()"
            )
        return cls(backbone, num_classes, **options)

    def forward(
        self, images: Images, targets: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[Tensor, Tensor] | dict[str, Tensor]:
        """Losses where there are targets, else what the network says of each region.

        Parameters
        ----------
        images : Tensor or sequence of Tensor
            With ``targets`` a batch (N, 3, H, W) or a list of (3, h, w) in [0, 1],
            which are normalized and, if so configured, resized.  Without, a batch
            (N, 3, H, W) of any numbers, which the network takes as it is.
        targets : sequence of mapping, optional
            For each image ``"boxes"`` (M, 4), xyxy in its pixels, and ``"labels"``
            (M,) in 1..C-1; M may be 0.

        Returns
        -------
        dict of str to Tensor
            With targets, in train and in eval mode: ``loss_objectness``,
            ``loss_rpn_box_reg``, ``loss_classifier``, ``loss_box_reg``; their sum
            is what to minimise.
        (Tensor, Tensor)
            Without: ``cls_logits`` (N, R, C) of the R regions that :meth:`propose`
            gives, and ``bbox_deltas`` (N, R, 4), the offsets of each region's
            best-scoring foreground class.  R is ``rpn_post_nms_top_n`` of
            prediction, or the number of anchors where that is less.

        Raises
        ------
        TypeError, ValueError
            For images or targets that cannot be right; says which and why.
        FloatingPointError
            If a loss is not finite; names it.
        """
        if targets is None:
            return self._score_regions(self._as_it_is(images))
        return self._losses(check_pixels(images), targets)

    def _losses(self, images: list[Any], targets: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        checked = check_targets(targets, [image.shape[1:] for image in images], self.num_classes)
        batch = self.transform(images, self._dtype, training=self.training)
        resized = self.transform.resize_targets(checked, batch)
        return self._losses_of(self.backbone(batch.tensor), batch, resized)

    def _losses_of(
        self, levels: list[Tensor], batch: ImageBatch, targets: list[Target]
    ) -> dict[str, Tensor]:
        proposals, rpn_losses = self.rpn(levels, batch, targets)
        losses: dict[str, Tensor] = dict(rpn_losses)
        losses.update(self.roi_heads.losses(levels[:-1], batch, proposals, targets))
        broken = [name for name, loss in losses.items() if not np.isfinite(loss.data)]
        if broken:
            values = ", ".join(f"{name} is {losses[name].item()}" for name in broken)
            raise FloatingPointError(
                f"{values}: the images or the weights are not finite, or training has diverged "
                "(a lower learning rate, warm-up or gradient clipping may help)"
            )
        return losses

    @property
    def score_threshold(self) -> float:
        """Lowest score of detections, ``box_score_threshold`` of the configuration at first."""
        return self.roi_heads.score_threshold

    @score_threshold.setter
    def score_threshold(self, value: float) -> None:
        self.roi_heads.score_threshold = value

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
                detections = self._detections_of(self.backbone(batch.tensor), batch)
                found.update(zip(members, detections, strict=True))
        return [found[i] for i in range(len(checked))]

    def losses_and_detections(
        self, images: Images, targets: Sequence[Mapping[str, Any]]
    ) -> tuple[dict[str, Tensor], list[Detections]]:
        """Compute what a validation needs from one pass of the backbone.

        Runs in eval mode and without gradients; modes are restored afterwards.

        Parameters
        ----------
        images, targets
            As :meth:`forward` takes them for the losses.

        Returns
        -------
        losses : dict of str to Tensor
            As :meth:`forward`, on a random sample of regions; the mean over images where
            these are padded to different sizes, as :meth:`predict` separates them.
        detections : list of dict
            As :meth:`predict`.

        Raises
        ------
        TypeError, ValueError, FloatingPointError
            As :meth:`forward`.
        """
        checked = check_pixels(images)
        truth = check_targets(targets, [image.shape[1:] for image in checked], self.num_classes)
        sums: dict[str, Tensor] = {}
        found: dict[int, Detections] = {}
        with eval_mode(self), no_grad():
            for members in self.transform.groups(checked):
                batch = self.transform([checked[i] for i in members], self._dtype)
                resized = self.transform.resize_targets([truth[i] for i in members], batch)
                levels = self.backbone(batch.tensor)
                share = len(members) / len(checked)
                for name, loss in self._losses_of(levels, batch, resized).items():
                    sums[name] = loss * share + sums.get(name, 0.0)
                found.update(zip(members, self._detections_of(levels, batch), strict=True))
        return sums, [found[i] for i in range(len(checked))]

    def _detections_of(self, levels: list[Tensor], batch: ImageBatch) -> list[Detections]:
        proposals, _ = self.rpn(levels, batch)
        detections = self.roi_heads.detect(levels[:-1], batch, proposals)
        for i, found in enumerate(detections):
            found["boxes"] = self.transform.restore_boxes(found["boxes"], batch, i)
        return detections

    def propose(self, x: Tensor) -> Tensor:
        """The regions that ``model(x)`` speaks of.

        Parameters
        ----------
        x : Tensor
            (N, 3, H, W), going into the network as it is.

        Returns
        -------
        Tensor
            (N, R, 4) xyxy in pixels of ``x``; proposals by descending score, then,
            where suppression leaves fewer than R, the best of the suppressed.
        """
        with no_grad():
            batch = self._as_it_is(x)
            proposals, _ = self.rpn(self.backbone(batch.tensor), batch, fill=True)
        return Tensor(np.stack(proposals))

    def _score_regions(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        levels = self.backbone(batch.tensor)
        proposals, _ = self.rpn(levels, batch, fill=True)
        cls_logits, deltas = self.roi_heads(levels[:-1], batch, proposals)
        best = 1 + cls_logits.data[:, 1:].argmax(axis=1)
        deltas = deltas[np.arange(len(best)), best]
        n = len(proposals)
        return cls_logits.reshape(n, -1, self.num_classes), deltas.reshape(n, -1, 4)

    def _as_it_is(self, x: Any) -> ImageBatch:
        """A batch of ``x`` with nothing done to it but padding to the stride."""
        if isinstance(x, list | tuple):
            raise TypeError(
                "model(x) takes a batch of shape (N, 3, H, W); for a list of images use "
                "model.predict(images), or model(images, targets) for the losses"
            )
        images = check_images(x)
        if not isinstance(x, Tensor):
            x = stack([Tensor(image) for image in images])
        size = (int(x.shape[2]), int(x.shape[3]))
        height, width = pad_to_multiple(size, self.backbone.stride)
        if (height, width) != size:
            x = pad(x, ((0, 0), (0, 0), (0, height - size[0]), (0, width - size[1])))
        return ImageBatch(x, [size] * len(images), [size] * len(images))

    @property
    def _dtype(self) -> Any:
        return self.roi_heads.box_predictor.cls_score.weight.dtype


def check_options(options: Mapping[str, Any], valid: Sequence[str], what: str) -> None:
    """Refuse options that there are not, and say which there are."""
    unknown = sorted(set(options) - set(valid))
    if unknown:
        raise TypeError(
            f"{what} got unexpected keyword argument(s) {', '.join(map(repr, unknown))}; "
            f"valid ones are {', '.join(valid)}"
        )


def _make_rpn(config: DetectorConfig, channels: int) -> RegionProposalNetwork:
    return RegionProposalNetwork(
        channels,
        AnchorGenerator(config.anchor_sizes, config.aspect_ratios),
        Matcher(config.rpn_positive_iou, config.rpn_negative_iou, allow_low_quality=True),
        BalancedSampler(_RPN_BATCH_SIZE, _RPN_POSITIVE_FRACTION),
        config.rpn_pre_nms_top_n,
        config.rpn_post_nms_top_n,
        config.rpn_nms_threshold,
    )


def _make_roi_heads(config: DetectorConfig, channels: int, num_classes: int) -> RoIHeads:
    return RoIHeads(
        MultiScaleRoIAlign(config.pool_size, sampling_ratio=2),
        BoxHead(channels, config.pool_size, config.hidden_dim),
        BoxPredictor(config.hidden_dim, num_classes),
        Matcher(config.box_positive_iou, config.box_positive_iou),
        BalancedSampler(config.box_batch_size_per_image, config.box_positive_fraction),
        config.box_score_threshold,
        config.box_nms_threshold,
        config.box_detections_per_image,
    )
