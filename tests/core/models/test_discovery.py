"""Discovery: failing plugins are skipped and do not affect the others."""

from __future__ import annotations

import sys
import warnings

import pytest

import lucid
from lucid import PluginError, PluginWarning, models

HOOK = "import lucid\n@lucid.hookimpl\ndef lucid_register_models(register): "


def register(name: object, builder: object, **fields: object) -> str:
    """Return the source of a plugin that registers a model, with defaults for the fields."""
    fields = {"task": "t", "family": "f", "total_parameters": 6, "summary": "s"} | fields
    return f"{HOOK}\n    register({name!r}, {builder!r}, **{fields!r})\n"


HALF = register("half", "faulty.builders:half")

#: Source of a plugin module, and a part of the expected error.
FAILING_PLUGINS = {
    "raises_at_import": ("raise RuntimeError('no\\n  luck')", "RuntimeError: no luck"),
    "imports_missing_module": (
        "import surely_not_installed",
        "ModuleNotFoundError: No module named 'surely_not_installed'",
    ),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "invalid_syntax": ("def (:", "SyntaxError"),
    "raises_after_registration": (HALF + "    raise ValueError('half')\n", "ValueError: half"),
    "exits_after_registration": (HALF + "    raise SystemExit\n", "SystemExit"),
    "unknown_argument": (
        HOOK.replace("(register)", "(registry)") + "...",
        "Argument(s) {'registry'} are declared in the hookimpl",
    ),
    "unknown_hook": (
        HOOK.replace("models", "layers") + "...",
        "unknown hook 'lucid_register_layers'",
    ),
    "no_marker": (
        "def lucid_register_models(register): ...",
        "decorate lucid_register_models with @lucid.hookimpl",
    ),
    "registers_twice": (
        HALF + HALF.splitlines()[-1],
        "ValueError: model 'half' is registered twice",
    ),
    "invalid_name": (register("a-b", "a.b:c"), "'a-b'"),
    "invalid_builder": (
        register("net", "a.b.c"),
        "model 'net': builder must be 'package.module:function', got 'a.b.c'",
    ),
    "no_count": (
        register("net", "a.b:c", total_parameters=None),
        "model 'net': total_parameters must be an int, got None",
    ),
    "no_builder": (register("net", None), "model 'net': builder must be a str, got None"),
    "family_of_wrong_type": (
        register("net", "a.b:c", family=3),
        "model 'net': family must be a str, got 3",
    ),
    "name_of_wrong_type": (register(3, "a.b:c"), "the name of a model must be a str, got 3"),
    "missing_keywords": (
        HOOK + "register('net', 'a.b:c')",
        "missing 4 required keyword-only arguments",
    ),
    "error_without_str": (
        "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
        "Mute",
    ),
    "lists_models": ("import lucid\nlucid.models.list_models()", "during plugin discovery"),
    "imports_model": ("from lucid.models import good_net", "during plugin discovery"),
}


@pytest.mark.parametrize("case", FAILING_PLUGINS)
def test_failing_plugin_is_skipped(environment, case: str) -> None:
    source, expected = FAILING_PLUGINS[case]
    environment.add("good", "good_net")
    environment.add("faulty", plugin=source, version="0.3", entry_point="broken")
    with pytest.warns(PluginWarning) as caught:
        assert models.list_models() == ["good_net"]
    (warning,) = caught
    assert "'broken' of faulty 0.3 is skipped" in str(warning.message)
    assert expected in str(warning.message)
    assert "\n" not in str(warning.message)
    assert warning.filename == __file__
    faulty, good = models.list_plugins()
    assert (faulty.name, faulty.distribution, faulty.version) == ("broken", "faulty", "0.3")
    assert faulty.models == ()
    assert expected in str(faulty.error)
    assert (good.models, good.error) == (("good_net",), None)
    with warnings.catch_warnings():  # only one warning
        warnings.simplefilter("error")
        assert models.list_models() == ["good_net"]


def test_plugin_without_metadata_fails(environment) -> None:
    environment.add("good", "good_net")
    environment.add("broken")
    (environment.folder / "broken-1.0.dist-info" / "METADATA").unlink()
    with pytest.warns(PluginWarning, match="no name or version; reinstall"):
        assert models.list_models() == ["good_net"]
    assert "broken.plugin" not in sys.modules


def test_warning_during_import_points_to_import(environment) -> None:
    environment.add("good", "good_net")
    environment.add("bad", plugin="raise RuntimeError")
    with pytest.warns(PluginWarning, match="bad") as caught:
        from lucid.models import good_net
    assert good_net().model_name == "good_net"
    assert caught[0].filename == __file__


def test_entry_point_can_name_object(environment) -> None:
    package = environment.add("toy", "toy_net")
    (environment.folder / "toy-1.0.dist-info" / "entry_points.txt").write_text(
        f"[lucid.models]\ntoy = {package}.plugin:Plugin.hooks\n"
    )
    (environment.folder / "toy" / "plugin.py").write_text(
        "import lucid\n"
        "class Hooks:\n"
        "    @lucid.hookimpl\n"
        "    def lucid_register_models(self, register):\n"
        "        register('toy_net', 'toy.builders:toy_net', task='t', family='f',\n"
        "                 total_parameters=6, summary='s')\n"
        "class Plugin:\n"
        "    hooks = Hooks()\n"
    )
    assert models.list_models() == ["toy_net"]
    assert models.create_model("toy_net").model_name == "toy_net"


def test_failed_plugin_stays_imported_if_program_imported_it(environment) -> None:
    environment.add(
        "toy",
        plugin=HOOK + "raise RuntimeError",
    )
    import toy.plugin

    with pytest.warns(PluginWarning):
        models.list_models()
    assert sys.modules["toy.plugin"] is toy.plugin


