from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from lucid.training.option_checks import check_counts, check_rates


@pytest.mark.parametrize("value", [0, -1, 1.0, "2", math.nan])
def test_counts_are_whole_numbers(value):
    with pytest.raises(ValueError, match="epochs: expected a whole number of at least 1, got"):
        check_counts(SimpleNamespace(epochs=value), ["epochs"], 1)


@pytest.mark.parametrize("value", [1, np.int64(3), None])
def test_counts_that_are_fine(value):
    check_counts(SimpleNamespace(epochs=value), ["epochs"], 1)


@pytest.mark.parametrize("value", [0, -1e-3, math.nan, math.inf, "1"])
def test_rates_are_finite_and_positive(value):
    with pytest.raises(ValueError, match="lr: expected a finite number above 0, got"):
        check_rates(SimpleNamespace(lr=value), ["lr"])


def test_rates_that_are_fine():
    check_rates(SimpleNamespace(lr=1, other=np.float64(0.5), none=None), ["lr", "other", "none"])
    check_rates(SimpleNamespace(lr=0), ["lr"], zero=True)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        check_rates(SimpleNamespace(lr=-1), ["lr"], zero=True)
