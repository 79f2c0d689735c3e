"""One builder for each registered classifier.

What all of them share in their documentation is written once, in
:func:`_documented`; each builder says only what is its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lucid.models import register_model
from lucid_models_classification.resnet.network import BasicBlock, Bottleneck, ResNet

__all__ = [
    "ARCHITECTURES",
    "Architecture",
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


@dataclass(frozen=True)
class Architecture:
    """What is the same in every network of one name.

    Attributes
    ----------
    block : type
        Of which all four stages are made.
    depths : tuple of int
        Number of blocks of each stage.
    groups : int
        Groups of the 3x3 convolutions.
    width_per_group : int
        Width of each group in the first stage.
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]
    groups: int = 1
    width_per_group: int = 64


#: By registered name.
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

#: Keyword arguments that every builder passes on; what is missing is the builder's to decide.
_OPTIONS = ("in_channels", "norm", "norm_eps", "zero_init_residual", "dilate")

#: What holds for a whole family; the page of the family is made of it.
_FAMILIES = {
    "resnet": """
Residual networks (`He et al. 2015 <https://arxiv.org/abs/1512.03385>`__): a 7x7
convolution and a max-pool, four stages of blocks, the mean over the map and a linear
classifier.  A block adds its input to what its convolutions make of it, so that a
hundred of them in a row still train.
""",
    "wide_resnet": """
Residual networks whose blocks' inner convolution has twice the channels (`Zagoruyko and
Komodakis 2016 <https://arxiv.org/abs/1605.07146>`__): width in place of depth, which is
the same arithmetic in fewer and larger products.
""",
    "resnext": """
Residual networks whose blocks' inner convolution is wider and split into groups (`Xie
et al. 2016 <https://arxiv.org/abs/1611.05431>`__): the name gives the number of groups
and the channels of each in the first stage.
""",
}

_SHARED_SECTIONS = """
Parameters
----------
num_classes : int, default 1000
    Number of logits.
**kwargs
    Any of these, by keyword:

    - ``in_channels`` (int, default 3): channels of the image;
    - ``norm`` ("batch" or "frozen", default "batch"): batch normalization, or the
      same with its statistics and affine parameters fixed;
    - ``norm_eps`` (float, default 1e-5): added to the variance in every normalization;
    - ``zero_init_residual`` (bool, default False): start every residual branch at zero;
    - ``dilate`` (three bool, default (False, False, False)): for ``layer2`` to
      ``layer4``, whether dilation takes the place of the stride.

Returns
-------
ResNet
    With freshly drawn weights.  ``model(x)`` maps images (N, in_channels, H, W) to
    logits (N, num_classes); ``model.features(x)`` gives the maps of the four
    stages, with {channels} channels at strides 4, 8, 16 and 32.

Raises
------
TypeError, ValueError
    If a keyword argument is unknown or its value is not of the kinds above.

Examples
--------
>>> import lucid
>>> from lucid.models import {name}
>>> model = {name}(num_classes=10).eval()
>>> x = lucid.random.randn(1, 3, 224, 224)
>>> with lucid.no_grad():
...     logits = model(x)
>>> logits.shape
(1, 10)

Training Notes
--------------
No pre-trained weights come with this package.  To train from scratch, the usual
recipe is SGD with momentum 0.9, weight decay 1e-4, a learning rate of 0.1 for
each 256 images in a batch, and random resized crops with horizontal flips
(``lucid.vision.transforms``).  torchvision's public weights of the
same architecture load through
``lucid_models_classification.torchvision.load_torchvision_weights``.
"""


Builder = Callable[..., ResNet]


def _documented(builder: Builder) -> Builder:
    """Append the sections that all builders share to the builder's own introduction."""
    expansion = ARCHITECTURES[builder.__name__].block.expansion
    *first, last = (str(planes * expansion) for planes in (64, 128, 256, 512))
    channels = f"{', '.join(first)} and {last}"
    sections = _SHARED_SECTIONS.format(name=builder.__name__, channels=channels)
    family = next(name for name in _FAMILIES if builder.__name__.startswith(name))
    builder.__doc__ = f"{inspect.getdoc(builder)}\n{_FAMILIES[family]}{sections}"
    return builder


