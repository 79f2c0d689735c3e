"""Discovery with all toy plugins installed, valid and failing."""

from __future__ import annotations

import os

import pytest

LIST = """
import dataclasses, warnings
import lucid
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    names = lucid.models.list_models()
    plugins = lucid.models.list_plugins()
show([names, [dataclasses.asdict(p) for p in plugins], [str(w.message) for w in caught]])
"""


def test_failed_plugins_are_reported_and_not_listed(installed, failures, loaded) -> None:
    names, plugins, warned = installed.shown(LIST)
    failed = {p["distribution"]: p for p in plugins if p["error"] is not None}
    working = {p["distribution"]: len(p["models"]) for p in plugins if p["error"] is None}
    assert working == loaded
    assert failed.keys() == failures.keys()
    for distribution, cause in failures.items():
        assert cause in failed[distribution]["error"]
        assert failed[distribution]["models"] == []
        (about,) = [text for text in warned if f"{distribution} 1.0 is skipped" in text]
        assert cause in about
    assert len(warned) == len(failures)
    assert "toy_half_way" not in names  # registered before the hook raised
    assert len(names) == sum(loaded.values())


def test_plugin_that_requires_newer_core_is_not_imported(installed) -> None:
    imported = installed.shown(
        """
import sys
import lucid
class Spy:
    imported = []
    def find_spec(self, fullname, path=None, target=None):
        self.imported.append(fullname)
sys.meta_path.insert(0, Spy())
lucid.models.list_models()
show(Spy.imported)
"""
    )
    # sys.modules is not enough: failed plugins are removed from it.
    assert "toy_raises_at_import" in imported
    assert "toy_needs_newer_core" not in imported


def test_unknown_model_error_names_failed_plugins(installed) -> None:
    message = installed.shown(
        """
import lucid
try:
    lucid.models.create_model("toy_half_way")
except lucid.UnknownModelError as error:
    show(str(error))
"""
    )
    assert "toy-half-way 1.0 (RuntimeError: half way through the hook)" in message


def test_strict_mode_raises_first_failure(installed) -> None:
    message, cause = installed.shown(
        """
import lucid
for function in (lucid.models.list_models, lucid.models.list_plugins):
    try:
        function()
    except lucid.PluginError as error:
        shown = [str(error), type(error.__cause__).__name__]
show(shown)
""",
        env={"LUCID_STRICT_PLUGINS": "1"},
    )
    assert message == (
        "plugin 'toy' of toy-exits 1.0: SystemExit: toy-exits wants the whole program to stop"
    )
    assert cause == "SystemExit"


def test_strict_mode_on_command_line(installed) -> None:
    done = installed.lucid("plugins", code=2, env={"LUCID_STRICT_PLUGINS": "1"})
    (line,) = done.stderr.splitlines()
    assert line.startswith("lucid: error: plugin 'toy' of toy-exits 1.0: SystemExit")


def test_disabled_plugins_are_not_imported(installed, failures) -> None:
    names, modules = installed.shown(
        "import lucid, sys; show([lucid.models.list_models(), sorted(sys.modules)])",
        "-W",
        "error",
        env={"LUCID_DISABLE_PLUGINS": ", ".join([*failures, "Toy_Good"])},
    )
    assert "resnet_50" in names
    assert "toy_heavy" in names
    assert "toy_good" not in names
    assert not {"toy_good", "toy_exits", "toy_half_way"} & set(modules)


def test_damaged_metadata_of_other_distributions_is_ignored(installed, failures, loaded) -> None:
    for name, files in {
        "empty-1.0.dist-info": {},
        "binary-1.0.dist-info": {"METADATA": b"\xff\xfe\x00", "entry_points.txt": b"\xff\x80["},
        "nonsense-1.0.dist-info": {"METADATA": b"}{", "entry_points.txt": b"= = [[\nno group"},
        "half-1.0.dist-info": {"entry_points.txt": b"[console_scripts]\nx = "},
    }.items():
        (installed.folder / name).mkdir()
        for file, content in files.items():
            (installed.folder / name / file).write_bytes(content)
    broken = installed.folder / "a_file-1.0.dist-info"
    broken.write_text("not a folder")
    names, _, warned = installed.shown(LIST, env={"PYTHONPATH": str(installed.folder)})
    assert len(names) == sum(loaded.values())
    assert len(warned) == len(failures)


