"""MobileNetV2 and MobileNetV3 for image classification, and as backbones.

Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
arXiv:1801.04381; Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244.

Shapes: N images, C channels, H x W pixels; stride s gives ``ceil(H / s)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise
from operator import mul
from typing import Any, Literal

from lucid import Tensor, nn
from lucid_models_classification.checks import check_count, check_images, check_norm
from lucid_models_classification.mobilenet.block import BlockConfig, InvertedResidual

__all__ = ["MobileNet", "MobileNetV2", "MobileNetV3", "stage_bounds"]


class MobileNet(nn.Module):
    """Base class: stem, inverted residual blocks, 1x1 convolution, pooling and classifier.

    Input (N, in_channels, H, W), normalized as in training; output (N, num_classes) logits.
    Any H and W from 1 pixel up will do, since the pooling is global.

    Parameters
    ----------
    stem_channels : int
        Channels of the first convolution, 3x3 with stride 2.
    blocks : sequence of BlockConfig
        The inverted residual blocks.
    last_channels : int
        Channels of the last convolution, 1x1.
    classifier : lucid.nn.Module
        Maps (N, last_channels) to logits (N, num_classes).
    num_classes : int
        Number of logits.
    activation : str
        Activation of the first and of the last convolution.
    norm_eps : float
        Added to the variance in every normalization.
    norm_momentum : float or None
        Momentum of every batch normalization.
    in_channels : int, default 3
        Channels of the image.
    norm : {"batch", "frozen"}, default "batch"
        Batch normalization, or the same with statistics and affine parameters fixed as
        buffers, for fine-tuning with few images in a batch.
    out_indices : sequence of int, optional
        Layers whose outputs :meth:`features` returns, ascending: 0 is the stem, then come the
        blocks and the last convolution, numbered as in torchvision's ``features``.  Default:
        the last layer of each stage from stride 4 on.

    Attributes
    ----------
    layers : lucid.nn.Sequential
        The stages, each a ``Sequential``: the stem with the blocks at stride 2, the blocks at
        each further stride, the last convolution.
    classifier : lucid.nn.Module
        As given.
    head_prefixes : tuple of str
        Prefixes in the state dict of the parameters whose shape depends on ``num_classes``.
    feature_channels : tuple of int
        Channels of each map of :meth:`features`.
    feature_strides : tuple of int
        Stride of each of them, in pixels of the image.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kinds above.
    """

    head_prefixes: tuple[str, ...]

    def __init__(
        self,
        stem_channels: int,
        blocks: Sequence[BlockConfig],
        last_channels: int,
        classifier: nn.Module,
        num_classes: int,
        *,
        activation: str,
        norm_eps: float,
        norm_momentum: float | None,
        in_channels: int = 3,
        norm: Literal["batch", "frozen"] = "batch",
        out_indices: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        for name, count in (("num_classes", num_classes), ("in_channels", in_channels)):
            check_count(name, count)
        check_norm(norm, norm_eps)
        _check_momentum(norm_momentum)
        conv = partial(
            nn.ConvNormAct, norm=norm, norm_eps=float(norm_eps), norm_momentum=norm_momentum
        )
        self.num_classes = int(num_classes)
        self.in_channels = int(in_channels)
        channels = [stem_channels, *(block.out_channels for block in blocks), last_channels]
        layers = [
            conv(self.in_channels, stem_channels, 3, stride=2, activation=activation),
            *(InvertedResidual(*each, conv) for each in zip(channels, blocks, strict=False)),
            conv(channels[-2], last_channels, 1, activation=activation),
        ]
        self._bounds = stage_bounds(blocks)
        stages = (nn.Sequential(*layers[start:stop]) for start, stop in pairwise(self._bounds))
        self.layers = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = classifier

        strides = [*accumulate((block.effective_stride for block in blocks), mul, initial=2)]
        strides.append(strides[-1])
        if out_indices is None:  # the last convolution stands for the stage before it
            ends = (*(start - 1 for start in self._bounds[1:-2]), len(layers) - 1)
            out_indices = [end for end in ends if strides[end] >= 4]
        self.out_indices = _checked_indices(out_indices, len(layers))
        self.feature_channels = tuple(channels[i] for i in self.out_indices)
        self.feature_strides = tuple(strides[i] for i in self.out_indices)
        self._initialize()

    def _initialize(self) -> None:
        """Draw the weights as torchvision does; normalizations begin as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
            else:
                continue
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute feature maps of a batch of images.

        The default maps are the outputs of the last layer of each stage from stride 4 on: of
        the last block before each change of the stride, and of the last convolution.

        Parameters
        ----------
        x : Tensor
            (N, in_channels, H, W).

        Returns
        -------
        tuple of Tensor
            Maps (N, feature_channels[i], ceil(H / s), ceil(W / s)) with
            s = feature_strides[i], finest first.

        Raises
        ------
        ValueError
            If ``x`` has another number of axes or channels, or no pixels.
        """
        check_images(x, self.in_channels)
        maps: list[Tensor] = []
        for stage, (start, stop) in zip(self.layers, pairwise(self._bounds), strict=True):
            inner = [i for i in self.out_indices if start <= i < stop - 1]
            if not inner:
                x = stage(x)
            else:
                for i, layer in enumerate(stage, start):
                    x = layer(x)
                    if i in inner:
                        maps.append(x)
                    if len(maps) == len(self.out_indices):
                        return tuple(maps)
            if stop - 1 in self.out_indices:
                maps.append(x)
            if len(maps) == len(self.out_indices):
                break
        return tuple(maps)

    def stages(self) -> tuple[nn.Module, ...]:
        """List the stages in the order in which fine-tuning freezes them.

        They are those that torchvision's ``trainable_backbone_layers`` counts.
        """
        return tuple(self.layers)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (N, num_classes) of images (N, in_channels, H, W)."""
        check_images(x, self.in_channels)
        logits: Tensor = self.classifier(self.avgpool(self.layers(x)).flatten(1))
        return logits


