"""Backward pass, gradient accumulation, graph lifetime and grad modes."""

import gc
import threading
import weakref

import numpy as np
import pytest

import lucid
from lucid.autograd import record, record_joint, unbroadcast


def test_gradient_of_a_leaf_itself():
    x = lucid.tensor([1.0, 2.0], requires_grad=True)
    x.backward([3.0, 4.0])
    np.testing.assert_array_equal(x.grad, [3, 4])


def test_gradients_of_a_shared_subgraph_add_up():
    x = lucid.tensor([2.0, 3.0], requires_grad=True)
    y = x * x
    (y + y * x).sum().backward()
    np.testing.assert_allclose(x.grad, [2 * 2 + 3 * 4, 2 * 3 + 3 * 9])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_accumulate_gives_the_same_sum(order):
    """Convolutions add to the gradient of other uses of their input."""
    lucid.random.seed(0)
    weights = [lucid.random.randn(4, 4, 3, 3, dtype=lucid.float64) for _ in range(2)]
    values = lucid.random.randn(2, 4, 6, 6, dtype=lucid.float64).numpy()

    def gradient(uses):
        x = lucid.tensor(values, requires_grad=True)
        y = x * 1.5  # not a leaf
        parts = [
            lambda: lucid.nn.functional.conv2d(y, weights[0], padding=1),
            lambda: lucid.nn.functional.conv2d(y, weights[1], stride=2),
            lambda: y * y,
        ]
        total = lucid.zeros(dtype=lucid.float64)
        for use in uses:
            part = parts[use]()
            total = total + (part * part).sum()
        total.backward()
        return x.grad.numpy()

    together = gradient(order)
    np.testing.assert_allclose(together, sum(gradient([use]) for use in order), rtol=1e-12)


def test_only_an_unshared_gradient_is_donated():
    saved = []

    def identity(x, copy):
        """Return ``x``; its vjp returns ``g`` itself or a copy."""
        return record(x._data, (x, lambda g: saved.append((g, g.copy())) or (g * 1 if copy else g)))

    def times_3(x):
        donations = []

        def vjp(g, donate=False):
            donations.append(donate)
            if donate:
                g *= 3
                return [g]
            return [g * 3]

        return record_joint(x._data, (x,), vjp, donate=True), donations

    for copy in (False, True):
        x = lucid.ones(2, 3, requires_grad=True)
        y, donations = times_3(x)
        gradient = np.full((2, 3), 2, np.float32)
        identity(y, copy).backward(gradient, retain_graph=True)
        identity(y, copy).backward(gradient)
        assert donations == [copy, copy]
        np.testing.assert_array_equal(gradient, 2)
        np.testing.assert_array_equal(x.grad, 12)
    for g, before in saved:
        np.testing.assert_array_equal(g, before)

    x = lucid.ones(2, 3, requires_grad=True)
    (first, donated_first), (second, donated_second) = times_3(x), times_3(x)
    (first + second).backward(gradient)  # one array for both
    assert donated_first == donated_second == [False]
    np.testing.assert_array_equal(gradient, 2)
    np.testing.assert_array_equal(x.grad, 12)


def test_convolution_of_a_tensor_with_itself():
    x = lucid.random.randn(2, 2, 3, 3, dtype=lucid.float64).requires_grad_()
    lucid.testing.gradcheck(
        lambda x: (lambda y: lucid.nn.functional.conv2d(y, y, padding=1))(x * 2), (x,)
    )


def test_each_node_is_visited_once():
    visits = []
    x = lucid.tensor([1.0], requires_grad=True)

    def counted(g):
        visits.append(g.copy())
        return g

    y = record(x.data, (x, counted))
    total = y
    for _ in range(20):  # 2**20 paths lead back to y
        total = total + total
    total.backward()
    assert len(visits) == 1
    assert x.grad.item() == 2.0**20


def test_deep_graph_without_recursion():
    x = lucid.ones(1, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1


def test_gradients_accumulate_over_calls():
    x = lucid.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, [5, 5])
    assert x.grad is first


def test_gradients_never_alias():
    a = lucid.ones(3, requires_grad=True)
    b = lucid.ones(3, requires_grad=True)
    seed = np.ones(3, np.float32)
    (a + b).backward(seed)
    assert not np.shares_memory(a.grad.numpy(), b.grad.numpy())
    assert not np.shares_memory(a.grad.numpy(), seed)
    a.grad.numpy()[...] = 7
    np.testing.assert_array_equal(b.grad, [1, 1, 1])


