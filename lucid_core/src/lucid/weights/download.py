"""Verified downloads of published weights into one folder.

==========================  =====================================================================
variable                    meaning
==========================  =====================================================================
``LUCID_HOME``              folder of Lucid's files, with weights in ``weights``; default: Lucid's
                            folder in the user's cache
``LUCID_OFFLINE``           ``1`` never uses the network
``LUCID_WEIGHTS_MIRROR``    https address or folder that has the files by their names in the cache,
                            used instead of the published addresses
==========================  =====================================================================

Proxies and certificates are those of requests (``HTTPS_PROXY``, ``NO_PROXY``,
``REQUESTS_CA_BUNDLE``).
"""

# pooch needs whole digests (torchvision publishes the first eight digits), has no lock between
# processes and follows redirects to http; huggingface_hub serves one host only.

from __future__ import annotations

import errno
import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from lucid.errors import WeightsDownloadError
from lucid.kernels.cache import user_cache_folder
from lucid.text import format_size
from lucid.weights.atomic_file import atomic_write
from lucid.weights.catalog import (
    DEFAULT,
    LOOPBACK_HOSTS,
    SIZE_TOLERANCE,
    CatalogEntry,
    catalog_entry,
    check_url,
    sha256_of,
)

if TYPE_CHECKING:
    import requests

__all__ = [
    "cached_path",
    "fetch",
    "fetch_entry",
    "remove_entry",
    "verify_entry",
    "weights_folder",
]

_MIRROR = "LUCID_WEIGHTS_MIRROR"
#: Seconds before the second and the third attempt.
_WAITS = (1.0, 4.0)
#: Longest wait in seconds that a server can ask for.
_LONGEST_WAIT = 30
#: Seconds to connect, and without a byte of the answer.
_TIMEOUTS = (10.0, 30.0)
_MAX_REDIRECTS = 10
_CHUNK = 2**20
#: Errors of file systems without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def fetch(model: str, tag: str = DEFAULT) -> Path:
    """Return the path of published weights, downloaded if they are not cached.

    Parameters
    ----------
    model : str
        Registered name or alias.
    tag : str, default "default"
        Tag of the weights, as listed by :func:`list_weights`.

    Returns
    -------
    pathlib.Path
        File in the cache whose SHA-256 was checked in this call.

    Raises
    ------
    UnknownModelError, UnknownWeightsError
        If there is no such model, or it has no such weights.
    WeightsDownloadError
        If the file is not cached and cannot be fetched.
    """
    return fetch_entry(catalog_entry(model, tag))


def fetch_entry(entry: CatalogEntry) -> Path:
    """Return the path of the weights of a catalog entry; see :func:`fetch`.

    A damaged file in the cache is replaced.
    """
    path = cached_path(entry)
    try:
        cached = verify_entry(entry)
        if cached:
            return path
        source = _find_source(entry, path, cached)
        with _lock(path):
            cached = verify_entry(entry)  # another process may have fetched it meanwhile
            if not cached:
                _print_start(entry, source, replaced=cached is False)
                if isinstance(source, Path):
                    _copy(entry, source)
                else:
                    _download(entry, source)
    except WeightsDownloadError:
        raise
    except OSError as error:
        raise _file_error(entry, path, error) from error
    return path


def verify_entry(entry: CatalogEntry) -> bool | None:
    """Return whether the cached file has the digest of its entry; None if it is not cached."""
    try:
        return sha256_of(cached_path(entry)).startswith(entry.sha256)
    except FileNotFoundError:
        return None


def remove_entry(entry: CatalogEntry) -> bool:
    """Remove the cached file of an entry; return whether there was one."""
    try:
        cached_path(entry).unlink()
    except FileNotFoundError:
        return False
    return True


def cached_path(entry: CatalogEntry) -> Path:
    """Return the path of the cached file of an entry, which need not exist."""
    return weights_folder() / entry.filename


def weights_folder() -> Path:
    """Return the folder of fetched weights, which need not exist.

    Raises
    ------
    WeightsDownloadError
        If ``LUCID_HOME`` is not set and the user has no home, or begins with that of no user.
    """
    if home := os.environ.get("LUCID_HOME"):
        return _folder(home, "LUCID_HOME") / "weights"
    try:
        return user_cache_folder() / "weights"
    except OSError as error:
        raise WeightsDownloadError(f"{error}; set LUCID_HOME to a folder") from error


def _folder(value: str, variable: str) -> Path:
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise WeightsDownloadError(
            f"{variable}: expected a folder, got {value}, the home of an unknown user; set an "
            "absolute path"
        ) from None


# --- source ---------------------------------------------------------------------------------------


