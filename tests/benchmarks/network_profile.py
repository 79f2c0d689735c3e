"""Where the time of a small network goes: its kernels in a replayed prediction, with limits.

``throughput.py --model NAME`` calls this.  Each launch is timed inside of the replayed sequence,
so its data are in the caches that they would be in.  The limits are the time for the operations
at the peak and the time for the bytes (input, weights, residual and output, once each) at the
bandwidth of a loop over as many bytes.
"""

from __future__ import annotations

import ctypes
import datetime
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from inputs import noise
from run import machine

import lucid
from lucid import kernels
from lucid.nn import replay

#: Bytes per thread of the loops that measure bandwidth: in L2, in L3 and in memory, usually.
_SIZES = (512 << 10, 4 << 20, 128 << 20)
_MOVED = 256 << 20  # bytes in all runs of a loop
_WARM_UP, _SLOWEST = 5, 8
SecondsOf = Callable[[Callable[[], Any], float], float]
KINDS = ("stem", "pointwise", "depthwise", "convolution", "squeeze-excitation", "linear", "other")


class Call(NamedTuple):
    """A kernel call of a prediction.

    Attributes
    ----------
    kind, layer
        One of ``KINDS``, and a description.
    operations, bytes
        Multiplications and additions; input, weights, residual and output.
    launches
        Names of its launches.
    """

    kind: str
    layer: str
    operations: int
    bytes: int
    launches: list[str]


def describe(name: str, args: Sequence[Any], output: Any) -> Call:
    """Describe a call by the kernel's name, arguments and result."""
    x, *given = _arrays(args)
    first, *others = _arrays([output])
    total = sum(array.nbytes for array in (x, *given, first, *others))
    if name != "conv2d":
        kind = name.replace("_", "-")
        operations = 2 * len(x) * sum(array.size for array in given if array.ndim == 2)
        layer = f"{name}, {' x '.join(map(str, x.shape[1:]))}"
        return Call(kind if kind in KINDS else "other", layer, operations, total, [])
    outputs, inputs, height, width = args[1].shape
    groups = args[6]
    operations = 2 * first.size * inputs * height * width
    weights = 0 if isinstance(args[1], np.ndarray) else 4 * outputs * inputs * height * width
    kind = "convolution"
    if x.shape[1] == 3:
        kind = "stem"
    elif groups == x.shape[1]:
        kind = "depthwise"
    elif groups == height == width == 1:
        kind = "pointwise"
    stride = f" / {args[3][0]}" if args[3][0] > 1 else ""
    channels = f"{x.shape[1]}" if kind == "depthwise" else f"{x.shape[1]} to {outputs}"
    grouped = f", {groups} groups" if 1 < groups < x.shape[1] else ""
    added = ", add" if len(args) > 7 and args[7] is not None else ""
    activation = f", {args[8]}" if len(args) > 8 and args[8] else ""
    size = f"{height} x {width}{stride}"
    layer = f"{size}, {channels}{grouped}, {x.shape[2]} x {x.shape[3]}{added}{activation}"
    return Call(kind, layer, operations, total + weights, [])


def _arrays(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, tuple | list):
            yield from _arrays(value)


class _Recorder(replay.Recorder):
    """Keeps a description of each call, and the last recorder of a plan."""

    latest: _Recorder

    def __init__(self, x: Any) -> None:
        super().__init__(x)
        self.calls: list[Call] = []
        self._names: list[str] = []
        _Recorder.latest = self

    def call(self, kernel: Any, function: Any, args: Any, kwargs: Any) -> Any:
        self._names = []
        output = super().call(kernel, function, args, kwargs)
        self.calls.append(describe(kernel.name, args, output)._replace(launches=self._names))
        return output

    def launch(self, launcher: Any, *rest: Any) -> None:
        self._names.append(launcher.name)
        super().launch(launcher, *rest)


def plan(model: lucid.nn.Module, x: lucid.Tensor) -> tuple[list[Call], replay.Plan]:
    """Predict until the model is planned; return its calls and its plan.

    Raises
    ------
    RuntimeError
        If the model is not planned.
    """
    original, replay.Recorder = replay.Recorder, _Recorder  # type: ignore[misc]
    try:
        with lucid.no_grad():
            for _ in range(3):
                model(x)
    finally:
        replay.Recorder = original  # type: ignore[misc]
    found = next(iter(replay.plans_of(model).values()), None)
    if not isinstance(found, replay.Plan):
        raise RuntimeError(f"expected a planned model, got {found!r} (LUCID_REPLAY should be 1)")
    return _Recorder.latest.calls, found


