"""Docstring sections that the builders of detectors share; the model pages are made of them."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from lucid_models_detection.config import DetectorConfig

__all__ = ["BuilderDocs"]

Builder = TypeVar("Builder", bound=Callable[..., Any])

_SHARED = """
{method}

Parameters
----------
num_classes : int, default 21
    Number of classes, **background included** as class 0.  The default is the 20 classes of
    Pascal VOC and background.
{backbone_arguments}
**kwargs
    Options, validated when the model is built; an unknown one is a ``TypeError`` that lists
    the valid ones.

    ``norm`` : {{"batch", "frozen"}}, default "batch"
        Normalization in the backbone: batch normalization, or frozen batch normalization with
        fixed statistics and affine parameters, the usual choice for small batches.
    ``norm_eps`` : float, optional
        Added to the variance in the backbone's normalizations.  Default: that of the
        backbone's builder, 1e-5 for a ResNet.
    ``backbone_options`` : mapping, optional
        Further keyword arguments of the backbone's builder.
{options}

Returns
-------
{returns}

Examples
--------
Basic usage:

>>> import lucid
>>> from lucid.models import {name}
>>> detector = {name}(num_classes=21).eval()
>>> x = lucid.random.randn(1, 3, 224, 224)
>>> with lucid.no_grad():
...     cls_logits, bbox_deltas = detector(x)
>>> print(cls_logits.shape)
(1, {rows}, 21)
>>> print(bbox_deltas.shape)
(1, {rows}, 4)

Losses and detections of an image:

>>> image = lucid.random.rand(3, 128, 160)
>>> target = {{"boxes": [[20.0, 30.0, 90.0, 110.0]], "labels": [7]}}
>>> losses = detector([image], [target])
>>> sorted(losses)
{losses}
>>> detections = detector.predict([image])
>>> sorted(detections[0])
['boxes', 'labels', 'scores']

Training Notes
--------------
No pretrained weights are shipped.  Train in two stages; the examples show one step of each.

1. Pretrain the backbone as a classifier, and save its ``state_dict()``.  ``.backbone.net`` is a
   complete ``{backbone}`` with its classifier.  Normalize the images with the detector's
   ``image_mean`` and ``image_std``:

   >>> from lucid import nn
   >>> detector = {name}(num_classes=21, backbone_num_classes=10)
   >>> classifier = detector.backbone.net
   >>> patches, classes = lucid.random.randn(4, 3, 64, 64), lucid.tensor([3, 1, 4, 1])
   >>> nn.CrossEntropyLoss()(classifier(patches), classes).backward()
   >>> lucid.save(classifier.state_dict(), "backbone.safetensors")

2. Load the weights back into ``.backbone.net``, and train the detector:

   >>> detector = {name}(num_classes=21, backbone_num_classes=10)
   >>> loaded = detector.backbone.net.load_state_dict(lucid.load("backbone.safetensors"))
   >>> losses = detector([image], [target])
   >>> sum(losses.values()).backward()

``lucid train-detector --backbone-weights FILE`` runs the second stage; ``default`` in place of
FILE fetches published weights of the backbone.

.. tip::

   Use a lower learning rate for the pretrained backbone, by parameter groups:

   >>> backbone = list(detector.backbone.net.parameters())
   >>> pretrained = {{id(parameter) for parameter in backbone}}
   >>> new = [p for p in detector.parameters() if id(p) not in pretrained]
   >>> optimizer = nn.SGD(
   ...     [{{"params": backbone, "lr": 0.001}}, {{"params": new, "lr": 0.01}}],
   ...     lr=0.01, momentum=0.9, weight_decay=1e-4,
   ... )
   >>> optimizer.step()

.. warning::

   ``backbone_num_classes`` must equal the number of classes of the pretraining.  Otherwise the
   classifier's weights mismatch, ``load_state_dict`` raises, and they must be discarded with
   ``load_state_dict(weights, skip_mismatched=True)``:

   >>> other = {name}(num_classes=21, backbone_num_classes=5)
   >>> weights = lucid.load("backbone.safetensors")
   >>> other.backbone.net.load_state_dict(weights, skip_mismatched=True).skipped
   ['fc.weight', 'fc.bias']
"""


_OF_RESNETS = """
backbone_num_classes : int, default 1000
    Number of classes of the backbone's classifier, ``backbone.net.fc``.
"""

_OF_ANY_BACKBONE = """
backbone : str, default "{backbone}"
    Name of a registered :class:`lucid.models.Backbone`.
backbone_num_classes : int, optional
    Number of classes of the backbone's classifier.  Default: that of its builder.
"""


@dataclass(frozen=True)
class BuilderDocs:
    """Decorator that appends the shared sections to the docstrings of a family's builders.

    Parameters
    ----------
    family : str
        Prefix of the builders' names, which are ``"family_backbone_fpn"``, or ``"family_fpn"`` if
        the backbone is an argument.
    config : type of DetectorConfig
        Its parameters are listed under ``**kwargs``.
    method : str
        Description of the architecture.
    returns : str
        Section Returns.
    rows : int
        Number of predictions for an image of 224 x 224.
    losses : sequence of str
        Names of the losses.
    """

    family: str
    config: type[DetectorConfig]
    method: str
    returns: str
    rows: int
    losses: tuple[str, ...]

    def __call__(self, builder: Builder) -> Builder:
        """Append the sections to a builder's docstring."""
        name = builder.__name__
        backbone = name.removeprefix(f"{self.family}_").removesuffix("_fpn")
        arguments = _OF_RESNETS
        if (chosen := inspect.signature(builder).parameters.get("backbone")) is not None:
            backbone, arguments = chosen.default, _OF_ANY_BACKBONE
        shared = _SHARED.format(
            method=self.method.strip(),
            returns=self.returns.strip(),
            name=name,
            backbone=backbone,
            backbone_arguments=arguments.strip().format(backbone=backbone),
            options=_option_list(self.config),
            rows=self.rows,
            losses=sorted(self.losses),
        )
        builder.__doc__ = f"{inspect.getdoc(builder)}\n{shared}"
        return builder


def _option_list(config: type[DetectorConfig]) -> str:
    """Format the parameters of a config for the description of ``**kwargs``."""
    text = inspect.getdoc(config) or ""
    section = text.partition("Parameters\n----------\n")[2].partition("\n\nRaises\n")[0]
    section = re.sub(r"^(\w+)(?:, (\w+))? : ", _term, section, flags=re.MULTILINE)
    return textwrap.indent(section, "    ")


def _term(match: re.Match[str]) -> str:
    return f"{', '.join(f'``{name}``' for name in match.groups() if name)} : "
