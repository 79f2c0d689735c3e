"""Pipes, sockets and devices: special files, which may block forever when read as data."""

from __future__ import annotations

import stat

__all__ = ["special_kind"]

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def special_kind(mode: int) -> str | None:
    """Return the kind of a file that is neither a regular file nor a folder.

    Parameters
    ----------
    mode : int
        ``st_mode`` of the file (of the target of a symbolic link).

    Returns
    -------
    str or None
        Such as ``"a named pipe"``; None for regular files and folders.
    """
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return _KINDS.get(stat.S_IFMT(mode), "a special file")
