"""Strip prefixes that wrapper modules add to state dict keys.

``torch.compile``, data parallel training, Lightning and self-supervised methods wrap a network,
so its ``conv1.weight`` is saved as ``module.conv1.weight`` or
``encoder_q.backbone.conv1.weight``.  The prefix is detected: it is the one whose removal gives
keys of the model.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Generic, TypeVar

from lucid.errors import StateDictError, WeightFileWarning, find_stack_level
from lucid.text import list_some

__all__ = ["is_ema_key", "rename_state_dict", "strip_prefix"]

Value = TypeVar("Value")

#: Attributes that wrappers of single layers insert into keys; never names of layers.
_TRANSPARENT = frozenset(
    ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
)
#: The same, and that of data parallel training, which may also be a layer name.
_PARALLEL = _TRANSPARENT | {"module"}
_EMA = re.compile(r"(?:.*_)?(?:ema|swa|teacher)(?:_.*)?", re.IGNORECASE)
#: Momentum encoders of self-supervised methods, which are not used for inference.
_MOMENTUM_COPY = re.compile(r"encoder_k|(?:target|momentum|key)(?:_.*)?")
#: Counters that EMA wrappers store.
_COUNTERS = frozenset(("n_averaged", "initted", "step", "steps"))
_MAX_PARTS = 24


def is_ema_key(key: str) -> bool:
    """Whether a component of a key marks an EMA of the weights."""
    return any(map(_EMA.fullmatch, key.split(".")))


def strip_prefix(
    state_dict: Mapping[str, Value],
    known: Callable[[str], object],
    *,
    ema: bool | None = None,
    source: object = "the state dict",
) -> dict[str, Value]:
    """Strip the prefix that a wrapper module added to the keys of a state dict.

    Components such as ``_orig_mod`` and ``module`` are also removed inside keys.  A state dict
    with matching keys is returned unchanged.

    Parameters
    ----------
    state_dict : mapping
        Values by key.
    known : callable
        Whether the model, or its converter, has a key.
    ema : bool, optional
        For a state dict with the raw weights and an exponential moving average (EMA, teacher):
        whether to use the EMA.  Default: the EMA, with a warning.
    source : object, default "the state dict"
        Source for messages, such as a path.

    Returns
    -------
    dict
        Entries under the prefix, without it.  Others are skipped with a
        :class:`lucid.WeightFileWarning`, except a head with its own prefix
        (``head.fc.weight`` next to ``backbone.conv1.weight``).

    Raises
    ------
    StateDictError
        If several networks match the model, or two keys become equal.

    Examples
    --------
    >>> from lucid.weights import strip_prefix
    >>> strip_prefix({"module.weight": 1, "module.bias": 2}, {"weight", "bias"}.__contains__)
    {'weight': 1, 'bias': 2}
    """
    best: _Candidate[Value] | None = None
    for removed in (frozenset[str](), _TRANSPARENT, _PARALLEL):
        candidate = _Candidate(state_dict, removed, known)
        if best is None or candidate.score > best.score:
            best = candidate
    assert best is not None
    if not best.score:
        return dict(state_dict)
    prefix = best.select(ema, source)
    if prefix == "" and best.copies:
        return {
            name: state_dict[key]
            for key, name in best.names.items()
            if not name.startswith(best.copies)
        }
    if prefix is None or (prefix == "" and not best.removed):
        return dict(state_dict)
    return best.under(prefix, source)


def rename_state_dict(
    state_dict: Mapping[str, Value], own: Container[str], convert: Callable[[str], str]
) -> dict[str, Value]:
    """Rename the keys of another library to those of a model.

    Parameters
    ----------
    state_dict : mapping
        Values by key.
    own : container of str
        Keys of the model, which are kept.
    convert : callable
        Maps a key of the other library to one of the model.

    Returns
    -------
    dict
        Values by new key.

    Raises
    ------
    StateDictError
        If two keys become equal.

    Examples
    --------
    >>> from lucid.weights import rename_state_dict
    >>> convert = {"conv1.weight": "stem.weight"}.get
    >>> rename_state_dict({"conv1.weight": 1}, {"stem.weight"}, lambda key: convert(key, key))
    {'stem.weight': 1}
    """
    names = {key: key if key in own else convert(key) for key in state_dict}
    origins: dict[str, str] = {}
    for key, name in names.items():
        if name in origins:
            raise StateDictError(f"{origins[name]!r} and {key!r} both map to {name!r}; remove one")
        origins[name] = key
    return {names[key]: value for key, value in state_dict.items()}


class _Candidate(Generic[Value]):
    """Keys without some components, and how many match the model under each prefix."""

    def __init__(
        self,
        state_dict: Mapping[str, Value],
        removed: frozenset[str],
        known: Callable[[str], object],
    ) -> None:
        self.state_dict = state_dict
        self.removed = removed
        self.known = known
        self.names = {key: _without(key, removed) for key in state_dict}
        #: Number of matching keys under each prefix.
        self.fitting: Counter[str] = Counter()
        for name in self.names.values():
            for prefix in _prefixes(name):
                if known(name[len(prefix) :]):
                    self.fitting[prefix] += 1
        self.score = max(self.fitting.values(), default=0)
        #: Prefixes of all copies of the network.
        self.copies: tuple[str, ...] = ()

    def select(self, ema: bool | None, source: object) -> str | None:
        """Return the prefix of the network; None if it has less than half of the keys."""
        if self.fitting[""] == self.score:
            return self._ema_prefix(ema, source)
        rivals = [prefix for prefix, n in self.fitting.items() if 2 * n > self.score]
        used = [prefix for prefix in rivals if not _has(_MOMENTUM_COPY, prefix)] or rivals
        averaged = [prefix for prefix in used if is_ema_key(prefix)]
        plain = [prefix for prefix in used if prefix not in averaged]
        covered = sum(1 for name in self.names.values() if name.startswith(tuple(rivals)))
        if 2 * covered < len(self.names):
            return None
        chosen = plain if ema is False or not averaged else averaged
        if not chosen:
            raise StateDictError(
                f"{source}: expected weights other than an EMA, got only {list_some(averaged)}; "
                "remove ema=False (--no-ema)"
            )
        if len(chosen) > 1:
            raise StateDictError(
                f"{source}: several networks match the model, under the prefixes "
                f"{list_some(chosen)}; save the state_dict() of one of them"
            )
        self.copies = tuple(used)
        if averaged and ema is None:
            raw = f"; {plain[0]!r} has the raw weights (ema=False or --no-ema)" if plain else ""
            _note(
                f"{source}: using the EMA of the weights, under the prefix {averaged[0]!r}"
                f"{raw or ', the only weights in the file'}"
            )
        prefix = chosen[0]
        below = sum(1 for name in self.names.values() if name.startswith(prefix))
        return prefix if 2 * self.fitting[prefix] >= below else None

    def _ema_prefix(self, ema: bool | None, source: object) -> str:
        """Return the prefix of an EMA next to keys without prefix, or ``""``."""
        averaged = [
            prefix
            for prefix, fitting in self.fitting.items()
            if is_ema_key(prefix) and 2 * fitting > self.score
        ]
        own = any(self.known(n) for n in self.names.values() if n.startswith(tuple(averaged)))
        if len(averaged) != 1 or own:
            return ""
        if ema is False:
            self.copies = (averaged[0],)
            return ""
        self.copies = (averaged[0], "")
        if ema is None:
            _note(
                f"{source}: using the EMA of the weights, under the prefix {averaged[0]!r}; the "
                "keys without it have the raw weights (ema=False or --no-ema)"
            )
        return averaged[0]

    def under(self, prefix: str, source: object) -> dict[str, Value]:
        """Return the entries under a prefix, without it, and a head under another prefix."""
        result: dict[str, Value] = {}
        origins: dict[str, str] = {}
        outside = []
        for key, name in self.names.items():
            if not name.startswith(prefix):
                outside.append(key)
                continue
            inner = name[len(prefix) :]
            if inner in origins:
                raise StateDictError(
                    f"{source}: {origins[inner]!r} and {key!r} would both become {inner!r}; "
                    "rename one"
                )
            origins[inner] = key
            result[inner] = self.state_dict[key]
        head = self._head(outside, result)
        result |= {inner: self.state_dict[key] for key, inner in head.items()}
        left = [
            key
            for key in outside
            if key not in head
            and not self.names[key].startswith(self.copies)
            and self.names[key].rpartition(".")[2] not in _COUNTERS
        ]
        if left or head:
            taken = f" and {list_some(head)}" if head else ""
            skipped = f"; skipped other entries ({len(left)}): {list_some(left)}" if left else ""
            _note(f"{source}: using the entries under the prefix {prefix!r}{taken}{skipped}")
        return result

    def _head(self, outside: list[str], result: Mapping[str, Value]) -> dict[str, str]:
        """Return new keys by old for the rest of the model under one other prefix."""
        parts: dict[str, dict[str, str]] = {}
        for key in outside:
            name = self.names[key]
            for prefix in _prefixes(name):
                if (inner := name[len(prefix) :]) not in result and self.known(inner):
                    parts.setdefault(prefix, {})[key] = inner
        whole = [
            part
            for prefix, part in parts.items()
            if prefix == "" or len(part) == sum(self.names[k].startswith(prefix) for k in outside)
        ]
        return whole[0] if len(whole) == 1 else {}


def _without(key: str, removed: frozenset[str]) -> str:
    if not removed:
        return key
    return ".".join(part for part in key.split(".") if part not in removed)


def _prefixes(name: str) -> Iterable[str]:
    yield ""
    end = name.find(".")
    for _ in range(_MAX_PARTS):
        if end < 0:
            return
        yield name[: end + 1]
        end = name.find(".", end + 1)


def _has(pattern: re.Pattern[str], prefix: str) -> bool:
    return any(map(pattern.fullmatch, prefix.split(".")))


def _note(text: str) -> None:
    warnings.warn(text, WeightFileWarning, stacklevel=find_stack_level())
