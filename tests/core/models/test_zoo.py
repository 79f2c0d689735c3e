"""Asking for models: names, filters, builders, and what is said when there is none."""

from __future__ import annotations

import inspect
import pkgutil
import threading

import pytest

import lucid
from lucid import PluginError, UnknownModelError, models, nn
from lucid.models import zoo


@pytest.fixture
def two_plugins(environment):
    """Two distributions with five models between them."""
    environment.add("alpha-nets", "net_2", "net_10", "net_1")
    environment.add("beta-nets", "other", "other_small", version="2.0", entry_point="b")
    return environment


def test_listing_is_in_natural_order(two_plugins) -> None:
    assert models.list_models() == ["net_1", "net_2", "net_10", "other", "other_small"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"pattern": "net_?"}, ["net_1", "net_2"]),
        ({"pattern": ["net_1", "other*"]}, ["net_1", "other", "other_small"]),
        ({"pattern": "n"}, []),
        ({"pattern": []}, []),
        ({"pattern": "NET_1"}, []),
        ({"exclude": "*_small"}, ["net_1", "net_2", "net_10", "other"]),
        ({"exclude": ["net_*", "other"]}, ["other_small"]),
        ({"plugin": "alpha-nets"}, ["net_1", "net_2", "net_10"]),
        ({"plugin": "Beta_Nets"}, ["other", "other_small"]),
        ({"plugin": ["gamma", "beta-*"]}, ["other", "other_small"]),
        ({"task": "testing", "pattern": "other"}, ["other"]),
        ({"task": "object-detection"}, []),
        ({"family": ["toy"], "pattern": "net_1"}, ["net_1"]),
        ({"family": "t"}, []),
        ({"pattern": "beta-nets:*"}, ["other", "other_small"]),
    ],
)
def test_filters(two_plugins, arguments: dict[str, object], expected: list[str]) -> None:
    assert models.list_models(**arguments) == expected


@pytest.mark.parametrize("argument", ["pattern", "exclude", "task", "family", "plugin"])
def test_a_filter_of_another_type_is_refused(two_plugins, argument: str) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be a pattern"):
        models.list_models(**{argument: 5})


def test_info_imports_no_model_code(two_plugins) -> None:
    import sys

    info = models.model_info("other")
    assert info == models.ModelInfo(
        name="other",
        task="testing",
        family="toy",
        summary="A model to test with",
        builder="beta_nets.builders:other",
        total_parameters=6,
        input_shape=(1, 2),
        distribution="beta-nets",
        version="2.0",
    )
    assert models.is_model("other")
    assert not models.is_model("another")
    assert not models.is_model(3)
    assert "beta_nets.builders" not in sys.modules


def test_a_model_knows_how_it_was_built(two_plugins) -> None:
    model = models.create_model("net_1", width=5)
    assert isinstance(model, nn.Linear)
    assert (model.model_name, model.model_kwargs) == ("net_1", {"width": 5})
    again = models.get_builder("net_1")(4)
    assert (again.model_name, again.model_kwargs) == ("net_1", {"width": 4})
    assert models.create_model("net_1").model_kwargs == {}


def test_the_builder_keeps_its_face(two_plugins) -> None:
    builder = models.get_builder("net_1")
    assert list(inspect.signature(builder).parameters) == ["width", "kwargs"]
    import alpha_nets.builders

    assert builder is alpha_nets.builders.net_1 is models.net_1
    assert builder.__wrapped__.__name__ == "net_1"


def test_the_builder_checks_its_own_arguments(two_plugins) -> None:
    with pytest.raises(TypeError, match="multiple values"):
        models.get_builder("net_1")(4, width=4)


def test_a_builder_need_not_be_decorated(environment) -> None:
    environment.add(
        "plain",
        "plain_net",
        builders="""
        from lucid import nn

        def plain_net(width=3):
            "Plain."
            return nn.Linear(2, width)
        """,
    )
    model = models.create_model("plain_net")
    assert (model.model_name, model.model_kwargs) == ("plain_net", {})
    assert models.plain_net.__doc__ == "Plain."
    assert models.plain_net is models.plain_net


@pytest.mark.parametrize(
    ("builders", "expected"),
    [
        ("", r"builder 'bad.builders:net' of model 'net' \(bad 1.0\) does not exist"),
        ("net = 3", "must be a function, got int"),
        ("raise ImportError('needs more')", "cannot be imported: ImportError: needs more"),
        ("raise SystemExit(4)", "cannot be imported: SystemExit: 4"),
        ("def net(): return [1]", "model 'net' must return a lucid.nn.Module, got list"),
        ("def net(): return None", "must return a lucid.nn.Module, got NoneType"),
    ],
)
def test_a_builder_that_does_not_build(environment, builders: str, expected: str) -> None:
    environment.add("bad", "net", builders=builders)
    environment.add("good", "good_net")
    with pytest.raises(PluginError, match=expected):
        models.create_model("net")
    assert models.is_model("net")
    assert models.create_model("good_net").model_name == "good_net"


