"""Custom layout of the model pages with a Jinja template."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined, TemplateError
from sphinx.errors import ExtensionError

from lucid.sphinxext.page import ModelFacts, model_page, page_parts

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["model_template"]


def model_template(app: Sphinx) -> Callable[[ModelFacts], str]:
    """Return the function that renders a page: ``lucid_models_template`` or the default layout.

    Raises ``ExtensionError`` if the template cannot be read or parsed; rendering raises it for
    undefined variables.  These are errors of the site, so they end the build.
    """
    name = app.config.lucid_models_template
    if name is None:
        return model_page
    path = Path(app.confdir) / name
    try:
        source = path.read_text(encoding="utf-8")
        # The pages are reStructuredText, not HTML.
        environment = Environment(undefined=StrictUndefined, autoescape=False)
        template = environment.from_string(source)
    except (OSError, UnicodeError, TemplateError) as error:
        raise ExtensionError(f"lucid_models_template = {name!r}: {path}: {error}") from error

    def page(facts: ModelFacts) -> str:
        variables = {
            "facts": facts,
            "info": facts.info,
            "parts": page_parts(facts),
            "page": model_page(facts),
        }
        try:
            return template.render(variables)
        except TemplateError as error:
            where = f"{path}, model {facts.info.name}"
            raise ExtensionError(f"lucid_models_template = {name!r}: {where}: {error}") from error

    return page
