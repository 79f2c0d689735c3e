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
    """Origin of an annotation: prefix of messages, file name of its image, and its name.

    The name is the id or position in a COCO file, or VOC file and position of the object.
    """

    text: str
    image: str | None
    annotation: str

    def __str__(self) -> str:
        return self.text

    @property
    def keywords(self) -> dict[str, str | None]:
        """Keyword arguments of a finding in a :class:`~lucid.data.report.DataReport`."""
        return {"image": self.image, "annotation": self.annotation}


#: Returns the source of an annotation, given its row.
GetSource: TypeAlias = Callable[[int], AnnotationSource]
