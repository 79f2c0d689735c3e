"""Coverage-guided fuzzing (Atheris) of one reader, or of all in turn.

``python tests/fuzz/guided.py --seconds 600`` gives each reader its share of the time, in a
process of its own.  Inputs that violate an invariant of ``checks.py`` are saved; exit code 1.
``--grow`` keeps the smallest inputs that reached something new in ``tests/fuzz/corpus``.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

READERS = ("safetensors", "npz", "pth", "coco", "voc")
#: Maximum size of an input in bytes; mutated_files.py covers long ones.
LONGEST = 4096
#: Inputs of one reader that a run may add to the corpus.
KEPT_AT_MOST = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", default=READERS, metavar="READER")
    parser.add_argument("--seconds", type=int, default=600, help="for all of them together")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--inside", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        fuzz(options.readers[0], Path(options.inside), options.seconds, options.keep)
        return 0  # not reached: libFuzzer ends the process
    failed = [
        reader
        for reader in options.readers
        if not in_process(reader, options.seconds // len(options.readers), options)
    ]
    print(f"broken: {', '.join(failed)}" if failed else "nothing broken")
    return 1 if failed else 0


def in_process(reader: str, seconds: int, options: argparse.Namespace) -> bool:
    """Fuzz one reader; return whether nothing was found."""
    options.keep.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_seeds(reader, folder / "corpus")
        command = [sys.executable, __file__, reader, "--inside", name]
        command += ["--seconds", str(seconds), "--keep", str(options.keep.resolve())]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        lines = [line for line in done.stderr.splitlines() if re.match("#[0-9]|Done", line)]
        print(f"{reader}: {' '.join(lines[-2:])}", flush=True)
        if done.returncode:
            print(done.stdout[-3000:], done.stderr[-3000:], flush=True)
        elif options.grow:
            grow(reader, folder)
        return not done.returncode


def write_seeds(reader: str, folder: Path) -> None:
    from seeds import annotation_seeds, weight_seeds

    folder.mkdir()
    known = {suffix.lstrip("."): files for suffix, files in weight_seeds().items()}
    for number, content in enumerate((known | annotation_seeds())[reader]):
        if len(content) <= LONGEST:
            (folder / f"seed-{number}").write_bytes(content)


def grow(reader: str, folder: Path) -> None:
    """Keep inputs that reached something new, the smallest, without the seeds themselves."""
    seeds = {path.read_bytes() for path in (folder / "corpus").glob("seed-*")}
    kept = HERE / "corpus" / reader
    kept.mkdir(parents=True, exist_ok=True)
    found = [path for path in (folder / "corpus").iterdir() if path.read_bytes() not in seeds]
    for path in sorted(found, key=lambda path: path.stat().st_size)[:KEPT_AT_MOST]:
        shutil.copy(path, kept / path.name[:12])


def fuzz(reader: str, folder: Path, seconds: int, keep: Path) -> None:
    """Fuzz in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["lucid.weights", "lucid_models_detection.data"]):
        import lucid.weights
        import lucid_models_detection.data  # noqa: F401

        # The readers are imported when the first file is read, which would be too late.
        for module in pkgutil.walk_packages(lucid.weights.__path__, "lucid.weights."):
            importlib.import_module(module.name)
    from checks import Figures, check_annotations, check_weights

    figures = Figures()
    (folder / "files").mkdir(exist_ok=True)
    (folder / "files" / "picture.png").touch()
    path = folder / "files" / f"w.{reader}"

    def one(content: bytes) -> None:
        if reader in ("coco", "voc"):
            check_annotations(reader, content, folder / "files", figures)
        else:
            check_weights(content, path, figures)

    tracemalloc.start()
    settings = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=10"]
    settings += ["-rss_limit_mb=4096", "-seed=1", f"-artifact_prefix={keep}/{reader}-"]
    atheris.Setup([sys.argv[0], *settings, str(folder / "corpus")], one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
