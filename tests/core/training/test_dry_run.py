"""A dry run changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.training.dry_run import dry_run


def test_dry_run_restores_statistics_modes_and_random_state() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    model[1].eval()
    lucid.random.seed(3)
    state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    expected = lucid.random.rand(3).numpy()
    lucid.random.seed(3)
    with dry_run(model) as tried:
        assert all(module.training for module in tried.modules())
        output = tried(lucid.random.rand(2, 3, 8, 8))
        assert not output.requires_grad
        assert (tried[1].running_mean.numpy() != 0).any()
    with pytest.raises(ValueError, match="two values"), dry_run(model) as tried:
        tried(lucid.zeros((1, 3, 3, 3)))
    assert [module.training for module in model.modules()] == modes
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name])
    np.testing.assert_array_equal(lucid.random.rand(3).numpy(), expected)
