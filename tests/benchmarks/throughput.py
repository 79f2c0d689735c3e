"""Measure the convolutions of ResNet-50 in GFLOP/s, relative to the processor's peak.

    python tests/benchmarks/throughput.py [--threads 2] [--seconds 0.1] [--publish]
    python tests/benchmarks/throughput.py --model mobilenet_v2 [--batch 1] [--size 224]

The peak is that of AMX or the micro-kernel on all threads, with operands in cache.  Operations are
those of direct convolution, two per product; Winograd convolution needs fewer and may exceed the
peak.  ``--publish`` writes ``docs/benchmarks/throughput.json`` and, from it, the table of
``docs/kernel_development.md``.

With ``--model``, every kernel call of these networks' replayed predictions is listed instead
(:mod:`network_profile`); ``--publish`` then writes ``network_profile.json`` and the table of
networks.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import network_profile
import numpy as np
from harness.page import with_figures
from inputs import noise
from publish import DOCS, rounded
from run import machine

import lucid
from lucid import kernels

BEGIN = "<!-- throughput: written by tests/benchmarks/throughput.py, changes here are lost -->"
END = "<!-- end of throughput -->"
NETWORKS_BEGIN = "<!-- networks: written by throughput.py --model, changes here are lost -->"
NETWORKS_END = "<!-- end of networks -->"
#: Columns of the table: batch size and kernel.
COLUMNS = {
    "prediction, batch 1": (1, "conv2d"),
    "prediction, batch 8": (8, "conv2d"),
    "input gradient, batch 8": (8, "conv2d_input_gradient"),
    "weight gradient, batch 8": (8, "conv2d_weight_gradient"),
}
# Length of the sums for the peak: the micro-kernel's A and B take 50 KiB.
_PEAK_LENGTH, _PEAK_CALLS = 256, 2000


class Convolution(NamedTuple):
    """A convolution of a (side x side) image with same padding."""

    channels: int
    outputs: int
    size: int
    stride: int
    side: int

    @property
    def name(self) -> str:
        stride = f" / {self.stride}" if self.stride > 1 else ""
        size = f"{self.size} x {self.size}{stride}"
        return f"{size}, {self.channels} to {self.outputs}, {self.side} x {self.side}"

    def operations(self, batch: int) -> int:
        """Number of multiplications and additions, including those with padding."""
        places = batch * (-(-self.side // self.stride)) ** 2
        return 2 * places * self.channels * self.outputs * self.size**2


def convolutions(model: lucid.nn.Module, side: int = 224) -> Counter[Convolution]:
    """Count the convolutions that a model runs for one square image."""
    found: Counter[Convolution] = Counter()

    def note(conv: Any, args: tuple[lucid.Tensor, ...], output: lucid.Tensor) -> None:
        channels, image = args[0].shape[1], args[0].shape[2]
        found[
            Convolution(channels, output.shape[1], conv.kernel_size[0], conv.stride[0], image)
        ] += 1

    handles = [
        module.register_forward_hook(note)
        for module in model.modules()
        if isinstance(module, lucid.nn.Conv2d)
    ]
    with lucid.no_grad():
        model(lucid.zeros(1, 3, side, side))
    for handle in handles:
        handle.remove()
    return found


def calls_of(conv: Convolution, batch: int) -> dict[str, Callable[[], Any]]:
    """Calls of each kernel, with arrays in the memory format of the neighboring layers."""
    margins = ((conv.size // 2, conv.size // 2),) * 2
    options = ((conv.stride, conv.stride), margins, (1, 1), 1)
    x = kernels.channels_last(noise(batch, conv.channels, conv.side, conv.side))
    w = kernels.channels_last(noise(conv.outputs, conv.channels, conv.size, conv.size))
    filters = kernels.prepare_filters(w, 1)
    g = kernels.conv2d(x, filters, None, *options)
    return {
        "conv2d": lambda: kernels.conv2d(x, filters, None, *options),
        "conv2d_input_gradient": lambda: kernels.conv2d_input_gradient(g, w, x.shape, *options),
        "conv2d_weight_gradient": lambda: kernels.conv2d_weight_gradient(g, x, w.shape, *options),
    }


def seconds_of(call: Callable[[], Any], patience: float) -> float:
    """Median time of at least five calls within ``patience`` seconds, after two warm-up calls."""
    call()
    call()
    times: list[float] = []
    end = time.perf_counter() + patience
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def unit() -> str:
    """Name of the unit that computes products in this process."""
    from lucid.kernels.compiled import amx_support

    return "AMX" if amx_support.available() else "micro-kernel"


def peak(threads: int) -> float:
    """Peak operations per second on the given number of threads."""
    return peak_of_tiles(threads) if unit() == "AMX" else peak_of_micro_kernel(threads)


def peak_of_tiles(threads: int) -> float:
    from lucid.kernels.compiled.amx import BLOCK_BYTES, SIDE
    from lucid.kernels.compiled.amx_conv import aligned_empty

    # Aligned to cache lines, as in the kernels: unaligned rows are half as fast.
    tiles = aligned_empty(threads * BLOCK_BYTES).reshape(threads, 4, BLOCK_BYTES // 4)
    tiles[:] = 0
    y = np.empty((threads, 2 * SIDE, 2 * SIDE), np.float32)
    args = (kernel_of_tiles(), threads, tiles, y, _PEAK_CALLS)
    seconds = seconds_of(lambda: kernels.parallel_for(*args), 0.5)
    return threads * _PEAK_CALLS * 2 * (2 * SIDE) ** 2 * _PEAK_LENGTH / seconds


@functools.cache  # a kernel is made once in a process
def kernel_of_tiles() -> Any:
    from lucid.kernels.compiled.amx import (
        BLOCK,
        BLOCK_BYTES,
        SIDE,
        configure_tiles,
        multiply_tiles,
        release_tiles,
    )
    from lucid.kernels.compiled.jit import kernel

    # Two row tiles and two column tiles, one block each, are read repeatedly.
    blocks = _PEAK_LENGTH // BLOCK

    @kernel
    def multiply(start: int, stop: int, tiles: Any, y: Any, calls: int) -> None:
        at = np.empty((2, 1), np.int64)
        configure_tiles(SIDE)
        for item in range(start, stop):
            at[0, 0], at[1, 0] = tiles[item, 0].ctypes.data, tiles[item, 2].ctypes.data
            for _ in range(calls):
                multiply_tiles(
                    at[0].ctypes.data, BLOCK_BYTES, 64, 0, 1024,
                    at[1].ctypes.data, BLOCK_BYTES, 64, 0, 1024,
                    1, blocks, y[item].ctypes.data, 2 * SIDE * 4, 0, 0,
                )  # fmt: skip
        release_tiles()

    return multiply


def peak_of_micro_kernel(threads: int) -> float:
    from lucid.kernels.compiled.microkernel import MR, NR

    a = np.ones((threads, MR, _PEAK_LENGTH), np.float32)
    b = np.ones((threads, _PEAK_LENGTH, NR), np.float32)
    y = np.empty((threads, MR, NR), np.float32)
    args = (kernel_of_micro_kernel(), threads, a, b, y, _PEAK_CALLS)
    seconds = seconds_of(lambda: kernels.parallel_for(*args), 0.5)
    return threads * _PEAK_CALLS * 2 * MR * _PEAK_LENGTH * NR / seconds


@functools.cache
def kernel_of_micro_kernel() -> Any:
    from lucid.kernels.compiled.jit import kernel
    from lucid.kernels.compiled.microkernel import MR, NR, multiply_block

    @kernel
    def multiply(start: int, stop: int, a: Any, b: Any, y: Any, calls: int) -> None:
        sources, targets = np.empty(MR, np.int64), np.empty(MR, np.int64)
        table, zeros = np.empty(1, np.int64), np.zeros(NR, np.float32)
        for item in range(start, stop):
            for row in range(MR):
                sources[row] = a[item, row].ctypes.data
                targets[row] = row * NR * 4
            table[0] = b[item].ctypes.data
            for _ in range(calls):
                multiply_block(
                    MR, sources.ctypes.data, 1, b.shape[1], table.ctypes.data, NR * 4,
                    targets.ctypes.data, y[item].ctypes.data, zeros.ctypes.data, 0, 0, MR, 0,
                )  # fmt: skip

    return multiply


def measure(threads: int, patience: float) -> dict[str, Any]:
    """Measure the peaks and the seconds of every layer by column."""
    before = kernels.get_num_threads()
    found = convolutions(lucid.models.create_model("resnet_50").eval())
    layers = []
    try:
        kernels.set_num_threads(1)
        single = peak(1)
        kernels.set_num_threads(threads)
        together = peak(threads)
        for conv, count in found.items():
            calls = {batch: calls_of(conv, batch) for batch in (1, 8)}
            seconds = {
                title: seconds_of(calls[batch][name], patience)
                for title, (batch, name) in COLUMNS.items()
                if conv.channels > 3 or "input" not in name  # not needed for images
            }
            layers.append({"convolution": conv._asdict(), "count": count, "seconds": seconds})
    finally:
        kernels.set_num_threads(before)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "threads": threads,
        "unit": unit(),
        "peak_of_one": single,
        "peak": together,
        "layers": layers,
    }


def cell(operations: float, seconds: float, peak: float) -> str:
    rate = operations / seconds
    return f"{rate / 1e9:.0f} ({rate / peak:.0%})"


def text(report: Mapping[str, Any]) -> str:
    """Markdown between the markers: one line per layer and a total."""
    lines = [("layer", "count", *COLUMNS), ("---", "--:", *["--:"] * len(COLUMNS))]
    sums = {title: [0.0, 0.0] for title in COLUMNS}
    for layer in report["layers"]:
        conv, count = Convolution(**layer["convolution"]), layer["count"]
        row = [conv.name, str(count)]
        for title, (batch, _) in COLUMNS.items():
            seconds = layer["seconds"].get(title)
            if seconds is None:
                row.append("")
                continue
            row.append(cell(conv.operations(batch), seconds, report["peak"]))
            sums[title][0] += count * conv.operations(batch)
            sums[title][1] += count * seconds
        lines.append(tuple(row))
    total = str(sum(layer["count"] for layer in report["layers"]))
    lines.append(("all", total, *(cell(*sums[title], report["peak"]) for title in COLUMNS)))
    about = (
        f"Measured on {report['date'][:10]}: {report['machine']['processor']}, "
        f"{report['threads']} threads. Peak of {report['unit']}: "
        f"{report['peak_of_one'] / 1e9:.0f} GFLOP/s on one thread, "
        f"{report['peak'] / 1e9:.0f} on all. Each cell is GFLOP/s, with percent of the peak."
    )
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{about}\n\n{table}"


def main(arguments: list[str] | None = None, docs: Path = DOCS) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="threads (2)")
    parser.add_argument("--seconds", type=float, default=0.1, help="seconds per measurement (0.1)")
    parser.add_argument("--publish", action="store_true", help="write docs/kernel_development.md")
    parser.add_argument("--model", nargs="+", help="profile these networks instead")
    parser.add_argument("--batch", type=int, default=1, help="images of --model (1)")
    parser.add_argument("--size", type=int, default=224, help="side of the images (224)")
    options = parser.parse_args(arguments)
    if options.model:
        # One measurement is of a whole network.
        sizes = (options.batch, options.size, options.threads, 10 * options.seconds)
        report = rounded(network_profile.measure(options.model, *sizes, peak, seconds_of))
        print(network_profile.listing(report))
        name, written = "network_profile.json", network_profile.text(report)
        marks = NETWORKS_BEGIN, NETWORKS_END
    else:
        report = rounded(measure(options.threads, options.seconds))
        name, written, marks = "throughput.json", text(report), (BEGIN, END)
        print(written)
    if options.publish:
        (docs / "benchmarks").mkdir(exist_ok=True)
        (docs / "benchmarks" / name).write_text(json.dumps(report, indent=1) + "\n")
        page = docs / "kernel_development.md"
        page.write_text(with_figures(page.read_text(), written, *marks))


if __name__ == "__main__":
    main()
