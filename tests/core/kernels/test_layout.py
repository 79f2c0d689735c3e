"""Memory layouts of arrays."""

import numpy as np
import pytest

from lucid.kernels.layout import flatten_in_memory_order


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 0, 2)])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 4, 1), (1, 3, 1, 1)])
def test_flatten_arrays_of_one_memory_order(shape, order):
    def laid(x):
        return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))

    x = np.arange(np.prod(shape)).reshape(shape)
    a, b = laid(x), laid(10 * x)
    first, second = flatten_in_memory_order(a, b)
    np.testing.assert_array_equal(first, x.transpose(order).ravel())
    np.testing.assert_array_equal(second, 10 * first)
    first[...] = 7
    assert (a == 7).all()


def test_flatten_rejects_gaps_and_different_orders():
    x = np.arange(24.0).reshape(4, 6)
    assert flatten_in_memory_order(x, np.asfortranarray(x)) is None
    assert flatten_in_memory_order(x, x.astype(np.float32).T.copy().T) is None
    for gapped in (x[:, ::2], x[::2], x[::-1], np.broadcast_to(x[0], (4, 6))):
        assert flatten_in_memory_order(gapped) is None
    (line,) = flatten_in_memory_order(np.array(3.0))
    assert line.tolist() == [3]
