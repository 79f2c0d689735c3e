"""Identify the model of a state dict with the registered converters."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.errors import (
    LucidError,
    PluginError,
    PluginWarning,
    StateDictError,
    UnknownModelError,
    WeightFileError,
    find_stack_level,
)
from lucid.models import model_info
from lucid.text import list_some
from lucid.weights.catalog import CatalogEntry, entry_of_file
from lucid.weights.converter import WeightConverter, load_converted
from lucid.weights.converter_registry import (
    GuardedConverter,
    RegisteredConverter,
    weight_converters,
)
from lucid.weights.key_prefixes import strip_prefix
from lucid.weights.model_metadata import ModelMetadata

if TYPE_CHECKING:
    from lucid.nn import Module
    from lucid.nn.state_dict import LoadResult

__all__ = ["IdentifiedWeights", "identify_weights"]


@dataclass(frozen=True)
class IdentifiedWeights:
    """State dict whose model a converter recognizes.

    Attributes
    ----------
    registered : RegisteredConverter
        Registration of the converter.
    converter : WeightConverter
        The converter.
    name : str
        Registered model name.
    arguments : dict
        Builder arguments.
    state : dict of str to Tensor or array
        Entries with the other library's keys, without a wrapper's prefix.
    other_entries : dict of str to Tensor or array
        Entries outside of the prefix.
    path : pathlib.Path or None
        Source file, for errors.
    entry : CatalogEntry or None
        Published weights that the file is a copy of.
    """

    registered: RegisteredConverter
    converter: WeightConverter
    name: str
    arguments: dict[str, Any]
    state: dict[str, Any]
    other_entries: dict[str, Any]
    path: Path | None = None
    entry: CatalogEntry | None = None

    @property
    def task(self) -> str:
        """Task of the model."""
        return self.registered.task

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Class names; None if unknown."""
        if self.entry is not None:
            return self.entry.class_names_of(ModelMetadata(self.name, self.arguments).num_classes)
        names = self.registered.call(self.converter.class_names, self.arguments)
        if names is None:
            return None
        if (
            isinstance(names, str)
            or not isinstance(names, Sequence)
            or not all(isinstance(name, str) for name in names)
            or len(names) != self.arguments.get("num_classes", len(names))
        ):
            expected = self.arguments.get("num_classes", "the")
            raise PluginError(
                f"{self.registered}: class_names() must return a sequence of {expected} names or "
                f"None, got {names!r:.100}"
            )
        return tuple(names)

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """Preprocessing of images; None if unknown."""
        if self.entry is not None:
            return self.entry.preprocessing
        described = self.registered.call(self.converter.preprocessing, self.arguments)
        if not isinstance(described, dict | None):
            raise PluginError(
                f"{self.registered}: preprocessing() must return a dict or None, got "
                f"{described!r:.100}"
            )
        return described

    def renamed(self) -> dict[str, Any]:
        """Return the entries with the model's keys."""
        rename = self.converter.rename
        return {self.registered.call(rename, key): value for key, value in self.state.items()}

    def names(self) -> set[str]:
        """Return the model's keys of the entries."""
        return set(self.renamed())

    def build(self, **overrides: Any) -> Module:
        """Build the model with random weights; `overrides` replace identified builder arguments."""
        from lucid.models import create_model

        try:
            return create_model(self.name, **{**self.arguments, **overrides})
        except UnknownModelError as error:
            raise UnknownModelError(
                f"{self._source} has weights of {self.name}, which needs another model: {error}"
            ) from None
        except LucidError:
            raise
        except (TypeError, ValueError) as error:
            if overrides:
                raise
            raise PluginError(
                f"{self.registered} returned invalid arguments for {self.name}, "
                f"{self.arguments}: {error}"
            ) from error

    def load_into(self, model: Module, *, skip_mismatched: bool = False) -> LoadResult:
        """Load the weights into a model from :meth:`build`, which is unchanged on errors.

        Raises :class:`lucid.StateDictError` if they do not match, and :class:`lucid.PluginError`
        if the converter fails or returns keys that the model does not have.
        """
        return load_converted(
            model, self.state, _StrictConverter(self), skip_mismatched=skip_mismatched
        )

    @property
    def _source(self) -> str:
        return "the state dict" if self.path is None else str(self.path)


