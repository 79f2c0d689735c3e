from __future__ import annotations

import pytest

from lucid.models import PluginInfo
from lucid.models.suggestions import (
    install_hint,
    missing_command_hint,
    missing_module_hint,
    unknown_model_message,
)


def test_known_plugin_is_suggested() -> None:
    text = unknown_model_message("faster_rcnn_resnet_50_fpn", {"resnet_50": "resnet_50"}, [], [])
    assert text == (
        "no model is called 'faster_rcnn_resnet_50_fpn'; lucid-models-detection may have it: "
        "python -m pip install lucid-models-detection"
    )


def test_installed_plugin_is_not_suggested() -> None:
    plugin = PluginInfo("classification", "Lucid_Models_Classification", "1.0", ("resnet_18",))
    text = unknown_model_message("resnet_19", {"resnet_18": "resnet_18"}, [plugin], [])
    assert text == "no model is called 'resnet_19'; did you mean 'resnet_18'?"


def test_disabled_plugin_is_named_with_variable() -> None:
    text = unknown_model_message("resnet_18", {}, [], ["lucid-models-classification"])
    assert "lucid-models-classification may have it, but is disabled" in text
    assert "LUCID_DISABLE_PLUGINS" in text
    assert "pip" not in text


def test_spelling_of_other_libraries_is_recognized() -> None:
    assert "did you mean 'resnet_50'" in unknown_model_message(
        "ResNet50", {"resnet_50": "resnet_50", "vit": "vit"}, [], []
    )


def test_hint_without_models_has_pip_command() -> None:
    assert unknown_model_message("anything", {}, [], []).endswith(install_hint())
    assert "python -m pip install lucid-models-classification" in install_hint()


def test_missing_command_hint_names_plugin() -> None:
    assert missing_command_hint("detect", [], []) == (
        "lucid-models-detection adds it: python -m pip install lucid-models-detection"
    )
    disabled = missing_command_hint("detect", [], ["lucid_models_detection"])
    assert "LUCID_DISABLE_PLUGINS" in str(disabled)
    assert missing_command_hint("detect", ["lucid-models-detection"], []) is None
    assert missing_command_hint("surely-not", [], []) is None


def test_missing_module_hint_names_distribution() -> None:
    error = ModuleNotFoundError("No module", name="lucid_models_classification.torchvision")
    assert missing_module_hint(error) == (
        "lucid-models-classification is not installed: "
        "python -m pip install lucid-models-classification"
    )
    assert missing_module_hint(ModuleNotFoundError("No module", name="numpy")) is None
    assert missing_module_hint(ImportError("x", name="lucid_models_classification")) is None


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("resnet50.a1_in1k", "resnet_50"),
        ("ResNet50", "resnet_50"),
        ("resnet_50x", "resnet_50"),
        ("fasterrcnn_resnet50_fpn_v2", "faster_rcnn_resnet_50_fpn"),
    ],
)
def test_similar_alias_suggests_registered_name(foreign, ours):
    names = {"resnet50": "resnet_50", "fasterrcnn_resnet50_fpn": "faster_rcnn_resnet_50_fpn"}
    names |= {name: name for name in names.values()}
    text = unknown_model_message(foreign, names, [], [])
    assert text.startswith(f"no model is called {foreign!r}; did you mean {ours!r}?")


def test_unknown_name_without_similar_models():
    assert "lucid.models.list_models()" in unknown_model_message(
        "vgg16", {"resnet_18": "resnet_18"}, [], []
    )


@pytest.mark.parametrize("prefix", ["retinanet", "RetinaNet", "retina-net"])
def test_prefix_suggests_models(prefix):
    names = {name: name for name in ("resnet_18", "retina_net_a", "retina_net_b")}
    text = unknown_model_message(prefix, {**names, "retina_b": "retina_net_b"}, [], [])
    assert "did you mean 'retina_net_a' or 'retina_net_b'?" in text


def test_at_most_four_models_are_suggested():
    text = unknown_model_message("net", {f"net_{n}": f"net_{n}" for n in range(9)}, [], [])
    assert text.count("'net_") == 4


def test_family_prefix_suggests_its_models():
    names = {name: name for name in ("retina_net_fpn", "retina_net_a", "resnet_18")}
    families = {name: name.rpartition("_")[0] for name in names}
    text = unknown_model_message("retinanet_mobilenet_v3_large_320", names, [], [], families)
    assert "did you mean 'retina_net_fpn' or 'retina_net_a'?" in text
    assert "did you mean" not in unknown_model_message(
        "retinal_scan_320_of_eyes", names, [], [], families
    )
