"""Version range of ``lucid-core`` that a new plugin requires."""

from __future__ import annotations

__all__ = ["core_requirement"]


def core_requirement(version: str) -> str:
    """Return the requirement on ``lucid-core`` for a plugin written against a version.

    Parameters
    ----------
    version : str
        Version of the core (PEP 440).

    Returns
    -------
    str
        Requirement from that version up to the next major version or, before 1.0, the next
        minor version.

    Examples
    --------
    >>> core_requirement("0.3.2"), core_requirement("2.1")
    ('lucid-core>=0.3.2,<0.4', 'lucid-core>=2.1,<3')
    """
    from packaging.version import Version

    parsed = Version(version)
    ceiling = f"0.{parsed.minor + 1}" if parsed.major == 0 else f"{parsed.major + 1}"
    return f"lucid-core>={parsed.public},<{ceiling}"
