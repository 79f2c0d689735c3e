"""Uninstalling a plugin takes its models and its commands away, and nothing else."""

from __future__ import annotations

import sys

CORE, CLASSIFICATION, DETECTION = (
    "lucid-core",
    "lucid-models-classification",
    "lucid-models-detection",
)


def test_each_distribution_takes_only_its_own(site) -> None:
    site.install(DETECTION, "toy-good", "toy-namesake")
    before = site.models()
    assert list(before) == [CLASSIFICATION, DETECTION, "toy-good", "toy-namesake"]
    assert "toy-hello" in site.installed.lucid("--help").stdout
    for gone in ("toy-good", "toy-namesake", DETECTION, CLASSIFICATION):
        site.remove(gone)
        del before[gone]
        assert site.models() == before
        site.installed.pip("check")
    text = site.installed.lucid("--help").stdout
    assert "toy-hello" not in text
    assert "Commands from" not in text


def test_what_is_gone_is_named_with_the_command_that_brings_it_back(site) -> None:
    site.install(DETECTION)
    site.remove(DETECTION)
    for question in (("info", "faster_rcnn_resnet_50_fpn"), ("detect", "image.png")):
        done = site.installed.lucid(*question, code=2)
        assert f"pip install {DETECTION}" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_plugin_removed_while_it_is_listed(site) -> None:
    site.install(CORE, "toy-good")
    said = site.installed.shown(
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
    assert "(toy-good 1.0) cannot be imported" in said[0]
    assert "lucid.models.refresh()" in said[0]
    assert said[1] == [[], []]


def test_a_model_built_before_the_removal_goes_on_working(site) -> None:
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