def _build(name: str, num_classes: int, options: dict[str, Any]) -> ResNet:
    """Build a network from its fixed shape and what the caller chose, refusing what is unknown."""
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise TypeError(
            f"{name}() got unexpected keyword argument(s) {', '.join(map(repr, unknown))}; "
            f"valid ones are num_classes, {', '.join(_OPTIONS)}"
        )
    shape = ARCHITECTURES[name]
    return ResNet(
        shape.block,
        shape.depths,
        num_classes,
        groups=shape.groups,
        width_per_group=shape.width_per_group,
        **options,
    )


@register_model
@_documented
def resnet_18(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNet-18, two blocks of two 3x3 convolutions in each stage.

    The smallest network of He et al. 2015 (arXiv:1512.03385, table 1): the one to
    begin with, and the one that a CPU trains in minutes on small images.
    """
    return _build("resnet_18", num_classes, kwargs)


@register_model
@_documented
def resnet_34(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNet-34, the deepest of the family built from pairs of 3x3 convolutions.

    With 3, 4, 6 and 3 blocks it is twice as deep as ResNet-18 at the same widths
    (He et al. 2015, arXiv:1512.03385, table 1).
    """
    return _build("resnet_34", num_classes, kwargs)


@register_model
@_documented
def resnet_50(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNet-50, the field's standard network for comparison and as a backbone.

    ResNet-34 with each pair of 3x3 convolutions replaced by a bottleneck of three
    (1x1, 3x3, 1x1), at much the same cost (He et al. 2015, arXiv:1512.03385,
    section 4.1).  The stride sits on the 3x3 convolution ("version 1.5"), as in
    all the bottleneck networks here.
    """
    return _build("resnet_50", num_classes, kwargs)


@register_model
@_documented
def resnet_101(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNet-101, ResNet-50 with 23 blocks instead of 6 in the third stage.

    From He et al. 2015 (arXiv:1512.03385, table 1); the larger of the two usual
    backbones of detectors.
    """
    return _build("resnet_101", num_classes, kwargs)


@register_model
@_documented
def resnet_152(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNet-152, the deepest ImageNet network of He et al. 2015.

    3, 8, 36 and 3 bottleneck blocks (arXiv:1512.03385, table 1).
    """
    return _build("resnet_152", num_classes, kwargs)


@register_model
@_documented
def wide_resnet_50_2(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """Wide ResNet-50-2, ResNet-50 with 3x3 convolutions twice as wide.

    Width in place of depth (Zagoruyko and Komodakis 2016, arXiv:1605.07146): more
    arithmetic in fewer, larger products, which suits a processor's vector units.
    The channels between blocks stay those of ResNet-50.
    """
    return _build("wide_resnet_50_2", num_classes, kwargs)


@register_model
@_documented
def wide_resnet_101_2(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """Wide ResNet-101-2, ResNet-101 with 3x3 convolutions twice as wide.

    The widening is that of Zagoruyko and Komodakis 2016 (arXiv:1605.07146); the
    channels between blocks stay those of ResNet-101.
    """
    return _build("wide_resnet_101_2", num_classes, kwargs)


@register_model
@_documented
def resnext_50_32x4d(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNeXt-50 (32x4d), ResNet-50 with 3x3 convolutions in 32 groups.

    Thirty-two groups, 4 channels wide each in the first stage, give a wider
    network for the parameters of ResNet-50 (Xie et al. 2016, arXiv:1611.05431,
    table 1).
    """
    return _build("resnext_50_32x4d", num_classes, kwargs)


@register_model
@_documented
def resnext_101_32x8d(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNeXt-101 (32x8d), ResNet-101 with 32 groups of 8 channels.

    Grouped as in Xie et al. 2016 (arXiv:1611.05431), at the doubled width that
    later work on weakly supervised pre-training made popular.
    """
    return _build("resnext_101_32x8d", num_classes, kwargs)


@register_model
@_documented
def resnext_101_64x4d(num_classes: int = 1000, **kwargs: Any) -> ResNet:
    """ResNeXt-101 (64x4d), ResNet-101 with 64 groups of 4 channels.

    The largest ImageNet network of Xie et al. 2016 (arXiv:1611.05431, table 4).
    """
    return _build("resnext_101_64x4d", num_classes, kwargs)