@functools.cache  # compiled once in a process
def _timed_replay() -> Any:
    from numba import njit

    from lucid.kernels.compiled.replay import _run_jobs
    from lucid.kernels.compiled.thread_pool import AWAKE, atomic_exchange

    clock = ctypes.CDLL(None).clock_gettime
    clock.argtypes = (ctypes.c_int, ctypes.c_void_p)
    monotonic = time.CLOCK_MONOTONIC

    @njit
    def run(slot: int, jobs: Any, words: Any, most: int, times: Any) -> None:
        """Replay, and read seconds and nanoseconds before, between and after the launches."""
        atomic_exchange(slot + AWAKE, most)
        clock(monotonic, times[0].ctypes.data)
        for i in range(len(jobs)):
            _run_jobs(slot, jobs[i : i + 1], words, most)
            clock(monotonic, times[i + 1].ctypes.data)
        atomic_exchange(slot + AWAKE, 0)

    return run


def launch_seconds(plan: replay.Plan, x: Any, patience: float) -> list[float]:
    """Median seconds of each launch of a replayed prediction."""
    from lucid.kernels.compiled import thread_pool

    image = replay._readable(x)
    blocks = plan.allocate(plan.size)
    jobs, words = plan.launches.bind(*plan.addresses([image], blocks))
    pool, most = thread_pool.current_pool(), int(jobs[:, 3].max(initial=0))
    times = np.zeros((len(jobs) + 1, 2), np.int64)
    found: list[Any] = []
    with pool.lock:
        end = time.perf_counter() + patience
        while time.perf_counter() < end or len(found) < _WARM_UP + 5:
            _timed_replay()(pool.slot, jobs, words, pool.wake(most), times)
            found.append(np.diff(times[:, 0] + times[:, 1] * 1e-9))
    del image, blocks  # the launches read and write this memory
    return [float(median) for median in np.median(found[_WARM_UP:], axis=0)]


@functools.cache
def _kernel_of_scaling() -> Any:
    from lucid.kernels.compiled.jit import kernel

    @kernel
    def scale(start: int, stop: int, x: Any, y: Any, factor: Any, runs: int) -> None:
        for item in range(start, stop):
            for _ in range(runs):
                for i in range(x.shape[1]):
                    y[item, i] = x[item, i] * factor

    return scale


