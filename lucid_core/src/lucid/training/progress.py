"""Progress bar of an epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

__all__ = ["progress_bar"]

Show = Callable[[int, Mapping[str, float]], None]


@contextmanager
def progress_bar(enabled: bool | None, title: str, done: int, total: int) -> Iterator[Show]:
    """Show the progress of an epoch; yield ``show(done, losses)``, to call after each step.

    Parameters
    ----------
    enabled : bool or None
        Whether to show a bar; None shows it if stderr is a terminal.
    title : str
        Text before the bar.
    done, total : int
        Number of batches done at the start, and in total.
    """
    if enabled is None:
        enabled = sys.stderr is not None and sys.stderr.isatty()
    if not enabled:
        yield lambda done, losses: None
        return
    from tqdm import tqdm

    with tqdm(total=total, initial=done, desc=title, unit="batch", dynamic_ncols=True) as bar:

        def show(done: int, losses: Mapping[str, float]) -> None:
            bar.set_postfix(loss=f"{losses['loss']:.4g}", refresh=False)
            bar.update(done - bar.n)

        yield show
