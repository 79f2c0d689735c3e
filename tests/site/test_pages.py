"""Pages of every kind: readable by everyone, on a phone too, and light to load."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

#: One of each kind.
PAGES = {
    "landing": "index.html",
    "install": "install.html",
    "zoo": "models/index.html",
    "family": "models/families/faster_rcnn.html",
    "model": "models/faster_rcnn_resnet_50_fpn.html",
    "tutorial": "tutorials/digit_detector.html",
    "autograd": "tutorials/autograd.html",
    "plugins": "plugins.html",
    "migration": "migration.html",
    "architecture": "architecture.html",
    "benchmarks": "benchmarks.html",
    "security": "security.html",
    "contributing": "contributing.html",
    "reference": "reference/index.html",
    "module": "reference/lucid.nn.html",
    "class": "reference/lucid.nn.Conv2d.html",
    "tensor": "reference/lucid.Tensor.html",
    "function": "reference/lucid.nn.functional.cross_entropy.html",
    "onnx": "reference/onnx.html",
    "search": "search.html?q=resnet",
}
DESK = {"width": 1440, "height": 900}
PHONE = {"width": 375, "height": 720}

#: WCAG 2.1 to level AA, which is where text contrast is, and axe's own rules of headings.
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "rules": {
        rule: {"enabled": True}
        for rule in ("heading-order", "page-has-heading-one", "empty-heading", "image-alt")
    },
    "resultTypes": ["violations"],
}

#: Pixels that one has to scroll sideways: the theme lets its column scroll in place of the page.
TOO_WIDE = """Math.max(...[document.scrollingElement, document.querySelector(".content")]
    .map((box) => box.scrollWidth - box.clientWidth))"""

SCHEMES = ("light", "dark")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", PAGES)
def test_axe_finds_nothing_to_object_to(open_page, kind, scheme):
    page = open_page(PAGES[kind], color_scheme=scheme, reduced_motion="reduce")
    if kind == "search":
        page.locator("#search-results li").first.wait_for()
    results = Axe().run(page, options=RULES)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_does_not_scroll_sideways(open_page, kind):
    page = open_page(PAGES[kind])
    for width in (320, 375, 768, 1024, 1280, 1440):
        page.set_viewport_size({"width": width, "height": 720})
        assert page.evaluate(TOO_WIDE) <= 0, f"at {width} pixels"


#: What is wrong with a page that anybody would see, and no build warns of.
VISIBLE_FAULTS = """() => {
    const article = document.querySelector("article");
    const parts = [...article.querySelectorAll("p, li, td")];
    const prose = parts.map((part) => part.innerText).join("\\n");
    return Object.entries({
        "scrolls sideways": TOO_WIDE > 0,
        "not one title": article.querySelectorAll("h1").length !== 1,
        "empty": article.innerText.trim().split(/\\s+/).length < 4,
        "a table that is none": /\\|\\s*[-\u2013\u2014]+\\s*\\|/.test(prose),
        "a picture that is not there": [...document.images].some(
            (image) => image.complete && image.naturalWidth === 0),
    }).filter(([, found]) => found).map(([fault]) => fault);
}""".replace("TOO_WIDE", TOO_WIDE)


def test_no_page_at_all_shows_a_fault_on_a_phone(open_page, folder):
    page = open_page("index.html", viewport=PHONE)
    faults = {}
    for path in sorted(folder.rglob("*.html")):
        name = path.relative_to(folder).as_posix()
        page.goto(name, wait_until="domcontentloaded")
        if found := page.evaluate(VISIBLE_FAULTS):
            faults[name] = found
    assert not faults


@pytest.mark.parametrize("kind", PAGES)
def test_boxes_that_scroll_can_be_reached_by_keyboard(open_page, kind):
    page = open_page(PAGES[kind], viewport=PHONE)
    page.wait_for_load_state("networkidle")
    unreachable = page.evaluate(
        """() => [...document.querySelectorAll("article *")].filter((box) =>
            ["auto", "scroll"].includes(getComputedStyle(box).overflowX) &&
            box.clientWidth > 0 && box.scrollWidth > box.clientWidth && box.tabIndex < 0
        ).map((box) => box.outerHTML.slice(0, 80))"""
    )
    assert not unreachable


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_is_light(open_page, folder, kind):
    """What comes before a page can be read, pictures aside: under 400 KB, uncompressed."""
    page = open_page("about:blank")
    sizes: dict[str, int] = {}

    def finished(request) -> None:
        if request.resource_type != "image":
            sizes[request.url] = request.sizes()["responseBodySize"]

    page.on("requestfinished", finished)
    page.goto(PAGES[kind].partition("?")[0], wait_until="load")
    assert sum(sizes.values()) < (800_000 if kind == "search" else 400_000), sizes


# --- the theme ---------------------------------------------------------------------------


def background(page) -> int:
    """Brightness of what is behind the text, 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) // 3


def test_the_site_follows_the_system_until_told_otherwise(open_page):
    assert background(open_page("index.html", color_scheme="light")) > 200
    page = open_page("index.html", color_scheme="dark")
    assert background(page) < 60
    page.get_by_role("button", name="Toggle Light").filter(visible=True).click()
    chosen = background(page)
    page.goto("install.html")
    assert background(page) == chosen > 200


# --- for a person to look at -------------------------------------------------------------


@pytest.mark.parametrize("kind", PAGES)
def test_screenshots_are_left(open_page, kind):
    page = open_page(PAGES[kind])
    if kind == "search":
        page.locator("#search-results li").first.wait_for()
    folder = Path(os.environ["LUCID_SCREENSHOTS"])
    for size, viewport in {"desk": DESK, "phone": PHONE}.items():
        page.set_viewport_size(viewport)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            image = page.screenshot(path=folder / f"{kind}-{size}-{scheme}.png")
            assert len(image) > 10_000, "blank"