class MobileNetV2(MobileNet):
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, table 2).

    Parameters
    ----------
    stem_channels, blocks, last_channels : int, sequence of BlockConfig, int
        See :class:`MobileNet`.
    num_classes : int, default 1000
        Number of logits.
    dropout : float, default 0.2
        Probability of dropout before the linear layer.
    norm_eps : float, default 1e-5
        Added to the variance in every normalization.
    norm_momentum : float or None, default 0.1
        Momentum of every batch normalization.
    **options
        ``in_channels``, ``norm`` and ``out_indices`` of :class:`MobileNet`.
    """

    head_prefixes = ("classifier.1.",)

    def __init__(
        self,
        stem_channels: int,
        blocks: Sequence[BlockConfig],
        last_channels: int,
        num_classes: int = 1000,
        *,
        dropout: float = 0.2,
        norm_eps: float = 1e-5,
        norm_momentum: float | None = 0.1,
        **options: Any,
    ) -> None:
        check_count("num_classes", num_classes)
        super().__init__(
            stem_channels,
            blocks,
            last_channels,
            nn.Sequential(nn.Dropout(dropout), nn.Linear(last_channels, num_classes)),
            num_classes,
            activation="relu6",
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
            **options,
        )


class MobileNetV3(MobileNet):
    """MobileNetV3 (Howard et al. 2019, arXiv:1905.02244, tables 1 and 2).

    Parameters
    ----------
    stem_channels, blocks, last_channels : int, sequence of BlockConfig, int
        See :class:`MobileNet`.
    hidden_features : int
        Features between the two linear layers of the classifier.
    num_classes : int, default 1000
        Number of logits.
    dropout : float, default 0.2
        Probability of dropout before the last linear layer.
    norm_eps : float, default 1e-3
        Added to the variance in every normalization.
    norm_momentum : float or None, default 0.01
        Momentum of every batch normalization.
    **options
        ``in_channels``, ``norm`` and ``out_indices`` of :class:`MobileNet`.
    """

    head_prefixes = ("classifier.3.",)

    def __init__(
        self,
        stem_channels: int,
        blocks: Sequence[BlockConfig],
        last_channels: int,
        hidden_features: int,
        num_classes: int = 1000,
        *,
        dropout: float = 0.2,
        norm_eps: float = 1e-3,
        norm_momentum: float | None = 0.01,
        **options: Any,
    ) -> None:
        check_count("num_classes", num_classes)
        super().__init__(
            stem_channels,
            blocks,
            last_channels,
            nn.Sequential(
                nn.Linear(last_channels, hidden_features),
                nn.Hardswish(),
                nn.Dropout(dropout),
                nn.Linear(hidden_features, num_classes),
            ),
            num_classes,
            activation="hardswish",
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
            **options,
        )


def stage_bounds(blocks: Sequence[BlockConfig]) -> tuple[int, ...]:
    """Return the first layer of each stage, and the number of layers.

    Stages begin with the stem (layer 0), with each block of stride 2, and with the last
    convolution.

    Parameters
    ----------
    blocks : sequence of BlockConfig
        The blocks of the network.
    """
    strided = (i for i, block in enumerate(blocks, 1) if block.stride > 1)
    return (0, *strided, len(blocks) + 1, len(blocks) + 2)


def _check_momentum(momentum: Any) -> None:
    if momentum is None:
        return
    if (
        isinstance(momentum, bool)
        or not isinstance(momentum, int | float)
        or not 0 <= momentum <= 1
    ):
        raise ValueError(f"norm_momentum: expected a number from 0 to 1, or None, got {momentum!r}")


def _checked_indices(indices: Any, count: int) -> tuple[int, ...]:
    """The same as a tuple, if they are ascending indices of layers."""
    is_valid = (
        isinstance(indices, Sequence)
        and len(indices) > 0
        and all(type(i) is int and 0 <= i < count for i in indices)
        and all(a < b for a, b in pairwise(indices))
    )
    if not is_valid:
        raise ValueError(
            f"out_indices: expected ascending indices of layers, from 0 to {count - 1}, "
            f"got {indices!r}"
        )
    return tuple(indices)
