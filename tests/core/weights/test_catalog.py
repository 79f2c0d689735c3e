"""Catalog of published weights from the plugins of several distributions."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from lucid.errors import PluginError, PluginWarning, WeightFileError
from lucid.weights import CatalogEntry, catalog_entry, list_weights
from lucid.weights.catalog import entry_of_file, sha256_of

MODEL = """
import lucid

@lucid.hookimpl
def lucid_register_models(register):
    register(
        {name!r}, "{package}.builders:{name}", task="testing", family="toy", total_parameters=6,
        summary="A model to test with",
    )
"""
WEIGHTS = """
import lucid

@lucid.hookimpl
def lucid_register_weights(register):
    for model, tag, sha256 in {files!r}:
        register(
            model, tag, url="https://example.org/" + tag + ".npz", sha256=sha256, size=100,
            license="MIT", source="toy",
        )
"""

WEIGHTS_OF_FIELDS = """
import lucid

@lucid.hookimpl
def lucid_register_weights(register):
    register(**{fields!r})
"""


def listed() -> list[tuple[str, str, str, bool]]:
    return [(e.model, e.tag, e.origin, e.default) for e in list_weights()]


def test_plugin_of_the_model_chooses_its_default(environment) -> None:
    files = [("net", "mine", "a" * 8)]
    environment.add("acme", plugin=WEIGHTS.format(files=files))
    files = [("net", "v1", "b" * 8)]
    environment.add(
        "owner", plugin=MODEL.format(name="net", package="owner") + WEIGHTS.format(files=files)
    )
    assert listed() == [
        ("net", "v1", "owner 1.0", True),
        ("net", "mine", "acme 1.0", False),
    ]
    assert catalog_entry("net").tag == "v1"


@pytest.mark.parametrize(
    "file", [("net", "v1", "a" * 8), ("net", "copy", "b" * 64)], ids=["tag", "file"]
)
def test_weights_of_two_plugins_are_taken_from_that_of_the_model(environment, file) -> None:
    environment.add("acme", plugin=WEIGHTS.format(files=[file]))
    files = [("net", "v1", "b" * 8)]
    environment.add(
        "owner", plugin=MODEL.format(name="net", package="owner") + WEIGHTS.format(files=files)
    )
    with pytest.warns(PluginWarning, match=f"net {file[1]} of acme 1.0 .*owner 1.0"):
        assert listed() == [("net", "v1", "owner 1.0", True)]


@pytest.mark.parametrize(
    "file", [("net", "v1", "a" * 8), ("net", "copy", "b" * 64)], ids=["tag", "file"]
)
def test_tag_or_file_twice_in_one_plugin(environment, file) -> None:
    environment.add("acme", plugin=WEIGHTS.format(files=[("net", "v1", "b" * 8), file]))
    with pytest.warns(PluginWarning, match=f"acme 1.0: its weights are skipped: .*net {file[1]}"):
        assert listed() == []


def test_model_names_are_those_of_the_registry(environment) -> None:
    for name, digit in (("one", "a"), ("two", "b")):
        plugin = MODEL.format(name="net", package=name)
        environment.add(name, plugin=plugin + WEIGHTS.format(files=[("net", "v1", digit * 8)]))
    assert listed() == [
        ("one:net", "v1", "one 1.0", True),
        ("two:net", "v1", "two 1.0", True),
    ]
    assert catalog_entry("two:net").sha256 == "b" * 8


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("name", "v1.pth", "name must be lower case"),
        ("arguments", {"sizes": {1, 2}}, "arguments must be .* set"),
        ("preprocessing", {"mean": 1j}, "preprocessing must be .* complex"),
        ("url", "https://example.org/%00.pth", "printable file name"),
        ("url", "https://example.org/%5Cetc.pth", "printable file name"),
    ],
)
def test_invalid_field_is_rejected(environment, field: str, value: Any, problem: str) -> None:
    fields = {
        "model": "net",
        "name": "v1",
        "url": "https://example.org/v1.npz",
        "sha256": "a" * 8,
        "size": 100,
        "license": "MIT",
        "source": "toy",
        field: value,
    }
    environment.add("acme", plugin=WEIGHTS_OF_FIELDS.format(fields=fields))
    with pytest.warns(PluginWarning, match=f"acme 1.0: .*{problem}"):
        assert listed() == []


def test_entries_share_no_data_with_the_plugin(environment) -> None:
    plugin = WEIGHTS.format(files=[("net", "v1", "a" * 8)])
    plugin = plugin.replace("license", "preprocessing=SHARED, license") + "SHARED = {'mean': [1]}"
    environment.add("acme", plugin=plugin)
    for _ in range(2):
        (entry,) = list_weights()
        assert entry.preprocessing == {"mean": [1]}
        entry.preprocessing["mean"].append(2)


@pytest.fixture
def published_twice(environment, tmp_path: Path) -> Path:
    """A file that is published for two models."""
    path = tmp_path / "file.npz"
    path.write_bytes(b"x" * 100)
    files = [("net", "v1", sha256_of(path)), ("other", "v1", sha256_of(path)[:8])]
    environment.add("acme", plugin=WEIGHTS.format(files=files))
    return path


def test_file_of_two_models(published_twice: Path) -> None:
    found = entry_of_file(published_twice, "other")
    assert isinstance(found, CatalogEntry)
    assert found.model == "other"
    for model in (None, "third"):
        with pytest.raises(WeightFileError, match=r"file\.npz: .*net by acme 1\.0 and other by"):
            entry_of_file(published_twice, model)


@pytest.mark.parametrize(("name", "found"), [("v1-{}.npz", True), ("other.npz", False)])
def test_file_of_another_size_is_recognized_by_its_name(
    environment, tmp_path: Path, name: str, found: bool
) -> None:
    content = b"x" * 200  # 100 are registered
    digits = hashlib.sha256(content).hexdigest()[:8]
    environment.add("acme", plugin=WEIGHTS.format(files=[("net", "v1", digits)]))
    path = tmp_path / name.format(digits)
    path.write_bytes(content)
    assert (entry_of_file(path) is not None) == found


@pytest.mark.parametrize("names", [{"a", "b"}, {"a": 1, "b": 2}, "ab", ["a", 1]])
def test_class_names_are_a_sequence_of_str(monkeypatch: pytest.MonkeyPatch, names: Any) -> None:
    monkeypatch.setattr("lucid.weights.catalog.TEST_NAMES", names, raising=False)
    classes = "lucid.weights.catalog:TEST_NAMES"
    entry = CatalogEntry("net", "v1", "", "", 1, "MIT", "toy", classes=classes)
    with pytest.raises(PluginError, match=r"net v1 .*expected a sequence of str"):
        _ = entry.class_names
