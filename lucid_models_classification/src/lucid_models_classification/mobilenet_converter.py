"""Weight converters for MobileNets of torchvision, and for MobileNetV2 of timm.

torchvision numbers layers and the parts of a block; Lucid numbers stages and their layers, and
names the parts.  For MobileNetV3-Large::

    torchvision                          Lucid
    features.0.0.weight                  layers.0.0.conv.weight
    features.4.block.0.1.bias            layers.2.0.expand.norm.bias
    features.4.block.1.0.weight          layers.2.0.depthwise.conv.weight
    features.4.block.2.fc1.bias          layers.2.0.se.fc1.bias
    features.4.block.3.0.weight          layers.2.0.project.conv.weight
    classifier.3.weight                  classifier.3.weight

timm's MobileNetV3 is not converted: files of ``mobilenetv3_large_100`` and of
``tf_mobilenetv3_large_100``, which pads differently, have the same tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from lucid import StateDictError
from lucid.weights import WeightConverter
from lucid_models_classification.mobilenet import BlockConfig, stage_bounds
from lucid_models_classification.mobilenetv2 import v2_layers
from lucid_models_classification.mobilenetv3 import v3_layers

__all__ = [
    "CONVERTERS",
    "MobileNetConverter",
    "TimmConverter",
    "timm_v2",
    "v2",
    "v3_large",
    "v3_small",
]

#: Recognized width multipliers: those of published weights.
_WIDTHS = (1.0, 0.75, 0.5, 0.35, 0.25, 1.25, 1.3, 1.4)

#: Channels of the first convolution, blocks, channels of the last convolution.
Layers = tuple[int, Sequence[BlockConfig], int]


class MobileNetConverter(WeightConverter):
    """Convert the parameter names of one MobileNet of torchvision.

    Parameters
    ----------
    name : str
        Registered name of the network.
    layers : callable
        Computes the layers from arguments of the builder.
    variants : sequence of dict
        Arguments of the builder to try for a file, the defaults first.
    part : str
        torchvision's name of the layers of a block.
    head : str
        Name of the last linear layer.
    """

    def __init__(
        self,
        name: str,
        layers: Callable[..., Layers],
        variants: Sequence[dict[str, Any]],
        part: str,
        head: str,
    ) -> None:
        self.name = name
        self.layers = layers
        self.variants = variants
        self.head = head
        stem, blocks, _ = layers()
        self._bounds = stage_bounds(blocks)
        self._ours = dict(self._names(stem, blocks, part))
        self._theirs = {ours: theirs for theirs, ours in self._ours.items()}

    def _names(
        self, channels: int, blocks: Sequence[BlockConfig], part: str
    ) -> Iterator[tuple[str, str]]:
        """Yield names of layers, torchvision's and Lucid's."""
        last = len(blocks) + 1
        for i in (0, last):
            yield f"features.{i}.0", f"{self._layer(i)}.conv"
            yield f"features.{i}.1", f"{self._layer(i)}.norm"
        for i, block in enumerate(blocks, 1):
            parts = ["expand"] * (block.expanded_channels != channels) + ["depthwise"]
            parts += ["se"] * block.squeeze + ["project"]
            for j, name in enumerate(parts):
                theirs, ours = f"features.{i}.{part}.{j}", f"{self._layer(i)}.{name}"
                if name == "se":
                    yield from ((f"{theirs}.{fc}", f"{ours}.{fc}") for fc in ("fc1", "fc2"))
                elif name == "project" and part == "conv":  # not nested in MobileNetV2
                    yield theirs, f"{ours}.conv"
                    yield f"features.{i}.{part}.{j + 1}", f"{ours}.norm"
                else:
                    yield f"{theirs}.0", f"{ours}.conv"
                    yield f"{theirs}.1", f"{ours}.norm"
            channels = block.out_channels
        for linear in {"classifier.0", self.head} if part == "block" else {self.head}:
            yield linear, linear

    def _layer(self, i: int) -> str:
        """Lucid's name of layer ``i``."""
        for stage, (start, stop) in enumerate(pairwise(self._bounds)):
            if start <= i < stop:
                return f"layers.{stage}.{i - start}"
        raise IndexError(i)

    def rename(self, key: str) -> str:
        """Return Lucid's name of torchvision's ``key``."""
        return _renamed(key, self._ours)

    def export_key(self, key: str) -> str:
        """Return torchvision's name of Lucid's ``key``."""
        return _renamed(key, self._theirs)

    def has_key(self, key: str) -> bool:
        """Return whether the network has this key, in Lucid or in torchvision."""
        layer = key.rpartition(".")[0]
        return layer in self._ours or layer in self._theirs

    def identify(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]] | None:
        """Identify the builder's arguments by the shapes of the convolutions."""
        own = {self.rename(key): shape for key, shape in shapes.items()}
        layers = {key.rpartition(".")[0] for key in own}
        body = {name for name in layers if name.startswith(("features.", "blocks.", "layers."))}
        if not body or body != self._theirs.keys() - {"classifier.0", self.head}:
            return None
        for arguments in self.variants:
            expected = self._convolutions(self.layers(**arguments))
            if all(own.get(key) == shape for key, shape in expected.items()):
                return self.name, {**arguments, **self._sizes(own)}
        raise StateDictError(
            f"expected a {self.name} with a width_mult of {', '.join(map(str, sorted(_WIDTHS)))}, "
            "got convolutions of other shapes; build the model with its width_mult and call "
            "lucid_models_classification.load_torchvision_weights"
        )

    def _convolutions(self, layers: Layers) -> dict[str, tuple[int, ...]]:
        """Shapes of the convolutions of the blocks and of the last convolution."""
        channels, blocks, last = layers
        shapes: dict[str, tuple[int, ...]] = {}
        for i, block in enumerate(blocks, 1):
            name, hidden, size = self._layer(i), block.expanded_channels, block.kernel_size
            if hidden != channels:
                shapes[f"{name}.expand.conv.weight"] = (hidden, channels, 1, 1)
            shapes[f"{name}.depthwise.conv.weight"] = (hidden, 1, size, size)
            shapes[f"{name}.project.conv.weight"] = (block.out_channels, hidden, 1, 1)
            channels = block.out_channels
        shapes[f"{self._layer(len(blocks) + 1)}.conv.weight"] = (last, channels, 1, 1)
        return shapes

    def _sizes(self, own: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        stem, head = own.get("layers.0.0.conv.weight", ()), own.get(f"{self.head}.weight", ())
        sizes = {}
        if len(stem) == 4:
            sizes["in_channels"] = stem[1]
        if len(head) == 2:
            sizes["num_classes"] = head[0]
        return sizes


class TimmConverter(MobileNetConverter):
    """Convert the parameter names of timm's MobileNetV2.

    Parameters
    ----------
    name, layers, variants, part, head
        As for :class:`MobileNetConverter`; ``part`` is not used.
    """

    def _names(
        self, channels: int, blocks: Sequence[BlockConfig], part: str
    ) -> Iterator[tuple[str, str]]:
        """Yield names of layers, timm's and Lucid's."""
        last = self._layer(len(blocks) + 1)
        yield from (("conv_stem", "layers.0.0.conv"), ("bn1", "layers.0.0.norm"))
        yield from (("conv_head", f"{last}.conv"), ("bn2", f"{last}.norm"))
        yield "classifier", self.head
        stage, index = -1, 0
        for i, block in enumerate(blocks, 1):
            begins = i == 1 or block.out_channels != channels
            stage, index = (stage + 1, 0) if begins else (stage, index + 1)
            parts = [("conv_dw", "depthwise"), ("conv_pw", "project")]
            if block.expanded_channels != channels:
                parts = [("conv_pw", "expand"), ("conv_dw", "depthwise"), ("conv_pwl", "project")]
            for j, (theirs, ours) in enumerate(parts, 1):
                yield f"blocks.{stage}.{index}.{theirs}", f"{self._layer(i)}.{ours}.conv"
                yield f"blocks.{stage}.{index}.bn{j}", f"{self._layer(i)}.{ours}.norm"
            channels = block.out_channels

    def has_key(self, key: str) -> bool:
        """Return whether timm's network has this key, except for names that other networks have."""
        layer = key.rpartition(".")[0]
        return layer in self._ours and layer.startswith(("conv_", "blocks."))

    def identify(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]] | None:
        """Identify the builder's arguments by the shapes of the convolutions."""
        return super().identify(shapes) if "conv_stem.weight" in shapes else None


