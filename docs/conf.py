"""Configuration of the site: ``python -m sphinx -W -n docs OUT``, also offline.

Model pages are generated from the registry (``lucid.sphinxext``), reference pages from the
``__all__`` of the public modules (``_ext/reference.py``).
"""

from __future__ import annotations

import os
import sys
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import lucid

project = "Lucid"
author = "The Lucid developers"
copyright = "The Lucid developers, Apache-2.0"
version = release = lucid.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "lucid.sphinxext",
    "reference",
    "signatures",
    "torch_names",
]
exclude_patterns = ["_build", "README.md"]
default_role = "autolink"
nitpicky = True

# -- Model pages -------------------------------------------------------------------

# Problems of these plugins are warnings, errors with -W; those of others are only reported.
lucid_models_strict = ["lucid-models-classification", "lucid-models-detection"]

# -- Reference ---------------------------------------------------------------------

# A name that several modules export has its page under the first of them.
reference_modules = [
    "lucid",
    "lucid.random",
    "lucid.optim",
    "lucid.optim.lr_scheduler",
    "lucid.nn",
    "lucid.nn.functional",
    "lucid.nn.init",
    "lucid.nn.utils",
    "lucid.data",
    "lucid.data.checkers",
    "lucid.data.fingerprint",
    "lucid.data.report",
    "lucid.vision",
    "lucid.vision.transforms",
    "lucid.training",
    "lucid.prediction",
    "lucid.models",
    "lucid.weights",
    "lucid.testing",
    "lucid.testing.plugin_checks",
    "lucid.scaffold",
    "lucid.autograd",
    "lucid.ops",
    "lucid.kernels",
    "lucid.kernels.layout",
    "lucid.kernels.reference",
    "lucid.kernels.compiled",
    "lucid.sphinxext",
    "lucid_models_classification",
    "lucid_models_classification.transforms",
    "lucid_models_classification.torchvision",
    "lucid_models_detection",
    "lucid_models_detection.boxes",
    "lucid_models_detection.faster_rcnn",
    "lucid_models_detection.parts",
    "lucid_models_detection.data",
    "lucid_models_detection.convert",
    "lucid_models_detection.evaluation",
    "lucid_models_detection.draw",
    "lucid_models_detection.training",
    "lucid_models_detection.torchvision",
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"show-inheritance": True}
autosummary_generate = False
napoleon_google_docstring = False
# Types in docstrings are text such as "int or (int, int)"; signatures link to types.
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style"), "Configuration", "Training Notes"]
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

# Names of other projects resolve only if their inventories were downloaded.
nitpick_ignore_regex = [
    (r"py:.*", r"(numpy|np|PIL|click|sphinx|torch|torchvision|pathlib|os|typing|collections)\..*"),
]

# -- Links to other projects, if online ------------------------------------------------


def _inventories() -> dict[str, tuple[str, str]]:
    """Download the inventories of other projects; none with ``LUCID_DOCS_OFFLINE=1``."""
    found: dict[str, tuple[str, str]] = {}
    if os.environ.get("LUCID_DOCS_OFFLINE", "") not in ("", "0"):
        return found
    sites = {"python": "https://docs.python.org/3", "numpy": "https://numpy.org/doc/stable"}
    folder = Path(tempfile.mkdtemp(prefix="lucid-inventories-"))
    for name, url in sites.items():
        try:
            with urllib.request.urlopen(f"{url}/objects.inv", timeout=3) as response:
                data = response.read()
        except (OSError, HTTPException):  # offline or blocked
            continue
        if data.startswith(b"# Sphinx inventory"):
            path = folder / f"{name}.inv"
            path.write_bytes(data)
            found[name] = (url, str(path))
    return found


if intersphinx_mapping := _inventories():
    extensions.append("sphinx.ext.intersphinx")

# -- Markdown and HTML -----------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"Lucid {version}"
html_logo = html_favicon = "_static/logo.svg"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": True,
    "top_of_page_buttons": [],
    # Colors satisfy the contrast of WCAG on the theme's backgrounds; tests/site measures it.
    "light_css_variables": {
        "color-brand-primary": "#0b666a",
        "color-brand-content": "#0b666a",
        "color-brand-visited": "#5b4a93",
        "color-api-name": "#0b666a",
        "color-api-pre-name": "#4c5f66",
        "color-foreground-muted": "#5f6b70",
        "color-code-background": "#f4f7f7",
    },
    "dark_css_variables": {
        "color-brand-primary": "#5fd3cf",
        "color-brand-content": "#5fd3cf",
        "color-brand-visited": "#b9a6ff",
        "color-api-name": "#5fd3cf",
        "color-api-pre-name": "#a3b5bb",
        "color-foreground-muted": "#9aa6ab",
        "color-code-background": "#1a2123",
    },
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"
copybutton_remove_prompts = True