def _find_source(entry: CatalogEntry, path: Path, cached: bool | None) -> str | Path:
    """Return the address or, from a mirror folder, the file to fetch from."""
    mirror = os.environ.get(_MIRROR, "").strip()
    if mirror and "://" not in mirror:
        folder = _folder(mirror, _MIRROR)
        if not folder.is_dir():
            raise WeightsDownloadError(
                f"{_MIRROR}: expected an https address or an existing folder, got {mirror}"
            )
        file = folder / entry.filename
        if not file.exists():
            raise WeightsDownloadError(_message(entry, file, os.strerror(errno.ENOENT)))
        return file
    if os.environ.get("LUCID_OFFLINE", "").strip().lower() not in ("", "0", "false"):
        state = "not cached" if cached is None else "damaged (wrong SHA-256)"
        raise WeightsDownloadError(
            f"{path}: {state}, and LUCID_OFFLINE forbids the download; run lucid weights fetch "
            f"{entry} on a machine with a network and copy {path.name} from there into "
            f"{path.parent}"
        )
    if not mirror:
        return entry.url
    try:
        check_url(mirror, _MIRROR)
        if urlsplit(mirror).query or urlsplit(mirror).fragment:
            raise ValueError("a file name cannot be appended")
    except ValueError:
        raise WeightsDownloadError(
            f"{_MIRROR}: expected an https address without query, or a folder, got "
            f"{_printable(mirror)}"
        ) from None
    return f"{mirror.rstrip('/')}/{quote(entry.filename)}"


def _printable(source: str | Path) -> str:
    """Return a source without password and query, which may hold secrets."""
    if isinstance(source, Path):
        return str(source)
    address, _, _ = source.partition("?")
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK_HOSTS


# --- errors ---------------------------------------------------------------------------------------


class _TemporaryError(WeightsDownloadError):
    """Failure that may pass; `wait` is the least number of seconds to the next attempt."""

    def __init__(self, message: str, wait: int = 0) -> None:
        super().__init__(message)
        self.wait = wait


def _message(entry: CatalogEntry, source: str | Path, problem: str, remedy: str = "") -> str:
    if not remedy and source == entry.url:
        remedy = f"set {_MIRROR}, or copy the file from elsewhere to {cached_path(entry)}"
    elif not remedy:
        remedy = f"put the published {entry.filename} there, or unset {_MIRROR}"
    return f"{_printable(source)}: {problem}; {remedy}"


def _file_error(entry: CatalogEntry, path: Path, error: OSError) -> WeightsDownloadError:
    """Return the error of a file operation in the cache."""
    where = error.filename or path
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = f"free {format_size(entry.size)}, or set LUCID_HOME to a folder on another disk"
    else:
        remedy = "set LUCID_HOME to a folder that you can read and write"
    failure = WeightsDownloadError(f"{where}: {error.strerror or error}; {remedy}")
    failure.errno = error.errno
    return failure


def _network_error(
    entry: CatalogEntry, url: str, error: requests.RequestException
) -> WeightsDownloadError:
    from requests import exceptions

    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        remedy = "set REQUESTS_CA_BUNDLE to the certificates of your network"
        problem = "the certificate of the server is not trusted"
        return WeightsDownloadError(_message(entry, url, problem, remedy))
    if isinstance(error, exceptions.ChunkedEncodingError):
        problem = "the connection broke off"
    elif isinstance(error, exceptions.Timeout) or "timed out" in str(error):
        problem = "timed out"
    elif isinstance(error, exceptions.ConnectionError):
        problem = f"cannot connect: {_reason(error)}"
    else:
        return WeightsDownloadError(_message(entry, url, str(error)))
    path = cached_path(entry)
    remedy = f"check the network and HTTPS_PROXY, or copy the file from elsewhere to {path}"
    return _TemporaryError(_message(entry, url, problem, remedy))


def _reason(error: BaseException) -> str:
    """Return the message of the system's error that caused an error of requests."""
    reason, cause = str(error), error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, OSError):
            reason = cause.strerror or str(cause)
        cause = cause.__cause__ or cause.__context__
    return reason


