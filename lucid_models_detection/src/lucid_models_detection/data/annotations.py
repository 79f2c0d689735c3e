"""Annotations of a dataset in columns: collected by a reader, then validated all at once."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucid.data.report import DataReport
from lucid_models_detection.data.box_formats import BoxFormat, clip_boxes, format_mismatch, to_xyxy
from lucid_models_detection.data.types import GetSource

__all__ = ["Annotations", "RawAnnotations"]


class RawAnnotations:
    """Annotations as a reader appends them, one entry per column, before validation."""

    def __init__(self) -> None:
        self.boxes = array("d")  # four numbers per annotation, in the box format of the file
        self.images = array("q")  # position of the image
        self.labels = array("q")
        self.areas = array("d")  # NaN if missing
        self.ignored = array("b")  # 1 for crowds and difficult objects
        self.derived = array("b")  # 1 if the box is that of the segmentation: xyxy in pixels
        self.sources = array("q")  # position by which the reader names the annotation

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Annotations:
    """Valid annotations sorted by image: N annotations of I images.

    Boxes are xyxy in pixels, clipped to the image.  Image ``i`` has the rows
    ``starts[i]:starts[i + 1]``.
    """

    boxes: NDArray[np.float32]  # (N, 4)
    labels: NDArray[np.int64]  # (N,)
    areas: NDArray[np.float32]  # (N,)
    ignored: NDArray[np.bool_]  # (N,)
    starts: NDArray[np.int64]  # (I + 1,)

    @classmethod
    def from_raw(
        cls,
        raw: RawAnnotations,
        sizes: Sequence[tuple[int, int]],
        report: DataReport,
        get_source: GetSource,
        *,
        box_format: BoxFormat | None,
        default_format: BoxFormat,
        one_based: bool = False,
    ) -> Annotations:
        """Convert, validate and sort the annotations that a reader has collected.

        ``sizes`` has (width, height) of each image.  Without ``box_format``, ``default_format``
        is used, and boxes that look like another format are reported.  With ``one_based``, xyxy
        corners count pixels from 1 and include the last.
        """
        values = np.frombuffer(raw.boxes, np.float64).reshape(-1, 4)
        images = np.frombuffer(raw.images, np.int64)
        derived = np.frombuffer(raw.derived, np.int8) != 0
        size_of = np.array(sizes, np.float64).reshape(-1, 2)[images]
        if box_format is None:
            own = np.flatnonzero(~derived)
            mismatch = format_mismatch(
                values[own], size_of[own], default_format, lambda row: get_source(int(own[row]))
            )
            if mismatch is not None:
                report.add("box-format", mismatch)
        chosen = box_format or default_format
        boxes = to_xyxy(values, size_of, chosen)
        if one_based and chosen == "xyxy":
            below = int((boxes[~derived, :2] < 1).any(axis=1).sum())
            hint = "corners below 1, where VOC begins: pass one_based=False if files count from 0"
            report.count("zero-based", below, hint)
            boxes = boxes - np.array([1.0, 1.0, 0.0, 0.0])
        if derived.any():
            boxes = np.where(derived[:, None], values, boxes)
        clipped, valid = clip_boxes(boxes, size_of, report, get_source)
        areas = _areas(np.frombuffer(raw.areas, np.float64), boxes, clipped, chosen)
        order = np.flatnonzero(valid)
        order = order[np.argsort(images[order], kind="stable")]
        annotations = cls(
            clipped[order],
            np.frombuffer(raw.labels, np.int64)[order],
            areas[order],
            np.frombuffer(raw.ignored, np.int8)[order] != 0,
            np.searchsorted(images[order], np.arange(len(sizes) + 1)),
        )
        annotations._report(report, images[order], lambda row: get_source(int(order[row])))
        return annotations

    def target(self, index: int, image_id: int | str) -> dict[str, Any]:
        """Return the target of one image, as copies."""
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

    def select(self, images: Sequence[int]) -> Annotations:
        """Return the annotations of the given images, renumbered in that order."""
        lengths = [int(self.starts[i + 1] - self.starts[i]) for i in images]
        parts = [np.arange(self.starts[i], self.starts[i + 1]) for i in images]
        rows = np.concatenate([np.zeros(0, np.int64), *parts])
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        return Annotations(
            self.boxes[rows], self.labels[rows], self.areas[rows], self.ignored[rows], starts
        )

    def _report(self, report: DataReport, images: NDArray[np.int64], get_source: GetSource) -> None:
        """Report crowds, images without objects and duplicates."""
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
            first = get_source(int(rank[1:][same].min()))
            message = f"{first}: same image, class and box as another"
            report.count("duplicate", number, message, **first.keywords)


def _areas(
    annotated: NDArray[np.float64],
    boxes: NDArray[np.float64],
    clipped: NDArray[np.float32],
    box_format: BoxFormat,
) -> NDArray[np.float32]:
    """Return the annotated areas where they are plausible, else the box areas."""
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
    """Whether values are positive and finite, in float32 too."""
    return (values > 1e-40) & (values < 1e38)
