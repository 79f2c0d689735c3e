"""Annotated objects of a data set in columns: collected by a reader, then checked all at once."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucid.data.report import DataReport
from lucid_models_detection.data.box_formats import BoxFormat, doubtful_format, to_xyxy, usable
from lucid_models_detection.data.sources import SourceOf

__all__ = ["ObjectRows", "Objects"]


class ObjectRows:
    """Objects as a reader finds them, one by one.

    Attributes
    ----------
    boxes : array of float
        Four numbers for each object, in the format of the file.
    images, labels : array of int
        Position of the image, and label of the class.
    areas : array of float
        Annotated area; NaN without one.
    ignored : array of int
        1 for crowds and difficult objects.
    derived : array of int
        1 where the box is xyxy in pixels already, derived from an outline.
    sources : array of int
        What the reader needs to name the object in a message.
    """

    def __init__(self) -> None:
        self.boxes = array("d")
        self.images = array("q")
        self.labels = array("q")
        self.areas = array("d")
        self.ignored = array("b")
        self.derived = array("b")
        self.sources = array("q")

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Objects:
    """Objects that can be used, sorted by image: N objects of I images.

    Attributes
    ----------
    boxes : (N, 4) float32
        xyxy in pixels, inside of the image.
    labels : (N,) int64
    areas : (N,) float32
    ignored : (N,) bool
    starts : (I + 1,) int64
        The objects of image ``i`` are ``starts[i]`` to ``starts[i + 1]``.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    areas: NDArray[np.float32]
    ignored: NDArray[np.bool_]
    starts: NDArray[np.int64]

    @classmethod
    def checked(
        cls,
        rows: ObjectRows,
        sizes: Sequence[tuple[int, int]],
        report: DataReport,
        where: SourceOf,
        *,
        box_format: BoxFormat | None,
        usual: BoxFormat,
        one_based: bool = False,
    ) -> Objects:
        """Convert, check and sort the objects that a reader has collected.

        Parameters
        ----------
        rows : ObjectRows
        sizes : sequence of (int, int)
            Width and height of each image.
        report : DataReport
            Gets the findings on boxes.
        where : callable
            What to call an object in a message, by its row.
        box_format : str or None
            Format of the boxes; with None ``usual``, unless they look like another one.
        usual : {"xywh", "xyxy"}
            Format of boxes by the rules of the file format.
        one_based : bool, default False
            Whether xyxy corners count pixels from 1 and include the last.
        """
        raw = np.frombuffer(rows.boxes, np.float64).reshape(-1, 4)
        images = np.frombuffer(rows.images, np.int64)
        derived = np.frombuffer(rows.derived, np.int8) != 0
        size_of = np.array(sizes, np.float64).reshape(-1, 2)[images]
        if box_format is None:
            own = np.flatnonzero(~derived)
            doubt = doubtful_format(raw[own], size_of[own], usual, lambda row: where(int(own[row])))
            if doubt is not None:
                report.add("box-format", doubt)
        chosen = box_format or usual
        boxes = to_xyxy(raw, size_of, chosen)
        if one_based and chosen == "xyxy":
            below = int((boxes[~derived, :2] < 1).any(axis=1).sum())
            hint = "corners below 1, where VOC begins: pass one_based=False if files count from 0"
            report.count("zero-based", below, hint)
            boxes = boxes - np.array([1.0, 1.0, 0.0, 0.0])
        if derived.any():
            boxes = np.where(derived[:, None], raw, boxes)
        clipped, kept = usable(boxes, size_of, report, where)
        areas = _areas(np.frombuffer(rows.areas, np.float64), boxes, clipped, chosen)
        order = np.flatnonzero(kept)
        order = order[np.argsort(images[order], kind="stable")]
        objects = cls(
            clipped[order],
            np.frombuffer(rows.labels, np.int64)[order],
            areas[order],
            np.frombuffer(rows.ignored, np.int8)[order] != 0,
            np.searchsorted(images[order], np.arange(len(sizes) + 1)),
        )
        objects._count(report, images[order], lambda row: where(int(order[row])))
        return objects

    def target(self, index: int, image_id: int | str) -> dict[str, Any]:
        """The target of one image, in arrays of its own."""
        part = slice(self.starts[index], self.starts[index + 1])
        boxes, labels, ignored = self.boxes[part], self.labels[part], self.ignored[part]
        real = ~ignored
        return {
            "boxes": boxes[real],
            "labels": labels[real],
            "area": self.areas[part][real],
            "ignored_boxes": boxes[ignored],
            "ignored_labels": labels[ignored],
            "image_id": image_id,
        }

    def select(self, images: Sequence[int]) -> Objects:
        """The objects of some of the images, which are renumbered in the order given."""
        lengths = [int(self.starts[i + 1] - self.starts[i]) for i in images]
        parts = [np.arange(self.starts[i], self.starts[i + 1]) for i in images]
        rows = np.concatenate([np.zeros(0, np.int64), *parts])
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        return Objects(
            self.boxes[rows], self.labels[rows], self.areas[rows], self.ignored[rows], starts
        )

    def _count(self, report: DataReport, images: NDArray[np.int64], where: SourceOf) -> None:
        """Report crowds, duplicates and images without objects."""
        report.count("crowd", int(self.ignored.sum()), "set apart: neither trained on nor missed")
        empty = int((np.diff(self.starts) == 0).sum())
        report.count("no-objects", empty, "images without objects are used as background")
        if len(images) < 2:
            return
        keys = (*self.boxes.T, self.ignored, self.labels, images)
        rank = np.lexsort(keys)
        same = np.ones(len(rank) - 1, bool)
        for key in keys:
            same &= key[rank[1:]] == key[rank[:-1]]
        if number := int(same.sum()):
            first = where(int(rank[1:][same].min()))
            report.count(
                "duplicate",
                number,
                f"{first}: same image, class and box as another",
                image=first.image,
                annotation=first.annotation,
            )


def _areas(
    annotated: NDArray[np.float64],
    boxes: NDArray[np.float64],
    clipped: NDArray[np.float32],
    box_format: BoxFormat,
) -> NDArray[np.float32]:
    """Annotated areas where they are possible, else those of the boxes."""
    with np.errstate(all="ignore"):
        whole = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        inside = (clipped[:, 2:] - clipped[:, :2]).astype(np.float64).prod(axis=1)
        given = _is_area(annotated)
        if box_format != "xywh":  # the area may have been computed from misread boxes
            given &= (annotated <= 1.01 * whole) & (not box_format.startswith("normalized"))
        if box_format == "xywh":  # COCO's own files compute it before clipping
            inside = np.where(_is_area(whole), whole, inside)
        areas = np.where(given, annotated, inside)
        return areas.astype(np.float32)


def _is_area(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether numbers are greater than 0 and finite also in the float32 of a target."""
    return (values > 1e-40) & (values < 1e38)
