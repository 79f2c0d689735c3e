"""Tests of the built site in headless Chromium.

The nox session ``site`` builds it and sets LUCID_SITE and LUCID_CHROMIUM; without them nothing
here is collected.  Every opened page must log no error, miss no file and contact no other host.
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

#: Run as root, without background requests.
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


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Request handler that does not log."""

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def folder() -> Path:
    """Folder of the site."""
    return Path(os.environ["LUCID_SITE"])


@pytest.fixture(scope="session")
def address(folder: Path) -> Iterator[str]:
    """URL of the served site, with a trailing slash."""
    handler = functools.partial(QuietHandler, directory=str(folder))
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
    """Open a page of the site with settings of a Playwright context."""
    errors: list[str] = []
    contexts: list[BrowserContext] = []

    def monitor(context: BrowserContext) -> None:
        def on_request(request) -> None:
            if urlsplit(request.url).hostname not in (HOST, None):  # None: data: and blob:
                errors.append(f"requested {request.url}")

        def on_response(response) -> None:
            if response.status >= 400:
                errors.append(f"{response.status} for {response.url}")

        def on_console(message) -> None:
            if message.type in ("error", "warning"):
                errors.append(f"console: {message.text} ({message.location.get('url')})")

        context.on("request", on_request)
        context.on("response", on_response)
        context.on("console", on_console)
        context.on("weberror", lambda error: errors.append(f"uncaught: {error.error}"))

    def open_in_context(path: str, **settings) -> Page:
        settings.setdefault("viewport", {"width": 1440, "height": 900})
        context = browser.new_context(base_url=address, **settings)
        contexts.append(context)
        monitor(context)
        page = context.new_page()
        page.goto(path)
        return page

    yield open_in_context
    for context in contexts:
        context.close()
    assert not errors, "\n".join(errors)
