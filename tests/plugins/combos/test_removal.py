"""Uninstalling a plugin removes its models and commands and nothing else."""

from __future__ import annotations

import sys

CORE, CLASSIFICATION, DETECTION = (
    "lucid-core",
    "lucid-models-classification",
    "lucid-models-detection",
)


def test_removal_only_removes_own_models_and_commands(site) -> None:
    site.install(DETECTION, "toy-good", "toy-namesake")
    before = site.models()
    assert list(before) == [CLASSIFICATION, DETECTION, "toy-good", "toy-namesake"]
    assert "toy-hello" in site.installed.lucid("--help").stdout
    for removed in ("toy-good", "toy-namesake", DETECTION, CLASSIFICATION):
        site.remove(removed)
        del before[removed]
        assert site.models() == before
        site.installed.pip("check")
    text = site.installed.lucid("--help").stdout
    assert "toy-hello" not in text
    assert "Commands from" not in text


def test_error_after_removal_has_pip_command(site) -> None:
    site.install(DETECTION)
    site.remove(DETECTION)
    for command in (("info", "faster_rcnn_resnet_50_fpn"), ("detect", "image.png")):
        done = site.installed.lucid(*command, code=2)
        assert f"pip install {DETECTION}" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_plugin_removed_after_listing(site) -> None:
    site.install(CORE, "toy-good")
    shown = site.installed.shown(
        """
import subprocess, sys
import lucid
assert lucid.models.list_models() == ["toy_good"]
subprocess.run([sys.executable, "-m", "pip", "uninstall", "-qy", "toy-good"], check=True)
try:
    lucid.models.create_model("toy_good")
except lucid.PluginError as error:
    show(str(error))
lucid.models.refresh()
show([lucid.models.list_models(), lucid.models.list_plugins()])
""",
        "-W",
        "error",
    )
    assert "(toy-good 1.0) cannot be imported" in shown[0]
    assert "lucid.models.refresh()" in shown[0]
    assert shown[1] == [[], []]


def test_model_built_before_removal_works(site) -> None:
    site.install(CORE, "toy-good")
    shapes = site.installed.shown(
        f"""
import subprocess
import lucid
model = lucid.models.create_model("toy_good")
subprocess.run([{sys.executable!r}, "-m", "pip", "uninstall", "-qy", "toy-good"], check=True)
lucid.models.refresh()
show([model.model_name, model(lucid.random.randn(2, 3, 8, 8)).shape])
"""
    )
    assert shapes == ["toy_good", [2, 4]]