def test_a_plugin_uninstalled_while_listed(environment) -> None:
    import importlib
    import shutil

    environment.add("going", "going_net")
    assert models.list_models() == ["going_net"]
    shutil.rmtree(environment.folder / "going")
    shutil.rmtree(environment.folder / "going-1.0.dist-info")
    importlib.invalidate_caches()
    with pytest.raises(PluginError, match=r"was it uninstalled\?.*refresh"):
        models.create_model("going_net")
    models.refresh()
    assert models.list_models() == []


def test_an_installation_during_the_process(environment) -> None:
    environment.add("first", "first_net")
    assert models.list_models() == ["first_net"]
    environment.add("second", "second_net")
    assert models.list_models() == ["first_net"]
    models.refresh()
    assert models.list_models() == ["first_net", "second_net"]


def test_a_failed_refresh_keeps_what_was_known(environment, monkeypatch) -> None:
    environment.add("first", "first_net")
    assert models.list_models() == ["first_net"]
    environment.add("bad", plugin="raise RuntimeError")
    monkeypatch.setenv("LUCID_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError):
        models.refresh()
    assert models.list_models() == ["first_net"]


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_the_same_name_twice_is_nobodys(environment, tmp_path, monkeypatch, order) -> None:
    for distribution in order:
        folder = tmp_path / distribution
        environment.add(distribution, "net", distribution + "_net", folder=folder)
        monkeypatch.syspath_prepend(folder)
    assert models.list_models() == ["left:net", "left_net", "right:net", "right_net"]
    assert models.list_models("net") == ["left:net", "right:net"]
    assert not models.is_model("net")
    assert not hasattr(models, "net")
    for ask in (models.create_model, models.get_builder, models.model_info):
        with pytest.raises(PluginError) as caught:
            ask("net")
        assert str(caught.value) == (
            "the model name 'net' is registered by left 1.0 and by right 1.0; "
            "ask for 'left:net' or 'right:net'"
        )
    for name in models.list_models():
        model = models.create_model(name)
        assert model.model_name == name
        assert models.model_info(name).name == name
    import right.builders

    assert models.get_builder("right:net").__wrapped__ is right.builders.net.__wrapped__
    assert models.create_model("Left:net").model_name == "left:net"


def test_a_qualified_name_works_without_need(two_plugins) -> None:
    assert models.create_model("alpha-nets:net_1").model_name == "net_1"
    assert models.model_info("alpha_nets:net_1").name == "net_1"
    with pytest.raises(UnknownModelError, match="no model is called 'beta-nets:net_1'"):
        models.model_info("beta-nets:net_1")


def test_an_unknown_name_is_helped_along(two_plugins) -> None:
    two_plugins.add("broken", plugin="raise RuntimeError('sad')")
    with pytest.warns(lucid.PluginWarning):
        models.list_models()
    with pytest.raises(UnknownModelError) as caught:
        models.create_model("other_smal")
    assert isinstance(caught.value, LookupError)
    text = str(caught.value)
    assert text.startswith("no model is called 'other_smal'; did you mean 'other_small'")
    assert "could not be loaded: broken 1.0 (RuntimeError: sad)" in text


def test_a_name_must_be_a_string(two_plugins) -> None:
    with pytest.raises(TypeError, match="must be a str, got 3"):
        models.create_model(3)


def test_many_threads_discover_once(environment) -> None:
    environment.add(
        "slow",
        plugin="""
        import time
        import lucid

        with open(__file__ + ".log", "a") as log:
            log.write("x")
        time.sleep(0.05)

        @lucid.hookimpl
        def lucid_register_models(register):
            register("slow_net", "slow.builders:slow_net", task="t", family="f",
                     total_parameters=6, summary="s")
        """,
    )
    start = threading.Barrier(32)
    seen: list[list[str]] = []

    def ask() -> None:
        start.wait()
        seen.append(models.list_models())

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [["slow_net"]] * 32
    assert (environment.folder / "slow" / "plugin.py.log").read_text() == "x"


def test_decorating_does_not_wait_for_a_discovery(environment) -> None:
    environment.add(
        "waiting",
        plugin="""
        import lucid
        import lucid_test_gate

        lucid_test_gate.reached.set()
        assert lucid_test_gate.decorated.wait(10)

        @lucid.hookimpl
        def lucid_register_models(register): ...
        """,
    )
    import sys
    import types

    gate = types.ModuleType("lucid_test_gate")
    gate.reached, gate.decorated = threading.Event(), threading.Event()
    sys.modules["lucid_test_gate"] = gate
    try:
        discovery = threading.Thread(target=models.list_models)
        discovery.start()
        assert gate.reached.wait(10)

        @models.register_model
        def meanwhile() -> nn.Identity:
            return nn.Identity()

        gate.decorated.set()
        discovery.join()
    finally:
        del sys.modules["lucid_test_gate"]
    assert models.list_models() == ["meanwhile"]


def test_no_model_can_hide_what_the_package_has() -> None:
    own = {module.name for module in pkgutil.iter_modules(models.__path__)} | set(models.__all__)
    assert own == zoo.RESERVED