def test_distribution_twice_on_path_counts_once(installed, wheelhouse) -> None:
    (wheel,) = wheelhouse.glob("toy_good-*.whl")
    names, plugins, _ = installed.shown(LIST, env={"PYTHONPATH": str(wheel)})
    assert names.count("toy_good") == 1
    assert [p["distribution"] for p in plugins].count("toy-good") == 1


def test_plugins_with_same_entry_point_name_both_load(installed) -> None:
    owners = installed.shown(
        """
import lucid
show([p.distribution for p in lucid.models.list_plugins() if p.name == "classification"])
"""
    )
    assert owners == ["lucid-models-classification", "toy-namesake"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_model_name_of_two_plugins_is_ambiguous(installed, seed: int) -> None:
    is_model, listed, error, built, attribute = installed.shown(
        """
import lucid
from lucid import models
try:
    models.create_model("toy_twin")
except lucid.PluginError as caught:
    error = str(caught)
show([
    models.is_model("toy_twin"),
    models.list_models("toy_twin"),
    error,
    [models.create_model(f"toy-twin-{n}:toy_twin").parameter_size for n in ("one", "two")],
    hasattr(models, "toy_twin"),
])
""",
        env={"PYTHONHASHSEED": str(seed)},
    )
    assert is_model is False
    assert listed == ["toy-twin-one:toy_twin", "toy-twin-two:toy_twin"]
    assert "registered by toy-twin-one 1.0 and by toy-twin-two 1.0" in error
    assert "'toy-twin-one:toy_twin' or 'toy-twin-two:toy_twin'" in error
    assert built == [6, 9]
    assert attribute is False


def test_build_error_names_plugin(installed) -> None:
    errors = installed.shown(
        """
import lucid
errors = {}
for name in ("toy_no_function", "toy_no_package", "toy_no_module"):
    assert lucid.models.is_model(name)
    try:
        lucid.models.create_model(name)
    except lucid.PluginError as error:
        errors[name] = str(error)
show(errors)
"""
    )
    assert (
        "'toy_no_builder:renamed_since' of model 'toy_no_function' (toy-no-builder 1.0) "
        "does not exist"
    ) in errors["toy_no_function"]
    assert "(toy-no-builder 1.0) cannot be imported" in errors["toy_no_package"]
    assert "toy_no_builder_networks" in errors["toy_no_package"]
    assert "must return a lucid.nn.Module, got dict" in errors["toy_no_module"]


def test_threads_discover_once(installed, failures, loaded) -> None:
    results, calls, warned = installed.shown(
        """
import threading, warnings
import lucid
from lucid import models
FUNCTIONS = (
    lambda: len(models.list_models()),
    lambda: models.is_model("resnet_18"),
    lambda: models.model_info("toy_good").total_parameters,
    lambda: len(models.list_plugins()),
    lambda: hasattr(models, "toy_heavy"),
    lambda: models.toy_good.__name__,
    lambda: "resnet_50" in dir(models),
    lambda: models.create_model("toy_slow").model_name,
)
start = threading.Barrier(32)
results = [None] * 32
def call(i):
    start.wait()
    results[i] = FUNCTIONS[i % 8]()
threads = [threading.Thread(target=call, args=(i,)) for i in range(32)]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
import toy_slow
show([results, len(toy_slow.calls), len(caught)])
""",
        env={"TOY_SLOW_SECONDS": "0.5"},
    )
    total, plugins = sum(loaded.values()), len(loaded) + len(failures)
    assert results == [total, True, 772, plugins, True, "toy_good", True, "toy_slow"] * 4
    assert calls == 1
    assert warned == len(failures)


if hasattr(os, "fork"):

    def test_child_forked_during_discovery_does_not_deadlock(installed) -> None:
        shown = installed.shown(
            """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore")
import lucid
import toy_slow
thread = threading.Thread(target=lucid.models.list_models)
thread.start()
while thread.is_alive() and not toy_slow.calls:
    time.sleep(0.01)
child = os.fork()
if not child:
    os._exit(0 if lucid.models.is_model("toy_slow") else 1)
thread.join()
show(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""",
            env={"TOY_SLOW_SECONDS": "0.5"},
        )
        assert shown == 0
