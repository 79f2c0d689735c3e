"""Measure training on two MPI ranks, and estimate scaling on networks.

    python tests/benchmarks/ranks.py

Trains ResNet-18 on images of 112 x 112 on one rank with one thread, then on two ranks with the
same batch size per rank, and prints images/s and the fraction of time in communication,
including waiting.  A cost model then estimates 2 to 1,000 ranks on networks of given latency and
bandwidth.  The exit code is 1 if two ranks reach less than 1.7 times the throughput of one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

IMAGES, SIDE, CLASSES = 16, 112, 10
#: Required throughput of two ranks relative to one.
LEAST = 1.7
_WARM_UP = 2
#: Fraction of a step in backward, which takes about twice as long as forward.
_BACKWARD = 2 / 3


@dataclass(frozen=True)
class Network:
    """Latency in seconds, and bandwidth in bytes per second."""

    name: str
    latency: float
    bandwidth: float


NETWORKS = (
    Network("10 Gbit/s Ethernet", 30e-6, 1.1e9),
    Network("100 Gbit/s InfiniBand", 2e-6, 11e9),
)


def all_reduce(network: Network, ranks: int, nbytes: float) -> float:
    """Seconds of an all-reduce.

    Thakur, Rabenseifner and Gropp, *Optimization of Collective Communication Operations in
    MPICH*, 2005, section 4.5: halving and doubling, which MPI takes for long messages.
    """
    turns = 2 * math.ceil(math.log2(ranks))
    return turns * network.latency + 2 * (ranks - 1) / ranks * nbytes / network.bandwidth


def step_seconds(
    network: Network, ranks: int, alone: float, buckets: list[int], hidden: bool
) -> float:
    """Seconds of a step: computation plus communication that does not overlap."""
    sums = [all_reduce(network, ranks, nbytes) for nbytes in buckets]
    losses_and_flags = 2 * all_reduce(network, ranks, 64)
    if not hidden:
        return alone + sum(sums) + losses_and_flags
    over = max(0.0, sum(sums[:-1]) - _BACKWARD * alone)
    return alone + over + sums[-1] + losses_and_flags


def table(alone: float, buckets: list[int]) -> str:
    """Markdown table of images/s and efficiency by network and number of ranks."""
    lines = [
        "| network | ranks | images/s | efficiency | if nothing were hidden |",
        "|---|---|---|---|---|",
    ]
    for network in NETWORKS:
        for ranks in (2, 8, 32, 128, 1000):
            times = [
                step_seconds(network, ranks, alone, buckets, hidden) for hidden in (True, False)
            ]
            cells = (
                network.name,
                f"{ranks:,}",
                f"{ranks * IMAGES / times[0]:,.0f}",
                *(f"{alone / seconds:.0%}" for seconds in times),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def train(steps: int) -> None:
    """Train on every rank; rank 0 prints the seconds of each step as JSON."""
    import numpy as np

    import lucid
    from lucid import nn, optim
    from lucid.data import DataLoader, TensorDataset
    from lucid.models import resnet_18
    from lucid.training import Callback, Trainer, mpi_communicator
    from lucid.training.gradient_reducer import GradientReducer

    ranks = mpi_communicator()
    batch, count = IMAGES * ranks.size, _WARM_UP + steps
    numbers = np.random.default_rng(0)
    images = numbers.standard_normal((batch, 3, SIDE, SIDE), np.float32)
    data = TensorDataset(images, numbers.integers(0, CLASSES, batch))
    times: list[tuple[float, float]] = []

    class Clock(Callback):
        def on_step(self, trainer: Trainer, losses: object) -> None:
            times.append((time.perf_counter(), ranks.seconds))

    def loss(model: nn.Module, given: tuple[lucid.Tensor, lucid.Tensor]) -> lucid.Tensor:
        return nn.functional.cross_entropy(model(given[0]), given[1])

    model = resnet_18(num_classes=CLASSES)
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    loader = DataLoader(data, batch, seed=0)
    Trainer(
        model, optimizer, loader, loss, epochs=count, callbacks=[Clock()], communicator=ranks
    ).fit()
    if ranks.is_main:
        timed = times[_WARM_UP - 1 :]
        seconds = [b[0] - a[0] for a, b in pairwise(timed)]
        communication = [b[1] - a[1] for a, b in pairwise(timed)]
        buckets = [
            bucket.flat.nbytes for bucket in GradientReducer(model.parameters(), ranks).buckets
        ]
        share = sum(communication) / sum(seconds)
        print(json.dumps({"step": statistics.median(seconds), "share": share, "buckets": buckets}))


def measured(ranks: int, steps: int) -> dict[str, object]:
    """Run once on the given number of ranks with one thread each."""
    mpiexec = Path(sys.executable).parent / "mpiexec"
    command = [str(mpiexec), "-n", str(ranks), sys.executable, __file__, "--train", str(steps)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=8, help="timed steps of each run")
    parser.add_argument(
        "--rounds", type=int, default=2, help="runs on one rank and on two, in turn"
    )
    parser.add_argument("--train", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train is not None:
        train(given.train)
        return 0
    runs: dict[int, list[dict[str, object]]] = {1: [], 2: []}
    for _ in range(given.rounds):
        for ranks, results in runs.items():
            results.append(measured(ranks, given.steps))
    best = {ranks: min(results, key=lambda r: r["step"]) for ranks, results in runs.items()}
    for ranks, result in best.items():
        print(
            f"{ranks} rank{'s' * (ranks > 1)} of one thread: {ranks * IMAGES / result['step']:.1f} "
            f"images/s, {result['share']:.1%} of the time in communication"
        )
    times = 2 * best[1]["step"] / best[2]["step"]
    print(f"two ranks do {times:.2f} times as much as one\n")
    print(table(best[1]["step"], best[1]["buckets"]))
    if times < LEAST:
        print(f"expected at least {LEAST} times as much", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
