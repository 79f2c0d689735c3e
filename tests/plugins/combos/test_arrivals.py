"""Ways to install a plugin: during the process, editable, as a wheel on the path, in a folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

HERE = Path(__file__)
ROOT = HERE.parents[3]
TOY = HERE.parents[1] / "projects" / "toy-good"
CORE, CLASSIFICATION, DETECTION = OURS = (
    "lucid-core",
    "lucid-models-classification",
    "lucid-models-detection",
)


def copy_of_toy(folder: Path) -> Path:
    """Copy the toy plugin so that a test can modify it."""
    return Path(shutil.copytree(TOY, folder / "toy-good"))


def test_refresh_finds_plugin_installed_during_process(site) -> None:
    site.install(CORE)
    shown = site.installed.shown(
        f"""
import subprocess, sys
import lucid
def install(*what):
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--find-links",
               {str(site.wheelhouse)!r}, *what]
    subprocess.run(command, check=True)
show(lucid.models.list_models())
install("toy-good")
show(lucid.models.list_models())
lucid.models.refresh()
show(lucid.models.list_models())
from lucid.models import toy_good
show(toy_good().parameter_size)
""",
        "-W",
        "error",
    )
    assert shown == [[], [], ["toy_good"], 772]


def test_refresh_finds_other_version(site, tmp_path: Path) -> None:
    site.install(CORE, "toy-good")
    newer = copy_of_toy(tmp_path)
    text = (newer / "pyproject.toml").read_text()
    (newer / "pyproject.toml").write_text(text.replace('version = "1.0"', 'version = "2.0"'))
    shown = site.installed.shown(
        f"""
import subprocess, sys
import lucid
def version():
    return [lucid.models.model_info("toy_good").version, lucid.models.list_plugins()[0].version]
show(version())
subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps",
                "--no-build-isolation", {str(newer)!r}], check=True)
show(version())
lucid.models.refresh()
show(version())
"""
    )
    assert shown == [["1.0", "1.0"], ["1.0", "1.0"], ["2.0", "2.0"]]


def test_editable_installs(site, registered) -> None:
    folders = [ROOT / distribution.replace("-", "_") for distribution in OURS]
    editable = [part for folder in folders for part in ("-e", folder)]
    site.install("--no-deps", "--no-build-isolation", *editable)
    assert site.models() == registered
    paths = site.installed.shown(
        "import lucid, lucid_models_detection as d; show([lucid.__file__, d.__file__])"
    )
    for path, folder in zip(paths, (folders[0], folders[2]), strict=True):
        assert Path(path).is_relative_to(folder / "src")


def test_editable_plugin_follows_source(site, tmp_path: Path) -> None:
    project = copy_of_toy(tmp_path)
    site.install(CORE)
    site.install("--no-deps", "--no-build-isolation", "-e", project)
    assert site.models() == {"toy-good": ["toy_good"]}
    plugin = project / "toy_good" / "plugin.py"
    plugin.write_text(plugin.read_text().replace('"toy_good",', '"toy_better",', 1))
    assert site.models() == {"toy-good": ["toy_better"]}
    site.remove("toy-good")
    assert site.models() == {}


def test_wheels_on_path_work_without_installation(site, registered) -> None:
    wheels = [str(next(site.wheelhouse.glob(f"{d.replace('-', '_')}-*.whl"))) for d in OURS]
    wheels.append(str(next(site.wheelhouse.glob("toy_good-*.whl"))))
    path = {"PYTHONPATH": os.pathsep.join(wheels)}
    assert site.models(env=path) == registered | {"toy-good": ["toy_good"]}
    built = site.installed.shown(
        """
import lucid
model = lucid.models.create_model("resnet_18", num_classes=3).eval()
with lucid.no_grad():
    shown = [lucid.__file__, model(lucid.random.randn(1, 3, 32, 32)).shape]
show(shown + [lucid.models.create_model("toy_good").parameter_size])
""",
        env=path | {"LUCID_KERNELS": "reference"},
    )
    assert built[0].startswith(wheels[0])
    assert built[1:] == [[1, 3], 772]


def test_compiled_kernels_run_from_wheel_on_path(site) -> None:
    wheel = str(next(site.wheelhouse.glob("lucid_core-*.whl")))
    value = site.installed.shown(
        """
import lucid
x = lucid.tensor([[[[1.0, 4.0], [3.0, 2.0]]]])
show(lucid.nn.functional.max_pool2d(x, 2).numpy().tolist())
""",
        env={"PYTHONPATH": wheel, "NUMBA_CACHE_DIR": str(site.installed.folder / "cache")},
    )
    assert value == [[[[4.0]]]]


def test_target_folder_of_pip(site, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    site.install(CORE)
    site.install("--no-deps", "--target", folder, "toy-good")
    assert site.models() == {}
    assert site.models(env={"PYTHONPATH": str(folder)}) == {"toy-good": ["toy_good"]}
