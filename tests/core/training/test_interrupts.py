"""Deferred interrupts: Ctrl-C and SIGTERM in the main thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from lucid.training.interrupts import DeferredInterrupt, Terminated


@pytest.fixture(autouse=True)
def _listening() -> Iterator[None]:
    """Install Python's Ctrl-C handler, which background processes ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interrupt_is_raised_at_the_end_of_the_block() -> None:
    reached = []

    def train() -> None:
        with DeferredInterrupt() as interrupt:
            with interrupt.deferred():
                signal.raise_signal(signal.SIGINT)
                reached.append("end of the step")
            reached.append("next step")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train()
    assert reached == ["end of the step"]
    assert signal.getsignal(signal.SIGINT) is before


def test_interrupt_outside_blocks_is_raised_at_once() -> None:
    with DeferredInterrupt() as interrupt:
        with interrupt.deferred():
            pass
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_ignored_signals_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with DeferredInterrupt() as interrupt, interrupt.deferred():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_do_not_install_handlers() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def train() -> None:
        with DeferredInterrupt() as interrupt, interrupt.deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [before]
    assert signal.getsignal(signal.SIGINT) is before


def test_second_interrupt_is_raised_at_once() -> None:
    reached = []
    with DeferredInterrupt() as interrupt, interrupt.deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        reached.append("the handler of the second")
    assert reached


def test_repeated_sigterm_is_deferred() -> None:
    reached = []

    def train() -> None:
        with DeferredInterrupt() as interrupt, interrupt.deferred():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            reached.append("end of the step")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as caught:
        train()
    assert caught.value.code == 143
    assert reached == ["end of the step"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_existing_sigterm_handler_is_kept() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with DeferredInterrupt() as interrupt, interrupt.deferred():
            signal.raise_signal(signal.SIGTERM)
            assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_nested_blocks_defer_to_the_outermost() -> None:
    reached = []

    def train() -> None:
        with DeferredInterrupt() as interrupt, interrupt.deferred():
            with interrupt.deferred():
                signal.raise_signal(signal.SIGINT)
            reached.append("after the inner block")

    with pytest.raises(KeyboardInterrupt):
        train()
    assert reached == ["after the inner block"]


def test_pending_signal_set_by_hand_is_raised_at_the_end() -> None:
    def train() -> None:
        with DeferredInterrupt() as interrupt, interrupt.deferred():
            interrupt.pending = signal.SIGTERM

    with pytest.raises(Terminated):
        train()
