"""Downloads of published weights from a server on this machine, with and without faults."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lucid.errors import UnknownWeightsError, WeightsDownloadError
from lucid.weights import CatalogEntry, download, fetch
from lucid.weights.download import (
    cached_path,
    fetch_entry,
    remove_entry,
    verify_entry,
    weights_folder,
)

BODY = bytes(range(256)) * 160
SHA256 = hashlib.sha256(BODY).hexdigest()
NAME = f"toy-{SHA256[:8]}.pth"


class Server:
    """Web server on 127.0.0.1 that answers GET with `answer` and records the paths."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        #: Answers of the next requests, before `answer`.
        self.script: list[Callable[[Any], None]] = []
        self.answer: Callable[[Any], None] = send()
        #: Set to end answers that hang.
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.paths.append(self.path)
                outer.headers.append(dict(self.headers))
                answer = outer.script.pop(0) if outer.script else outer.answer
                with suppress(ConnectionError):
                    answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        # The default poll of half a second would delay each test.
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()


def send(body: bytes = BODY, status: int = 200, **headers: str | None) -> Callable[[Any], None]:
    """Answer with a body; headers have underscores for hyphens, and None for no such header."""

    def answer(handler: Any) -> None:
        handler.send_response(status)
        lines = {"Content_Length": str(len(body)), "Connection": "close"} | headers
        for name, value in lines.items():
            if value is not None:
                handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def send_part(then: Callable[[], object] = lambda: None) -> Callable[[Any], None]:
    """Answer with the first half of the body, call `then` and close the connection."""

    def answer(handler: Any) -> None:
        send(BODY[: len(BODY) // 2], Content_Length=str(len(BODY)))(handler)
        handler.wfile.flush()
        then()

    return answer


def close(handler: Any) -> None:
    handler.close_connection = True


def redirect(location: str) -> Callable[[Any], None]:
    return send(b"", 302, Location=location)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LUCID_HOME in a folder of the test; short waits; proxies that do not exist."""
    for name in ("LUCID_OFFLINE", "LUCID_WEIGHTS_MIRROR", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
    monkeypatch.setenv("LUCID_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "_WAITS", (0.0, 0.0))
    return tmp_path / "home"


@pytest.fixture
def entry(server: Server) -> CatalogEntry:
    return CatalogEntry(
        "toy_model", "first", f"{server.url}/files/{NAME}", SHA256[:8], len(BODY), "MIT", "test"
    )


def files(folder: Path) -> list[str]:
    """Return the files of the cache but its lock files."""
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def put(entry: CatalogEntry, content: bytes = BODY) -> Path:
    path = cached_path(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- folders --------------------------------------------------------------------------------------


def test_weights_folder_is_in_lucid_home(home: Path) -> None:
    assert weights_folder() == home / "weights"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG_CACHE_HOME is for others")
def test_weights_folder_is_not_in_the_cache_of_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LUCID_HOME")
    for name in ("LUCID_CACHE_DIR", "NUMBA_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights_folder() == tmp_path / "cache" / "lucid" / "weights"


def test_without_home_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("LUCID_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(WeightsDownloadError, match="LUCID_HOME"):
        weights_folder()


@pytest.mark.parametrize("variable", ["LUCID_HOME", "LUCID_WEIGHTS_MIRROR"])
def test_home_of_an_unknown_user(
    entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "~no-such-user/weights")
    with pytest.raises(WeightsDownloadError, match=f"^{variable}: .*~no-such-user/weights"):
        fetch_entry(entry)


def test_cached_path_has_the_name_of_the_entry(home: Path, entry: CatalogEntry) -> None:
    assert cached_path(entry) == home / "weights" / NAME
    other = replace(entry, url="https://example.org/other.pth?download=1")
    assert cached_path(other) == home / "weights" / f"other-{SHA256[:8]}.pth"


# --- download and cache ---------------------------------------------------------------------------


def test_file_is_downloaded_once(server: Server, entry: CatalogEntry) -> None:
    path = fetch_entry(entry)
    assert path == cached_path(entry)
    assert path.read_bytes() == BODY
    assert fetch_entry(entry) == path
    assert server.paths == [f"/files/{NAME}"]
    assert files(path.parent) == [NAME]


def test_whole_digest_is_checked(entry: CatalogEntry) -> None:
    assert fetch_entry(replace(entry, sha256=SHA256)).read_bytes() == BODY
    assert remove_entry(entry)
    wrong = SHA256[:-1] + ("0" if SHA256[-1] != "0" else "1")
    with pytest.raises(WeightsDownloadError, match=f"expected SHA-256 {wrong}, got {SHA256}"):
        fetch_entry(replace(entry, sha256=wrong))


def test_size_may_be_rounded(entry: CatalogEntry) -> None:
    assert fetch_entry(replace(entry, size=len(BODY) - 10)).read_bytes() == BODY


def test_one_line_describes_the_download(
    entry: CatalogEntry, capfd: pytest.CaptureFixture[str]
) -> None:
    fetch_entry(entry)
    out, err = capfd.readouterr()
    assert (out, err) == (
        "",
        f"fetching {NAME} (toy_model first, 0.0 MiB, MIT) from 127.0.0.1\n",
    )
    fetch_entry(entry)
    assert capfd.readouterr() == ("", "")


def test_terminal_has_a_bar(
    entry: CatalogEntry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch_entry(entry)
    assert re.search(r"\r +0%\|.*\| 0\.00/40\.0k ", capsys.readouterr().err)


def test_without_console_nothing_is_written(
    entry: CatalogEntry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert fetch_entry(entry).read_bytes() == BODY
    assert capsys.readouterr().out == ""


def test_body_is_not_compressed_on_the_way(server: Server, entry: CatalogEntry) -> None:
    fetch_entry(entry)
    assert server.headers[0]["Accept-Encoding"] == "identity"


def test_damaged_file_is_replaced(
    server: Server, entry: CatalogEntry, capfd: pytest.CaptureFixture[str]
) -> None:
    path = put(entry, BODY[:-1])
    assert fetch_entry(entry).read_bytes() == BODY
    assert capfd.readouterr().err.startswith(f"replacing the damaged {NAME} ")
    assert files(path.parent) == [NAME]


def test_damaged_file_stays_if_the_download_fails(server: Server, entry: CatalogEntry) -> None:
    server.answer = send(b"", 404)
    path = put(entry, b"damaged")
    with pytest.raises(WeightsDownloadError, match="404"):
        fetch_entry(entry)
    assert path.read_bytes() == b"damaged"


def test_cached_file_needs_no_write(server: Server, entry: CatalogEntry) -> None:
    path = put(entry)
    assert fetch_entry(entry) == path
    assert [child.name for child in path.parent.iterdir()] == [NAME]  # no lock either
    assert server.paths == []


def test_verify_and_remove(entry: CatalogEntry) -> None:
    assert verify_entry(entry) is None
    assert remove_entry(entry) is False
    put(entry)
    assert verify_entry(entry) is True
    put(entry, BODY[:-1])
    assert verify_entry(entry) is False
    assert remove_entry(entry) is True
    assert verify_entry(entry) is None


def test_fetch_by_name(environment, server: Server, entry: CatalogEntry) -> None:
    plugin = f"""
        import lucid

        @lucid.hookimpl
        def lucid_register_models(register):
            register(
                "toy_model", "toy_plugin.builders:toy_model", task="testing", family="toy",
                total_parameters=6, summary="A toy", input_shape=(1, 2),
            )

        @lucid.hookimpl
        def lucid_register_weights(register):
            register(
                "toy_model", "first", url={entry.url!r}, sha256={entry.sha256!r},
                size={entry.size}, license="MIT", source="test",
            )
        """
    environment.add("toy-plugin", plugin=plugin, builders="def toy_model(): ...\n")
    assert fetch("toy_model").read_bytes() == BODY
    assert fetch("toy_model", "FIRST") == cached_path(entry)
    with pytest.raises(UnknownWeightsError, match="second"):
        fetch("toy_model", "second")
    assert len(server.paths) == 1


# --- answers that are refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (send(b"", 404), "404 Not Found"),
        (send(b"", 403), "403 Forbidden"),
        (send(b"", 204), "204 No Content"),
        (send(BODY, Content_Type="text/html; charset=utf-8"), "got an HTML page"),
        (send(b"", Content_Length="42000"), "expected 40,960 bytes, got 42,000"),
        (send(b"", Content_Length="40000"), "expected 40,960 bytes, got 40,000"),
        (send(BODY[:-1000], Content_Length=None), "expected 40,960 bytes, got 39,960"),
        (send(BODY[:-1] + b"\0"), f"expected SHA-256 {SHA256[:8]}, got [0-9a-f]{{8}};"),
    ],
    ids=["404", "403", "204", "html", "long", "short", "body", "digest"],
)
def test_wrong_answer_is_refused(
    server: Server, entry: CatalogEntry, answer: Callable[[Any], None], problem: str
) -> None:
    server.answer = answer
    with pytest.raises(WeightsDownloadError, match=problem) as caught:
        fetch_entry(entry)
    assert str(caught.value).startswith(f"{entry.url}: ")
    assert str(cached_path(entry)) in str(caught.value)
    assert type(caught.value) is WeightsDownloadError
    assert files(weights_folder()) == []
    assert len(server.paths) == 1


def test_body_of_unknown_length_is_limited(server: Server, entry: CatalogEntry) -> None:
    sent = 0

    def endless(handler: Any) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while not server.closing.is_set():
            sent += handler.wfile.write(bytes(1 << 16))

    server.answer = endless
    with pytest.raises(WeightsDownloadError, match="expected 40,960 bytes"):
        fetch_entry(entry)
    assert files(weights_folder()) == []
    assert sent < 1 << 27


# --- faults that may pass -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [send(b"", 429), send(b"", 500), send(b"", 503), send_part(), close],
    ids=["429", "500", "503", "broken off", "closed"],
)
def test_temporary_fault_is_retried(
    server: Server, entry: CatalogEntry, fault: Callable[[Any], None]
) -> None:
    server.script = [fault, fault]
    path = fetch_entry(entry)
    assert path.read_bytes() == BODY
    assert len(server.paths) == 3
    assert files(path.parent) == [NAME]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [(send(b"", 502), "502 Bad Gateway"), (send_part(), "broke off")],
    ids=["502", "broken off"],
)
def test_three_attempts_are_made(
    server: Server, entry: CatalogEntry, fault: Callable[[Any], None], problem: str
) -> None:
    server.answer = fault
    with pytest.raises(WeightsDownloadError, match=problem) as caught:
        fetch_entry(entry)
    assert type(caught.value) is WeightsDownloadError
    assert len(server.paths) == 3
    assert files(weights_folder()) == []


def test_waits_grow_and_follow_retry_after(
    server: Server, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(download, "_WAITS", (1.0, 4.0))
    monkeypatch.setattr(download.time, "sleep", waits.append)
    server.script = [send(b"", 500), send(b"", 500)]
    fetch_entry(entry)
    remove_entry(entry)
    server.script = [send(b"", 429, Retry_After="3"), send(b"", 429, Retry_After="9000")]
    fetch_entry(entry)
    assert waits == [1, 4, 3, 30]


@pytest.mark.parametrize("part", [False, True], ids=["answer", "body"])
def test_silent_server_times_out(
    server: Server, entry: CatalogEntry, part: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_TIMEOUTS", (0.1, 0.1))
    server.answer = send_part(server.closing.wait) if part else lambda _: server.closing.wait()
    with pytest.raises(WeightsDownloadError, match=rf"{NAME}: timed out; "):
        fetch_entry(entry)
    assert len(server.paths) == 3
    assert files(weights_folder()) == []


def test_refused_connection(entry: CatalogEntry) -> None:
    closed = replace(entry, url="http://127.0.0.1:1/w.pth")
    with pytest.raises(WeightsDownloadError, match=os.strerror(errno.ECONNREFUSED)):
        fetch_entry(closed)


def test_unknown_host(entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    unknown = replace(entry, url=f"https://unknown.invalid/{NAME}")
    with pytest.raises(WeightsDownloadError, match=r"cannot connect: .*; check the network"):
        fetch_entry(unknown)


def test_proxy_is_used_for_other_hosts(
    server: Server, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    monkeypatch.setenv("https_proxy", server.url)
    # The test server does not know CONNECT, which says 501.
    with pytest.raises(WeightsDownloadError, match="501"):
        fetch_entry(replace(entry, url=f"https://example.invalid/{NAME}"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_certificate_is_checked(
    server: Server, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=toy"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key)]
    subprocess.run(
        [*command.split(), *names, "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    secure = replace(entry, url=entry.url.replace("http:", "https:"))
    with pytest.raises(WeightsDownloadError, match="not trusted; set REQUESTS_CA_BUNDLE"):
        fetch_entry(secure)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert fetch_entry(secure).read_bytes() == BODY


# --- redirects ------------------------------------------------------------------------------------


def test_redirect_is_followed(server: Server, entry: CatalogEntry) -> None:
    server.script = [redirect("/elsewhere?key=1"), redirect(f"{server.url}/third")]
    assert fetch_entry(entry).read_bytes() == BODY
    assert server.paths == [f"/files/{NAME}", "/elsewhere?key=1", "/third"]


@pytest.mark.parametrize(
    "location", ["http://example.org/w.pth?key=secret", "ftp://example.org/w.pth", "http://["]
)
def test_redirect_without_https_is_refused(
    server: Server, entry: CatalogEntry, location: str
) -> None:
    server.script = [redirect(f"{server.url}/second"), redirect(location)]
    with pytest.raises(WeightsDownloadError, match=r"^http://127\S+: redirected to ") as caught:
        fetch_entry(entry)
    assert "secret" not in str(caught.value)
    assert server.paths == [f"/files/{NAME}", "/second"]


def test_redirect_to_this_machine_is_refused(
    server: Server, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if 127.0.0.1 were another machine.
    monkeypatch.setattr(download, "LOOPBACK_HOSTS", {"localhost"})
    monkeypatch.setenv("NO_PROXY", "*")
    server.script = [redirect(server.url.replace("127.0.0.1", "localhost"))]
    with pytest.raises(WeightsDownloadError, match="redirected to http://localhost"):
        fetch_entry(entry)
    assert len(server.paths) == 1


def test_endless_redirects_are_refused(server: Server, entry: CatalogEntry) -> None:
    server.answer = redirect("/again")
    with pytest.raises(WeightsDownloadError, match="10 redirects"):
        fetch_entry(entry)
    assert len(server.paths) == 11


# --- offline and mirrors --------------------------------------------------------------------------


def test_offline_reads_only_the_cache(
    server: Server, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCID_OFFLINE", "1")
    path = cached_path(entry)
    with pytest.raises(WeightsDownloadError, match="lucid weights fetch toy_model first") as caught:
        fetch_entry(entry)
    assert str(caught.value).startswith(f"{path}: not cached")
    assert str(caught.value).endswith(f"into {path.parent}")
    put(entry, b"damaged")
    with pytest.raises(WeightsDownloadError, match=re.escape(f"{path}: damaged")):
        fetch_entry(entry)
    put(entry)
    assert fetch_entry(entry) == path
    assert server.paths == []


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_offline_is_off(entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LUCID_OFFLINE", value)
    assert fetch_entry(entry).read_bytes() == BODY


def test_mirror_address_is_used(
    server: Server, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCID_WEIGHTS_MIRROR", f"{server.url}/mirror/")
    other = replace(entry, url="https://example.invalid/a%20b.pth")
    assert fetch_entry(other).name == f"a b-{SHA256[:8]}.pth"
    assert server.paths == [f"/mirror/a%20b-{SHA256[:8]}.pth"]


def test_mirror_without_the_file(
    server: Server, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = send(b"<html>", Content_Type="text/html")
    monkeypatch.setenv("LUCID_WEIGHTS_MIRROR", server.url.replace("//", "//user:secret@"))
    with pytest.raises(WeightsDownloadError, match="or unset LUCID_WEIGHTS_MIRROR") as caught:
        fetch_entry(entry)
    assert str(caught.value).startswith(f"{server.url}/{NAME}: ")  # without the password


def test_mirror_folder_is_used_offline(
    server: Server, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "mirror"
    folder.mkdir()
    escaped = re.escape(str(folder / NAME))
    monkeypatch.setenv("LUCID_WEIGHTS_MIRROR", str(folder))
    monkeypatch.setenv("LUCID_OFFLINE", "1")
    with pytest.raises(WeightsDownloadError, match=f"^{escaped}: .*unset LUCID_WEIGHTS_MIRROR"):
        fetch_entry(entry)
    (folder / NAME).write_bytes(BODY[:-1])
    with pytest.raises(WeightsDownloadError, match=f"^{escaped}: expected SHA-256"):
        fetch_entry(entry)
    assert verify_entry(entry) is None
    (folder / NAME).write_bytes(BODY)
    assert fetch_entry(entry).read_bytes() == BODY
    assert server.paths == []


@pytest.mark.parametrize(
    "value",
    ["http://example.org/weights", "file:///tmp", "https://", "https://a.org/w?key=1", "missing"],
)
def test_invalid_mirror(entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LUCID_WEIGHTS_MIRROR", value)
    with pytest.raises(WeightsDownloadError, match=r"^LUCID_WEIGHTS_MIRROR: expected an https"):
        fetch_entry(entry)


# --- disk -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_full_disk(entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def full(path: Path) -> Iterator[Any]:
        with open("/dev/full", "wb", buffering=0) as file:
            yield file

    monkeypatch.setattr(download, "atomic_write", full)
    with pytest.raises(WeightsDownloadError, match=r"free 0\.0 MiB, or set LUCID_HOME") as caught:
        fetch_entry(entry)
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value).startswith(f"{cached_path(entry)}: ")


def test_read_only_cache(
    server: Server, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(WeightsDownloadError, match="set LUCID_HOME") as caught:
        fetch_entry(entry)
    assert str(caught.value).startswith(str(weights_folder()))
    assert caught.value.errno == errno.EROFS
    assert server.paths == []


def test_home_that_is_a_file(home: Path, entry: CatalogEntry) -> None:
    home.write_text("")
    with pytest.raises(WeightsDownloadError, match=f"^{re.escape(str(home))}.*set LUCID_HOME"):
        fetch_entry(entry)


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "no locks")])
def test_file_system_without_locks(
    entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    import filelock

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    assert fetch_entry(entry).read_bytes() == BODY


# --- processes ------------------------------------------------------------------------------------

SCRIPT = f"""
import sys
from lucid.weights import CatalogEntry, download
download._CHUNK = 1024  # so that the first half of the body is on disk
entry = CatalogEntry("toy_model", "first", sys.argv[1], sys.argv[2], {len(BODY)}, "MIT", "test")
print(download.fetch_entry(entry))
"""


@contextmanager
def start(entry: CatalogEntry) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SCRIPT, entry.url, entry.sha256]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize(("number", "left"), [(signal.SIGKILL, 1), (signal.SIGINT, 0)])
def test_killed_download_begins_anew(
    server: Server, entry: CatalogEntry, number: signal.Signals, left: int
) -> None:
    server.script = [send_part(server.closing.wait)]
    with start(entry) as process:
        wait_until(lambda: any(file.stat().st_size for file in weights_folder().glob(".toy*")))
        process.send_signal(number)
        assert process.wait(30) == -number
    temporary = files(weights_folder())
    assert len(temporary) == left
    assert NAME not in temporary
    assert fetch_entry(entry).read_bytes() == BODY
    assert files(weights_folder()) == [NAME]


@pytest.mark.slow
def test_two_processes_download_once(server: Server, entry: CatalogEntry) -> None:
    both_run = threading.Event()

    def slow(handler: Any) -> None:
        both_run.wait(30)
        send()(handler)

    server.answer = slow
    with start(entry) as first, start(entry) as second:
        wait_until(lambda: server.paths)
        # The process without the lock says that it waits.
        lines = {process: process.stderr.readline() for process in (first, second)}
        both_run.set()
        outputs = [process.communicate(timeout=30) for process in (first, second)]
    assert sorted(lines.values()) == [
        f"fetching {NAME} (toy_model first, 0.0 MiB, MIT) from 127.0.0.1\n",
        f"waiting for another process that fetches {NAME}\n",
    ]
    assert outputs == [(f"{cached_path(entry)}\n", "")] * 2
    assert len(server.paths) == 1
