"""Check that image files can be read, without decoding them.

Reads the header, and the end of the file if the format has an end marker.  A file without the
expected end is decoded, so that no valid file is reported as damaged.  Damage in the middle of a
file is found only when the image is read.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lucid.data.file_cache import FileCache
from lucid.data.fingerprint import file_sha256
from lucid.special_files import special_kind
from lucid.vision.arrays import to_array
from lucid.vision.errors import ImageError, PixelLimitError
from lucid.vision.files import ImageHeader, open_file, open_image, parse_header, png_chunks
from lucid.vision.pixel_limit import pixel_limit

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = ["CheckedImage", "check_images", "find_duplicates"]

#: Modes that always convert to RGB; images of other modes are converted as a check.
_SAFE_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_SAFE_MODES |= {"I;16", "I;16B", "I;16L", "I;16N"}
#: Files per thread pool task.
_CHUNK = 32
_THREADS = 16
#: Bytes read at the start, middle and end for a fingerprint.
_SAMPLE = 4096
#: Padding after the end marker of JPEG and GIF files.
_PADDING = b"\0\r\n "
_CACHE = "image-headers-1"


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """Result of checking one image file.

    Attributes
    ----------
    header : ImageHeader or None
        Size and orientation; None if the file cannot be used.
    problem : str or None
        Reason, without the file name.
    missing : bool
        Whether the file does not exist.
    mode : str
        Pillow's mode, such as ``"RGB"``; empty if the file cannot be used.
    bytes : int
        Size of the file in bytes.
    fingerprint : str
        Hash of the size and parts of the content.  Different fingerprints mean different files;
        equal ones, most likely equal files.
    """

    header: ImageHeader | None
    problem: str | None = None
    missing: bool = False
    mode: str = ""
    bytes: int = 0
    fingerprint: str = ""


def check_images(
    paths: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str]
) -> dict[Path, CheckedImage]:
    """Check image files in several threads, with a progress bar.

    Results are cached on disk by path, size and modification time.

    Parameters
    ----------
    paths : iterable of path-like
        Image files; duplicates are checked once.
    root : path-like
        Data folder; each folder has its own cache.

    Returns
    -------
    dict of pathlib.Path to CheckedImage
        In the order of ``paths``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from lucid.vision import check_images
    >>> root = Path(tempfile.mkdtemp())
    >>> Image.new("L", (8, 6)).save(root / "1.png")
    >>> _ = (root / "2.png").write_bytes(b"no image")
    >>> first, second = check_images([root / "1.png", root / "2.png"], root).values()
    >>> first.header, second.header
    (ImageHeader(width=8, height=6, orientation=1), None)
    >>> second.problem.endswith("(not an image)")
    True
    """
    from tqdm import tqdm

    from lucid.vision.pillow import Image

    if isinstance(paths, str | os.PathLike):
        raise TypeError(f"paths: expected an iterable of paths, got the path {paths!r}")
    Image.init()  # not thread-safe
    wanted = list(dict.fromkeys(Path(path) for path in paths))
    chunks = [wanted[i : i + _CHUNK] for i in range(0, len(wanted), _CHUNK)]
    cache = FileCache(_CACHE, root)
    results: dict[Path, CheckedImage] = {}
    new: dict[Path, tuple[os.stat_result, list[Any]]] = {}

    def check(chunk: Sequence[Path]) -> list[tuple[CheckedImage, os.stat_result | None]]:
        return [_check_one(path, cache) for path in chunk]

    with (
        warnings.catch_warnings(action="ignore"),  # Pillow's, for example about metadata
        pixel_limit(),
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(
            total=len(wanted), desc="checking images", unit="image", leave=False, disable=None
        ) as bar,
    ):
        try:
            for chunk, found in zip(chunks, pool.map(check, chunks), strict=True):
                for path, (checked, computed) in zip(chunk, found, strict=True):
                    results[path] = checked
                    if computed is not None:
                        new[path] = computed, _to_row(checked)
                bar.update(len(chunk))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if new:
        cache.update(new)
    return results


def find_duplicates(checked: Mapping[Path, CheckedImage]) -> Iterator[list[Path]]:
    """Find files with the same content.

    Parameters
    ----------
    checked : mapping
        As :func:`check_images` returns it.

    Yields
    ------
    list of pathlib.Path
        Two or more files with equal bytes.
    """
    groups: dict[str, list[Path]] = {}
    for path, result in checked.items():
        if result.fingerprint:
            groups.setdefault(result.fingerprint, []).append(path)
    for group in groups.values():
        if len(group) < 2:
            continue
        if checked[group[0]].bytes <= 3 * _SAMPLE:  # the fingerprint covers all bytes
            yield group
            continue
        by_content: dict[str, list[Path]] = {}
        for path in group:
            by_content.setdefault(file_sha256(path), []).append(path)
        yield from (equal for equal in by_content.values() if len(equal) > 1)


def _check_one(path: Path, cache: FileCache) -> tuple[CheckedImage, os.stat_result | None]:
    """Check one file; also return its ``os.stat`` if the result should be cached."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        problem = "broken symlink" if path.is_symlink() else "no such file"
        return CheckedImage(None, problem, missing=True), None
    except (OSError, ValueError) as error:  # invalid file name
        return CheckedImage(None, str(error), missing=True), None
    if (kind := special_kind(status.st_mode)) is not None:
        return CheckedImage(None, f"expected an image file, got {kind}"), None
    kept = _from_row(cache.get(path, status), status.st_size)
    if kept is not None and not _over_limit(kept):
        return kept, None
    try:
        with open(path, "rb") as file:
            fingerprint = _fingerprint(file, status.st_size)
            file.seek(0)
            header, mode = _checked_header(file)
    except ImageError as error:
        problem = str(error).removeprefix(f"{path}: ")
        if not status.st_size:
            problem = "an empty file"
        # Another limit may apply next time.
        keep = None if isinstance(error, PixelLimitError) else status
        return CheckedImage(None, problem, bytes=status.st_size), keep
    except OSError as error:  # permissions or disk errors may change
        return CheckedImage(None, error.strerror or str(error), bytes=status.st_size), None
    checked = CheckedImage(header, mode=mode, bytes=status.st_size, fingerprint=fingerprint)
    return checked, status


