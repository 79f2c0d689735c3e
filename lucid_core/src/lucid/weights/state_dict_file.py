"""Weight files without model metadata, for a model that is identified or given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lucid.errors import LucidError, PluginError, StateDictError, WeightFileError
from lucid.weights.catalog import entry_of_file
from lucid.weights.converter import WeightConverter, load_converted
from lucid.weights.converter_registry import GuardedConverter, find_converter_by_name
from lucid.weights.identify import IdentifiedWeights, identify_weights, prefix_path
from lucid.weights.serialization import load

if TYPE_CHECKING:
    from lucid.nn import Module
    from lucid.nn.state_dict import LoadResult

__all__ = ["StateDictFile", "suggest_model"]

_SHOWN = 3


@dataclass(frozen=True)
class StateDictFile:
    """Weight file without model metadata.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    state : dict of str to Tensor
        All entries.
    identified : IdentifiedWeights or None
        Result of the weight converters.
    extra : dict of str to Tensor
        Additional entries to load, with the model's keys.
    converter : WeightConverter or None
        Renames the keys: from ``identified``, else for the given model.
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
        """Read a file and identify its model.

        `task` limits the converters.  With the registered name `model`, identification may fail.
        `ema` is as for :func:`lucid.load`.

        Raises
        ------
        lucid.WeightFileError
            If the file is damaged, or several converters recognize it; without `model`, and for
            published weights, also if no model of a recognized family has these weights.
        lucid.PluginError
            If a converter fails, none recognizes the weights, and `model` is not given or the
            weights are published.
        """
        state = load(path, ema=ema)
        try:
            found = identify_weights(state, path=path, ema=ema, task=task, model=model)
        except (StateDictError, PluginError) as error:
            # Without their entry, published weights would lack arguments and preprocessing.
            entry = entry_of_file(path, model)
            if model is not None and (entry is None or entry.model != model):
                found = None
            elif isinstance(error, PluginError):
                raise
            else:
                raise WeightFileError(prefix_path(path, error)) from None
        if found is None:
            converter = find_converter_by_name(model)
        else:
            converter = GuardedConverter(found.registered, found.converter)
        return cls(path, state, found, converter=converter)

    def arguments(self, name: str | None = None) -> dict[str, Any]:
        """Return the identified builder arguments, if the model is `name`."""
        if self.identified is None or name not in (None, self.identified.name):
            return {}
        return dict(self.identified.arguments)

    def has_none_of(self, names: Iterable[str]) -> bool:
        """Whether the file has none of the keys `names` of a model."""
        if self.identified is not None:
            return self.identified.names().isdisjoint(names)
        rename = self.converter.rename if self.converter is not None else str
        return {rename(key) for key in self.state}.isdisjoint(names)

    def with_entries(self, entries: Mapping[str, Any]) -> Self:
        """Return a copy with additional entries, with the model's keys."""
        return replace(self, extra={**self.extra, **entries})

    def load_into(self, model: Module, *, skip_mismatched: bool = False) -> LoadResult:
        """Load the weights into a model, which is unchanged if they do not match.

        Errors are those of :func:`load_external_weights`.
        """
        found = self.identified
        if found is not None and found.name == model.model_name:
            whole = replace(found, state={**found.state, **self.extra})
            return whole.load_into(model, skip_mismatched=skip_mismatched)
        nameless = model.model_name is None  # such as the backbone of a detector
        state = found.state if found is not None and nameless else self.state
        entries = {**state, **self.extra}
        return load_converted(model, entries, self.converter, skip_mismatched=skip_mismatched)

    def unrecognized_message(self) -> str:
        """Return the error text for weights that no converter recognizes."""
        if not self.state:
            return "it has no tensors"
        keys = ", ".join(map(repr, list(self.state)[:_SHOWN]))
        return f"no installed plugin recognizes its keys (the first: {keys})"


def suggest_model(model: Module, state: Mapping[str, Any]) -> str | None:
    """Find another registered model that a state dict matches, for an error.

    Parameters
    ----------
    model : lucid.nn.Module
        Model that does not match.
    state : mapping of str to array-like
        State dict.

    Returns
    -------
    str or None
        Name; None if no other model matches.
    """
    from lucid.models.structure import find_matching_model

    try:
        found = identify_weights(state)
    except LucidError:  # the original error says more
        found = None
    name = None if found is None else found.name
    if name is None:
        name = find_matching_model({key: tuple(np.shape(value)) for key, value in state.items()})
    return None if name == model.model_name else name