class _StrictConverter(GuardedConverter):
    """Converter wrapper that raises PluginError for keys that the model does not have."""

    def __init__(self, weights: IdentifiedWeights) -> None:
        super().__init__(weights.registered, weights.converter)
        self.weights = weights

    def prepare(self, state: dict[str, Any], model: Module) -> dict[str, Any]:
        prepared = super().prepare(state, model)
        own = model.state_dict()
        # A key that was not renamed is an extra entry of the file, not a converter error.
        wrong = [str(k) for k in prepared if k not in own and k not in self.weights.state]
        if wrong:
            raise PluginError(
                f"{self.registered} returned keys that {self.weights.name} does not have: "
                f"{list_some(wrong)}"
            )
        return prepared


def identify_weights(
    state_dict: Mapping[str, Any],
    *,
    path: Path | None = None,
    ema: bool | None = None,
    task: str | None = None,
    model: str | None = None,
) -> IdentifiedWeights | None:
    """Find the one converter that recognizes weights, from their names and shapes.

    If one converter recognizes a part of what another does, such as the backbone of a
    detector, the whole counts.

    Parameters
    ----------
    state_dict : mapping of str to Tensor or array
        Entries, with or without the prefix of a wrapper.
    path : pathlib.Path, optional
        Their file, for messages.  A copy of published weights is converted as registered, with
        the builder arguments of its catalog entry.
    ema : bool, optional
        As for :func:`lucid.weights.strip_prefix`.
    task : str, optional
        Ask only converters of this task.
    model : str, optional
        Registered name that decides between converters if several recognize the weights.

    Returns
    -------
    IdentifiedWeights or None
        None if no converter recognizes them.

    Raises
    ------
    lucid.StateDictError
        If a converter recognizes the weights, but no registered model has them, or several
        networks in them fit.
    lucid.WeightFileError
        If several converters recognize them; names all.
    lucid.PluginError
        If a converter fails and no other recognizes them.
    """
    entry = None if path is None else entry_of_file(path, model)
    if path is not None and entry is not None and task in (None, model_info(entry.model).task):
        return _published(entry, state_dict, path, ema)
    matches, faults = _matches(state_dict, path, ema, task)
    whole = [match for match in matches if not any(match.keys < other.keys for other in matches)]
    found = [(match.weights, match.notes) for match in whole if match.weights is not None]
    if len(found) > 1:
        found = [(weights, notes) for weights, notes in found if weights.name == model] or found
    if len(found) > 1:
        both = " and ".join(f"{weights.registered} as {weights.name}" for weights, _ in found)
        raise WeightFileError(
            f"{path or 'the state dict'}: several converters recognize the weights: {both}; "
            "disable the distribution of one by LUCID_DISABLE_PLUGINS"
        )
    if not found:
        errors: list[LucidError] = [match.error for match in whole if match.error is not None]
        for first in (*errors, *faults):
            raise first
        return None
    for fault in faults:
        warnings.warn(str(fault), PluginWarning, stacklevel=find_stack_level())
    weights, notes = found[0]
    for note in notes:
        warnings.warn(str(note.message), note.category, stacklevel=find_stack_level())
    return weights


