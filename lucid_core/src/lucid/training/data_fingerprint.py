"""Fingerprint of a run's data, compared when the run is resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lucid.data.fingerprint import (
    content_hashes,
    file_sha256,
    file_sizes,
    fingerprint,
)
from lucid.text import pluralize
from lucid.weights import atomic_write

__all__ = ["DataFingerprint"]

_MAX_LISTED = 3


@dataclass(frozen=True)
class DataFingerprint:
    """Digests of the files of a run's data, and sizes of its images.

    Locations are not part of it, so data can be moved.

    Parameters
    ----------
    files : mapping of str to str
        SHA-256 of single files, by option name.
    images : mapping of str to mapping
        Size in bytes of each image by relative path, by the option name of the folder.
    contents : mapping of str to mapping
        Likewise the :func:`~lucid.data.fingerprint.content_hashes`; empty if images are not opened.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    contents: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @classmethod
    def compute(
        cls,
        files: Mapping[str, str | None],
        folders: Mapping[str, tuple[Sequence[Path], Path]],
        *,
        contents: bool,
    ) -> DataFingerprint:
        """Compute the fingerprint of files and images.

        Parameters
        ----------
        files : mapping of str to str or None
            Paths of single files by option name; None is ignored.
        folders : mapping of str to (sequence of path, path)
            Images and the folder that contains them, by option name.
        contents : bool
            Whether to hash image contents too.
        """
        return cls(
            {name: file_sha256(path) for name, path in files.items() if path is not None},
            {name: file_sizes(*images) for name, images in folders.items()},
            {name: content_hashes(*images) for name, images in folders.items() if contents},
        )

    def summary(self) -> dict[str, Any]:
        """Return digests and counts as plain data; equal data have equal summaries."""
        return {
            "files": dict(self.files),
            "images": {
                name: {
                    "count": len(sizes),
                    "digest": fingerprint(sizes),
                    "contents": fingerprint(self.contents[name]) if name in self.contents else None,
                }
                for name, sizes in self.images.items()
            },
        }

    def save(self, path: Path) -> None:
        """Write the list of images, from which :meth:`differences` names those that differ."""
        content = {"sizes": self.images, "contents": self.contents}
        with atomic_write(path) as file:
            file.write(json.dumps(content, ensure_ascii=False, indent=0).encode(*_UTF8))

    def differences(self, before: Mapping[str, Any], path: Path) -> list[str]:
        """Describe the differences from an earlier fingerprint.

        Parameters
        ----------
        before : mapping
            :meth:`summary` of the earlier fingerprint.
        path : path
            File that its :meth:`save` wrote; without it, only counts are reported.

        Returns
        -------
        list of str
            One description for each option whose data differ.
        """
        found = [
            f"{name} is another file (SHA-256 {digest[:12]}..., was {was[:12]}...)"
            for name, digest in self.files.items()
            if (was := before["files"].get(name)) is not None and was != digest
        ]
        now = self.summary()["images"]
        changed = [
            name
            for name in now
            if name in before["images"] and _differs(before["images"][name], now[name])
        ]
        sizes, contents = _listed(path) if changed else ({}, {})
        for name in changed:
            number = pluralize(now[name]["count"], "image")
            text = f"{name} has {number}, had {before['images'][name]['count']}"
            if name in sizes:
                kinds = _compared(sizes[name], self.images[name])
                if name in contents and name in self.contents:
                    kinds["with other content"] = [
                        image
                        for image, content in self.contents[name].items()
                        if contents[name].get(image, content) != content
                        and sizes[name].get(image) == self.images[name][image]
                    ]
                text += f": {_describe(kinds)}"
            found.append(text)
        return found


_UTF8 = ("utf-8", "surrogateescape")  # file names may be any bytes


def _differs(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    known = (before.get("contents"), now["contents"])
    return before["digest"] != now["digest"] or (None not in known and known[0] != known[1])


_Listed = dict[str, dict[str, int]]


def _listed(path: Path) -> tuple[_Listed, _Listed]:
    """Read sizes and contents from a file of :meth:`DataFingerprint.save`."""
    try:
        listed = json.loads(path.read_bytes().decode(*_UTF8))
        return dict(listed["sizes"]), dict(listed["contents"])
    except (OSError, ValueError, LookupError, TypeError):  # only the names of the images are lost
        return {}, {}


def _compared(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the names of removed, added and resized images."""
    return {
        "removed": [name for name in before if name not in now],
        "added": [name for name in now if name not in before],
        "of another size": [name for name in now if before.get(name, now[name]) != now[name]],
    }


def _describe(kinds: Mapping[str, Sequence[str]]) -> str:
    parts = []
    for kind, names in kinds.items():
        if names:
            more = ", ..." if len(names) > _MAX_LISTED else ""
            parts.append(f"{len(names)} {kind} ({', '.join(names[:_MAX_LISTED])}{more})")
    return "; ".join(parts)
