"""The copy button copies code without prompts and output."""

from __future__ import annotations

import pytest

READ = {"permissions": ["clipboard-read", "clipboard-write"]}


def copied(page, block) -> str:
    block.hover()
    block.get_by_role("button", name="Copy").click()
    return page.evaluate("navigator.clipboard.readText()")


def test_copied_commands_have_no_prompts(open_page):
    page = open_page("install.html", **READ)
    block = page.locator("div.highlight").filter(has_text="lucid info resnet_18").first
    lines = block.locator("pre").inner_text().strip().splitlines()
    assert all(line.startswith("$ ") for line in lines)
    text = copied(page, block)
    assert text.strip().splitlines() == [line.removeprefix("$ ") for line in lines]


def test_copied_commands_have_their_continuation_lines(open_page):
    page = open_page("index.html", **READ)
    block = page.locator("div.highlight-console").filter(has_text="pip install")
    lines = copied(page, block).strip().splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [
        "python", "python", "lucid"
    ]  # fmt: skip
    assert "scikit-learn" in lines[1]
    assert "--weights" in lines[-1]


def test_copied_python_is_unchanged(open_page):
    page = open_page("index.html", **READ)
    block = page.locator("div.highlight-python").first
    text = copied(page, block)
    assert text.strip() == block.locator("pre").inner_text().strip()
    compile(text, "copied", "exec")


@pytest.mark.parametrize("model", ["resnet_18", "faster_rcnn_resnet_50_fpn"])
def test_copied_examples_have_no_prompts_and_output(open_page, model):
    page = open_page(f"models/{model}.html", **READ)
    block = page.locator("div.highlight").filter(has_text=">>>").first
    text = copied(page, block)
    assert "import lucid" in text or "from lucid" in text
    assert ">>>" not in text
    compile(text, "copied", "exec")
