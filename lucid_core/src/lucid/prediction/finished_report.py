"""Reports that an earlier call has finished, read back to be completed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lucid.weights import atomic_write

__all__ = ["BYTES", "FinishedReport", "describe_differences", "save_description"]

#: What a record in a report calls the size of the image's file.
BYTES = "bytes"


class FinishedReport:
    """Read a finished report.

    Parameters
    ----------
    path : str
        A report of :class:`~lucid.prediction.ResultStore`, ``.jsonl`` or JSON.
    description : mapping
        What further results depend on.

    Raises
    ------
    ValueError
        If the file is no report, or its results depend on something else.
    """

    def __init__(self, path: str, description: Mapping[str, Any]) -> None:
        self.path = path
        self._records: Iterable[Any] | None = None
        anew = "leave out --resume to make it anew, or give another --output"
        if path.endswith(".jsonl"):
            about = _about(path)
            if not about.exists():
                raise ValueError(
                    f"{path}: is finished, but {about}, which says what it was made with, is "
                    f"missing; {anew}"
                )
            before = self._parsed(about.read_text(encoding="utf-8"))
        else:
            before = self._parsed(Path(path).read_text(encoding="utf-8"))
            try:
                self._records = [*before.pop("images"), *before.pop("failed")]
            except (KeyError, TypeError) as error:
                raise self._error(f"no {error}") from None
        if found := describe_differences(before, description):
            raise ValueError(f"{path}: is finished, and was made with {'; '.join(found)}; {anew}")

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of all images; those that failed have an ``error``."""
        if self._records is not None:
            yield from map(self._record, self._records)
            return
        with open(self.path, encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    yield self._record(self._parsed(line))

    def _parsed(self, text: str) -> dict[str, Any]:
        try:
            content = json.loads(text)
        except ValueError as error:
            raise self._error(str(error)) from None
        if not isinstance(content, dict):
            raise self._error(type(content).__name__)
        return content

    def _record(self, record: Any) -> dict[str, Any]:
        if not isinstance(record, dict) or not isinstance(record.get("image"), str):
            raise self._error(f"an entry without an image, {str(record)[:60]}")
        return record

    def _error(self, found: str) -> ValueError:
        return ValueError(
            f"{self.path}: expected a report to resume, got another file ({found}); leave out "
            "--resume to replace it, or give another --output"
        )


def save_description(path: str, description: Mapping[str, Any]) -> None:
    """Write what the results of a ``.jsonl`` report depend on, which its lines do not say."""
    with atomic_write(_about(path)) as file:
        file.write(json.dumps(description, indent=1).encode())


def describe_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in what two descriptions differ; the path of the weights does not count."""
    now = json.loads(json.dumps(now))  # as they are when they come from a file
    found = []
    for name in dict.fromkeys([*now, *before]):
        if name != "weights" and before.get(name) != now.get(name):
            label = "weights with SHA-256" if name == "sha256" else name
            found.append(f"{label} {_short(before.get(name))}, got {_short(now.get(name))}")
    return found


def _about(path: str) -> Path:
    return Path(f"{path}.run")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]}..."
