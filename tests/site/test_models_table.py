"""The table of all models: sorted and filtered by mouse and keyboard, whole without a script."""

from __future__ import annotations

import pytest

import lucid

PAGE = "models/index.html"
NAMES = lucid.models.list_models()


def shown(page) -> list[str]:
    """Names in the rows that can be seen, from the top."""
    rows = page.locator("table.lucid-models tbody tr").filter(visible=True)
    return rows.locator("td:first-child").all_inner_texts()


def header(page, name: str):
    return page.locator("table.lucid-models th").filter(has_text=name)


def by_size(reverse: bool) -> list[str]:
    sizes = {name: lucid.models.model_info(name).total_parameters for name in NAMES}
    return sorted(NAMES, key=sizes.__getitem__, reverse=reverse)


def test_every_model_has_a_row_that_leads_to_its_page(open_page):
    page = open_page(PAGE)
    assert shown(page) == NAMES
    page.get_by_role("link", name="resnet_152", exact=True).last.click()
    assert page.locator("h1").inner_text().startswith("resnet_152")


def test_clicking_a_header_sorts_by_number_not_by_text(open_page):
    page = open_page(PAGE)
    button = page.get_by_role("button", name="Parameters")
    button.click()
    assert shown(page) == by_size(reverse=False)
    assert header(page, "Parameters").get_attribute("aria-sort") == "ascending"
    button.click()
    assert shown(page) == by_size(reverse=True)
    assert header(page, "Parameters").get_attribute("aria-sort") == "descending"


def test_one_header_at_a_time_says_how_the_rows_are_sorted(open_page):
    page = open_page(PAGE)
    for name in ("Multiply-adds", "Family", "Model"):
        page.get_by_role("button", name=name).click()
        assert page.locator("th[aria-sort]").all_inner_texts() == [name]
    assert shown(page) == sorted(NAMES, key=NAMES.index)  # resnet_18 before resnet_101


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_sorts(open_page, key):
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
def test_the_field_filters_by_every_word(open_page, text, names):
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


def test_without_a_script_the_table_is_whole(open_page):
    page = open_page(PAGE, java_script_enabled=False)
    assert shown(page) == NAMES
    assert page.locator("table.lucid-models td:first-child a").count() == len(NAMES)
    assert page.locator("table.lucid-models button, .lucid-models-filter").count() == 0
