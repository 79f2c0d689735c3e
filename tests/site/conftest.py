"""The built site in a real browser: what its visitors see, press and wait for.

nox's session ``site`` builds it, finds a Chromium and says where both are; without
that session nothing here is collected, since neither belongs to the main session.
Every page that a test opens is held to three things besides what the test says: its
console shows no error, no file is missing, and nothing is asked of any other host.
"""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

if "LUCID_SITE" in os.environ:
    from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
else:
    collect_ignore_glob = ["test_*.py"]

HOST = "127.0.0.1"

#: What it takes to start it as root, and what keeps it from calling home.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}",
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line about each."""

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def folder() -> Path:
    """The site's files."""
    return Path(os.environ["LUCID_SITE"])


@pytest.fixture(scope="session")
def address(folder: Path) -> Iterator[str]:
    """Where the site is served, with a slash at its end."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer((HOST, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=os.environ["LUCID_CHROMIUM"], args=list(FLAGS)
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Open a page of the site; settings are those of a Playwright context."""
    faults: list[str] = []
    contexts: list[BrowserContext] = []

    def watch(context: BrowserContext) -> None:
        def asked(request) -> None:
            if urlsplit(request.url).hostname not in (HOST, None):  # None: data: and blob:
                faults.append(f"asked {request.url}")

        def answered(response) -> None:
            if response.status >= 400:
                faults.append(f"{response.status} for {response.url}")

        def said(message) -> None:
            if message.type in ("error", "warning"):
                faults.append(f"console: {message.text} ({message.location.get('url')})")

        context.on("request", asked)
        context.on("response", answered)
        context.on("console", said)
        context.on("weberror", lambda error: faults.append(f"uncaught: {error.error}"))

    def opened(path: str, **settings) -> Page:
        settings.setdefault("viewport", {"width": 1440, "height": 900})
        context = browser.new_context(base_url=address, **settings)
        contexts.append(context)
        watch(context)
        page = context.new_page()
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not faults, "\n".join(faults)
