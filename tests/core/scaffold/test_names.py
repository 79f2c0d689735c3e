"""What a new plugin's parts are called, and which names are refused."""

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
        # What is left after the prefix would begin with a digit.
        ("lucid-models-3d", "lucid_models_3d", "lucid_models_3d", None, "LucidModels3dNet"),
    ],
)
def test_names_from_one(environment, distribution, package, entry_point, model, class_name):
    model = model or "lucid_models_3d_net"
    names = plugin_names(distribution)
    assert names == PluginNames(distribution, package, entry_point, model, class_name)


def test_a_model_of_another_name(environment) -> None:
    names = plugin_names("tiny", "wee_classifier")
    assert (names.model, names.class_name) == ("wee_classifier", "WeeClassifier")
    assert (names.package, names.entry_point) == ("tiny", "tiny")


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        ("", "letters, digits.*got ''"),
        ("-tiny", "got '-tiny'"),
        ("tiny.", "got 'tiny.'"),
        ("tiny net", "got 'tiny net'"),
        ("tiny\n", r"got 'tiny\\n'"),
        ("../tiny", "got '../tiny'"),
        ("naïve", "got 'naïve'"),
        (
            "3d",
            "imported as '3d', which is no name in Python; choose one such as 'lucid-models-3d'",
        ),
        ("class", "imported as 'class', which is no name in Python"),
        ("json", "imported as 'json', which is a module of Python's"),
        ("lucid", "imported as 'lucid', and .*__init__.py is"),
        ("numpy-", "got 'numpy-'"),
        ("NumPy", "the distribution 'NumPy' is installed already, in version"),
        ("lucid_core", "'lucid_core' is one of Lucid's own distributions"),
        ("lucid-models-detection", "is one of Lucid's own distributions"),
    ],
)
def test_names_that_cannot_be(environment, distribution, message) -> None:
    with pytest.raises(ValueError, match=message):
        plugin_names(distribution)


def test_a_package_that_another_distribution_has(environment) -> None:
    (environment.folder / "octave").mkdir()
    (environment.folder / "octave" / "__init__.py").write_text("raise SystemExit\n")
    with pytest.raises(ValueError, match=r"imported as 'octave', and .*__init__.py is; choose"):
        plugin_names("Octave")


def test_a_module_that_a_program_made_is_in_the_way(environment, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "octave", types.ModuleType("octave"))
    with pytest.raises(ValueError, match="imported as 'octave', and a module that says nothing"):
        plugin_names("octave")


def test_a_folder_of_that_name_is_not_in_the_way(environment, monkeypatch) -> None:
    (environment.folder / "octave").mkdir()
    assert plugin_names("octave").package == "octave"


def test_a_model_that_is_there_already(environment) -> None:
    environment.add("toy", "tiny_net", version="1.2")
    with pytest.raises(ValueError, match=r"'tiny_net' is registered by toy 1.2 already.*--model"):
        plugin_names("tiny")
    environment.add("toy-2", "tiny_net", entry_point="other")
    with pytest.raises(ValueError, match="'tiny_net' is registered by toy"):
        plugin_names("tiny")
    assert plugin_names("tiny", "tiny_net_2").model == "tiny_net_2"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tiny-net", "must be a public Python identifier"),
        ("_net", "must be a public Python identifier"),
        ("list_models", "is taken by lucid.models itself"),
        ("nn", "would collide with other names in the plugin's code"),
        ("tensor", "would collide"),
        ("print", "would collide"),
        ("Net", "would collide.*choose another, such as 'net_net'"),
        ("plugin", "would collide"),
    ],
)
def test_models_that_cannot_be(environment, model, message) -> None:
    with pytest.raises(ValueError, match=message):
        plugin_names("tiny", model)
