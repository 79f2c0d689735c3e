"""A site's own layout of the model pages, as a Jinja template."""

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
    """What lays a model's page out: ``lucid_models_template``, or the order of the zoo.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The build.  The template is a file named relative to ``conf.py``.

    Returns
    -------
    callable
        Maps the facts of a model to its page, in reStructuredText.

    Raises
    ------
    sphinx.errors.ExtensionError
        If the file cannot be read or is no template, here; if it uses a name that
        it is not given, when a page is laid out.  That is the site's fault, not a
        plugin's, so it ends the build.
    """
    name = app.config.lucid_models_template
    if name is None:
        return model_page
    path = Path(app.confdir) / name
    try:
        source = path.read_text(encoding="utf-8")
        # Not HTML: the pages are reStructuredText, which markupsafe knows nothing of.
        environment = Environment(undefined=StrictUndefined, autoescape=False)
        template = environment.from_string(source)
    except (OSError, UnicodeError, TemplateError) as error:
        raise ExtensionError(f"lucid_models_template = {name!r}: {path}: {error}") from error

    def page(facts: ModelFacts) -> str:
        given = {
            "facts": facts,
            "info": facts.info,
            "parts": page_parts(facts),
            "page": model_page(facts),
        }
        try:
            return template.render(given)
        except TemplateError as error:
            where = f"{path}, model {facts.info.name}"
            raise ExtensionError(f"lucid_models_template = {name!r}: {where}: {error}") from error

    return page
