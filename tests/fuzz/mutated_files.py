"""Read 100,000 damaged weight files and 20,000 damaged annotation files; print what came of it.

``python tests/fuzz/mutated_files.py --weights 1000 --annotations 200`` for fewer.  The same
seed makes the same files.  A file that violates an invariant is kept, and the run exits with 1.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from checks import Figures, InvariantError, check_annotations, check_weights
from mutations import mutated
from seeds import annotation_seeds, weight_seeds

#: Address space beyond what is in use before the first file.
MEMORY = 512 * 2**20


def main() -> int:
    options = parse()
    limit_memory()
    tracemalloc.start()
    broken = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "picture.png").touch()  # which nobody reads
        for suffix, seeds in weight_seeds().items():
            path = folder / f"damaged{suffix}"

            def weights(content: bytes, figures: Figures, path: Path = path) -> None:
                check_weights(content, path, figures)

            broken += run(suffix, seeds, weights, options.weights // 3, options)
        for kind, seeds in annotation_seeds().items():

            def annotations(content: bytes, figures: Figures, kind: str = kind) -> None:
                check_annotations(kind, content, folder, figures)

            broken += run(kind, seeds, annotations, options.annotations // 2, options)
            for file in folder.glob("annotations.*"):
                file.unlink()
    return 1 if broken else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=int, default=100_002, help="a third of each format")
    parser.add_argument("--annotations", type=int, default=20_000, help="half of each format")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    return parser.parse_args()


def run(
    kind: str,
    seeds: list[bytes],
    check: Callable[[bytes, Figures], None],
    count: int,
    options: argparse.Namespace,
) -> int:
    """Check `count` damaged files of one kind; return the number of violations."""
    figures, findings, began = Figures(), {}, time.monotonic()
    for number in range(count):
        content = mutated(seeds, random.Random(f"{options.seed} {kind} {number}"))
        try:
            check(content, figures)
        except InvariantError as error:
            what = str(error)
            if what[:40] not in findings:
                options.keep.mkdir(exist_ok=True)
                digest = hashlib.sha256(content).hexdigest()[:12]
                kept = options.keep / f"{kind.lstrip('.')}-{digest}"
                kept.write_bytes(content)
                print(f"BROKEN: {what}\n  {kept}", flush=True)
            findings[what[:40]] = findings.get(what[:40], 0) + 1
    broken = sum(findings.values())
    print(f"{kind}: {figures} ({time.monotonic() - began:.0f} s, {broken} broken)", flush=True)
    return broken


def limit_memory() -> None:
    """Make allocations of terabytes fail even where the system overcommits memory."""
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    sys.exit(main())
