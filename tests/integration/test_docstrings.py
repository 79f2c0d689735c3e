"""Docstrings of public names are valid numpydoc and match the signatures."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

validate = pytest.importorskip(
    "numpydoc.validate", reason="numpydoc, which reads the docstrings, is not installed"
).validate
NumpyDocString = importlib.import_module("numpydoc.docscrape").NumpyDocString

CONF = (Path(__file__).parents[2] / "docs" / "conf.py").read_text(encoding="utf-8")
MODULES = re.findall(r'"(lucid[\w.]*)",$', CONF.partition("reference_modules = [")[2], re.M)

#: Required numpydoc checks.  Not required: examples, extended summaries, "See Also" sections and
#: numpydoc's style of summaries.
CODES = {
    "GL05", "GL08",  # no tabs; a docstring at all
    "SS01", "SS03", "SS04", "SS06",  # a summary of one line, with a full stop
    "PR01", "PR02",  # all parameters, and no others
    "PR04", "PR05", "PR06", "PR07", "PR09", "PR10",  # with types and descriptions
    "RT01", "RT02", "RT03", "RT04", "RT05",  # the return value
    "YD01",
}  # fmt: skip

#: Exceptions to the checks.
EXCEPTIONS = {
    # The keywords arrive as **fields.
    ("lucid.models.register_model", "PR01"),
    ("lucid.models.register_model", "PR02"),
}


def public() -> dict[str, object]:
    """Return each public function and class by its first public name."""
    found: dict[int, tuple[str, object]] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            ours = getattr(value, "__module__", "").startswith("lucid")
            if ours and (inspect.isclass(value) or inspect.isfunction(value)):
                found.setdefault(id(inspect.unwrap(value)), (f"{module_name}.{name}", value))
    return dict(found.values())


PUBLIC = public()


def test_there_are_many_public_names():
    assert len(PUBLIC) > 350


def sections(value: object) -> dict:
    """Parse a docstring into sections."""
    with warnings.catch_warnings():
        # Training Notes is a section of ours.
        warnings.filterwarnings("ignore", "Unknown section", UserWarning)
        return dict(NumpyDocString(inspect.getdoc(value) or ""))


def fields(value: object) -> set[str]:
    """Return the fields of a data class or named tuple, else none."""
    if dataclasses.is_dataclass(value):
        return {field.name for field in dataclasses.fields(value)}
    return set(getattr(value, "_fields", ())) if inspect.isclass(value) else set()


def attribute_faults(value: type) -> list[str]:
    """Return the errors of the attributes section of a class.

    Where a data class has no parameters described, they have to be all of its fields.
    """
    described = sections(value)
    attributes = described["Attributes"]
    names = {name for attribute in attributes for name in attribute.name.split(", ")}
    faults = [
        f"attribute {attribute.name} has no type, or no description that ends with a full stop"
        for attribute in attributes
        if not (attribute.type and " ".join(attribute.desc).rstrip().endswith("."))
    ]
    if not described["Parameters"]:
        faults += [f"field {name} not documented" for name in sorted(fields(value) - names)]
    if fields(value):
        unknown = {name for name in names - fields(value) if not hasattr(value, name)}
        faults += [f"attribute {name} is not there" for name in sorted(unknown)]
    return faults


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_is_valid_numpydoc(name):
    value = PUBLIC[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unknown section", UserWarning)
        errors = validate(name)["errors"]
    wanted = set(CODES)
    if fields(value) and not sections(value)["Parameters"]:
        wanted.remove("PR01")  # its parameters are the attributes, checked below
    if getattr(value, "_is_protocol", False):
        wanted.discard("PR01")  # it is never constructed
    faults = [
        f"{code} {message}"
        for code, message in errors
        if code in wanted and (name, code) not in EXCEPTIONS
    ]
    if inspect.isclass(value):
        faults += attribute_faults(value)
    assert not faults


@dataclasses.dataclass
class Size:
    """Of a picture.

    Attributes
    ----------
    height, depth : int
        In pixels.
    """

    height: int
    width: int


class Corner(NamedTuple):
    """Of a picture.

    Attributes
    ----------
    left : int
    top
        In pixels.
    """

    left: int
    top: int


class Point(NamedTuple):
    """Without a word on its fields."""

    x: int


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (Size, ["field width not documented", "attribute depth is not there"]),
        (Corner, [f"attribute {name} has no type, or no description" for name in ("left", "top")]),
        (Point, ["field x not documented"]),
    ],
)
def test_attributes_document_all_fields(value, wrong):
    faults = attribute_faults(value)
    assert len(faults) == len(wrong)
    assert all(fault.startswith(start) for fault, start in zip(faults, wrong, strict=True))
