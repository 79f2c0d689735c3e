"""What a run was trained on, to be compared when it is resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lucid.data.identity import identities_digest
from lucid.weights import atomic_write

__all__ = ["DataRecord"]

#: Names that an error lists of each kind of difference.
_SHOWN = 3


@dataclass(frozen=True)
class DataRecord:
    """Identity of the data of a run: digests of files, and the images by path and size.

    Where the files are does not matter, so data can be moved.

    Parameters
    ----------
    files : mapping of str to str
        SHA-256 of single files, by the option that names each.
    images : mapping of str to mapping
        Size in bytes of each image by its relative path, by the option that names the folder.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Plain data that decides whether two records are equal: digests and counts."""
        return {
            "files": dict(self.files),
            "images": {
                name: {"count": len(sizes), "digest": identities_digest(sizes)}
                for name, sizes in self.images.items()
            },
        }

    def save(self, path: Path) -> None:
        """Write the images, which name what differs later."""
        with atomic_write(path) as file:
            file.write(json.dumps(self.images, ensure_ascii=False, indent=0).encode(*_UTF8))

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
        changed = [name for name in now if now[name] != before["images"].get(name, now[name])]
        listed = _listed(path) if changed else {}
        for name in changed:
            text = f"{name} has {now[name]['count']} images, had {before['images'][name]['count']}"
            if name in listed:
                text += f": {_compared(listed[name], self.images[name])}"
            found.append(text)
        return found


_UTF8 = ("utf-8", "surrogateescape")  # names of files may be any bytes


def _listed(path: Path) -> dict[str, dict[str, int]]:
    try:
        listed = json.loads(path.read_bytes().decode(*_UTF8))
    except (OSError, ValueError):  # the summary has decided already
        return {}
    return listed if isinstance(listed, dict) else {}


def _compared(before: Mapping[str, int], now: Mapping[str, int]) -> str:
    """Say which images were removed, were added, or have another size."""
    kinds = {
        "removed": [name for name in before if name not in now],
        "added": [name for name in now if name not in before],
        "of another size": [name for name in now if before.get(name, now[name]) != now[name]],
    }
    return "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)})"
        for kind, names in kinds.items()
        if names
    )
