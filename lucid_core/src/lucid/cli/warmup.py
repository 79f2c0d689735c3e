"""``lucid warmup``: compile the kernels ahead of time."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from lucid import kernels
from lucid.cli.output import json_option, write_json, write_table

__all__ = ["warmup"]


@click.command()
@json_option
def warmup(as_json: bool) -> None:
    """Compile all kernels ahead of time and cache them on disk.

    Without it, each kernel is compiled at its first call.  The code is specific to the
    processor: when you build a container image, run this on the kind of machine and as the
    user that will use it.  LUCID_CACHE_DIR sets the cache folder.
    """
    usable = kernels.compiled_in_use()
    result = _compile() if usable else {"compiled": 0, "loaded": 0, "seconds": 0.0, "folder": None}
    if as_json:
        write_json(result)
    elif not usable:
        click.echo("nothing to compile: the NumPy kernels are in use")
    else:
        write_table(
            [
                ("compiled", str(result["compiled"])),
                ("already cached", str(result["loaded"])),
                ("seconds", f"{result['seconds']:.1f}"),
                ("cache folder", str(result["folder"])),
            ]
        )


def _compile() -> dict[str, Any]:
    from tqdm import tqdm

    from lucid.kernels.compiled import aot, numba_cache

    begun = time.perf_counter()
    watched = sys.stderr is not None and sys.stderr.isatty()
    work = list(aot.tasks())
    bar = tqdm(work, desc="compiling", unit="step", disable=not watched, leave=False)
    try:
        numba_cache.store().prepare()
        with numba_cache.progress.silenced(), bar:
            for title, task in bar:
                bar.set_postfix_str(title)
                task()
                if numba_cache.progress.error is not None:
                    raise numba_cache.progress.error
    except OSError as error:
        raise click.ClickException(
            f"compiled kernels cannot be saved: {error}; set LUCID_CACHE_DIR to another folder"
        ) from error
    return {
        "compiled": numba_cache.progress.compiled,
        "loaded": numba_cache.progress.loaded,
        "seconds": round(time.perf_counter() - begun, 3),
        "folder": str(numba_cache.store().folder),
    }
