"""The runner of the documentation examples detects errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
try:
    import markdown_examples as markdown
finally:
    sys.path.pop(0)

PAGE = """# Title

```python
x = 2
print(x, "and more")
```

```text
2 and ...
```

Words.

```text
not an output
```

```console
$ not run
```

```{code-block} python
:caption: src/a/b.py

raise RuntimeError("a file is not run")
```

```python
print(x + 1)
```
"""


@pytest.fixture
def page(tmp_path):
    def write(text):
        path = tmp_path / "page.md"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_examples_run_in_one_namespace(page):
    assert markdown.run(page(PAGE)) == 2


def test_files_are_written_and_not_run():
    assert markdown.captioned_files(PAGE) == {
        "src/a/b.py": 'raise RuntimeError("a file is not run")\n'
    }


def test_output_mismatch_is_an_error(page):
    with pytest.raises(SystemExit, match=r"page.md:9: the page says\n2 or ..."):
        markdown.run(page(PAGE.replace("2 and", "2 or")))


def test_traceback_has_the_line_of_the_page(page):
    with pytest.raises(ZeroDivisionError) as caught:
        markdown.run(page(PAGE.replace("print(x + 1)", "x / 0")))
    assert caught.traceback[-1].lineno + 1 == PAGE[: PAGE.index("print(x + 1)")].count("\n") + 1


def test_fence_inside_a_longer_fence_is_text():
    (block,) = markdown.blocks("````md\n```python\n1 / 0\n```\n````\n")
    assert (block.language, block.body) == ("md", "```python\n1 / 0\n```\n")
