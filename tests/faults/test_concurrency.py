"""Threads: the same results as a single thread, also at first use."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.autograd.mutation import track
from lucid.data import DataLoader, TensorDataset
from lucid_models_detection import FasterRCNN

THREADS = 8
ROUNDS = 6


@pytest.fixture(autouse=True)
def _often_another_thread() -> Iterator[None]:
    """Switch threads a thousand times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[int], Any]) -> list[Any]:
    """Results of ``work(i)`` in as many threads, which begin at one moment."""
    barrier = threading.Barrier(THREADS, timeout=60)

    def caller(i: int) -> Any:
        barrier.wait()
        return work(i)

    with ThreadPoolExecutor(THREADS) as callers:
        return list(callers.map(caller, range(THREADS)))


def same(found: Any, expected: Any) -> None:
    for mine, right in zip(found, expected, strict=True):
        for key in right:
            np.testing.assert_array_equal(mine[key], right[key], strict=True)


def detector() -> FasterRCNN:
    lucid.random.seed(0)
    return FasterRCNN.from_backbone(
        "resnet_18",
        4,
        2,
        hidden_dim=16,
        pool_size=2,
        rpn_pre_nms_top_n=(60, 40),
        rpn_post_nms_top_n=(50, 20),
        box_score_threshold=0.0,
    )


def images() -> list[Any]:
    numbers = np.random.default_rng(0)
    sizes = [(33 + 5 * i, 64 - 3 * i) for i in range(THREADS)]
    return [numbers.random((3, *size), np.float32) for size in sizes]


@pytest.mark.parametrize("training", [False, True])
def test_predictions_in_eight_threads_match_one_thread(training: bool) -> None:
    """The model is in training mode, which is restored."""
    model = detector().train(training)
    model.backbone.net.eval()
    modes = [module.training for module in model.modules()]
    expected = [model.predict([image]) for image in images()]
    statistics = {name: value.numpy().copy() for name, value in model.state_dict().items()}

    def predict(i: int) -> list[Any]:
        return [model.predict([images()[i]]) for _ in range(ROUNDS)]

    for found, right in zip(together(predict), expected, strict=True):
        for once in found:
            same(once, right)
    assert [module.training for module in model.modules()] == modes
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), statistics[name])


def test_concurrent_predictions_keep_eval_mode() -> None:
    """One thread predicts while another is inside its prediction."""
    model = detector().train()
    inside, may_go_on = threading.Event(), threading.Event()
    modes = []

    def wait(module: nn.Module, args: Any) -> None:
        if threading.current_thread() is slow:
            inside.set()
            may_go_on.wait(60)
            modes.append(module.training)

    handle = model.roi_heads.box_head.register_forward_pre_hook(wait)
    results: list[Any] = []
    slow = threading.Thread(target=lambda: results.append(model.predict(images()[:1])))
    slow.start()
    assert inside.wait(60)
    model.predict(images()[1:2])
    assert not model.training
    may_go_on.set()
    slow.join()
    handle.remove()
    assert modes == [False]
    assert model.training
    same(results[0], model.predict(images()[:1]))


