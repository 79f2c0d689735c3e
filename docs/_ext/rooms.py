"""The picture on the architecture page, drawn from the contracts that ``lint`` holds.

    python docs/_ext/rooms.py    # writes docs/architecture/rooms.svg

The rooms and their order are those of ``[tool.importlinter]`` in ``pyproject.toml``, so
the picture cannot show an order that the code does not keep; a test compares the two.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "architecture" / "rooms.svg"

#: What each room is for, and the packages of others that it is built on.
ROOMS = {
    "lucid_models_detection": ("Faster R-CNN, boxes, COCO", "pycocotools"),
    "lucid_models_classification": ("classifiers: ResNet, MobileNet", ""),
    "lucid.cli": ("the command lucid", "click"),
    "lucid.sphinxext": ("this site's model pages", "Sphinx"),
    "lucid.testing": ("gradcheck, the kit for plugins", ""),
    "lucid.scaffold": ("what lucid new-plugin writes", ""),
    "lucid.training": ("the one training loop", "tqdm, mpi4py"),
    "lucid.prediction": ("many images, here or on a cluster", "Dask"),
    "lucid.vision": ("images: files, transforms", "Pillow"),
    "lucid.data": ("datasets, loader, workers", ""),
    "lucid.weights": ("safetensors, npz, PyTorch files", ""),
    "lucid.models": ("the registry of plugins", "pluggy"),
    "lucid.optim": ("optimizers, schedules", ""),
    "lucid.nn": ("modules, layers, losses", ""),
    "lucid.tensor": ("Tensor and its operators", ""),
    "lucid.ops": ("operations and derivatives", ""),
    "lucid.autograd": ("recording, walking back", ""),
    "lucid.kernels": ("arrays in, arrays out", "Numba"),
}

WIDTH, HEIGHT, GAP, TOP = 720, 36, 8, 20
LEFT, BOX = 60, 640


def layers() -> list[str]:
    """Every room, those that may import the others first."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    ordered = {each["id"]: each["layers"] for each in contracts if each["type"] == "layers"}
    plugins = [name for name in ordered["plugins"] if name != "lucid"]
    return [*plugins, *ordered["engine"]]


def picture() -> str:
    """The picture, as SVG without scripts, fonts or anything else from elsewhere."""
    names = layers()
    plugins = sum(not name.startswith("lucid.") for name in names)
    height = TOP + (len(names) + 1) * (HEIGHT + GAP) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' aria-labelledby="t d" font-family="system-ui, sans-serif" font-size="15">',
        '  <title id="t">The rooms of Lucid</title>',
        '  <desc id="d">From top to bottom, each may import those below it: '
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
        parts += _room(name, y, "#dcfce7" if i < plugins else "#dbeafe")
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


def _room(name: str, y: int, colour: str) -> list[str]:
    purpose, knows = ROOMS[name]
    line = y + 23
    parts = [
        f'  <rect x="{LEFT}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="8" fill="{colour}"'
        ' stroke="#64748b"/>',
        f'  <text x="{LEFT + 14}" y="{line}" fill="#0f172a" font-weight="600">{name}</text>',
        f'  <text x="{LEFT + 250}" y="{line}" fill="#0f172a">{escape(purpose)}</text>',
    ]
    if knows:
        parts.append(
            f'  <text x="{LEFT + BOX - 14}" y="{line}" text-anchor="end" fill="#7c2d12"'
            f' font-size="13">{escape(knows)}</text>'
        )
    return parts


if __name__ == "__main__":
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(picture(), encoding="utf-8")
