"""ResNet, Wide ResNet and ResNeXt.

He et al. 2015, "Deep Residual Learning for Image Recognition", arXiv:1512.03385; Zagoruyko and
Komodakis 2016, "Wide Residual Networks", arXiv:1605.07146; Xie et al. 2016, "Aggregated
Residual Transformations for Deep Neural Networks", arXiv:1611.05431.

Shapes: N images, C channels, H x W pixels; stride s gives ``ceil(H / s)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from lucid import Tensor, nn
from lucid.models import register_model
from lucid_models_classification.builder_docs import Builder, documented
from lucid_models_classification.checks import check_count, check_images, check_norm

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "BasicBlock",
    "Bottleneck",
    "ResNet",
    "resnet_18",
    "resnet_34",
    "resnet_50",
    "resnet_101",
    "resnet_152",
    "resnext_50_32x4d",
    "resnext_101_32x8d",
    "resnext_101_64x4d",
    "wide_resnet_50_2",
    "wide_resnet_101_2",
]

_STAGE_PLANES = (64, 128, 256, 512)

#: ``nn.ConvNormAct`` with the network's normalization.
ConvLayer = Callable[..., nn.ConvNormAct]


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions (arXiv:1512.03385, figure 5, left).

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    planes : int
        Channels of both convolutions and of the output.
    stride : int, default 1
        Stride of the first convolution and of the shortcut.
    dilation : tuple of int, default (1, 1)
        Dilation of the first and of the second convolution.
    groups, width_per_group : int, default 1 and 64
        Only the defaults are valid; for the same signature as :class:`Bottleneck`.
    conv : callable, default lucid.nn.ConvNormAct
        Builds the convolutions.

    Raises
    ------
    ValueError
        If ``groups`` or ``width_per_group`` is not the default.
    """

    replayable = "part"

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        width_per_group: int = 64,
        conv: ConvLayer = nn.ConvNormAct,
    ) -> None:
        super().__init__()
        if groups != 1 or width_per_group != 64:
            raise ValueError(
                "BasicBlock: expected groups=1 and width_per_group=64, got "
                f"groups={groups} and width_per_group={width_per_group}; use Bottleneck"
            )
        self.conv1 = conv(in_channels, planes, 3, stride=stride, dilation=dilation[0])
        self.conv2 = conv(planes, planes, 3, dilation=dilation[1])
        self.downsample = _downsample(in_channels, planes, stride, conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, planes, H', W')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.conv2(self.conv1(x), residual=shortcut)
        return y


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions (arXiv:1512.03385, figure 5, right).

    The stride is on the 3x3 convolution, as in torchvision ("ResNet v1.5"), not on the first
    1x1 convolution as in the paper.

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    planes : int
        The output has ``4 * planes`` channels, the 3x3 convolution
        ``groups * (planes * width_per_group // 64)``.
    stride : int, default 1
        Stride of the 3x3 convolution and of the shortcut.
    dilation : tuple of int, default (1, 1)
        The first is the dilation of the 3x3 convolution; the second is not used.
    groups : int, default 1
        Groups of the 3x3 convolution (ResNeXt's cardinality).
    width_per_group : int, default 64
        Channels of each group for 64 planes; 128 in Wide ResNet-50-2.
    conv : callable, default lucid.nn.ConvNormAct
        Builds the convolutions.
    """

    replayable = "part"

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        width_per_group: int = 64,
        conv: ConvLayer = nn.ConvNormAct,
    ) -> None:
        super().__init__()
        width = groups * (planes * width_per_group // 64)
        out_channels = planes * self.expansion
        self.conv1 = conv(in_channels, width, 1)
        self.conv2 = conv(width, width, 3, stride=stride, dilation=dilation[0], groups=groups)
        self.conv3 = conv(width, out_channels, 1)
        self.downsample = _downsample(in_channels, out_channels, stride, conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, 4 * planes, H', W')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.conv3(self.conv2(self.conv1(x)), residual=shortcut)
        return y


def _downsample(
    in_channels: int, out_channels: int, stride: int, conv: ConvLayer
) -> nn.ConvNormAct | None:
    """1x1 convolution of the shortcut, where input and output differ in shape."""
    if stride == 1 and in_channels == out_channels:
        return None
    return conv(in_channels, out_channels, 1, stride=stride, activation=None)


class ResNet(nn.Module):
    """Residual network: stem, four stages of residual blocks, global average pooling, classifier.

    Maps images (N, in_channels, H, W) of at least one pixel to logits (N, num_classes).

    Parameters
    ----------
    block : type
        :class:`BasicBlock` or :class:`Bottleneck`.
    depths : sequence of int
        Number of blocks in each of the four stages.
    num_classes : int, default 1000
        Number of logits.
    in_channels : int, default 3
        Channels of the image.
    groups : int, default 1
        Groups of the 3x3 convolutions (ResNeXt's cardinality).
    width_per_group : int, default 64
        Width of each group in the first stage.
    norm : {"batch", "frozen"}, default "batch"
        Batch normalization, or frozen batch normalization, whose statistics and affine
        parameters are buffers, for fine-tuning with small batches.
    norm_eps : float, default 1e-5
        Added to the variance in every normalization.
    zero_init_residual : bool, default False
        Initialize the last normalization weight of each block to zero, so that the block starts
        as the identity (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
    dilate : sequence of three bool, default (False, False, False)
        Replace the stride of ``layer2``, ``layer3`` and ``layer4`` by dilation.

    Attributes
    ----------
    stem : lucid.nn.ConvNormAct
        7x7 convolution with stride 2.
    layer1, layer2, layer3, layer4 : lucid.nn.Sequential
        The stages.
    head_prefixes : tuple of str
        State-dict prefixes of the parameters whose shape depends on ``num_classes``.
    feature_channels : tuple of int
        Channels of each map of :meth:`features`.
    feature_strides : tuple of int
        Stride of each map, in pixels of the image.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.
    """

    replayable = True

    head_prefixes = ("fc.",)

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        num_classes: int = 1000,
        *,
        in_channels: int = 3,
        groups: int = 1,
        width_per_group: int = 64,
        norm: Literal["batch", "frozen"] = "batch",
        norm_eps: float = 1e-5,
        zero_init_residual: bool = False,
        dilate: Sequence[bool] = (False, False, False),
    ) -> None:
        super().__init__()
        if len(depths) != len(_STAGE_PLANES):
            raise ValueError(f"depths: expected four numbers of blocks, got {tuple(depths)!r}")
        for name, count in (("num_classes", num_classes), ("in_channels", in_channels)):
            check_count(name, count)
        _check_options(norm, norm_eps, zero_init_residual, dilate)

        conv: ConvLayer = partial(nn.ConvNormAct, norm=norm, norm_eps=float(norm_eps))
        self.num_classes = int(num_classes)
        self.in_channels = int(in_channels)
        self.feature_channels = tuple(planes * block.expansion for planes in _STAGE_PLANES)

        self.stem = conv(self.in_channels, 64, 7, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        make = partial(block, groups=groups, width_per_group=width_per_group, conv=conv)
        stages, strides = [], [4]
        channels, dilation = 64, 1
        for planes, depth, dilated in zip(_STAGE_PLANES, depths, (None, *dilate), strict=True):
            stride = 1 if dilated is None or dilated else 2
            if dilated is not None:
                strides.append(strides[-1] * stride)
            # The convolution that lost its stride keeps the dilation of the stage before.
            before, dilation = dilation, dilation * (2 if dilated else 1)
            blocks = [make(channels, planes, stride, (before, dilation))]
            channels = planes * block.expansion
            blocks += [make(channels, planes, 1, (dilation, dilation)) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
        self.feature_strides = tuple(strides)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, self.num_classes)
        self._initialize(zero_init_residual)

    def _initialize(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                last = module.conv2 if isinstance(module, BasicBlock) else module.conv3
                nn.init.zeros_(dict(last.named_parameters())["norm.weight"])

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the feature maps of the four stages.

        Parameters
        ----------
        x : Tensor
            Images (N, in_channels, H, W).

        Returns
        -------
        tuple of Tensor
            Four maps (N, feature_channels[i], ceil(H / s), ceil(W / s)) with
            s = feature_strides[i], finest first.

        Raises
        ------
        ValueError
            If ``x`` has another number of axes or channels, or no pixels.
        """
        check_images(x, self.in_channels)
        x = self.maxpool(self.stem(x))
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        return first, second, third, self.layer4(third)

    def stages(self) -> tuple[nn.Module, ...]:
        """List the stem and the four stages, in the order in which fine-tuning freezes them."""
        return self.stem, self.layer1, self.layer2, self.layer3, self.layer4

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (N, num_classes) of images (N, in_channels, H, W)."""
        last = self.features(x)[-1]
        logits: Tensor = self.fc(self.avgpool(last).flatten(1))
        return logits


def _check_options(norm: object, norm_eps: Any, zero_init_residual: object, dilate: Any) -> None:
    check_norm(norm, norm_eps)
    if not isinstance(zero_init_residual, bool):
        raise TypeError(f"zero_init_residual: expected True or False, got {zero_init_residual!r}")
    if zero_init_residual and norm == "frozen":
        raise ValueError(
            'zero_init_residual: expected False with norm="frozen", got True; every residual '
            "branch would stay zero"
        )
    if (
        not isinstance(dilate, Sequence)
        or len(dilate) != 3
        or not all(isinstance(flag, bool) for flag in dilate)
    ):
        raise ValueError(
            f"dilate: expected three booleans (for layer2, layer3 and layer4), got {dilate!r}"
        )


@dataclass(frozen=True)
class Architecture:
    """Arguments of :class:`ResNet` that a registered name fixes."""

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]
    groups: int = 1
    width_per_group: int = 64


#: Architectures by registered name.
ARCHITECTURES = {
    "resnet_18": Architecture(BasicBlock, (2, 2, 2, 2)),
    "resnet_34": Architecture(BasicBlock, (3, 4, 6, 3)),
    "resnet_50": Architecture(Bottleneck, (3, 4, 6, 3)),
    "resnet_101": Architecture(Bottleneck, (3, 4, 23, 3)),
    "resnet_152": Architecture(Bottleneck, (3, 8, 36, 3)),
    "wide_resnet_50_2": Architecture(Bottleneck, (3, 4, 6, 3), width_per_group=128),
    "wide_resnet_101_2": Architecture(Bottleneck, (3, 4, 23, 3), width_per_group=128),
    "resnext_50_32x4d": Architecture(Bottleneck, (3, 4, 6, 3), groups=32, width_per_group=4),
    "resnext_101_32x8d": Architecture(Bottleneck, (3, 4, 23, 3), groups=32, width_per_group=8),
    "resnext_101_64x4d": Architecture(Bottleneck, (3, 4, 23, 3), groups=64, width_per_group=4),
}

_OPTIONS = ("in_channels", "norm", "norm_eps", "zero_init_residual", "dilate")

_PARAMETERS = """
**kwargs
    Options of :class:`~lucid_models_classification.ResNet`:

    - ``in_channels`` (int, default 3): channels of the image;
    - ``norm`` ("batch" or "frozen", default "batch"): batch normalization, or frozen batch
      normalization with fixed statistics and affine parameters;
    - ``norm_eps`` (float, default 1e-5): added to the variance in every normalization;
    - ``zero_init_residual`` (bool, default False): initialize each block as the identity;
    - ``dilate`` (three bool, default (False, False, False)): replace the stride of
      ``layer2``, ``layer3`` and ``layer4`` by dilation.
"""

_TRAINING = """The usual recipe is SGD
with momentum 0.9, weight decay 1e-4, a learning rate of 0.1 per 256 images in the batch, and
random resized crops with horizontal flips (``lucid.vision.transforms``).
"""

_RESNET = """
Residual network (`He et al. 2015 <https://arxiv.org/abs/1512.03385>`__): a 7x7 convolution, max
pooling, four stages of residual blocks, global average pooling and a linear classifier.
"""
_WIDE_RESNET = """
Wide residual network (`Zagoruyko and Komodakis 2016 <https://arxiv.org/abs/1605.07146>`__): a
ResNet with twice the channels in the 3x3 convolutions of its bottleneck blocks.
"""
_RESNEXT = """
ResNeXt (`Xie et al. 2016 <https://arxiv.org/abs/1611.05431>`__): a ResNet with grouped 3x3
convolutions in its bottleneck blocks.  The name gives the number of groups and the width of a
group in the first stage.
"""


def _documented(
    family: str, channels: str = "256, 512, 1024 and 2048"
) -> Callable[[Builder], Builder]:
    return documented("ResNet", family, channels, _PARAMETERS, _TRAINING)


def _resnet(name: str, num_classes: int, options: dict[str, Any]) -> ResNet:
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise TypeError(
            f"{name}() got unexpected keyword argument(s) {', '.join(map(repr, unknown))}; "
            f"valid ones are num_classes, {', '.join(_OPTIONS)}"
        )
    return ResNet(num_classes=num_classes, **vars(ARCHITECTURES[name]), **options)


@register_model
@_documented(_RESNET, "64, 128, 256 and 512")
def resnet_18(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNet-18: two basic blocks in each stage (arXiv:1512.03385, table 1).

    Trains on a CPU in minutes on small images: start here.
    """
    return _resnet("resnet_18", num_classes, kwargs)


@register_model
@_documented(_RESNET, "64, 128, 256 and 512")
def resnet_34(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNet-34: 3, 4, 6 and 3 basic blocks (arXiv:1512.03385, table 1)."""
    return _resnet("resnet_34", num_classes, kwargs)


@register_model
@_documented(_RESNET)
def resnet_50(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNet-50: 3, 4, 6 and 3 bottleneck blocks (arXiv:1512.03385, table 1).

    The standard baseline and backbone.
    """
    return _resnet("resnet_50", num_classes, kwargs)


@register_model
@_documented(_RESNET)
def resnet_101(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNet-101: 3, 4, 23 and 3 bottleneck blocks (arXiv:1512.03385, table 1)."""
    return _resnet("resnet_101", num_classes, kwargs)


@register_model
@_documented(_RESNET)
def resnet_152(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNet-152: 3, 8, 36 and 3 bottleneck blocks (arXiv:1512.03385, table 1)."""
    return _resnet("resnet_152", num_classes, kwargs)


@register_model
@_documented(_WIDE_RESNET)
def wide_resnet_50_2(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """Wide ResNet-50-2: ResNet-50 with 3x3 convolutions of twice the width (arXiv:1605.07146)."""
    return _resnet("wide_resnet_50_2", num_classes, kwargs)


@register_model
@_documented(_WIDE_RESNET)
def wide_resnet_101_2(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """Wide ResNet-101-2: ResNet-101 with 3x3 convolutions of twice the width (arXiv:1605.07146)."""
    return _resnet("wide_resnet_101_2", num_classes, kwargs)


@register_model
@_documented(_RESNEXT)
def resnext_50_32x4d(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNeXt-50 32x4d: ResNet-50 with 32 groups of width 4 (arXiv:1611.05431, table 1)."""
    return _resnet("resnext_50_32x4d", num_classes, kwargs)


@register_model
@_documented(_RESNEXT)
def resnext_101_32x8d(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNeXt-101 32x8d: ResNet-101 with 32 groups of width 8 (arXiv:1611.05431)."""
    return _resnet("resnext_101_32x8d", num_classes, kwargs)


@register_model
@_documented(_RESNEXT)
def resnext_101_64x4d(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNeXt-101 64x4d: ResNet-101 with 64 groups of width 4 (arXiv:1611.05431, table 4)."""
    return _resnet("resnext_101_64x4d", num_classes, kwargs)
