"""Finished reports, read to add results with ``--resume``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lucid.weights import atomic_write

__all__ = ["BYTES", "FinishedReport", "describe_differences", "save_description"]

#: Key of the image file's size in a record.
BYTES = "bytes"


class FinishedReport:
    """Finished report; raises ValueError if damaged or its settings are not `description`."""

    def __init__(self, path: str, description: Mapping[str, Any]) -> None:
        self.path = path
        self._records: Iterable[Any] | None = None
        remedy = "remove --resume to start over, or choose another --output"
        if path.endswith(".jsonl"):
            settings = _settings_file(path)
            if not settings.exists():
                raise ValueError(
                    f"{path} is complete, but the file with its settings is missing ({settings}); "
                    f"{remedy}"
                )
            before = self._parsed(settings.read_text(encoding="utf-8"))
        else:
            before = self._parsed(Path(path).read_text(encoding="utf-8"))
            try:
                self._records = [*before.pop("images"), *before.pop("failed")]
            except (KeyError, TypeError) as error:
                raise self._error(f"no {error}") from None
        if found := describe_differences(before, description):
            raise ValueError(
                f"{path}: cannot resume with other settings, expected {'; '.join(found)}; {remedy}"
            )

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records of all images; failed ones have an ``error``."""
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
            f"{self.path}: expected a report to resume, got another file ({found}); remove "
            "--resume to replace it, or choose another --output"
        )


def save_description(path: str, description: Mapping[str, Any]) -> None:
    """Write the settings of a ``.jsonl`` report to ``PATH.run``."""
    with atomic_write(_settings_file(path)) as file:
        file.write(json.dumps(description, indent=1).encode())


def describe_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the differences of two descriptions; the path of the weights is ignored."""
    now = json.loads(json.dumps(now))  # JSON turns tuples into lists
    found = []
    for name in dict.fromkeys([*now, *before]):
        if name != "weights" and before.get(name) != now.get(name):
            label = "weights with SHA-256" if name == "sha256" else name
            found.append(f"{label} {_short(before.get(name))}, got {_short(now.get(name))}")
    return found


def _settings_file(path: str) -> Path:
    return Path(f"{path}.run")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]}..."
