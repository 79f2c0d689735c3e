from __future__ import annotations

import pytest

from lucid.sphinxext.docstring import definition_list, parse

DOCSTRING = """A small network.

    It has two layers.

    Parameters
    ----------
    num_classes : int, default 10
        Number of logits.

    Examples
    --------
    >>> 1 + 1
    2
    """


def test_parse_splits_at_underlined_titles():
    doc = parse(DOCSTRING)
    assert doc.introduction == "A small network.\n\nIt has two layers."
    assert doc.summary == "A small network."
    assert list(doc.sections) == ["Parameters", "Examples"]
    assert doc.sections["Parameters"] == "num_classes : int, default 10\n    Number of logits."
    assert doc.sections["Examples"] == ">>> 1 + 1\n2"


@pytest.mark.parametrize("text", [None, "", "   "])
def test_parse_of_empty_docstring(text):
    doc = parse(text)
    assert doc.introduction == doc.summary == ""
    assert doc.sections == {}


def test_summary_of_two_lines_is_joined():
    assert parse("Two\nlines.\n\nMore.").summary == "Two lines."


def test_indented_underline_is_not_a_title():
    assert parse("Text::\n\n    Code\n    ----\n\nMore.").sections == {}


def test_repeated_section_is_rejected():
    with pytest.raises(ValueError, match="two sections 'Notes'"):
        parse("A.\n\nNotes\n-----\nx\n\nNotes\n-----\ny\n")


def test_definition_list_marks_names_and_types():
    body = "a, b : int\n    Two numbers.\n**kwargs\n    Passed on."
    expected = "``a``, ``b`` : *int*\n    Two numbers.\n\n``**kwargs``\n    Passed on."
    assert definition_list(body) == expected


def test_definition_list_escapes_markup_in_types():
    assert definition_list("x : ``(N, *)``\n    It.") == "``x`` : *\\`\\`(N, \\*)\\`\\`*\n    It."


def test_definition_list_keeps_types_with_commas_and_sentences():
    assert definition_list("dict[str, Tensor]\n    By name.") == (
        "``dict[str, Tensor]``\n    By name."
    )
    assert definition_list("Logits, one row an image.") == "Logits, one row an image."