def _published(
    entry: CatalogEntry, state_dict: Mapping[str, Any], path: Path, ema: bool | None
) -> IdentifiedWeights:
    """Describe the weights of a catalog entry."""
    info = model_info(entry.model)
    if entry.converter is None:
        own = RegisteredConverter("its own keys", "", "", info.task, (info.name,), entry.origin)
        state = dict(state_dict)
        return IdentifiedWeights(
            own, _OwnKeys(), info.name, dict(entry.arguments), state, {}, path, entry
        )
    for registered in weight_converters():
        if registered.name == entry.converter:
            match = _match(registered, state_dict, path, ema)
            # Converters return names without the distribution.
            names = (info.name, info.name.rpartition(":")[2])
            if match is None or match.weights is None or match.weights.name not in names:
                reason = "" if match is None or match.error is None else f": {match.error}"
                raise StateDictError(
                    f"expected weights of {info.name}, as registered by {entry.origin}, but "
                    f"{registered} does not recognize them{reason}"
                )
            arguments = {**match.weights.arguments, **entry.arguments}
            return replace(match.weights, name=info.name, arguments=arguments, entry=entry)
    raise PluginError(
        f"the weights {entry} of {entry.origin} need the weight converter {entry.converter!r}, "
        "which no plugin registers"
    )


class _OwnKeys(WeightConverter):
    """Converter for files with the model's own keys."""

    def rename(self, key: str) -> str:
        return key


@dataclass(frozen=True)
class _Match:
    """Result of one converter: weights or error, recognized keys, warnings to issue if used."""

    weights: IdentifiedWeights | None
    error: StateDictError | None
    keys: frozenset[str]
    notes: list[warnings.WarningMessage]


def _matches(
    state_dict: Mapping[str, Any], path: Path | None, ema: bool | None, task: str | None
) -> tuple[list[_Match], list[PluginError]]:
    """Return the results of all converters, and the errors of those that fail."""
    matches: list[_Match] = []
    faults: list[PluginError] = []
    for registered in weight_converters():
        if task is not None and task != registered.task:
            continue
        try:
            if (match := _match(registered, state_dict, path, ema)) is not None:
                matches.append(match)
        except PluginError as error:
            faults.append(error)
    return matches, faults


def _match(
    registered: RegisteredConverter,
    state_dict: Mapping[str, Any],
    path: Path | None,
    ema: bool | None,
) -> _Match | None:
    """Strip a wrapper's prefix and identify the model with one converter."""
    converter = registered.load()

    def known(key: str) -> object:
        return registered.call(converter.has_key, key)

    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            state = strip_prefix(state_dict, known, ema=ema, source=path or "the state dict")
    except StateDictError as error:
        return _Match(None, error, frozenset(), [])
    used = set(map(id, state.values()))
    keys = frozenset(key for key, value in state_dict.items() if id(value) in used)
    shapes = {key: tuple(np.shape(value)) for key, value in state.items()}
    try:
        answer = registered.call(converter.identify, shapes)
    except StateDictError as error:
        return _Match(None, error, keys, notes)
    if answer is None:
        return None
    name, arguments = _checked_answer(registered, answer)
    other_entries = {key: value for key, value in state_dict.items() if key not in keys}
    weights = IdentifiedWeights(registered, converter, name, arguments, state, other_entries, path)
    return _Match(weights, None, keys, notes)


def _checked_answer(registered: RegisteredConverter, answer: Any) -> tuple[str, dict[str, Any]]:
    if not (
        isinstance(answer, tuple)
        and len(answer) == 2
        and isinstance(answer[0], str)
        and isinstance(answer[1], dict)
    ):
        raise PluginError(
            f"{registered}: identify() must return (name, arguments) or None, got {answer!r:.100}"
        )
    name, arguments = answer
    if name not in registered.models:
        raise PluginError(
            f"{registered}: identify() returned the model {name!r}, which it is not registered "
            f"for; add it to models={registered.models!r}"
        )
    return name, dict(arguments)


def prefix_path(path: str | os.PathLike[str], error: StateDictError) -> str:
    """Return the message of an error, with the path of the file in front."""
    text, source = str(error), os.fspath(path)
    return text if text.startswith(source) else f"{source}: {text}"
