"""Origin of the weights of a model, and its record in the metadata of a saved model."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.weights.catalog import CatalogEntry
from lucid.weights.model_metadata import PUBLISHED_FIELDS, ModelMetadata
from lucid.weights.serialization import StrPath

if TYPE_CHECKING:
    from lucid.nn import Module
    from lucid.weights.identify import IdentifiedWeights

__all__ = ["WeightsInfo", "info_of_copy", "info_of_identified", "info_of_saved", "set_weights_info"]


@dataclass(frozen=True)
class WeightsInfo:
    """Origin of the weights of a model, ``model.weights_info``.

    Attributes
    ----------
    file : str
        Name of the file that was loaded.
    tag, url, sha256, license, source : str or None
        Fields of the published weights, see :class:`CatalogEntry`; also in a file of
        :func:`save_model` with these weights.  None for other weights.
    metrics : dict of str to float
        Published results by name; empty if the last layer was replaced.
    class_names : tuple of str or None
        Class names by index, left out of the ``repr``; None if unknown or the last layer was
        replaced.
    preprocessing : dict or None
        Preprocessing of images, as for :func:`save_model`; None if unknown.
    checksum : int or None
        CRC-32 of the weights as they were loaded, if they have `metrics`: a saved model keeps
        these unless the weights have changed.
    """

    file: str
    tag: str | None = None
    url: str | None = None
    sha256: str | None = None
    license: str | None = None
    source: str | None = None
    metrics: dict[str, float] = field(default_factory=dict, hash=False)
    class_names: tuple[str, ...] | None = field(default=None, repr=False)  # may be thousands
    preprocessing: dict[str, Any] | None = field(default=None, hash=False)
    checksum: int | None = field(default=None, repr=False, compare=False)

    def record(self, model: Module) -> dict[str, Any] | None:
        """Return the fields of published weights that a saved model keeps; None for others.

        The metrics are left out if the weights of `model` have changed since.
        """
        if self.tag is None:
            return None
        record = {key: getattr(self, key) for key in PUBLISHED_FIELDS}
        if self.metrics and self.checksum != _checksum(model):
            record["metrics"] = {}
        return record


def set_weights_info(model: Module, info: WeightsInfo) -> None:
    """Set the origin of the weights that were just loaded into a model."""
    if info.metrics:
        info = replace(info, checksum=_checksum(model))
    model.weights_info = info


def _checksum(model: Module) -> int:
    total = 0
    for value in model.state_dict().values():
        total = zlib.crc32(np.ascontiguousarray(value.numpy()).data, total)
    return total


def info_of_identified(
    path: StrPath, found: IdentifiedWeights | None, *, replaced: bool = False
) -> WeightsInfo:
    """Describe a file without model metadata; `replaced` is whether the last layer is new."""
    name = os.path.basename(path)
    if found is None:
        return WeightsInfo(name)
    published = {} if found.entry is None else _published(found.entry, replaced)
    return WeightsInfo(
        name,
        **published,
        class_names=None if replaced else found.class_names,
        preprocessing=found.preprocessing,
    )


def info_of_copy(path: StrPath, entry: CatalogEntry | None) -> WeightsInfo:
    """Describe a file that may be a copy of published weights."""
    name = os.path.basename(path)
    if entry is None:
        return WeightsInfo(name)
    names, preprocessing = entry.class_names, entry.preprocessing
    return WeightsInfo(
        name, **_published(entry, False), class_names=names, preprocessing=preprocessing
    )


def info_of_saved(path: StrPath, saved: ModelMetadata, *, replaced: bool = False) -> WeightsInfo:
    """Describe a file of :func:`save_model`; `replaced` is whether the last layer is new."""
    record = dict(saved.weights or {})
    if replaced:
        record.pop("metrics", None)
    return WeightsInfo(
        os.path.basename(path),
        **record,
        class_names=None if replaced else saved.class_names,
        preprocessing=saved.preprocessing,
    )


def _published(entry: CatalogEntry, replaced: bool) -> dict[str, Any]:
    fields = {key: getattr(entry, key) for key in PUBLISHED_FIELDS}
    return {**fields, "metrics": {} if replaced else dict(entry.metrics)}
