"""A progress bar where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

__all__ = ["progress_bar"]

Show = Callable[[int, Mapping[str, float]], None]


@contextmanager
def progress_bar(wanted: bool | None, title: str, done: int, total: int) -> Iterator[Show]:
    """Show how far an epoch is.

    Parameters
    ----------
    wanted : bool or None
        Whether to show it; None shows it where stderr is a terminal.
    title : str
        Stands before the bar.
    done, total : int
        Batches done at first, and in all.

    Yields
    ------
    callable
        ``show(done, losses)``, to be called after each step.
    """
    if wanted is None:
        wanted = sys.stderr is not None and sys.stderr.isatty()
    if not wanted:
        yield lambda done, losses: None
        return
    from tqdm import tqdm

    with tqdm(total=total, initial=done, desc=title, unit="batch", dynamic_ncols=True) as bar:

        def show(done: int, losses: Mapping[str, float]) -> None:
            bar.set_postfix(loss=f"{losses['loss']:.4g}", refresh=False)
            bar.update(done - bar.n)

        yield show