# --- transfer -------------------------------------------------------------------------------------


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Lock a file of the cache between processes; the system releases the lock of a dead one."""
    from filelock import FileLock, Timeout

    folder = path.parent / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{path.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _print(f"waiting for another process that fetches {path.name}")
        lock.acquire()
    except NotImplementedError:
        pass  # see below; the error of older versions of filelock
    except OSError as error:
        # Without a lock, two processes may both download; the file is replaced atomically anyway.
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def _copy(entry: CatalogEntry, source: Path) -> None:
    try:
        file = open(source, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        problem = error.strerror or str(error)
        raise WeightsDownloadError(_message(entry, source, problem)) from error
    with file:
        _write(entry, source, iter(lambda: file.read(_CHUNK), b""))


def _download(entry: CatalogEntry, url: str) -> None:
    import requests

    for wait in (*_WAITS, None):
        try:
            with _open(entry, url) as response:
                _check_response(entry, url, response)
                _write(entry, url, response.iter_content(_CHUNK))
            return
        except requests.RequestException as error:
            failure = _network_error(entry, url, error)
            cause: BaseException = error
        except _TemporaryError as error:
            failure = cause = error
        if wait is None or not isinstance(failure, _TemporaryError):
            raise WeightsDownloadError(str(failure)) from cause
        time.sleep(max(wait, failure.wait))


@contextmanager
def _open(entry: CatalogEntry, url: str) -> Iterator[requests.Response]:
    """Send a request and follow redirects, each to https."""
    import requests

    def check_redirect(response: requests.Response, **kwargs: object) -> None:
        location = session.get_redirect_target(response)
        if location is not None and not _may_follow(response.url, location):
            response.close()
            problem = f"redirected to {_printable(location)}, expected an https address"
            raise WeightsDownloadError(_message(entry, url, problem))

    with requests.Session() as session:
        session.max_redirects = _MAX_REDIRECTS
        session.hooks["response"].append(check_redirect)
        # Content-Length and progress count the bytes of the file, not of compressed data.
        session.headers["Accept-Encoding"] = "identity"
        # A proxy cannot reach this machine by its loopback address.
        proxies = {"http": "", "https": ""} if _is_loopback(url) else None
        with session.get(url, stream=True, timeout=_TIMEOUTS, proxies=proxies) as response:
            yield response


def _may_follow(address: str, location: str) -> bool:
    try:
        target = urljoin(address, location)
        check_url(target, "redirect")
    except ValueError:
        return False
    # Only this machine may redirect to http, which it alone can reach by a loopback address.
    return urlsplit(target).scheme == "https" or _is_loopback(address)


def _check_response(entry: CatalogEntry, url: str, response: requests.Response) -> None:
    """Refuse an answer before its body is read."""
    problem = f"the server answered {response.status_code} {response.reason}".strip()
    if response.status_code == 429 or response.status_code >= 500:
        wait = response.headers.get("Retry-After", "")
        raise _TemporaryError(
            _message(entry, url, problem, "try again later"),
            min(int(wait), _LONGEST_WAIT) if wait.isdecimal() else 0,
        )
    if response.status_code != 200:
        raise WeightsDownloadError(_message(entry, url, problem))
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        problem = "expected a weight file, got an HTML page"
        raise WeightsDownloadError(_message(entry, url, problem))
    length = response.headers.get("Content-Length", "")
    if length.isdecimal():
        _check_length(entry, url, int(length))


def _check_length(entry: CatalogEntry, source: str | Path, length: int) -> None:
    if abs(length - entry.size) > entry.size * SIZE_TOLERANCE:
        problem = f"expected {entry.size:,} bytes, got {length:,}"
        raise WeightsDownloadError(_message(entry, source, problem))


def _write(entry: CatalogEntry, source: str | Path, chunks: Iterable[bytes]) -> None:
    """Write the file under its final name if length and digest are right."""
    from tqdm import tqdm

    digest, length = hashlib.sha256(), 0
    bar = tqdm(
        total=entry.size,
        unit="iB",
        unit_scale=True,
        unit_divisor=1024,
        leave=False,
        disable=sys.stderr is None or not sys.stderr.isatty(),
    )
    with bar, atomic_write(cached_path(entry)) as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            length += len(chunk)
            bar.update(len(chunk))
            if length > entry.size * (1 + SIZE_TOLERANCE):  # may never end
                break
        _check_length(entry, source, length)
        found = digest.hexdigest()
        if not found.startswith(entry.sha256):
            problem = f"expected SHA-256 {entry.sha256}, got {found[: len(entry.sha256)]}"
            raise WeightsDownloadError(_message(entry, source, problem))


# --- messages -------------------------------------------------------------------------------------


def _print_start(entry: CatalogEntry, source: str | Path, replaced: bool) -> None:
    where = source.parent if isinstance(source, Path) else urlsplit(source).hostname
    verb = "replacing the damaged" if replaced else "fetching"
    described = f"{entry}, {format_size(entry.size)}, {entry.license}"
    _print(f"{verb} {entry.filename} ({described}) from {where}")


def _print(line: str) -> None:
    if sys.stderr is not None:  # it is None without a console
        print(line, file=sys.stderr, flush=True)
