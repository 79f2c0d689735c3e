"""The core's list of known plugins matches their registrations."""

from __future__ import annotations

import importlib
import inspect
from fnmatch import fnmatchcase

import click
import pytest

from lucid.models import get_builder, list_models, model_info, zoo
from lucid.models.suggestions import KnownPlugin, known_plugins

INFOS = [model_info(name) for name in list_models()]

#: Names in torchvision that put no underscore between a word and its number.
TORCHVISION = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "fasterrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
)

each_plugin = pytest.mark.parametrize(
    "known", [pytest.param(known, id=known.distribution) for known in known_plugins()]
)


def test_plugins_of_this_repository_are_known() -> None:
    ours = {info.distribution for info in INFOS if str(info.distribution).startswith("lucid-")}
    assert ours == {known.distribution for known in known_plugins()}


@each_plugin
def test_patterns_match_model_names_and_aliases_only(known: KnownPlugin) -> None:
    unused = set(known.models)
    for info in INFOS:
        for name in (info.name, *info.aliases):
            matching = {pattern for pattern in known.models if fnmatchcase(name, pattern)}
            assert bool(matching) == (info.distribution == known.distribution), name
            unused -= matching
    assert not unused


@each_plugin
def test_builders_are_registered_under_their_names_and_exported(known: KnownPlugin) -> None:
    package = importlib.import_module(known.distribution.replace("-", "_"))
    names = list_models(plugin=known.distribution)
    assert set(names) == {
        name
        for name in package.__all__
        if inspect.isfunction(function := getattr(package, name))
        and "num_classes" in inspect.signature(function).parameters
    }
    for name in names:
        assert get_builder(name) is getattr(package, name)
    task = "object-detection" if "detection" in known.distribution else "image-classification"
    assert {model_info(name).task for name in names} == {task}


@each_plugin
def test_known_commands_match_the_registered_ones(known: KnownPlugin) -> None:
    group = click.Group()
    for plugin in zoo.registry.loaded_plugins():
        if plugin.entry_point.distribution == known.distribution:
            plugin.call_hook("lucid_register_commands", cli=group)
    assert sorted(group.commands) == sorted(known.commands)


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_name_is_an_alias(name: str) -> None:
    info = model_info(name)
    assert name in info.aliases
    assert info.name.replace("_", "") == name.replace("_", "")


def test_aliases_resolve_to_their_models() -> None:
    for info in INFOS:
        assert all(model_info(alias) == info for alias in info.aliases)
