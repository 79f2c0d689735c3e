"""After ``lucid warmup``, running and training any model compiles nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="nothing is compiled without Numba")

#: A prediction and training steps with each optimizer, of both plugins; prints what was compiled.
USE = """
import json
import numpy as np
from numba.core import event
import lucid
from lucid import nn, optim

lucid.random.seed(0)

def train(loss, *optimizers):
    for optimizer in optimizers:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

def optimizers(model):
    values = list(model.parameters())
    return optim.SGD(values, lr=1e-4, momentum=0.9), optim.AdamW(values, lr=1e-4)

with event.install_recorder("numba:compile") as compilations:
    for name in ("resnet_18", "resnet_50", "resnext_50_32x4d"):
        for options in ({}, {"norm": "frozen"}):
            classifier = lucid.models.create_model(name, num_classes=3, **options)
            x, labels = lucid.random.randn(2, 3, 64, 64), lucid.tensor(np.array([0, 2]))
            cross_entropy = nn.functional.cross_entropy
            train(lambda: cross_entropy(classifier(x), labels), *optimizers(classifier))
            classifier.eval()
            with lucid.no_grad():
                classifier(x)
                classifier(lucid.random.randn(1, 3, 160, 160))

    targets = [{"boxes": np.array([[4.0, 4.0, 40.0, 50.0]], np.float32), "labels": np.array([1])}]
    for options in ({}, {"norm": "frozen", "min_size": 96, "max_size": 160}):
        detector = lucid.models.create_model("faster_rcnn_resnet_18_fpn", num_classes=3, **options)
        images = lucid.random.rand(1, 3, 64, 80)
        train(lambda: sum(detector(images, targets).values()), *optimizers(detector))
        detector.predict(images)
        detector(images)

from lucid.kernels.compiled import numba_cache
print(json.dumps([
    [str(record[1].data) for record in compilations.buffer],
    numba_cache.progress.compiled,
    numba_cache.progress.loaded,
]))
"""


def run(*command: str) -> str:
    result = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=500, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


@pytest.mark.slow
def test_models_compile_nothing_after_warmup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCID_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("LUCID_KERNELS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # an image may be built on less than it runs on
    first = json.loads(run("-m", "lucid.cli", "warmup", "--json"))
    assert first["compiled"] > 30
    assert first["loaded"] == 0
    assert first["seconds"] > 0
    (fingerprint,) = (tmp_path / "kernels").iterdir()
    assert first["folder"] == str(fingerprint)

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    recorded, compiled, loaded = json.loads(run("-c", USE))
    assert (recorded, compiled) == ([], 0)
    assert loaded > 15

    again = run("-m", "lucid.cli", "warmup").splitlines()
    assert again[0].split() == ["compiled", "0"]
    assert again[-1].split() == ["cache", "folder", str(fingerprint)]
