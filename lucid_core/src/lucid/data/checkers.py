"""Checkers of data sets: one per format, registered by plugins, used by ``lucid check-data``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lucid.data.layout_hints import layout_hint
from lucid.data.report import DataReport
from lucid.errors import PluginWarning
from lucid.models import zoo
from lucid.models.discovery import Plugin, describe_error

__all__ = ["DataChecker", "choose_checker", "data_checkers"]


@dataclass(frozen=True)
class DataChecker:
    """Checks data sets of one format.

    Attributes
    ----------
    name : str
        Name of the format, such as ``"coco"``; ``--format`` takes it.
    expects : str
        What such data are, for messages: ``"a COCO JSON file"``.
    fit : callable
        ``fit(data)`` says how well an existing file or folder fits: 0 not at all, 1 possibly,
        2 for certain.  It should read little.
    check : callable
        ``check(data, images, **options)`` gives a :class:`~lucid.data.report.DataReport`;
        ``images`` is the folder given as ``--images``, or None.  Problems are findings of the
        report, not exceptions.
    options : tuple of str, default ()
        Names of the options that ``check`` takes; each is given as text by ``--option
        NAME=VALUE``.

    Examples
    --------
    >>> from lucid.data.checkers import DataChecker
    >>> from lucid.data.report import DataReport
    >>> def check(data, images):
    ...     report = DataReport(str(data), unit="rows")
    ...     report.totals["rows"] = len(data.read_text().splitlines())
    ...     return report
    >>> checker = DataChecker("csv", "a CSV file", lambda data: 2 * (data.suffix == ".csv"), check)
    """

    name: str
    expects: str
    fit: Callable[[Path], int]
    check: Callable[..., DataReport]
    options: tuple[str, ...] = ()


def data_checkers() -> list[DataChecker]:
    """Checkers that the plugins register.

    Returns
    -------
    list of DataChecker
        In the order of the plugins.

    Warns
    -----
    PluginWarning
        If the hook of a plugin fails; its checkers are skipped.
    """
    return zoo.registry.collect(plugin_checkers, "data checkers")


def plugin_checkers(plugin: Plugin) -> list[DataChecker]:
    """Checkers that one plugin registers; whatever its hook raises comes out."""
    found: list[DataChecker] = []

    def register(checker: DataChecker) -> None:
        if not isinstance(checker, DataChecker):
            raise TypeError(
                f"expected a lucid.data.checkers.DataChecker, got {type(checker).__name__}"
            )
        found.append(checker)

    plugin.call_hook("lucid_register_data_checkers", register=register)
    return found


def choose_checker(data: Path, name: str | None = None) -> DataChecker:
    """The checker for a file or folder.

    Parameters
    ----------
    data : pathlib.Path
        The data.
    name : str, optional
        Name of the format.  Default: the one that fits best.

    Returns
    -------
    DataChecker
        The one checker that fits.

    Raises
    ------
    FileNotFoundError
        If ``data`` does not exist.
    ValueError
        If no format fits, several fit equally well, or none has this name.
    """
    checkers = data_checkers()
    known = "; ".join(f"{checker.name} ({checker.expects})" for checker in checkers)
    if not checkers:
        raise ValueError(
            "no installed plugin checks data; install lucid-models-classification or "
            "lucid-models-detection"
        )
    if name is not None:
        for checker in checkers:
            if checker.name == name:
                return checker
        raise ValueError(f"--format: expected one of {known}, got {name!r}")
    data.stat()  # raises if there is nothing
    fits = {checker.name: (_fit(checker, data), checker) for checker in checkers}
    best = max(fit for fit, _ in fits.values())
    if best == 0:
        hint = layout_hint(data) if data.is_dir() else ""
        remedy = hint or "if it is one of them, name it with --format"
        raise ValueError(f"{data}: expected data in one of the formats {known}; {remedy}")
    chosen = [checker for fit, checker in fits.values() if fit == best]
    if len(chosen) > 1:
        names = " or ".join(checker.name for checker in chosen)
        raise ValueError(f"{data}: fits several formats; give --format {names}")
    return chosen[0]


def _fit(checker: DataChecker, data: Path) -> int:
    """How well data fit; 0 with a warning if the checker fails."""
    try:
        return int(checker.fit(data))
    except (OSError, MemoryError):
        raise  # about the data
    except Exception as error:
        message = f"the data checker {checker.name!r} is skipped: {describe_error(error)}"
        warnings.warn(message, PluginWarning, stacklevel=3)
        return 0
