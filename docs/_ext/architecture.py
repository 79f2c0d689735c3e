"""Diagram of the packages for the architecture page, drawn from the import-linter contracts.

    python docs/_ext/architecture.py    # writes docs/architecture/packages.svg

The packages and their order come from ``[tool.importlinter]`` in ``pyproject.toml``; a test
compares the file with the contracts.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[2]
DIAGRAM = ROOT / "docs" / "architecture" / "packages.svg"

#: Purpose of each package, and the third-party packages that it uses.
PACKAGES = {
    "lucid_models_detection": ("Faster R-CNN, boxes, COCO", "pycocotools"),
    "lucid_models_classification": ("classifiers: ResNet, MobileNet", ""),
    "lucid.cli": ("the command line, lucid", "click"),
    "lucid.sphinxext": ("this site's model pages", "Sphinx"),
    "lucid.testing": ("gradcheck, plugin checks", ""),
    "lucid.scaffold": ("templates of lucid new-plugin", ""),
    "lucid.training": ("training loop, checkpoints", "tqdm, mpi4py"),
    "lucid.prediction": ("batch prediction, local or cluster", "Dask"),
    "lucid.vision": ("image files, transforms", "Pillow"),
    "lucid.data": ("datasets, DataLoader", ""),
    "lucid.weights": ("safetensors, npz, PyTorch files", ""),
    "lucid.models": ("model registry, plugins", "pluggy"),
    "lucid.optim": ("optimizers, schedules", ""),
    "lucid.nn": ("modules, layers, losses", ""),
    "lucid.tensor": ("Tensor and its operators", ""),
    "lucid.ops": ("operations and their derivatives", ""),
    "lucid.autograd": ("reverse-mode differentiation", ""),
    "lucid.kernels": ("compiled kernels, NumPy reference", "Numba"),
}

WIDTH, HEIGHT, GAP, TOP = 720, 36, 8, 20
LEFT, BOX = 60, 640


def layers() -> list[str]:
    """List the packages from top (may import all others) to bottom."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    ordered = {each["id"]: each["layers"] for each in contracts if each["type"] == "layers"}
    plugins = [name for name in ordered["plugins"] if name != "lucid"]
    return [*plugins, *ordered["engine"]]


def diagram() -> str:
    """Render the diagram as a self-contained SVG."""
    names = layers()
    plugins = sum(not name.startswith("lucid.") for name in names)
    height = TOP + (len(names) + 1) * (HEIGHT + GAP) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' aria-labelledby="t d" font-family="system-ui, sans-serif" font-size="15">',
        '  <title id="t">Packages of Lucid</title>',
        '  <desc id="d">From top to bottom, each package may import those below it: '
        f"{escape(', '.join(names))}.</desc>",
        '  <defs><marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"'
        ' markerHeight="8" orient="auto"><path d="M0 0L10 5L0 10z" fill="#334155"/></marker>'
        "</defs>",
        f'  <rect width="{WIDTH}" height="{height}" rx="10" fill="#ffffff"/>',
    ]
    y = TOP
    for i, name in enumerate(names):
        if i == plugins:
            parts.append(
                f'  <text x="{LEFT}" y="{y + 24}" fill="#475569" font-size="13">'
                "plugins above use only the public names of lucid; below is lucid-core</text>"
            )
            y += HEIGHT + GAP
        parts += _package(name, y, "#dcfce7" if i < plugins else "#dbeafe")
        y += HEIGHT + GAP
    parts.append(
        f'  <path d="M30 {TOP}V{y - GAP}" stroke="#334155" stroke-width="2" fill="none"'
        ' marker-end="url(#a)"/>'
    )
    middle = (TOP + y) // 2
    parts.append(
        f'  <text transform="translate(22 {middle}) rotate(-90)" text-anchor="middle"'
        ' fill="#334155" font-size="13">may import</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _package(name: str, y: int, color: str) -> list[str]:
    purpose, uses = PACKAGES[name]
    line = y + 23
    parts = [
        f'  <rect x="{LEFT}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="8" fill="{color}"'
        ' stroke="#64748b"/>',
        f'  <text x="{LEFT + 14}" y="{line}" fill="#0f172a" font-weight="600">{name}</text>',
        f'  <text x="{LEFT + 250}" y="{line}" fill="#0f172a">{escape(purpose)}</text>',
    ]
    if uses:
        parts.append(
            f'  <text x="{LEFT + BOX - 14}" y="{line}" text-anchor="end" fill="#7c2d12"'
            f' font-size="13">{escape(uses)}</text>'
        )
    return parts


if __name__ == "__main__":
    DIAGRAM.parent.mkdir(parents=True, exist_ok=True)
    DIAGRAM.write_text(diagram(), encoding="utf-8")