def _renamed(key: str, names: Mapping[str, str]) -> str:
    layer, _, entry = key.rpartition(".")
    return f"{names[layer]}.{entry}" if layer in names else key


def _v3(name: str) -> MobileNetConverter:
    def layers(width_mult: float = 1.0, reduced_tail: bool = False) -> Layers:
        return v3_layers(name, width_mult, reduced_tail)[:3]

    tails: tuple[dict[str, Any], ...] = ({}, {"reduced_tail": True})
    variants = [{**width, **tail} for width in _widths() for tail in tails]
    return MobileNetConverter(name, layers, variants, "block", "classifier.3")


def _v2(kind: type[MobileNetConverter]) -> MobileNetConverter:
    def layers(width_mult: float = 1.0) -> Layers:
        return v2_layers(width_mult)

    return kind("mobilenet_v2", layers, _widths(), "conv", "classifier.1")


def _widths() -> list[dict[str, Any]]:
    return [{} if width == 1.0 else {"width_mult": width} for width in _WIDTHS]


v2 = _v2(MobileNetConverter)
timm_v2 = _v2(TimmConverter)
v3_large = _v3("mobilenet_v3_large")
v3_small = _v3("mobilenet_v3_small")

#: Converters for torchvision's files, by registered name.
CONVERTERS = {converter.name: converter for converter in (v2, v3_large, v3_small)}
