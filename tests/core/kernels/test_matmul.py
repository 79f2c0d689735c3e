"""Product of batches of matrices, compiled against reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid import kernels

rng = np.random.default_rng(6)

#: Above and below the number of multiplications for which the compiled kernel runs.
sides = st.one_of(st.integers(1, 8), st.integers(20, 90))
leads = st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple)


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def draw_matrices(lead, rows, columns, layout):
    """Draw matrices in a memory layout."""
    if layout == "transposed":
        return draw(*lead, columns, rows).swapaxes(-1, -2)
    if layout == "heads":  # heads inside of rows in memory
        return np.moveaxis(draw(rows, *lead, columns), 0, -2)
    if layout == "columns":
        return draw(*lead, rows, 2 * columns)[..., ::2]
    return draw(*lead, rows, columns)


def compare(a, b):
    y, expected = kernels.matmul.compiled(a, b), np.matmul(a.astype(float), b.astype(float))
    assert (y.shape, y.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(y, expected, atol=1e-5 * a.shape[-1])


layouts = st.sampled_from(["rows", "transposed", "heads", "columns"])


@settings(max_examples=100, deadline=None)
@given(lead=leads, m=sides, k=sides, n=sides, first=layouts, second=layouts)
def test_compiled_matches_reference(lead, m, k, n, first, second):
    compare(draw_matrices(lead, m, k, first), draw_matrices(lead, k, n, second))


@pytest.mark.parametrize("form", ["reference", "compiled"])
def test_by_hand(form):
    a, b = np.arange(64 * 64, dtype=np.float32).reshape(1, 64, 64), np.eye(64, dtype=np.float32)
    y = getattr(kernels.matmul, form)(a, np.stack([b, 2 * b]))
    np.testing.assert_array_equal(y, np.concatenate([a, 2 * a]))


@pytest.mark.parametrize("shapes", [((3, 1), (2,)), ((), (4,)), ((4,), ()), ((2, 1), (1, 3))])
def test_leading_axes_broadcast(shapes):
    compare(draw(*shapes[0], 50, 60), draw(*shapes[1], 60, 70))


def test_single_columns_and_rows():
    compare(draw(3, 2000, 40), draw(3, 40, 1))
    compare(draw(3, 1, 400), draw(3, 400, 70))
    compare(draw(3, 300, 1), draw(3, 1, 300))
    compare(draw(3, 1, 300).swapaxes(1, 2), draw(3, 300, 1).swapaxes(1, 2))


@pytest.mark.parametrize("shape", [(96, 197, 64, 197), (2, 600, 40, 300), (2, 70, 600, 80)])
def test_large_products(shape):
    batch, m, k, n = shape
    compare(draw(batch, m, k), draw(batch, k, n))


@pytest.mark.parametrize("shape", [(0, 50, 60, 70), (3, 0, 60, 70), (3, 50, 0, 70)])
def test_empty(shape):
    batch, m, k, n = shape
    y = kernels.matmul.compiled(draw(batch, m, k), draw(batch, k, n))
    np.testing.assert_array_equal(y, np.zeros((batch, m, n)))


def test_foreign_layouts(foreign):
    a, b = draw(2, 50, 60), draw(2, 60, 70)
    y = kernels.matmul.compiled(foreign(a), foreign(b))
    np.testing.assert_allclose(y, a @ b, atol=1e-4)


def test_nan_stays_in_its_row():
    a, b = draw(2, 50, 60), draw(2, 60, 70)
    a[1, 7, 3] = np.nan
    y = kernels.matmul.compiled(a, b)
    expected = np.zeros((2, 50, 70), bool)
    expected[1, 7] = True
    np.testing.assert_array_equal(np.isnan(y), expected)


def test_threads_do_not_change_results(assert_thread_invariant):
    a, b = draw(3, 201, 64), draw(3, 64, 77)
    assert_thread_invariant(lambda: [kernels.matmul.compiled(a, b)])
