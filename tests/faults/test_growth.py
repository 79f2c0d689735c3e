"""Long runs: constant memory for changing image sizes."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid import kernels, nn
from lucid.autograd.mutation import _versions
from lucid.nn.layers.folding import Folded

RUN = """
    import gc, os, random, sys
    import numpy as np
    import lucid
    from lucid import nn
    from lucid.kernels.memory import pool
    from lucid_models_detection import FasterRCNN

    class Net(nn.Module):
        feature_channels, feature_strides = (8, 8, 16, 16), (4, 8, 16, 32)

        def __init__(self):
            super().__init__()
            self.stem = nn.ConvNormAct(3, 8, 3, stride=2)
            widths = (8, *self.feature_channels)
            self.stages = nn.ModuleList(
                [nn.ConvNormAct(a, b, 3, stride=2) for a, b in zip(widths, widths[1:])]
            )
            self.fc = nn.Linear(16, 2)

        def features(self, x):
            x, found = self.stem(x), []
            for stage in self.stages:
                x = stage(x)
                found.append(x)
            return found

        def forward(self, x):
            return self.fc(self.features(x)[-1].mean(axis=(2, 3)))

    lucid.random.seed(0)
    model = FasterRCNN(
        Net(), 4, hidden_dim=16, pool_size=2, rpn_pre_nms_top_n=(60, 40),
        rpn_post_nms_top_n=(50, 20), box_batch_size_per_image=32, box_score_threshold=0.0,
    )
    optimizer = lucid.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    sizes = random.Random(0)
    numbers = np.random.default_rng(0)

    def image():
        size = (sizes.randrange(20, 110), sizes.randrange(20, 110))
        return numbers.random((3, *size), np.float32)

    def train():
        x = [image(), image()]
        targets = [{{"boxes": [[2, 3, 15, 17]], "labels": [1 + i]}} for i in range(2)]
        losses = model(x, targets)
        optimizer.zero_grad()
        sum(losses.values(), lucid.zeros(())).backward()
        optimizer.step()

    def predict():
        model.predict([image()])

    page = os.sysconf("SC_PAGE_SIZE")
    for step in range(1, 201):
        {work}()
        if step % 10 == 0:
            gc.collect()
            resident = int(open("/proc/self/statm").read().split()[1]) * page
            print(resident, len(gc.get_objects()), sum(pool.held()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to ask")
@pytest.mark.parametrize("work", ["train", "predict"])
def test_memory_is_constant_over_200_steps(work: str) -> None:
    """Compare memory and object count of the last quarter with the second."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RUN).format(work=work)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = np.array([line.split() for line in done.stdout.splitlines()], np.int64)
    assert len(rows) == 20
    resident, objects, _ = rows[-5:].max(axis=0) / rows[5:10].max(axis=0)
    assert resident < 1.02, rows.tolist()
    assert objects < 1.02, rows.tolist()


def folded() -> int:
    """Number of folded layers."""
    gc.collect()
    return sum(isinstance(found, Folded) for found in gc.get_objects())


def test_folded_weights_are_freed_with_their_layer() -> None:
    before = folded(), len(_versions)
    for _ in range(20):
        unit = nn.ConvNormAct(3, 8, 3).eval()
        with lucid.no_grad():
            unit(lucid.zeros(1, 3, 8, 8))
    assert folded() == before[0] + 1
    del unit
    assert (folded(), len(_versions)) == before


def test_repeated_folding_keeps_one_copy() -> None:
    unit = nn.ConvNormAct(3, 8, 3).eval()
    before = folded()
    for i in range(50):
        unit.norm.weight.data[:] = i
        with lucid.no_grad():
            unit(lucid.zeros(1, 3, 8, 8))
    assert folded() == before + 1


def test_geometry_caches_are_bounded() -> None:
    conv = pytest.importorskip("lucid.kernels.compiled.conv", reason="the reference has none")
    for cache in (conv._geometry, conv._phases):
        assert cache.cache_info().maxsize == 1024
    weight = np.zeros((4, 3, 3, 3), np.float32)
    for side in range(3, 1200):
        x = np.zeros((1, 3, 3, side), np.float32)
        kernels.conv2d(x, weight, None, (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    assert conv._geometry.cache_info().currsize == 1024


def test_graphs_without_backward_are_freed() -> None:
    """The graph of a loss without backward is freed after the step."""
    layer = nn.Linear(50, 50)
    gc.collect()
    gc.disable()  # by counting references alone, so that no step waits for the collector
    try:
        counts = []
        for _ in range(5):
            y = lucid.zeros(4, 50)
            for _ in range(20):
                y = layer(y).relu()
            y.sum().item()
            del y
            counts.append(len(gc.get_objects()))
    finally:
        gc.enable()
    assert counts[-1] - counts[1] < 20, counts