def test_accumulation_does_not_write_to_shared_arrays():
    # Both branches receive the same array; one branch adds to it.
    x = lucid.ones(3, requires_grad=True)
    y = x * 1
    z = y + y  # both edges of this node carry the same gradient
    w = z + y
    w.backward(np.array([1, 2, 3], np.float32))
    np.testing.assert_array_equal(x.grad, [3, 6, 9])


def test_views_of_the_gradient_are_not_written_to():
    x = lucid.ones(4, requires_grad=True)
    y = x * 1
    parts = y.reshape(2, 2)
    total = parts.sum() + (y * 2).sum() + y.reshape(4).sum()
    total.backward()
    np.testing.assert_array_equal(x.grad, [4, 4, 4, 4])


def test_backward_through_a_freed_graph_raises():
    x = lucid.ones(2, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"freed.*retain_graph=True"):
        y.backward()
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_retain_graph():
    x = lucid.ones(2, requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad, [4, 4])


def test_backward_frees_saved_arrays():
    x = lucid.ones(2, requires_grad=True)
    kept = np.ones(2, np.float32)
    watch = weakref.ref(lucid.Tensor(kept))
    middle = lucid.Tensor(np.full(2, 3, np.float32))
    watch = weakref.ref(middle)
    y = (x * middle).sum()
    del middle
    y.backward()
    gc.collect()
    assert watch() is None


def test_unneeded_intermediates_are_not_saved():
    x = lucid.ones(2, requires_grad=True)
    middle = x + 1
    watch = weakref.ref(middle)
    y = (middle + 2).sum()
    del middle
    gc.collect()
    assert watch() is None
    y.backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lucid.ones(1).backward(), "requires_grad=True"),
        (lambda: lucid.ones(2, requires_grad=True).backward(), r"one element.*\(2,\)"),
    ],
)
def test_backward_raises(make, message):
    with pytest.raises(RuntimeError, match=message):
        make()


def test_gradient_of_the_wrong_shape_raises():
    x = lucid.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        x.backward(np.ones(3))


def test_vjp_of_the_wrong_shape_raises():
    x = lucid.ones(2, requires_grad=True)
    y = record(x.data, (x, lambda g: g[:1]))
    with pytest.raises(RuntimeError, match=r"\(2,\).*\(1,\)"):
        y.backward(np.ones(2))


def test_gradient_has_the_dtype_of_its_tensor():
    x = lucid.ones(2, requires_grad=True)
    (x * lucid.ones(2, dtype="float64")).sum().backward()
    assert x.grad.dtype == np.float32


def test_no_grad_nests():
    x = lucid.ones(2, requires_grad=True)
    with lucid.no_grad():
        assert not (x * 2).requires_grad
        with lucid.enable_grad():
            assert (x * 2).requires_grad
        assert not lucid.is_grad_enabled()
    assert lucid.is_grad_enabled()

    @lucid.no_grad()
    def factorial(n):
        assert not lucid.is_grad_enabled()
        return 1 if n == 0 else n * factorial(n - 1)

    assert factorial(4) == 24
    assert lucid.is_grad_enabled()


def test_no_grad_is_thread_local():
    seen = {}
    entered, checked = threading.Event(), threading.Event()

    def other():
        entered.wait(10)
        seen["enabled"] = lucid.is_grad_enabled()
        checked.set()

    thread = threading.Thread(target=other)
    thread.start()
    with lucid.no_grad():
        entered.set()
        assert checked.wait(10)
    thread.join()
    assert seen == {"enabled": True}


def test_backward_in_several_threads():
    shared = lucid.random.Generator(0).randn(50, 50)
    results = {}

    def work(i):
        x = lucid.Tensor(shared.numpy().copy(), requires_grad=True)
        ((x @ x) * i).sum().backward()
        results[i] = x.grad.numpy()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 9)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i in range(1, 9):
        np.testing.assert_allclose(results[i], results[1] * i, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "full"),
    [((), (2, 3)), ((3,), (2, 3)), ((1, 3), (3, 3)), ((2, 1, 4), (5, 2, 3, 4)), ((1, 1), (1, 1))],
)
def test_unbroadcast_sums_axis_by_axis(shape, full):
    g = np.random.default_rng(0).standard_normal(full)
    result = unbroadcast(g, shape)
    assert result.shape == shape
    # Sum over all positions an element was broadcast to.
    places = np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), full)
    expected = np.bincount(places.ravel(), weights=g.ravel(), minlength=int(np.prod(shape)))
    np.testing.assert_allclose(result.ravel(), expected)


