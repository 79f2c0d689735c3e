"""Kinds of models that a new plugin can start with."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "Kind"]

_LOGITS = """\
import lucid
from lucid.models import {model}

model = {model}(num_classes=10).eval()
with lucid.no_grad():
    logits = model(lucid.random.randn(1, 3, 32, 32))
print(logits.shape)
```

```text
(1, 10)"""

_FEATURES = """\
import lucid
from lucid.models import {model}

model = {model}().eval()
with lucid.no_grad():
    maps = model.features(lucid.random.randn(1, 3, 64, 64))
print([x.shape for x in maps])
```

```text
[(1, 16, 16, 16), (1, 32, 8, 8), (1, 64, 4, 4)]"""

_DETECTIONS = """\
import lucid
from lucid.models import {model}

model = {model}(num_classes=3)
(found,) = model.predict(lucid.random.rand(1, 3, 64, 64))
print(sorted(found))
```

```text
['boxes', 'labels', 'scores']"""


@dataclass(frozen=True)
class Kind:
    """Values of the common templates for one kind of model.

    Attributes
    ----------
    summary : str
        Description of the model.
    keyword : str
        Keyword in the metadata of the distribution.
    example : str
        Code of the README and its output; ``{model}`` is the name of the model.
    requires : tuple of str
        Required distributions of Lucid besides the core.
    """

    summary: str
    keyword: str
    example: str
    requires: tuple[str, ...] = ()


#: Kinds by name; each has a folder of templates.
KINDS = {
    "classifier": Kind(
        "a small convolutional classifier of 32 x 32 images", "image classification", _LOGITS
    ),
    "backbone": Kind(
        "a small classifier whose feature maps detectors build on", "backbone", _FEATURES
    ),
    "detector": Kind(
        "a one-stage detector on a feature pyramid",
        "object detection",
        _DETECTIONS,
        ("lucid-models-detection",),
    ),
}
