"""Sphinx extension: a page per registered model and family, tables of models and weights.

Add it next to autodoc in ``conf.py``, for all models or those of your plugin::

    extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "lucid.sphinxext"]
    lucid_models_plugins = ["lucid-models-mine"]  # default: all installed plugins
    lucid_models_strict = ["lucid-models-mine"]  # problems are warnings

and add ``models/index`` to a ``toctree``.  The pages are generated at the start of the build
from the installed code: counts from the models, text from the docstrings of the builders.

The directive ``.. lucid-weights::`` is a table of the published weights that the plugins register
(in Markdown, inside an ``eval-rst`` block).

Configuration
-------------
``lucid_models_dir`` : str, default "models"
    Folder in the source folder for the pages.  Pages of removed models are deleted.
``lucid_models_plugins`` : list of str, optional
    Distributions whose models get pages.  Default: all.
``lucid_models_strict`` : list of str, default []
    Distributions whose problems (a model that cannot be built, invalid reStructuredText in a
    docstring, a broken reference) are Sphinx warnings, which ``-W`` turns into errors.
    Problems of other plugins are only reported.
``lucid_models_multiply_adds`` : bool, default True
    Whether to run each model once at its default input shape to count multiply-adds.
``lucid_models_template`` : str, optional
    Jinja template of the models' pages, relative to ``conf.py``.  Its variables are ``page``
    (the default page in reStructuredText), ``parts`` (parts of the page by name, such as
    ``parts["Examples"]``), ``info`` (the ``ModelInfo``) and ``facts`` (``parameters`` and
    ``multiply_adds``).  For example, ``{{ page }}`` followed by a line appends that line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["setup"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register configuration values and event handlers with Sphinx.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        Application that loads the extension.

    Returns
    -------
    dict
        Metadata of the extension: version, and support of parallel builds.
    """
    from lucid.sphinxext.build import ModelPages
    from lucid.sphinxext.weights import WeightsTable

    app.setup_extension("sphinx.ext.autodoc")
    app.add_config_value("lucid_models_dir", "models", "env", types=frozenset({str}))
    app.add_config_value("lucid_models_plugins", None, "env", types=frozenset({list, tuple}))
    app.add_config_value("lucid_models_strict", [], "env", types=frozenset({list, tuple}))
    app.add_config_value("lucid_models_multiply_adds", True, "env", types=frozenset({bool}))
    app.add_config_value("lucid_models_template", None, "env", types=frozenset({str}))
    app.add_directive("lucid-weights", WeightsTable)
    pages = ModelPages()
    app.connect("config-inited", _add_static)
    app.connect("builder-inited", pages.write)
    # Before napoleon renders the docstring.
    app.connect("autodoc-process-docstring", pages.clear_docstring, priority=100)
    # After all other handlers, including intersphinx.
    app.connect("missing-reference", pages.keep_plain_text, priority=900)
    app.add_js_file("lucid-models.js", loading_method="defer")
    app.add_css_file("lucid-models.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _add_static(app: Sphinx, config: Any) -> None:
    """Add the script and style sheet of the table to the static files of the site."""
    config.html_static_path.append(str(Path(__file__).parent / "static"))