def _over_limit(checked: CheckedImage) -> bool:
    """Whether a cached image exceeds the current pixel limit."""
    from lucid.vision.pillow import Image

    limit, header = Image.MAX_IMAGE_PIXELS, checked.header
    return limit is not None and header is not None and header.width * header.height > limit


def _checked_header(file: BinaryIO) -> tuple[ImageHeader, str]:
    with open_image(file) as image:
        header, mode = parse_header(image), image.mode
        if mode in _SAFE_MODES and _has_valid_end(image):
            return header, mode
        image.load()
        if mode not in _SAFE_MODES:
            to_array(image)
    return header, mode


def _has_valid_end(image: PillowImage) -> bool:
    """Whether the file has the end marker of its format; False if unknown."""
    file = open_file(image)
    if file is None:
        return False
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    try:
        match image.format:
            case "JPEG" | "MPO":
                return _tail(file, size).endswith(b"\xff\xd9")
            case "GIF":
                return _tail(file, size).endswith(b"\x3b")
            case "PNG":
                return any(kind == b"IEND" for kind, _ in png_chunks(file))
            case "WEBP":
                return _declared_size(file, 4) + 8 <= size
            case "BMP":
                return 0 < _declared_size(file, 2) <= size
        return False
    finally:
        file.seek(position)


def _tail(file: BinaryIO, size: int, length: int = 64) -> bytes:
    file.seek(max(size - length, 0))
    return file.read().rstrip(_PADDING)


def _declared_size(file: BinaryIO, offset: int) -> int:
    file.seek(offset)
    return int.from_bytes(file.read(4), "little")


def _fingerprint(file: BinaryIO, size: int) -> str:
    digest = hashlib.blake2b(str(size).encode(), digest_size=12)
    if size <= 3 * _SAMPLE:
        digest.update(file.read())
    else:
        for start in (0, size // 2, size - _SAMPLE):
            file.seek(start)
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def _to_row(checked: CheckedImage) -> list[Any]:
    if checked.header is None:
        return [checked.problem]
    header = checked.header
    return [header.width, header.height, header.orientation, checked.mode, checked.fingerprint]


def _from_row(row: Any, size: int) -> CheckedImage | None:
    match row:
        case [str(problem)]:
            return CheckedImage(None, problem, bytes=size)
        case [int(width), int(height), int(orientation), str(mode), str(fingerprint)]:
            header = ImageHeader(width, height, orientation)
            return CheckedImage(header, None, False, mode, size, fingerprint)
        case _:
            return None
