"""Search by names, parts of names, dotted names and words."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import pytest

import lucid


def found(page) -> list[str]:
    """Pages in the results, best first."""
    page.wait_for_function("document.querySelector('.search-summary')?.innerText")
    links = page.locator("#search-results ul.search > li > a:first-of-type")
    return [urlsplit(link.get_attribute("href")).path for link in links.all()]


@pytest.mark.parametrize("name", lucid.models.list_models())
def test_model_name_finds_its_page_first(open_page, name):
    assert found(open_page(f"search.html?q={name}"))[0] == f"models/{name}.html"


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("lucid.nn.Conv2d", "reference/lucid.nn.Conv2d.html"),
        ("nn.Conv2d", "reference/lucid.nn.Conv2d.html"),
        ("Conv2d", "reference/lucid.nn.Conv2d.html"),
        ("conv2d", "reference/lucid.conv2d.html"),
        ("Tensor.backward", "reference/lucid.Tensor.html"),
        ("sgd", "reference/lucid.optim.SGD.html"),
        ("SGD", "reference/lucid.optim.SGD.html"),
        ("lucid.models.resnet_50", "models/resnet_50.html"),
        ("resnet50", "models/resnet_50.html"),
        ("fasterrcnn_resnet50_fpn", "models/faster_rcnn_resnet_50_fpn.html"),
        ("install", "install.html"),
    ],
)
def test_other_spellings_find_the_page_first(open_page, query, best):
    assert found(open_page(f"search.html?q={quote(query)}"))[0] == best


@pytest.mark.parametrize(
    ("query", "pattern"),
    [
        ("rcnn_resnet", "*rcnn_resnet*"),
        ("rcnn resnet", "*rcnn_resnet*"),
        ("faster_rcnn", "faster_rcnn*"),
        ("lucid.models.faster", "faster*"),
    ],
)
def test_part_of_a_name_finds_all_matching_models(open_page, query, pattern):
    expected = {f"models/{name}.html" for name in lucid.models.list_models(pattern)}
    results = found(open_page(f"search.html?q={quote(query)}"))
    models = [page for page in results if re.match(r"models/\w+\.html", page)]
    assert set(models[: len(expected)]) == expected


@pytest.mark.parametrize("query", ["resnet_50", "faster_rcnn_resnet_50_fpn"])
def test_results_are_unique(open_page, query):
    paths = found(open_page(f"search.html?q={query}"))
    assert len(paths) == len(set(paths))


def test_words_find_prose(open_page):
    assert "tutorials/train_on_coco.html" in found(open_page("search.html?q=coco+annotations"))


def test_search_page_has_a_field(open_page):
    page = open_page("search.html", viewport={"width": 375, "height": 720})
    page.get_by_label("Search terms").fill("nn.Linear")
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_url("**/search.html?**")
    assert found(page)[0] == "reference/lucid.nn.Linear.html"
    assert page.get_by_label("Search terms").input_value() == "nn.Linear"


def test_sidebar_field_opens_results(open_page):
    page = open_page("index.html")
    page.get_by_label("Search").fill("resnet_101")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?**")
    assert found(page)[0] == "models/resnet_101.html"
