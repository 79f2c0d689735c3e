"""Where an object of a data set was read from, for messages and for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Source", "SourceOf"]


@dataclass(frozen=True, slots=True)
class Source:
    """Name of an annotation; its text form begins the messages about it.

    Attributes
    ----------
    text : str
        For messages.
    image : str or None
        File name of its image; None if no image is known.
    annotation : str
        Id or position of the annotation in a COCO file, XML file and position of an object in a
        VOC data set.
    """

    text: str
    image: str | None
    annotation: str

    def __str__(self) -> str:
        return self.text


#: Gives the source of an object by its row.
SourceOf: TypeAlias = Callable[[int], Source]
