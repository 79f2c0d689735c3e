"""Types shared by the dataset readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["AnnotationSource", "GetSource", "Sample", "SampleTransform", "Target"]

#: Target of one image; its keys are listed in :mod:`lucid_models_detection.data`.
Target: TypeAlias = dict[str, Any]
Sample: TypeAlias = tuple[NDArray[np.float32], Target]
#: Maps (image, target) to (image, target), so that boxes follow the pixels.
SampleTransform: TypeAlias = Callable[[NDArray[np.float32], Target], Sample]


@dataclass(frozen=True, slots=True)
class AnnotationSource:
    """Origin of an annotation, for messages and reports.

    Attributes
    ----------
    text : str
        Prefix of messages about the annotation.
    image : str or None
        File name of its image; None if unknown.
    annotation : str
        COCO: id or position in the file.  VOC: XML file and position of the object.
    """

    text: str
    image: str | None
    annotation: str

    def __str__(self) -> str:
        return self.text


#: Returns the source of an annotation, given its row.
GetSource: TypeAlias = Callable[[int], AnnotationSource]
