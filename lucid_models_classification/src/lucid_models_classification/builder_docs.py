"""Docstring sections that the builders of classifiers share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Builder", "documented"]

_SECTIONS = """
{family}

Parameters
----------
num_classes : int, default 1000
    Number of logits.
{parameters}

Returns
-------
{cls}
    Randomly initialized.  ``model(x)`` maps images (N, in_channels, H, W) to logits
    (N, num_classes).  ``model.features(x)`` returns four feature maps with {channels}
    channels at strides 4, 8, 16 and 32.

Raises
------
TypeError, ValueError
    If an argument is unknown or invalid.

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
No pretrained weights are shipped; ``lucid.models.create_model("{name}", weights="default")``
fetches torchvision's.  {training}
"""

Builder = TypeVar("Builder", bound=Callable[..., Any])


def documented(
    cls: str, family: str, channels: str, parameters: str, training: str
) -> Callable[[Builder], Builder]:
    """Append the shared sections to a builder's docstring.

    ``family`` introduces the architecture, ``channels`` lists the channels of the four feature
    maps, ``parameters`` describes the parameters after ``num_classes``, and ``training`` ends
    the training notes.
    """

    def append(builder: Builder) -> Builder:
        sections = _SECTIONS.format(
            name=builder.__name__,
            cls=cls,
            family=family.strip(),
            channels=channels,
            parameters=parameters.strip(),
            training=training.strip(),
        )
        builder.__doc__ = f"{inspect.getdoc(builder)}\n{sections}"
        return builder

    return append