def test_gradient_of_a_scalar_is_a_0d_array():
    x = lucid.tensor(2.0, requires_grad=True)
    (x * x + x).backward()
    assert isinstance(x.grad.numpy(), np.ndarray)
    assert x.grad.numpy().flags.writeable
    assert x.grad.item() == 5


def test_leaf_changed_between_passes():
    """As optimizers do between two passes."""
    x = lucid.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    with lucid.no_grad():
        x.copy_(x.numpy() - x.grad.numpy() / 4)
        x[1] += 1
    x.grad = None
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.numpy(), [0.5, 2])
    np.testing.assert_array_equal(x.grad, [1, 4])


def test_assignment_to_a_computed_tensor_is_recorded():
    x = lucid.ones(2, requires_grad=True)
    y = x * 2
    y[0] = 5
    (y * lucid.tensor([3.0, 4.0])).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 8])


def test_gradients_of_repeated_indices_add_up():
    x = lucid.tensor([1.0, 2.0, 3.0], requires_grad=True)
    weights = np.array([1, 10, 100, 1000], np.float32)
    (x[[0, 2, 0, 0]] * weights).sum().backward()
    np.testing.assert_array_equal(x.grad, [1101, 0, 10])
    x.grad = None
    (lucid.gather(x, 0, [2, 2, 1, 2]) * weights).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 100, 1011])
    source = lucid.ones(4, requires_grad=True)
    x.grad = None
    y = lucid.scatter_add(x, 0, [1, 1, 1, 0], source)
    assert y.tolist() == [2, 5, 3]
    (y * lucid.tensor([1.0, 10.0, 100.0])).sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 10, 100])
    np.testing.assert_array_equal(source.grad, [10, 10, 10, 1])


def test_leaf_hook_is_called_when_the_gradient_is_complete():
    first, shared, last, idle = (lucid.ones(2, requires_grad=True) for _ in range(4))
    computed = []

    def logged(x, name):
        return record(x.data * 1, (x, lambda g: computed.append(name) or g))

    complete = {}

    def hook(leaf):
        complete[id(leaf)] = (leaf.grad.tolist(), list(computed))

    y = logged(first * 2 + shared, "early") * shared
    loss = (logged(y, "late") * last).sum()
    assert idle.grad is None
    lucid.autograd.backward(loss, leaf_hook=hook)
    assert complete == {
        id(last): ([3, 3], []),  # before any other node
        id(shared): ([4, 4], ["late", "early"]),  # after both of its uses
        id(first): ([2, 2], ["late", "early"]),
    }
    assert idle.grad is None


def test_leaf_hook_with_a_path_that_has_no_gradient():
    x, leaves = lucid.ones(2, requires_grad=True), []
    blocked = record(x.data * 1, (x, lambda g: None))
    lucid.autograd.backward((x * 3 + blocked).sum(), leaf_hook=leaves.append)
    assert leaves == [x]
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_leaf_hook_sees_the_accumulated_gradient():
    x, seen = lucid.ones(2, requires_grad=True), []
    (x * 2).sum().backward()
    lucid.autograd.backward((x * 3).sum(), leaf_hook=lambda leaf: seen.append(leaf.grad.tolist()))
    assert seen == [[5, 5]]


def test_data_replaced_by_another_shape_raises():
    x = lucid.tensor(np.ones((2, 3), np.float32), requires_grad=True)
    y = (x * 2).sum()
    x.data = np.ones((4, 3), np.float32)
    with pytest.raises(RuntimeError, match=r"\(2, 3\).*\(4, 3\)"):
        y.backward()
    (x * 2).sum().backward()
    assert x.grad.shape == (4, 3)


@pytest.mark.parametrize("shape", [(4, 3), (1, 3)])
def test_stale_grad_of_another_shape_raises(shape):
    """Also if the shapes broadcast."""
    x = lucid.tensor(np.ones((2, 3), np.float32), requires_grad=True)
    x.sum().backward()
    x.data = np.ones(shape, np.float32)
    with pytest.raises(RuntimeError, match=r"\.grad of shape .*\(2, 3\).*set \.grad to None"):
        x.sum().backward()
    x.grad = None
    x.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.ones(shape))


@pytest.mark.parametrize(
    "call",
    [
        lambda: lucid.nn.Linear(2, 2)(None),
        lambda: lucid.nn.ReLU()(None),
        lambda: lucid.nn.MSELoss()(lucid.ones(2), None),
        lambda: lucid.exp(None),
    ],
)
def test_none_as_input_raises(call):
    with pytest.raises(TypeError, match=r"expected a tensor, .*got None"):
        call()
