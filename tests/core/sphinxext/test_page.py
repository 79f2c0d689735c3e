from __future__ import annotations

import dataclasses
import re

import pytest

import lucid
from lucid.models import ModelInfo
from lucid.sphinxext.docstring import parse
from lucid.sphinxext.page import ModelFacts, collect_facts, failure_page, model_page, page_name
from lucid.sphinxext.table import Row, index_page
from lucid.weights import CatalogEntry

DOC = """A detector.

Warning
-------
Mind the classes.

Tip
---
Go slowly.

Training Notes
--------------
1. Pretrain.
2. Train.

See Also
--------
Another.

Examples
--------
>>> tiny()

Raises
------
ValueError
    If it is bad.

Returns
-------
Net
    The model.

Parameters
----------
num_classes : int, default 3
    With background.
"""


def facts(docstring: str | None = DOC, name: str = "tiny", distinct: int = 1234567) -> ModelFacts:
    info = ModelInfo(
        name=name,
        task="object-detection",
        family="tiny",
        summary="A tiny detector.",
        builder="toy:tiny",
        total_parameters=1234567,
        input_shape=(1, 3, 8, 8),
        distribution="toy",
        version="1.0",
    )
    signature = "@register_model\ndef tiny(num_classes: int = 3) -> Net"
    return ModelFacts(info, signature, parse(docstring), 1234567, distinct, 890123)


def positions(page: str, *texts: str) -> list[int]:
    found = [page.find(text) for text in texts]
    assert -1 not in found, dict(zip(texts, found, strict=True))
    return found


def test_parts_are_in_specified_order():
    page = model_page(facts())
    order = positions(
        page,
        "tiny\n====",
        ".. autofunction:: lucid.models.tiny",
        "A detector.",
        "**Total Parameters**: 1,234,567",
        "Function Signature\n---",
        "   @register_model\n   def tiny(num_classes: int = 3) -> Net",
        "Parameters\n---",
        "``num_classes`` : *int, default 3*",
        "Returns\n---",
        "Examples\n---",
        "Training Notes\n---",
        ".. tip::\n\n   Go slowly.",
        ".. warning::\n\n   Mind the classes.",
        "See Also\n---",
    )
    assert order == sorted(order)


def test_each_section_appears_once():
    titles = re.findall(r"^(.+)\n-{3,}$", model_page(facts()), re.MULTILINE)
    assert len(titles) == len(set(titles)) == 7


def test_distinct_parameters_are_shown_if_they_differ():
    assert "distinct" not in model_page(facts())
    page = model_page(facts(distinct=1234000))
    assert "**Total Parameters**: 1,234,567 (distinct: 1,234,000; 567 " in page


def test_task_family_multiply_adds_and_plugin_are_shown():
    page = model_page(facts())
    for text in (
        "**Task**: object-detection",
        "**Family**: tiny",
        "**Multiply-adds**: 890,123 at 1 x 3 x 8 x 8",
        "**Plugin**: toy 1.0",
    ):
        assert text in page


def test_multiply_adds_are_hidden_if_not_counted():
    page = model_page(dataclasses.replace(facts(), multiply_adds=None))
    assert "**Multiply-adds**" not in page
    assert "**Plugin**: toy 1.0" in page


def test_published_weights_are_shown_with_their_first_metric():
    weights = [
        CatalogEntry(
            "tiny", tag, f"https://example.org/{tag}.npz", "0" * 64, 9, "MIT", "toy", metrics,
            default=default,
        )
        for tag, metrics, default in (
            ("v2", {"box mAP": 37.0, "AP50": 58.1}, True),
            ("v1", {}, False),
        )
    ]  # fmt: skip
    page = model_page(dataclasses.replace(facts(), weights=tuple(weights)))
    assert "\n| **Published weights**: ``v2`` (default, box mAP 37.0); ``v1``\n" in page
    assert "**Published weights**" not in model_page(facts())


def test_collect_facts_builds_model(environment):
    environment.add("toy", "toy_net")
    info = lucid.models.model_info("toy_net")
    counted = collect_facts(info)
    # 2 inputs, 2 outputs: 4 weights and 2 biases.
    assert (counted.parameters, counted.distinct_parameters, counted.multiply_adds) == (6, 6, 4)
    assert "def toy_net(width: int = 2" in counted.signature
    assert collect_facts(info, multiply_adds=False) == dataclasses.replace(
        counted, multiply_adds=None
    )
    with pytest.raises(ValueError, match=r"toy_net .*total_parameters=7, .* 6"):
        collect_facts(dataclasses.replace(info, total_parameters=7))


def test_page_without_docstring_has_summary_and_example():
    page = model_page(facts(None))
    assert "A tiny detector." in page
    assert "lucid.models.create_model('tiny')" in page
    assert "lucid.random.randn(1, 3, 8, 8)" in page


def test_notes_are_training_notes():
    assert "Training Notes\n---" in model_page(facts("A.\n\nNotes\n-----\nSlowly.\n"))


def test_page_of_ambiguous_name_has_no_autofunction():
    page = model_page(facts(name="toy:tiny"))
    assert "toy:tiny\n========" in page
    assert "autofunction" not in page
    assert ".. py:function:: tiny(num_classes: int = 3) -> Net" in page


@pytest.mark.parametrize(
    ("name", "page"),
    [("tiny", "tiny"), ("toy:tiny", "toy.tiny"), ("index", "index-model")],
)
def test_page_names_are_valid_file_names(name, page):
    assert page_name(facts(name=name).info) == page


def test_failure_page_has_plugin_and_error():
    page = failure_page("tiny", "toy 1.0", "ZeroDivisionError: division by zero")
    assert "tiny\n====" in page
    assert "toy 1.0" in page
    assert "ZeroDivisionError: division by zero" in page


def test_table_has_row_per_model():
    good, bad = facts(), facts(name="broken")
    page = index_page([Row.of(good.info, good), Row.of(bad.info, None)])
    assert "2 models from 1 plugin." in page
    assert (
        "   * - :doc:`tiny <tiny>`\n     - object-detection\n     - tiny\n"
        "     - 1,234,567\n     - 890,123\n     - toy 1.0\n"
    ) in page
    assert "     - tiny\n     -\n     -\n     - toy 1.0\n" in page
    assert page.endswith(".. toctree::\n   :hidden:\n\n   tiny\n   broken\n")


def test_table_without_models_has_pip_command():
    assert "pip install lucid-models-classification" in index_page([])
