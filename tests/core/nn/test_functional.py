"""Functional layers: exports and dropout."""

import numpy as np
import pytest

import lucid
from lucid.nn import functional as F


def test_every_name_is_exported():
    for name in F.__all__:
        assert callable(getattr(F, name)), name


def test_dropout_uses_the_default_generator():
    x = lucid.ones(1000)
    lucid.random.seed(1)
    first = F.dropout(x, 0.5).numpy()
    second = F.dropout(x, 0.5).numpy()
    lucid.random.seed(1)
    np.testing.assert_array_equal(F.dropout(x, 0.5).numpy(), first)
    assert (first != second).any()
    assert set(np.unique(first)) == {0, 2}


def test_dropout_uses_a_given_generator():
    x = lucid.ones(100)
    state = lucid.random.get_state()
    a, b = (F.dropout(x, 0.5, generator=lucid.random.Generator(4)).numpy() for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert lucid.random.get_state() == state


@pytest.mark.parametrize("options", [{"training": False}, {"p": 0.0}])
def test_dropout_returns_its_input_where_inactive(options):
    x = lucid.ones(3)
    assert F.dropout(x, **options) is x
    assert F.dropout(x.numpy(), **options).tolist() == [1, 1, 1]
