"""The same seed gives the same weights, bit for bit, as docs/security.md states."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TRAIN = textwrap.dedent("""
    import hashlib, sys
    import numpy as np
    import lucid
    from lucid import nn
    from lucid.data import DataLoader, Dataset

    if sys.argv[1] == "detector":
        from lucid_models_detection import FasterRCNN

    class Pictures(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, i):
            image = lucid.random.rand(3, 40, 44).numpy()  # the loader seeds each sample's
            return image, {"boxes": np.array([[2 + i, 3, 20, 18 + i]]), "labels": np.array([1])}

    def collate(samples):
        return [s[0] for s in samples], [s[1] for s in samples]

    def classifier():
        model = nn.Sequential(
            nn.ConvNormAct(3, 16, 3), nn.MaxPool2d(2), nn.ConvNormAct(16, 24, 3, groups=2),
            nn.ConvNormAct(24, 24, 3, stride=2), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(2),
            nn.Flatten(), nn.Linear(96, 5),
        )

        def loss_of(images, targets):
            logits = model(lucid.tensor(np.stack(images)))
            return nn.functional.cross_entropy(logits, lucid.tensor([1, 3]))

        return model, loss_of

    def detector():
        model = FasterRCNN.from_backbone(
            "resnet_18", 4, 2, hidden_dim=16, pool_size=2, rpn_pre_nms_top_n=(60, 40),
            rpn_post_nms_top_n=(50, 20), box_batch_size_per_image=32,
        )
        return model, lambda images, targets: sum(model(images, targets).values(), lucid.zeros(()))

    def main():
        lucid.random.seed(7)
        model, loss_of = {"classifier": classifier, "detector": detector}[sys.argv[1]]()
        optimizer = lucid.optim.AdamW(model.parameters(), lr=1e-3)
        loader = DataLoader(Pictures(), 2, shuffle=True, collate=collate, workers=int(sys.argv[2]))
        steps = 0
        while steps < 20:
            for images, targets in loader:
                loss = loss_of(images, targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                steps += 1
        digest = hashlib.sha256()
        for name, value in model.state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
        print(digest.hexdigest(), loss.item())

    if __name__ == "__main__":  # worker processes import this file
        main()
""")


def train(script: Path, model: str, hash_seed: int, workers: int = 0) -> str:
    """Train twenty steps in a new process; return the digest of weights and last loss."""
    script.write_text(TRAIN)
    settings = {"PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, str(script), model, str(workers)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("model", ["classifier", "detector"])
def test_two_processes_train_identical_weights(tmp_path: Path, model: str) -> None:
    """Also with data loading workers and another hash seed."""
    script = tmp_path / "train.py"
    expected = train(script, model, hash_seed=1)
    assert len(expected.split()[0]) == 64
    workers = 2 if model == "classifier" else 0
    assert train(script, model, hash_seed=2, workers=workers) == expected