def test_keyboard_interrupt_propagates_and_discovery_can_rerun(environment) -> None:
    environment.add("good", "good_net")
    environment.add("interrupted", plugin="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        models.list_models()
    (environment.folder / "interrupted" / "plugin.py").write_text(HOOK + "...")
    assert models.list_models() == ["good_net"]


def test_strict_mode_raises_first_failure(environment, monkeypatch) -> None:
    monkeypatch.setenv("LUCID_STRICT_PLUGINS", "1")
    environment.add("bad", plugin="raise RuntimeError('first')")
    environment.add("worse", plugin="raise RuntimeError('second')")
    for _ in range(2):
        with pytest.raises(PluginError, match=r"'toy' of bad 1\.0: RuntimeError: first") as caught:
            models.list_models()
        assert isinstance(caught.value.__cause__, RuntimeError)
    assert not hasattr(models, "anything")
    monkeypatch.setenv("LUCID_STRICT_PLUGINS", "0")
    with pytest.warns(PluginWarning):
        assert models.list_models() == []


def test_disabled_plugins_are_not_imported(environment, monkeypatch) -> None:
    package = environment.add(
        "un.wanted-plugin".replace(".", "_"), "unwanted", plugin="import nope"
    )
    environment.add("good", "good_net")
    monkeypatch.setenv(
        "LUCID_DISABLE_PLUGINS",
        " Un-Wanted_Plugin , lucid-models-detection,lucid-models-classification",
    )
    assert models.list_models() == ["good_net"]
    assert [plugin.distribution for plugin in models.list_plugins()] == ["good"]
    assert f"{package}.plugin" not in sys.modules


def test_core_requirement_is_checked_before_import(environment) -> None:
    environment.add("ahead", plugin="raise AssertionError", requires=("lucid-core>=99,<100",))
    with pytest.warns(PluginWarning, match=r"pip install --upgrade 'lucid-core>=99,<100'"):
        assert models.list_models() == []
    assert "ahead" not in sys.modules


def test_entry_points_with_same_name_all_load(environment) -> None:
    environment.add("one", "net_1", entry_point="same")
    environment.add("two", "net_2", entry_point="same")
    assert models.list_models() == ["net_1", "net_2"]
    assert [plugin.name for plugin in models.list_plugins()] == ["same", "same"]


def test_one_entry_point_of_distribution_can_fail(environment) -> None:
    environment.add("pair", "net")
    (environment.folder / "pair" / "broken.py").write_text("raise OSError('gone')")
    info = environment.folder / "pair-1.0.dist-info" / "entry_points.txt"
    info.write_text("[lucid.models]\nworks = pair.plugin\nbroken = pair.broken\n")
    with pytest.warns(PluginWarning, match="OSError: gone"):
        assert models.list_models() == ["net"]
    assert [(p.name, p.models) for p in models.list_plugins()] == [
        ("broken", ()),
        ("works", ("net",)),
    ]


def test_entry_point_must_name_module(environment) -> None:
    environment.describe("odd", "[lucid.models]\nodd = not-a-module\n", version="1")
    with pytest.warns(PluginWarning, match=r"odd .*'not-a-module'"):
        assert models.list_models() == []


def test_register_raises_after_hook_returned(environment) -> None:
    environment.add(
        "late",
        plugin="""
        import lucid
        kept = []

        @lucid.hookimpl
        def lucid_register_models(register):
            kept.append(register)
        """,
    )
    assert models.list_models() == []
    with pytest.raises(PluginError, match=r"late registered 'net' after"):
        sys.modules["late.plugin"].kept[0](
            "net", "a:b", task="t", family="f", total_parameters=1, summary="s"
        )
    assert models.list_models() == []


def test_refresh_loads_repaired_plugin(environment) -> None:
    environment.add("toy", "net", plugin="raise RuntimeError('not yet')")
    with pytest.warns(PluginWarning):
        assert models.list_models() == []
    (environment.folder / "toy" / "plugin.py").write_text(register("net", "toy.builders:net"))
    models.refresh()
    assert models.list_models() == ["net"]


def test_plugin_in_zipped_wheel_on_path(environment, monkeypatch) -> None:
    environment.add("zipped", "zipped_net")
    path = environment.zip("zipped-1.0-py3-none-any.whl")
    monkeypatch.syspath_prepend(path)
    assert models.list_models() == ["zipped_net"]
    assert models.create_model("zipped_net").model_name == "zipped_net"


def test_models_are_listed_after_warning_raised_as_error(environment) -> None:
    environment.add("good", "good_net")
    environment.add("bad", plugin="raise RuntimeError")
    with pytest.raises(PluginWarning):
        models.list_models()
    assert models.list_models() == ["good_net"]


def test_hook_markers_have_project_name() -> None:
    assert lucid.hookimpl is models.hookimpl
    assert lucid.hookspec.project_name == "lucid"


def test_hooks_document_arguments_and_have_example() -> None:
    import inspect

    from lucid.models import hookspecs

    hooks = [f for f in vars(hookspecs).values() if hasattr(f, "lucid_spec")]
    kinds = ("models", "commands", "data_checkers", "model_checks", "weight_converters", "weights")
    assert {hook.__name__ for hook in hooks} == {f"lucid_register_{kind}" for kind in kinds}
    for hook in hooks:
        for parameter in inspect.signature(hook).parameters:
            assert f"\n{parameter} : " in inspect.getdoc(hook)
        assert "\nExamples\n" in inspect.getdoc(hook)
