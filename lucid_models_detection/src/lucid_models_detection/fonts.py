"""Select fonts that have the characters of class names.

Pillow's own font has Latin characters.  Other characters are drawn in a system font; none is
bundled.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from PIL import ImageFont

from lucid.errors import LucidWarning

__all__ = ["choose_font"]

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SUFFIXES = (".ttf", ".otf", ".ttc")

#: Name parts of fonts whose glyphs do not show the characters.
_PLACEHOLDER_FONTS = ("lastresort", "blank", "emoji", "symbol", "icon")

#: A Unicode noncharacter, which no font has a glyph for.
_NONCHARACTER = "\U0010fffe"


def choose_font(text: str, size: int) -> tuple[str, Font]:
    """Return a drawable form of a line of text and a font that has its characters.

    Characters missing in all system fonts become escapes such as ``\\u732b``, with a
    :class:`~lucid.errors.LucidWarning` once per process.
    """
    text = unicodedata.normalize("NFC", text)
    foreign = frozenset(char for char in text if not char.isascii() and char.isprintable())
    path, lacking = _find_font(foreign)
    if lacking:
        _warn(lacking)
    shown = "".join(
        char if char.isprintable() and char not in lacking else _escape(char) for char in text
    )
    return shown, _open(path, size)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


@functools.cache
def _open(path: str | None, size: int) -> Font:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


@functools.lru_cache(maxsize=256)
def _find_font(chars: frozenset[str]) -> tuple[str | None, frozenset[str]]:
    """Return the font with the fewest missing characters (Pillow's own first), and those."""
    best, lacking = None, _missing_glyphs(None, chars)
    for path in _system_fonts() if lacking else ():
        if not lacking:
            break
        try:
            missing = _missing_glyphs(path, chars)
        except OSError:  # damaged, or a bitmap font of another size
            continue
        if len(missing) < len(lacking) and not _missing_glyphs(path, frozenset("Aa0.")):
            best, lacking = path, missing
    return best, lacking


def _missing_glyphs(path: str | None, chars: frozenset[str]) -> frozenset[str]:
    """Return the characters that a font draws like a missing one."""
    font = _open(path, 16)
    if not isinstance(font, ImageFont.FreeTypeFont):  # Pillow without FreeType
        return frozenset(char for char in chars if not char.isascii())
    missing = _glyph(font, _NONCHARACTER)
    return frozenset(char for char in chars if _glyph(font, char) == missing)


def _glyph(font: ImageFont.FreeTypeFont, char: str) -> tuple[Any, bytes]:
    mask = font.getmask(char)
    return mask.size, bytes(mask)


@functools.cache
def _system_fonts() -> tuple[str, ...]:
    """Return the font files of the system, upright sans-serif fonts first."""
    found = {
        os.path.join(folder, name)
        for root in _font_folders()
        for folder, _, names in os.walk(root, followlinks=True)
        for name in names
        if name.lower().endswith(_SUFFIXES)
    }
    return tuple(sorted(filter(_has_glyphs, found), key=_rank))


def _has_glyphs(path: str) -> bool:
    name = os.path.basename(path).lower()
    return not any(part in name for part in _PLACEHOLDER_FONTS)


def _rank(path: str) -> tuple[int, str]:
    name = os.path.basename(path).lower()
    odd = ("bold", "italic", "oblique", "light", "thin", "black", "condensed", "mono", "serif")
    count = sum(part in name.replace("sansserif", "") for part in odd)
    return 2 * count + ("sans" not in name), path


def _font_folders() -> Iterator[str]:
    home = Path.home() if os.environ.get("HOME") or os.name == "nt" else Path("/nonexistent")
    if sys.platform == "win32":
        yield os.path.join(os.environ.get("WINDIR", r"C:\Windows"), "Fonts")
        yield str(home / "AppData" / "Local" / "Microsoft" / "Windows" / "Fonts")
    elif sys.platform == "darwin":
        yield from ("/System/Library/Fonts", "/Library/Fonts", str(home / "Library" / "Fonts"))
    else:
        shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        data = os.environ.get("XDG_DATA_HOME") or str(home / ".local" / "share")
        yield from (os.path.join(folder, "fonts") for folder in [data, *shared.split(":")])
        yield from (str(home / ".fonts"), "/usr/share/fonts", "/usr/share/X11/fonts")
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin is not None:  # bundles fonts
        yield str(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf")


@functools.cache
def _warn(lacking: frozenset[str]) -> None:
    chars = sorted(lacking)
    shown = " ".join(chars[:20]) + (f" and {len(chars) - 20} more" if len(chars) > 20 else "")
    warnings.warn(
        f"no font of this system has {shown}; drawn as escapes such as {_escape(chars[0])} "
        "(install a font that has them, such as Noto Sans CJK)",
        LucidWarning,
        stacklevel=2,
    )
