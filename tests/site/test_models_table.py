"""Table of all models: layout, sorting, filtering, keyboard, no JavaScript."""

from __future__ import annotations

import pytest

import lucid

PAGE = "models/index.html"
NAMES = lucid.models.list_models()


def shown(page) -> list[str]:
    """Model names in the visible rows, top to bottom."""
    rows = page.locator("table.lucid-models tbody tr").filter(visible=True)
    return rows.locator("td:first-child").all_inner_texts()


def header(page, name: str):
    return page.locator("table.lucid-models th").filter(has_text=name)


def by_size(reverse: bool) -> list[str]:
    sizes = {name: lucid.models.model_info(name).total_parameters for name in NAMES}
    return sorted(NAMES, key=sizes.__getitem__, reverse=reverse)


@pytest.mark.parametrize("width", [1024, 1280, 1300, 1440])
def test_all_columns_fit_on_a_screen(open_page, width):
    page = open_page(PAGE, viewport={"width": width, "height": 900})
    table = page.locator("div.lucid-models:has(table)")
    assert table.evaluate("box => box.scrollWidth - box.clientWidth") <= 0


def test_table_scrolls_in_its_own_box_on_a_phone(open_page):
    page = open_page(PAGE, viewport={"width": 390, "height": 844})
    table = page.locator("div.lucid-models:has(table)")
    assert table.evaluate("box => box.scrollWidth - box.clientWidth") > 0
    assert page.evaluate("document.body.scrollWidth - innerWidth") <= 0


def test_every_model_has_a_row_with_a_link(open_page):
    page = open_page(PAGE)
    assert shown(page) == NAMES
    page.get_by_role("link", name="resnet_152", exact=True).last.click()
    assert page.locator("h1").inner_text().startswith("resnet_152")


def test_clicking_a_header_sorts_numerically(open_page):
    page = open_page(PAGE)
    button = page.get_by_role("button", name="Parameters")
    button.click()
    assert shown(page) == by_size(reverse=False)
    assert header(page, "Parameters").get_attribute("aria-sort") == "ascending"
    button.click()
    assert shown(page) == by_size(reverse=True)
    assert header(page, "Parameters").get_attribute("aria-sort") == "descending"


def test_one_header_at_a_time_has_aria_sort(open_page):
    page = open_page(PAGE)
    for name in ("Multiply-adds", "Family", "Model"):
        page.get_by_role("button", name=name).click()
        assert page.locator("th[aria-sort]").all_inner_texts() == [name]
    assert shown(page) == sorted(NAMES, key=NAMES.index)  # resnet_18 before resnet_101


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_sorting_by_keyboard(open_page, key):
    page = open_page(PAGE)
    page.get_by_label("Filter models").focus()
    while page.evaluate("document.activeElement.textContent") != "Parameters":
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('table, .table-wrapper') !== null")
    page.keyboard.press(key)
    assert shown(page) == by_size(reverse=False)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("rcnn", lucid.models.list_models("*rcnn*")),
        ("wide classification", lucid.models.list_models("wide_*")),
        ("DETECTION 50", ["faster_rcnn_resnet_50_fpn", "retinanet_resnet_50_fpn"]),
        ("resnet50", lucid.models.list_models("*resnet_50*")),
        ("nothing of that kind", []),
    ],
)
def test_filter_matches_every_word(open_page, text, names):
    page = open_page(PAGE)
    page.get_by_label("Filter models").fill(text)
    assert shown(page) == names
    assert page.get_by_role("status").inner_text() == f"{len(names)} of {len(NAMES)} models"
    page.get_by_label("Filter models").fill("")
    assert shown(page) == NAMES
    assert page.get_by_role("status").inner_text() == ""


def test_sorting_keeps_the_filter(open_page):
    page = open_page(PAGE)
    page.get_by_label("Filter models").fill("rcnn")
    page.get_by_role("button", name="Parameters").click()
    assert shown(page) == [name for name in by_size(reverse=False) if "rcnn" in name]


def test_table_without_javascript(open_page):
    page = open_page(PAGE, java_script_enabled=False)
    assert shown(page) == NAMES
    assert page.locator("table.lucid-models td:first-child a").count() == len(NAMES)
    assert page.locator("table.lucid-models button, .lucid-models-filter").count() == 0
