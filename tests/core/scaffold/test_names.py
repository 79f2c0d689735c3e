"""Names of a new plugin, and names that are rejected."""

from __future__ import annotations

import sys
import types

import pytest

from lucid.scaffold import PluginNames, plugin_names


@pytest.mark.parametrize(
    ("distribution", "package", "entry_point", "model", "class_name"),
    [
        ("tiny", "tiny", "tiny", "tiny_net", "TinyNet"),
        ("lucid-models-octave", "lucid_models_octave", "octave", "octave_net", "OctaveNet"),
        ("lucid-shapes", "lucid_shapes", "shapes", "shapes_net", "ShapesNet"),
        ("My.Odd__Name-2", "my_odd_name_2", "my_odd_name_2", "my_odd_name_2_net", "MyOddName2Net"),
        ("edge-net", "edge_net", "edge_net", "edge_net", "EdgeNet"),
        # The name without the prefix would begin with a digit.
        ("lucid-models-3d", "lucid_models_3d", "lucid_models_3d", None, "LucidModels3dNet"),
    ],
)
def test_names_are_derived_from_distribution(
    environment, distribution, package, entry_point, model, class_name
):
    model = model or "lucid_models_3d_net"
    names = plugin_names(distribution)
    assert names == PluginNames(distribution, package, entry_point, model, class_name)


def test_given_model_name(environment) -> None:
    names = plugin_names("tiny", "wee_classifier")
    assert (names.model, names.class_name) == ("wee_classifier", "WeeClassifier")
    assert (names.package, names.entry_point) == ("tiny", "tiny")


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        ("", "got ''"),
        ("-tiny", "got '-tiny'"),
        ("tiny.", "got 'tiny.'"),
        ("tiny net", "got 'tiny net'"),
        ("tiny\n", r"got 'tiny\\n'"),
        ("../tiny", "got '../tiny'"),
        ("naïve", "got 'naïve'"),
        ("3d", "'3d' .* 'lucid-models-3d'"),
        ("class", "'class' .* identifier"),
        ("json", "'json' .* standard library"),
        ("lucid", r"'lucid' .*__init__\.py"),
        ("numpy-", "got 'numpy-'"),
        ("NumPy", "'NumPy' is already installed"),
        ("lucid_core", "'lucid_core' is a distribution of Lucid"),
        ("lucid-models-detection", "'lucid-models-detection' is a distribution of Lucid"),
    ],
)
def test_invalid_distribution_names(environment, distribution, message) -> None:
    with pytest.raises(ValueError, match=message):
        plugin_names(distribution)


def test_package_of_other_distribution_is_rejected(environment) -> None:
    (environment.folder / "octave").mkdir()
    (environment.folder / "octave" / "__init__.py").write_text("raise SystemExit\n")
    with pytest.raises(ValueError, match=r"'octave' .*__init__\.py"):
        plugin_names("Octave")


def test_imported_module_is_rejected(environment, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "octave", types.ModuleType("octave"))
    with pytest.raises(ValueError, match=r"'octave' .* unknown location"):
        plugin_names("octave")


def test_namespace_folder_is_ignored(environment, monkeypatch) -> None:
    (environment.folder / "octave").mkdir()
    assert plugin_names("octave").package == "octave"


def test_registered_model_name_is_rejected(environment) -> None:
    environment.add("toy", "tiny_net", version="1.2")
    with pytest.raises(ValueError, match=r"'tiny_net' .* toy 1\.2.*--model"):
        plugin_names("tiny")
    environment.add("toy-2", "tiny_net", entry_point="other")
    with pytest.raises(ValueError, match=r"'tiny_net' .* toy"):
        plugin_names("tiny")
    assert plugin_names("tiny", "tiny_net_2").model == "tiny_net_2"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tiny-net", "'tiny-net'"),
        ("_net", "'_net'"),
        ("list_models", "'list_models' is reserved"),
        ("nn", "'nn' conflicts .* --model nn_net"),
        ("tensor", "'tensor' conflicts"),
        ("print", "'print' conflicts"),
        ("Net", "'Net' conflicts .* --model net_net"),
        ("plugin", "'plugin' conflicts"),
    ],
)
def test_invalid_model_names(environment, model, message) -> None:
    with pytest.raises(ValueError, match=message):
        plugin_names("tiny", model)