def bandwidth(threads: int, size: int, seconds_of: SecondsOf) -> float:
    """Bytes read and written per second by loops over ``size`` bytes per thread."""
    x, y = (np.ones((threads, size // 8), np.float32) for _ in range(2))
    runs = max(1, _MOVED // size)
    args = (_kernel_of_scaling(), threads, x, y, np.float32(1), runs)
    return threads * runs * size / seconds_of(lambda: kernels.parallel_for(*args), 0.2)


def measure(
    models: Sequence[str],
    batch: int,
    side: int,
    threads: int,
    patience: float,
    peak: Callable[[int], float],
    seconds_of: SecondsOf,
) -> dict[str, Any]:
    """Measure the limits and every kernel call; ``peak`` and ``seconds_of`` as in throughput.py."""
    before = kernels.get_num_threads()
    kernels.set_num_threads(threads)
    try:
        limits = {
            "peak": peak(threads),
            "bandwidths": [
                [threads * size, bandwidth(threads, size, seconds_of)] for size in _SIZES
            ],
        }
        networks = []
        for name in models:
            model = lucid.models.create_model(name).eval()
            x = lucid.tensor(noise(batch, 3, side, side))
            calls, found = plan(model, x)
            with lucid.no_grad():
                whole = seconds_of(lambda model=model, x=x: model(x), patience)
            # Once per launch, with its neighbors: a prediction takes milliseconds.
            seconds = iter(launch_seconds(found, x.numpy(), patience))
            networks.append(
                {
                    "name": name,
                    "batch": batch,
                    "side": side,
                    "seconds": whole,
                    "calls": [
                        call._asdict() | {"seconds": [next(seconds) for _ in call.launches]}
                        for call in calls
                    ],
                }
            )
    finally:
        kernels.set_num_threads(before)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "threads": threads,
        **limits,
        "networks": networks,
    }


class Entry(NamedTuple):
    """Calls of one kind or shape, summed up."""

    name: str
    count: int
    seconds: float
    operations: int
    bytes: int
    least: float

    @classmethod
    def of(cls, name: str, calls: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> Entry:
        return cls(
            name,
            len(calls),
            sum(sum(call["seconds"]) for call in calls),
            sum(call["operations"] for call in calls),
            sum(call["bytes"] for call in calls),
            sum(limit(call, report) for call in calls),
        )

    def cells(self, total: float, peak: float) -> tuple[str, ...]:
        rate = self.operations / self.seconds
        return (
            self.name,
            str(self.count),
            f"{self.seconds * 1e6:.1f}",
            f"{self.seconds / total:.1%}",
            f"{rate / 1e9:.0f} ({rate / peak:.0%})" if self.operations else "",
            f"{self.bytes / self.seconds / 1e9:.0f}",
            f"{self.least * 1e6:.1f} ({self.least / self.seconds:.0%})",
        )


HEADER = ("layer", "count", "µs", "share", "GFLOP/s (of peak)", "GB/s", "limit, µs (share)")


def limit(call: Mapping[str, Any], report: Mapping[str, Any]) -> float:
    """Seconds that the operations take at the peak or the bytes at the bandwidth, the larger."""
    rates = [rate for size, rate in report["bandwidths"] if size >= call["bytes"]]
    rate = rates[0] if rates else report["bandwidths"][-1][1]
    return max(call["operations"] / report["peak"], call["bytes"] / rate)


def _grouped(calls: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for call in calls:
        groups.setdefault(call[key], []).append(call)
    return groups


def _table(lines: Sequence[Sequence[str]]) -> str:
    header = (HEADER, ("---", *["--:"] * (len(HEADER) - 1)))
    return "\n".join(f"| {' | '.join(line)} |" for line in (*header, *lines))


def _totals(network: Mapping[str, Any], report: Mapping[str, Any]) -> list[Entry]:
    kinds = _grouped(network["calls"], "kind")
    named = [(kind, kinds[kind]) for kind in KINDS if kind in kinds]
    return [Entry.of(*item, report) for item in (*named, ("all", network["calls"]))]


def listing(report: Mapping[str, Any]) -> str:
    """Each call in order with its launches, and totals by kind."""
    parts = []
    for network in report["networks"]:
        total, peak = _totals(network, report)[-1].seconds, report["peak"]
        lines = []
        for call in network["calls"]:
            launches = [
                f"{name.strip('_')} {seconds * 1e6:.1f}"
                for name, seconds in zip(call["launches"], call["seconds"], strict=True)
            ]
            name = f"{call['kind']}: {call['layer']} [{', '.join(launches)}]"
            lines.append(Entry.of(name, [call], report).cells(total, peak))
        lines += [entry.cells(total, peak) for entry in _totals(network, report)]
        widths = [max(len(line[i]) for line in (HEADER, *lines)) for i in range(len(HEADER))]
        text = [
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
            for line in (HEADER, *lines)
        ]
        parts.append("\n".join([f"{about(network)}.", *text]))
    return "\n\n".join([environment(report), *parts])


def text(report: Mapping[str, Any]) -> str:
    """Markdown between the markers: totals by kind and the slowest layers of each network."""
    parts = [environment(report)]
    for network in report["networks"]:
        totals = _totals(network, report)
        layers = [
            Entry.of(f"{calls[0]['kind']}: {layer}", calls, report)
            for layer, calls in _grouped(network["calls"], "layer").items()
        ]
        layers.sort(key=lambda entry: -entry.seconds)
        entries = [*totals, *layers[:_SLOWEST]]
        lines = [entry.cells(totals[-1].seconds, report["peak"]) for entry in entries]
        parts += [f"**{about(network)}**", _table(lines)]
    return "\n\n".join(parts)


def about(network: Mapping[str, Any]) -> str:
    return (
        f"{network['name']}, {network['batch']} x 3 x {network['side']} x {network['side']}: "
        f"{network['seconds'] * 1e3:.2f} ms"
    )


def environment(report: Mapping[str, Any]) -> str:
    rates = [
        f"{rate / 1e9:.0f} GB/s over {size / 2**20:.0f} MiB" for size, rate in report["bandwidths"]
    ]
    return (
        f"Measured on {report['date'][:10]}: {report['machine']['processor']}, "
        f"{report['threads']} threads. Peak {report['peak'] / 1e9:.0f} GFLOP/s; "
        f"bandwidth {', '.join(rates[:-1])} and {rates[-1]}."
    )
