"""Accessibility, layout and size of pages of every kind, on desktops and phones."""

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
    "weights": "weights.html",
    "model": "models/faster_rcnn_resnet_50_fpn.html",
    "tutorial": "tutorials/digit_detector.html",
    "autograd": "tutorials/autograd.html",
    "plugins": "plugins.html",
    "migration": "migration.html",
    "architecture": "architecture.html",
    "benchmarks": "benchmarks.html",
    "kernels": "kernels.html",
    "kernel development": "kernel_development.html",
    "distributed": "distributed.html",
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
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}

#: WCAG 2.1 level AA, and axe's rules for headings and images.
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "rules": {
        rule: {"enabled": True}
        for rule in ("heading-order", "page-has-heading-one", "empty-heading", "image-alt")
    },
    "resultTypes": ["violations"],
}

#: Horizontal overflow in pixels; in this theme the content column scrolls instead of the page.
OVERFLOW = """Math.max(...[document.scrollingElement, document.querySelector(".content")]
    .map((box) => box.scrollWidth - box.clientWidth))"""

SCHEMES = ("light", "dark")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", PAGES)
def test_accessibility(open_page, kind, scheme):
    page = open_page(PAGES[kind], color_scheme=scheme, reduced_motion="reduce")
    if kind == "search":
        page.locator("#search-results li").first.wait_for()
    results = Axe().run(page, options=RULES)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("kind", PAGES)
def test_page_does_not_scroll_horizontally(open_page, kind):
    page = open_page(PAGES[kind])
    for width in (320, 390, 768, 1024, 1300, 1440):
        page.set_viewport_size({"width": width, "height": 720})
        assert page.evaluate(OVERFLOW) <= 0, f"at {width} pixels"


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_headings_shrink_with_their_level(open_page, viewport):
    page = open_page(PAGES["benchmarks"], viewport=viewport)
    sizes = page.evaluate(
        "['h1', 'h2', 'h3', 'h4'].map((tag) => parseFloat("
        "getComputedStyle(document.querySelector(`article ${tag}`)).fontSize))"
    )
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1300, 1440])
def test_code_on_the_landing_page_does_not_scroll(open_page, width):
    page = open_page(PAGES["landing"], viewport={"width": width, "height": 900})
    blocks = page.locator("article .highlight pre")
    assert blocks.count() >= 3
    overflow = "boxes => Math.max(...boxes.map((box) => box.scrollWidth - box.clientWidth))"
    assert blocks.evaluate_all(overflow) <= 0


@pytest.mark.parametrize("kind", ["install", "tutorial", "contributing", "kernel development"])
def test_commands_wrap(open_page, kind):
    page = open_page(PAGES[kind], viewport=PHONE)
    overflow = page.locator(".highlight-console pre, .highlight-shell pre").evaluate_all(
        "boxes => boxes.filter((box) => !box.querySelector('.go'))"
        ".map((box) => box.scrollWidth - box.clientWidth)"
    )
    assert overflow
    assert max(overflow) <= 0


#: Visible defects that the build does not report.
DEFECTS = """() => {
    const article = document.querySelector("article");
    const parts = [...article.querySelectorAll("p, li, td")];
    const prose = parts.map((part) => part.innerText).join("\\n");
    return Object.entries({
        "scrolls horizontally": OVERFLOW > 0,
        "not one title": article.querySelectorAll("h1").length !== 1,
        "empty": article.innerText.trim().split(/\\s+/).length < 4,
        "unparsed table": /\\|\\s*[-\u2013\u2014]+\\s*\\|/.test(prose),
        "missing image": [...document.images].some(
            (image) => image.complete && image.naturalWidth === 0),
    }).filter(([, found]) => found).map(([defect]) => defect);
}""".replace("OVERFLOW", OVERFLOW)


def test_no_page_has_defects_on_a_phone(open_page, folder):
    page = open_page("index.html", viewport=PHONE)
    defects = {}
    for path in sorted(folder.rglob("*.html")):
        name = path.relative_to(folder).as_posix()
        page.goto(name, wait_until="domcontentloaded")
        if found := page.evaluate(DEFECTS):
            defects[name] = found
    assert not defects


@pytest.mark.parametrize("kind", PAGES)
def test_scrolling_boxes_are_reachable_by_keyboard(open_page, kind):
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
def test_page_size(open_page, folder, kind):
    """HTML, CSS, JavaScript and fonts are under 400 KB, uncompressed."""
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
    """Brightness of the background, 0 to 255."""
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, color.removeprefix("rgb(").removesuffix(")").split(","))) // 3


def test_color_scheme_follows_the_system_until_toggled(open_page):
    assert background(open_page("index.html", color_scheme="light")) > 200
    page = open_page("index.html", color_scheme="dark")
    assert background(page) < 60
    page.get_by_role("button", name="Toggle Light").filter(visible=True).click()
    chosen = background(page)
    page.goto("install.html")
    assert background(page) == chosen > 200


# --- screenshots for manual review -------------------------------------------------------


@pytest.mark.parametrize("kind", PAGES)
def test_save_screenshots(open_page, kind):
    page = open_page(PAGES[kind])
    if kind == "search":
        page.locator("#search-results li").first.wait_for()
    folder = Path(os.environ["LUCID_SCREENSHOTS"])
    for size, viewport in {"desktop": DESKTOP, "phone": PHONE}.items():
        page.set_viewport_size(viewport)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            image = page.screenshot(path=folder / f"{kind}-{size}-{scheme}.png")
            assert len(image) > 10_000, "blank"