def test_error_in_one_thread_keeps_modes_of_others() -> None:
    model = detector().train()

    def predict(i: int) -> Any:
        if i % 2:
            with pytest.raises(ValueError, match="at least one pixel"):
                model.predict([np.zeros((3, 0, 4), np.float32)])
            return None
        return model.predict([images()[i]])

    found = together(predict)
    assert all(module.training for module in model.modules())
    for i in range(0, THREADS, 2):
        same(found[i], model.predict([images()[i]]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_during_prediction_keeps_training_mode() -> None:
    model = detector().train()
    inside, may_go_on = threading.Event(), threading.Event()
    main = threading.main_thread()

    def wait(module: nn.Module, args: Any) -> None:
        if threading.current_thread() is not main:
            inside.set()
            may_go_on.wait(60)

    model.roi_heads.box_head.register_forward_pre_hook(wait)
    thread = threading.Thread(target=lambda: model.predict(images()[:1]))
    thread.start()
    assert inside.wait(60)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            was = model.training
            model.predict(images()[1:2])
            code = 0 if was and model.training else 2
        finally:
            os._exit(code)
    may_go_on.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("packing", ["panels", "transformed", "grouped_panels"])
def test_packed_filters_are_visible_to_other_threads(
    monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    """Threads arrive while the first one packs the filters."""
    conv = pytest.importorskip("lucid.kernels.compiled.conv", reason="only compiled kernels pack")
    scaled = conv.Filters._scaled

    def slowly(*args: Any) -> Any:
        time.sleep(0.02)
        return scaled(*args)

    monkeypatch.setattr(conv.Filters, "_scaled", slowly)
    weight = np.random.default_rng(0).random((64, 64, 3, 3), np.float32)
    groups = 16 if packing == "grouped_panels" else 1
    scale = np.linspace(0.5, 9, 64, dtype=np.float32)
    for _ in range(3):
        filters = conv.prepare_filters(weight[:, : 64 // groups], groups, scale)

        def look(i: int, filters: Any = filters) -> Any:
            time.sleep(0.002 * i)
            options = {"kept": True} if packing == "transformed" else {}
            return getattr(filters, packing)(**options).copy()

        found = together(look)
        for packed in found:
            np.testing.assert_array_equal(packed, look(0))


@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (1, 1), (3, 16)])
def test_concurrent_folding_is_correct(kernel: int, groups: int) -> None:
    """Threads reach a layer one after the other, so that some find an unfinished fold."""
    lucid.random.seed(0)
    units = [nn.ConvNormAct(64, 64, kernel, groups=groups, activation=None) for _ in range(6)]
    model = nn.Sequential(*units).eval()
    inputs = [lucid.random.randn(1, 64, 16 + 2 * i, 16) for i in range(THREADS)]

    def predict(i: int) -> Any:
        with lucid.no_grad():
            return model(inputs[i]).numpy()

    for round_ in range(3):
        for unit in units:  # invalidates the folded weights, with very different values
            unit.norm.weight.data[:] = 0.5 + round_
        found = together(lambda i: [(time.sleep(0.001 * i), predict(i))[1] for _ in range(2)])
        for i, results in enumerate(found):
            for result in results:
                np.testing.assert_array_equal(result, predict(i))


def test_threads_share_one_storage_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """With separate versions, a thread would miss mutations by another."""

    class Slow(dict[int, Any]):
        def setdefault(self, key: int, default: Any = None) -> Any:
            found = self.get(key)
            time.sleep(0.01)
            if found is None:
                self[key] = found = default
            return found

    monkeypatch.setattr("lucid.autograd.mutation._versions", Slow())
    array = np.zeros(3)
    versions = together(lambda _: track(array))
    assert all(found is versions[0] for found in versions)


def test_training_in_eight_threads_matches_one_thread() -> None:
    """Each thread has its own model; kernels, memory pool and autograd state are shared."""

    def train(i: int) -> list[Any]:
        numbers = np.random.default_rng(i)
        conv, head = nn.ConvNormAct(3, 8, 3), nn.Linear(8, 3)
        model = nn.ModuleList([conv, head])
        for parameter in model.parameters():
            parameter.data[...] = numbers.standard_normal(parameter.shape)
        optimizer = lucid.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(5):
            x = lucid.tensor(numbers.standard_normal((2, 3, 12, 12)), dtype=lucid.float32)
            loss = nn.functional.cross_entropy(
                head(conv(x).mean(axis=(2, 3))), lucid.tensor([0, 2])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return [value.numpy() for value in model.state_dict().values()]

    expected = [train(i) for i in range(THREADS)]
    for found, right in zip(together(train), expected, strict=True):
        for mine, theirs in zip(found, right, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_loaders_in_eight_threads_are_independent() -> None:
    data = TensorDataset(np.arange(40))

    def load(i: int) -> list[Any]:
        loader = DataLoader(data, batch_size=7, shuffle=True, seed=i)
        return [batch[0].numpy().tolist() for batch in loader]

    assert together(load) == [load(i) for i in range(THREADS)]


FIRST_USE = """
    import sys, threading, warnings
    sys.setswitchinterval(5e-6)
    import numpy as np
    import lucid

    barrier = threading.Barrier(8, timeout=100)
    results, errors = [None] * 8, []

    def work(i):
        {work}

    def caller(i):
        barrier.wait()
        try:
            results[i] = work(i)
        except BaseException as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=caller, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads), "hangs"
    assert not errors, errors
    assert all(np.array_equal(result, results[0]) for result in results), results
    {after}
    print("same")
"""
WORKS = {
    "listing": ("return lucid.models.list_models()", "assert 'resnet_18' in results[0]"),
    "model names": (
        "from lucid.models import resnet_18; return [resnet_18.__module__, *dir(lucid.models)]",
        "assert results[0][0] == 'lucid_models_classification.resnet', results[0][0]",
    ),
    "a model": (
        "return lucid.models.create_model('resnet_18', num_classes=2).parameter_size",
        "assert results[0] == 11_177_538, results[0]",
    ),
    "kernels": (
        "x = lucid.tensor(np.arange(192.0).reshape(1, 3, 8, 8), dtype='float32');"
        "w = lucid.full((4, 3, 3, 3), 0.1);"
        "return lucid.nn.functional.conv2d(x, w).relu().numpy()",
        "assert results[0].shape == (1, 4, 6, 6)",
    ),
    "lazy modules": (
        "return [getattr(lucid, name).__name__ for name in ('nn', 'optim', 'data', 'models')]",
        "assert results[0] == ['lucid.nn', 'lucid.optim', 'lucid.data', 'lucid.models']",
    ),
    "number of threads": ("return lucid.get_num_threads()", "assert results[0] >= 1"),
}


@pytest.mark.parametrize("work", WORKS)
def test_first_use_by_eight_threads(work: str, tmp_path: Any) -> None:
    """In a fresh process without compiled kernels."""
    code = textwrap.dedent(FIRST_USE).format(
        **dict(zip(("work", "after"), WORKS[work], strict=True))
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "LUCID_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("same\n", "")
