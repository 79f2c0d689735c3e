"""What a run was trained on, to be compared when it is resumed."""

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

#: Names that an error lists of each kind of difference.
_SHOWN = 3


@dataclass(frozen=True)
class DataFingerprint:
    """Identity of the data of a run: digests of files, and the images by path and size.

    Where the files are does not matter, so data can be moved.

    Parameters
    ----------
    files : mapping of str to str
        SHA-256 of single files, by the option that names each.
    images : mapping of str to mapping
        Size in bytes of each image by its relative path, by the option that names the folder.
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
        """Record files and images.

        Parameters
        ----------
        files : mapping of str to str or None
            Paths of single files; those that are None are left out.
        folders : mapping of str to (sequence of path, path)
            Images, and the folder that contains them.
        contents : bool
            Whether to open the images, too.
        """
        return cls(
            {name: file_sha256(path) for name, path in files.items() if path is not None},
            {name: file_sizes(*images) for name, images in folders.items()},
            {name: content_hashes(*images) for name, images in folders.items() if contents},
        )

    def summary(self) -> dict[str, Any]:
        """Plain data that decides whether two records are equal: digests and counts."""
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
        """Write the images, which name what differs later."""
        content = {"sizes": self.images, "contents": self.contents}
        with atomic_write(path) as file:
            file.write(json.dumps(content, ensure_ascii=False, indent=0).encode(*_UTF8))

    def differences(self, before: Mapping[str, Any], path: Path) -> list[str]:
        """Compare with what a run was started with.

        Parameters
        ----------
        before : mapping
            The :meth:`summary` of that time.
        path : path
            What :meth:`save` wrote then; without it, counts are all that can be said.

        Returns
        -------
        list of str
            One sentence for each option whose data differ.
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
                text += f": {_joined_ranks(kinds)}"
            found.append(text)
        return found


_UTF8 = ("utf-8", "surrogateescape")  # names of files may be any bytes


def _differs(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    known = (before.get("contents"), now["contents"])
    return before["digest"] != now["digest"] or (None not in known and known[0] != known[1])


_Listed = dict[str, dict[str, int]]


def _listed(path: Path) -> tuple[_Listed, _Listed]:
    """Sizes and contents in a file of :meth:`DataFingerprint.save`."""
    try:
        listed = json.loads(path.read_bytes().decode(*_UTF8))
        return dict(listed["sizes"]), dict(listed["contents"])
    except (OSError, ValueError, LookupError, TypeError):  # the summary has decided already
        return {}, {}


def _compared(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, list[str]]:
    """Names of the images that were removed, were added, or have another size."""
    return {
        "removed": [name for name in before if name not in now],
        "added": [name for name in now if name not in before],
        "of another size": [name for name in now if before.get(name, now[name]) != now[name]],
    }


def _joined_ranks(kinds: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)})"
        for kind, names in kinds.items()
        if names
    )
