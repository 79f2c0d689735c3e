"""Data checkers, one per format, registered by plugins for ``lucid check-data``."""

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
    """Checker of data sets in one format.

    Attributes
    ----------
    name : str
        Name of the format, such as ``"coco"``; ``--format`` takes it.
    expects : str
        Description of the data for messages: ``"a COCO JSON file"``.
    fit : callable
        ``fit(data)`` scores an existing file or folder: 0 does not match, 1 may match, 2
        matches.  It should read little.
    check : callable
        ``check(data, images, **options)`` returns a :class:`~lucid.data.report.DataReport`;
        ``images`` is the folder ``--images``, or None.  Problems are findings of the report,
        not exceptions.
    options : tuple of str, default ()
        Names of the options of ``check``, set with ``--option NAME=VALUE``; values are str.

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
    """Return the checkers registered by plugins.

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
    """Return the checkers of one plugin; errors of its hook propagate."""
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
    """Choose the checker for a file or folder.

    Parameters
    ----------
    data : pathlib.Path
        The data.
    name : str, optional
        Format name.  Default: the best match.

    Returns
    -------
    DataChecker
        The checker.

    Raises
    ------
    FileNotFoundError
        If ``data`` does not exist.
    ValueError
        If no format matches, several match equally well, or the name is unknown.
    """
    checkers = data_checkers()
    known = "; ".join(f"{checker.name} ({checker.expects})" for checker in checkers)
    if not checkers:
        raise ValueError(
            "expected a plugin that checks data, found none; install lucid-models-classification "
            "or lucid-models-detection"
        )
    if name is not None:
        for checker in checkers:
            if checker.name == name:
                return checker
        raise ValueError(f"--format: expected one of {known}, got {name!r}")
    data.stat()  # raises if it is missing
    fits = {checker.name: (_fit(checker, data), checker) for checker in checkers}
    best = max(fit for fit, _ in fits.values())
    if best == 0:
        hint = layout_hint(data) if data.is_dir() else ""
        remedy = hint or "if it is one of them, give --format"
        raise ValueError(f"{data}: expected one of the formats {known}; {remedy}")
    chosen = [checker for fit, checker in fits.values() if fit == best]
    if len(chosen) > 1:
        names = " or ".join(checker.name for checker in chosen)
        raise ValueError(f"{data}: matches several formats; give --format {names}")
    return chosen[0]


def _fit(checker: DataChecker, data: Path) -> int:
    """Return the score of a checker; 0 with a warning if it fails."""
    try:
        return int(checker.fit(data))
    except (OSError, MemoryError):
        raise  # an error of the data
    except Exception as error:
        message = f"the data checker {checker.name!r} is skipped: {describe_error(error)}"
        warnings.warn(message, PluginWarning, stacklevel=3)
        return 0
