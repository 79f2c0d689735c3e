"""One global batch on 1, 2 and 4 ranks of MPI: the same gradients, the same weights."""

from __future__ import annotations

import numpy as np
import pytest


def far_apart(found, expected, kind):
    """The largest distance of an array, in proportion to its length."""
    names = [name for name in expected if name.startswith(kind)]
    assert names
    return max(
        np.linalg.norm(found[name] - expected[name]) / np.linalg.norm(expected[name])
        for name in names
    )


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_ranks_train_as_one_does(run, tmp_path, norm):
    outcomes = {}
    for ranks in (1, 2, 4):
        path = tmp_path / f"{ranks}.npz"
        run(ranks, "same_training.py", path, "--norm", norm)
        outcomes[ranks] = np.load(path)
    for ranks in (2, 4):
        found, expected = outcomes[ranks], outcomes[1]
        assert far_apart(found, expected, "gradient") < 1e-6
        assert far_apart(found, expected, "weight") < 1e-5
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def test_first_gradients_in_float32_differ_by_rounding(run, tmp_path):
    """Only they: at 32 pixels twenty steps in float32 multiply a rounding error by thousands."""
    outcomes = {}
    for ranks in (1, 2):
        path = tmp_path / f"{ranks}.npz"
        run(ranks, "same_training.py", path, "--norm", "frozen", "--dtype", "float32")
        outcomes[ranks] = np.load(path)
    assert far_apart(outcomes[2], outcomes[1], "gradient") < 5e-5
