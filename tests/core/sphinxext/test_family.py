from __future__ import annotations

from lucid.sphinxext.docstring import escape, parse
from lucid.sphinxext.family import common_introduction, family_page, family_pages
from lucid.sphinxext.table import Row


def test_family_pages_have_unique_names():
    names = ["resnet", "ResNet", "a/b c", "resnet", "..", "resnet-2"]
    assert family_pages(names) == {
        "resnet": "families/resnet",
        "ResNet": "families/resnet-2",
        "a/b c": "families/a-b-c",
        "..": "families/family",
        "resnet-2": "families/resnet-2-2",
    }


def test_common_introduction_has_paragraphs_of_all_members():
    first = parse("The small one.\n\nBoth are deep.\n\nCheap.\n\nAnd wide.")
    second = parse("The large one.\n\nAnd wide.\n\nBoth are deep.\n\nDear.")
    assert common_introduction([first, second]) == "Both are deep.\n\nAnd wide."
    assert common_introduction([first]) == ""
    assert common_introduction([]) == ""


def test_family_page_lists_members():
    row = Row("tiny_net", "toy", "tiny_", "1,234", "", "toy 1.0", "tiny_net")
    other = Row("a:index", "toy", "tiny_", "", "", "other 2.0", "a.index")
    page = family_page("tiny_", "*Common.*", [(row, "A *tiny* net_"), (other, "None.")])
    assert page.startswith("tiny\\_\n======\n\n*Common.*\n\n2 models from other 2.0, toy 1.0.\n")
    rows = page[page.index("   * - :doc:") :].splitlines()[:4]
    assert rows == [
        "   * - :doc:`tiny_net <../tiny_net>`",
        "     - 1,234",
        "     -",
        "     - A \\*tiny\\* net\\_",
    ]
    assert page.endswith(".. toctree::\n   :hidden:\n\n   ../tiny_net\n   ../a.index\n")


def test_escape():
    assert escape(r"a*b|c`d\e f_ g_h") == r"a\*b\|c\`d\\e f\_ g_h"
