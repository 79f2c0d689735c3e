"""Sphinx extension: a page for every registered model and every family, and a table of all.

Put it beside autodoc in ``conf.py``, for the zoo or for a plugin of your own::

    extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "lucid.sphinxext"]
    lucid_models_plugins = ["lucid-models-mine"]  # default: every installed one
    lucid_models_strict = ["lucid-models-mine"]  # whose faults are warnings

and ``models/index`` into a ``toctree``.  The pages are written at the start of the
build, so numbers and signatures are always those of the installed code, and the
prose is that of the builders' docstrings.

Configuration
-------------
``lucid_models_dir`` : str, default "models"
    Folder below the source folder that receives the pages.  It belongs to the
    extension: pages of models that are gone are removed.
``lucid_models_plugins`` : list of str, optional
    Names of the distributions whose models get pages.  Default: all.
``lucid_models_strict`` : list of str, default []
    Names of the distributions whose faults (a model that cannot be built, a
    docstring that is not valid reStructuredText, a reference that leads nowhere)
    are Sphinx warnings, which ``-W`` makes errors.  The faults of any other
    plugin are reported under its name and leave the build alone.
``lucid_models_multiply_adds`` : bool, default True
    Whether each model is run once at its default input to count multiply-adds.
``lucid_models_template`` : str, optional
    A Jinja template for the models' pages, relative to ``conf.py``.  It is given
    ``page`` (the page as it would be, in reStructuredText), ``parts`` (its parts by
    name, in their order: ``parts["Examples"]``), ``info`` (the ``ModelInfo``) and
    ``facts`` (the counted ``parameters`` and ``multiply_adds``).  One that adds a
    line is ``{{ page }}`` and the line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["setup"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the extension; Sphinx calls this.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The application that is starting.

    Returns
    -------
    dict
        Version of the extension, and that it may read and write in parallel.
    """
    from lucid.sphinxext.build import ModelPages

    app.setup_extension("sphinx.ext.autodoc")
    app.add_config_value("lucid_models_dir", "models", "env", types=frozenset({str}))
    app.add_config_value("lucid_models_plugins", None, "env", types=frozenset({list, tuple}))
    app.add_config_value("lucid_models_strict", [], "env", types=frozenset({list, tuple}))
    app.add_config_value("lucid_models_multiply_adds", True, "env", types=frozenset({bool}))
    app.add_config_value("lucid_models_template", None, "env", types=frozenset({str}))
    pages = ModelPages()
    app.connect("config-inited", _add_static)
    app.connect("builder-inited", pages.write)
    # Before napoleon, which would otherwise render what is about to be dropped.
    app.connect("autodoc-process-docstring", pages.clear_docstring, priority=100)
    # After everyone who may know where it leads, intersphinx among them.
    app.connect("missing-reference", pages.keep_plain_text, priority=900)
    app.add_js_file("lucid-models.js", loading_method="defer")
    app.add_css_file("lucid-models.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _add_static(app: Sphinx, config: Any) -> None:
    """The script and style of the table; Sphinx copies them with the site's own."""
    config.html_static_path.append(str(Path(__file__).parent / "static"))
