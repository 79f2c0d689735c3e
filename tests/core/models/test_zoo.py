"""Public functions of ``lucid.models``: listing, lookup, building, errors."""

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


def test_models_are_listed_in_natural_order(two_plugins) -> None:
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
def test_list_models_filters(
    two_plugins, arguments: dict[str, object], expected: list[str]
) -> None:
    assert models.list_models(**arguments) == expected


@pytest.mark.parametrize("argument", ["pattern", "exclude", "task", "family", "plugin"])
def test_list_models_rejects_other_types(two_plugins, argument: str) -> None:
    with pytest.raises(TypeError, match=f"{argument} .* got 5"):
        models.list_models(**{argument: 5})


def test_model_info_imports_no_model_code(two_plugins) -> None:
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


def test_model_has_name_and_arguments(two_plugins) -> None:
    model = models.create_model("net_1", width=5)
    assert isinstance(model, nn.Linear)
    assert (model.model_name, model.model_kwargs) == ("net_1", {"width": 5})
    again = models.get_builder("net_1")(4)
    assert (again.model_name, again.model_kwargs) == ("net_1", {"width": 4})
    assert models.create_model("net_1").model_kwargs == {}


def test_builder_keeps_signature(two_plugins) -> None:
    builder = models.get_builder("net_1")
    assert list(inspect.signature(builder).parameters) == ["width", "kwargs"]
    import alpha_nets.builders

    assert builder is alpha_nets.builders.net_1 is models.net_1
    assert builder.__wrapped__.__name__ == "net_1"


def test_builder_checks_its_arguments(two_plugins) -> None:
    with pytest.raises(TypeError, match="multiple values"):
        models.get_builder("net_1")(4, width=4)


def test_builder_without_decorator(environment) -> None:
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
def test_invalid_builder_error_names_model_and_plugin(
    environment, builders: str, expected: str
) -> None:
    environment.add("bad", "net", builders=builders)
    environment.add("good", "good_net")
    with pytest.raises(PluginError, match=expected):
        models.create_model("net")
    assert models.is_model("net")
    assert models.create_model("good_net").model_name == "good_net"


def test_plugin_uninstalled_after_listing(environment) -> None:
    import importlib
    import shutil

    environment.add("going", "going_net")
    assert models.list_models() == ["going_net"]
    shutil.rmtree(environment.folder / "going")
    shutil.rmtree(environment.folder / "going-1.0.dist-info")
    importlib.invalidate_caches()
    with pytest.raises(PluginError, match=r"lucid\.models\.refresh\(\)"):
        models.create_model("going_net")
    models.refresh()
    assert models.list_models() == []


def test_refresh_finds_new_plugin(environment) -> None:
    environment.add("first", "first_net")
    assert models.list_models() == ["first_net"]
    environment.add("second", "second_net")
    assert models.list_models() == ["first_net"]
    models.refresh()
    assert models.list_models() == ["first_net", "second_net"]


def test_failed_refresh_keeps_models(environment, monkeypatch) -> None:
    environment.add("first", "first_net")
    assert models.list_models() == ["first_net"]
    environment.add("bad", plugin="raise RuntimeError")
    monkeypatch.setenv("LUCID_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError):
        models.refresh()
    assert models.list_models() == ["first_net"]


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_name_of_two_plugins_is_ambiguous(environment, tmp_path, monkeypatch, order) -> None:
    for distribution in order:
        folder = tmp_path / distribution
        environment.add(distribution, "net", distribution + "_net", folder=folder)
        monkeypatch.syspath_prepend(folder)
    assert models.list_models() == ["left:net", "left_net", "right:net", "right_net"]
    assert models.list_models("net") == ["left:net", "right:net"]
    assert not models.is_model("net")
    assert not hasattr(models, "net")
    for function in (models.create_model, models.get_builder, models.model_info):
        with pytest.raises(PluginError) as caught:
            function("net")
        assert "'net' is registered by left 1.0 and by right 1.0" in str(caught.value)
        assert "'left:net' or 'right:net'" in str(caught.value)
    for name in models.list_models():
        model = models.create_model(name)
        assert model.model_name == name
        assert models.model_info(name).name == name
    import right.builders

    assert models.get_builder("right:net").__wrapped__ is right.builders.net.__wrapped__
    assert models.create_model("Left:net").model_name == "left:net"


def test_qualified_name_of_unique_model(two_plugins) -> None:
    assert models.create_model("alpha-nets:net_1").model_name == "net_1"
    assert models.model_info("alpha_nets:net_1").name == "net_1"
    with pytest.raises(UnknownModelError, match="no model is called 'beta-nets:net_1'"):
        models.model_info("beta-nets:net_1")


def test_unknown_model_error_has_suggestions(two_plugins) -> None:
    two_plugins.add("broken", plugin="raise RuntimeError('sad')")
    with pytest.warns(lucid.PluginWarning):
        models.list_models()
    with pytest.raises(UnknownModelError) as caught:
        models.create_model("other_smal")
    assert isinstance(caught.value, LookupError)
    text = str(caught.value)
    assert text.startswith("no model is called 'other_smal'; did you mean 'other_small'")
    assert "broken 1.0 (RuntimeError: sad)" in text


def test_name_must_be_str(two_plugins) -> None:
    with pytest.raises(TypeError, match="must be a str, got 3"):
        models.create_model(3)


def test_threads_discover_once(environment) -> None:
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

    def list_models() -> None:
        start.wait()
        seen.append(models.list_models())

    threads = [threading.Thread(target=list_models) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [["slow_net"]] * 32
    assert (environment.folder / "slow" / "plugin.py.log").read_text() == "x"


def test_register_model_does_not_wait_for_discovery(environment) -> None:
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


def test_reserved_names_cover_package() -> None:
    own = {module.name for module in pkgutil.iter_modules(models.__path__)} | set(models.__all__)
    assert own == zoo.RESERVED
