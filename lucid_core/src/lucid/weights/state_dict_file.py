"""Weights whose file names no model, for a model that the weights show or the caller names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lucid.errors import LucidError, PluginError, StateDictError, WeightFileError
from lucid.weights.converter import WeightConverter, load_converted
from lucid.weights.converter_registry import GuardedConverter, find_converter_by_name
from lucid.weights.identify import IdentifiedWeights, identify_weights
from lucid.weights.serialization import load

if TYPE_CHECKING:
    from lucid.nn import Module
    from lucid.nn.state_dict import LoadResult

__all__ = ["StateDictFile", "suggest_model"]

_SHOWN = 3


@dataclass(frozen=True)
class StateDictFile:
    """Weights that name no model.

    Attributes
    ----------
    path : pathlib.Path
        Their file.
    state : dict of str to Tensor
        All entries of the file.
    identified : IdentifiedWeights or None
        What a weight converter recognizes in them.
    extra : dict of str to Tensor
        Entries to load beside them, under the model's names.
    converter : WeightConverter or None
        Renames the keys: that of ``identified``, else one for the model that the caller names.
    """

    path: Path
    state: dict[str, Any]
    identified: IdentifiedWeights | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    converter: WeightConverter | None = None

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        task: str | None = None,
        model: str | None = None,
        ema: bool | None = None,
    ) -> Self:
        """Read a file, and ask the weight converters what it holds.

        Parameters
        ----------
        path : pathlib.Path
            A file that :func:`lucid.load` reads.
        task : str, optional
            Task of the model.
        model : str, optional
            Registered name, if the caller knows it: then no converter need recognize the
            weights.
        ema : bool, optional
            As for :func:`lucid.load`.

        Raises
        ------
        lucid.WeightFileError
            If the file is damaged, or several converters recognize it; without ``model`` also
            if a converter recognizes the family, but no model of it has these weights.
        lucid.PluginError
            If a converter fails, no other recognizes the weights, and ``model`` is not given.
        """
        state = load(path, ema=ema)
        try:
            found = identify_weights(state, path=path, ema=ema, task=task, model=model)
        except StateDictError as error:
            if model is None:
                raise WeightFileError(_prefixed(path, error)) from None
            found = None
        except PluginError:
            if model is None:
                raise
            found = None
        if found is None:
            converter = find_converter_by_name(model)
        else:
            converter = GuardedConverter(found.registered, found.converter)
        return cls(path, state, found, converter=converter)

    def arguments(self, name: str | None = None) -> dict[str, Any]:
        """Builder arguments that the weights show, if they are of the model `name`."""
        if self.identified is None or name not in (None, self.identified.name):
            return {}
        return dict(self.identified.arguments)

    def has_none_of(self, names: Iterable[str]) -> bool:
        """Whether the weights have none of the entries that a model calls `names`."""
        if self.identified is not None:
            return self.identified.names().isdisjoint(names)
        rename = self.converter.rename if self.converter is not None else str
        return {rename(key) for key in self.state}.isdisjoint(names)

    def with_entries(self, entries: Mapping[str, Any]) -> Self:
        """The same weights with more entries, under the model's names."""
        return replace(self, extra={**self.extra, **entries})

    def load_into(self, model: Module, *, skip_mismatched: bool = False) -> LoadResult:
        """Load the weights into a model.

        Raises
        ------
        lucid.StateDictError
            If they do not fit; the model is unchanged.
        lucid.PluginError
            If they are of this model and their converter is at fault.
        """
        found = self.identified
        if found is not None and found.name == model.model_name:
            whole = replace(found, state={**found.state, **self.extra})
            return whole.load_into(model, skip_mismatched=skip_mismatched)
        nameless = model.model_name is None  # such as the backbone that a detector's builder made
        state = found.state if found is not None and nameless else self.state
        return load_converted(
            model,
            {**state, **self.extra},
            self.converter,
            skip_mismatched=skip_mismatched,
        )

    def unrecognized_message(self) -> str:
        """Say that no converter recognizes the weights, for an error."""
        if not self.state:
            return "it holds no tensors"
        keys = ", ".join(map(repr, list(self.state)[:_SHOWN]))
        return f"no installed plugin recognizes its tensors by their names (the first: {keys})"


def suggest_model(model: Module, state: Mapping[str, Any]) -> str | None:
    """Find the other registered model that weights are of, for an error.

    Parameters
    ----------
    model : lucid.nn.Module
        The model that they do not fit.
    state : mapping of str to array-like
        The weights.

    Returns
    -------
    str or None
        Its name; None if no other model fits.
    """
    from lucid.models.structure import find_matching_model

    try:
        found = identify_weights(state)
    except LucidError:  # the error that this is for says more
        found = None
    if found is not None:
        name: str | None = found.name
    else:
        name = find_matching_model({key: tuple(np.shape(value)) for key, value in state.items()})
    return None if name == model.model_name else name


def _prefixed(path: Path, error: StateDictError) -> str:
    text = str(error)
    return text if text.startswith(str(path)) else f"{path}: {text}"
