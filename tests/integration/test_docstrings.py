"""Docstrings of the public names are numpydoc, and say what they say of the real arguments."""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from pathlib import Path

import pytest

validate = pytest.importorskip(
    "numpydoc.validate", reason="numpydoc, which reads the docstrings, is not installed"
).validate

CONF = (Path(__file__).parents[2] / "docs" / "conf.py").read_text(encoding="utf-8")
MODULES = re.findall(r'"(lucid[\w.]*)",$', CONF.partition("reference_modules = [")[2], re.M)

#: What numpydoc checks and we ask for.  Not asked for: an example, an extended summary and
#: a "See Also" everywhere, sections of one-line operations, and its taste in summaries.
CODES = {
    "GL05", "GL08",  # no tabs; a docstring at all
    "SS01", "SS03", "SS04", "SS06",  # a summary of one line, with a full stop
    "PR02", "PR04", "PR05", "PR06", "PR07", "PR09", "PR10",  # parameters that are there, typed
    "RT02", "RT03", "RT04", "RT05",  # what is returned
    "YD01",
}  # fmt: skip

#: What numpydoc cannot see.
EXCEPTIONS = {
    # It looks at __new__; the arguments are those of __init__.
    ("lucid.Tensor", "PR01"),
    ("lucid.Tensor", "PR02"),
    # The keywords arrive as **stated.
    ("lucid.models.register_model", "PR01"),
    ("lucid.models.register_model", "PR02"),
}


def public() -> dict[str, object]:
    """Every function and class of ours by its first public name."""
    found: dict[int, tuple[str, object]] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            ours = getattr(value, "__module__", "").startswith("lucid")
            if ours and (inspect.isclass(value) or inspect.isfunction(value)):
                found.setdefault(id(value), (f"{module_name}.{name}", value))
    return dict(found.values())


PUBLIC = public()


def test_they_are_many():
    assert len(PUBLIC) > 350


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_is_as_numpydoc_has_it(name):
    with warnings.catch_warnings():
        # Training Notes is a section of ours.
        warnings.filterwarnings("ignore", "Unknown section", UserWarning)
        errors = validate(name)["errors"]
    wanted = set(CODES)
    if re.search(r"^Parameters$", inspect.getdoc(PUBLIC[name]) or "", re.M):
        wanted.add("PR01")  # who lists arguments lists them all
    faults = [
        f"{code} {message}"
        for code, message in errors
        if code in wanted and (name, code) not in EXCEPTIONS
    ]
    assert not faults
