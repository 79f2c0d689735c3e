"""One global batch on 1, 2 and 4 MPI ranks: equal gradients and weights."""

from __future__ import annotations

import numpy as np
import pytest


def far_apart(found, expected, kind):
    """Return the largest relative distance between arrays."""
    names = [name for name in expected if name.startswith(kind)]
    assert names
    return max(
        np.linalg.norm(found[name] - expected[name]) / np.linalg.norm(expected[name])
        for name in names
    )


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_ranks_match_a_single_rank_in_float64(run, tmp_path, norm):
    outcomes = {}
    for ranks in (1, 2, 4):
        path = tmp_path / f"{ranks}.npz"
        run(ranks, "train_small.py", path, "--norm", norm)
        outcomes[ranks] = np.load(path)
    for ranks in (2, 4):
        found, expected = outcomes[ranks], outcomes[1]
        assert far_apart(found, expected, "gradient") < 1e-6
        assert far_apart(found, expected, "weight") < 1e-5
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def test_ranks_match_a_single_rank_in_float32(run, tmp_path):
    """Without Winograd, whose rounding depends on the batch size."""
    outcomes = {}
    options = ("--norm", "frozen", "--dtype", "float32", "--lr", 1e-4)
    for ranks in (1, 2, 4):
        path = tmp_path / f"{ranks}.npz"
        run(ranks, "train_small.py", path, *options, LUCID_WINOGRAD="0")
        outcomes[ranks] = np.load(path)
    for ranks in (2, 4):
        assert far_apart(outcomes[ranks], outcomes[1], "gradient") < 1e-6
        # All arrays together: one ReLU that switches by rounding moves a short array by 1e-5.
        ours, theirs = (
            np.concatenate([found[n].ravel() for n in found if n.startswith("weight")])
            for found in (outcomes[ranks], outcomes[1])
        )
        assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs)


def test_first_gradients_differ_by_winograd_rounding(run, tmp_path):
    outcomes = {}
    for ranks in (1, 2):
        path = tmp_path / f"{ranks}.npz"
        run(ranks, "train_small.py", path, "--norm", "frozen", "--dtype", "float32")
        outcomes[ranks] = np.load(path)
    assert far_apart(outcomes[2], outcomes[1], "gradient") < 5e-5
