"""HTML translator that writes multi-line signatures as valid, accessible HTML.

Sphinx writes their parameters as a definition list without terms.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

_TAG = re.compile(r"<(/?)d[ld]\b")


class Translator(HTML5Translator):
    """Sphinx's translator with ``div`` in place of ``dl`` and ``dd`` in signatures."""

    def visit_desc_parameterlist(self, node: nodes.Element) -> None:
        self.parameters_start = len(self.body)
        super().visit_desc_parameterlist(node)

    def depart_desc_parameterlist(self, node: nodes.Element) -> None:
        super().depart_desc_parameterlist(node)
        if node.get("multi_line_parameter_list"):
            start = self.parameters_start
            self.body[start:] = [_TAG.sub(r"<\1div", part) for part in self.body[start:]]


def setup(app: Sphinx) -> dict[str, Any]:
    app.set_translator("html", Translator)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
