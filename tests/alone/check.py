"""Checks of one distribution installed without the others; run in that environment.

    python tests/alone/check.py lucid-models-classification

Without pytest, because only the distribution and its dependencies are installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import warnings
from importlib.metadata import distributions
from pathlib import Path

OURS = ("lucid-core", "lucid-models-classification", "lucid-models-detection")
PACKAGES = ("lucid", "lucid_models_classification", "lucid_models_detection")
#: Packages of extras, documentation and tests.
OPTIONAL = ("PIL", "docutils", "jinja2", "pytest", "sphinx")


def expect(condition: bool, message: str) -> None:
    if not condition:
        sys.exit(f"alone: {message}")


def check_installed(distribution: str) -> list[str]:
    """Check that only required distributions are installed, not from a source tree."""
    wanted = OURS[: OURS.index(distribution) + 1]
    installed = {found.metadata["Name"] for found in distributions()}
    expect(installed & set(OURS) == set(wanted), f"expected {wanted}, installed {installed}")
    for package, owner in zip(PACKAGES, OURS, strict=True):
        spec = importlib.util.find_spec(package)
        expect((spec is not None) == (owner in wanted), f"{package}: found {spec}")
        if spec is not None:
            expect("site-packages" in str(spec.origin), f"{package} comes from {spec.origin}")
    return list(wanted)


def check_imports(distribution: str) -> None:
    """Check that all modules can be imported, except for packages of extras."""
    package = PACKAGES[OURS.index(distribution)]
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if found.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(found.name)
        except ImportError as error:
            expect(error.name in OPTIONAL, f"{found.name} imports {error.name}")


def check_listing(wanted: list[str]) -> None:
    """Check that exactly the models of installed plugins are listed."""
    import lucid

    plugins = {plugin.distribution: plugin for plugin in lucid.models.list_plugins()}
    expect(set(plugins) == set(wanted) - {"lucid-core"}, f"plugins are {plugins}")
    expect(not any(plugin.error for plugin in plugins.values()), f"plugins are {plugins}")
    families = {lucid.models.model_info(name).family for name in lucid.models.list_models()}
    tasks = {lucid.models.model_info(name).task for name in lucid.models.list_models()}
    expected = {
        "lucid-core": set(),
        "lucid-models-classification": {"image-classification"},
        "lucid-models-detection": {"image-classification", "object-detection"},
    }[wanted[-1]]
    expect(tasks == expected, f"expected the tasks {expected}, got {tasks} ({families})")


def check_help(distribution: str) -> None:
    """Check that errors for missing plugins have the pip command."""
    import lucid

    missing = {
        "lucid-core": ("resnet_50", "lucid-models-classification"),
        "lucid-models-classification": ("faster_rcnn_resnet_50_fpn", "lucid-models-detection"),
    }.get(distribution)
    if missing is None:
        return
    name, owner = missing
    try:
        lucid.models.create_model(name)
    except lucid.UnknownModelError as error:
        expect(f"pip install {owner}" in str(error), f"no help in {error}")
    else:
        expect(False, f"{name} was built without {owner}")


def check_pillow(distribution: str) -> None:
    """Check that reading images needs the extra of the core, or a plugin."""
    import lucid

    try:
        suffixes = lucid.vision.image_suffixes()
    except lucid.MissingPackageError as error:
        expect(distribution == "lucid-core", f"{distribution}: {error}")
        expect("lucid-core[vision]" in str(error), f"no help in {error}")
    else:
        expect(distribution != "lucid-core", "lucid-core alone reads images")
        expect(".png" in suffixes, f"suffixes are {suffixes}")


def check_command(distribution: str) -> None:
    """Check that ``lucid models`` works and, without plugins, has the pip command."""
    lucid = Path(sys.executable).with_name("lucid.exe" if sys.platform == "win32" else "lucid")
    found = subprocess.run([lucid, "models"], capture_output=True, text=True, timeout=120)
    output = found.stdout + found.stderr
    expect(found.returncode == 0, f"lucid models: exit code {found.returncode}: {output}")
    expect("Traceback" not in output, output)
    if distribution == "lucid-core":
        expect("pip install lucid-models-" in output, f"lucid models does not help: {output}")
    else:
        expect("resnet_50" in output, f"lucid models does not list resnet_50: {output}")


def main() -> None:
    distribution = sys.argv[1]
    warnings.simplefilter("error")
    wanted = check_installed(distribution)
    check_listing(wanted)
    check_help(distribution)
    check_pillow(distribution)
    check_command(distribution)
    check_imports(distribution)
    import lucid

    print(f"{distribution} alone: {len(lucid.models.list_models())} models, as expected")


if __name__ == "__main__":
    main()
