"""Lucid's sessions: ``python -m nox`` runs what CI runs, ``python -m nox -l`` lists them all.

Every session works on the wheels, not on the source tree: they are built once for
the sources as they stand and installed into the session's own environment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).parent
CORE = "lucid-core"
CLASSIFICATION = "lucid-models-classification"
DETECTION = "lucid-models-detection"
#: In the order in which they need each other.
DISTRIBUTIONS = (CORE, CLASSIFICATION, DETECTION)
PACKAGES = ("lucid", "lucid_models_classification", "lucid_models_detection")

# The outside oracle's own version, pinned because its numbers are what we are held against.
TORCH = "torch==2.13.0"
TORCHVISION = "torchvision==0.28.0"
ONNX = "onnx==1.23.2"
ONNXRUNTIME = "onnxruntime==1.31.1"
SUPERVISION = "supervision==0.31.2"

CI_SESSIONS = ("lint", "typecheck", "alone", "plugins", "combos", "packaging", "docs", "tests")
#: Why each of the others is not among them.
LEFT_OUT = {
    "quick": "a part of the tests, for while you work",
    "tests_reference": "the same tests where there is no Numba, some ten minutes of NumPy",
    "portability": "compiles the kernels for four processors, some ten minutes",
    "compat": "writes files with the code of 0.1.0, which it takes from the history, some minutes",
    "kit": "builds and trains every model for a moment; the tests do so with two of them",
    "demo": "the main job from end to end, several minutes of training",
    "conformance": "compares with PyTorch, torchvision and ONNX, a large download",
    "faults": "damage, crashes and races in random order; the tests have them once, in order",
    "fuzz": "reads damaged files for some twenty minutes",
    "bench": "times Lucid beside its peers, which needs a quiet machine",
    "dask": "2,000 images on local Dask workers of which one is killed, some minutes",
    "ray": "runs the recipe of the site for Ray Data, which is a large download",
    "site": "opens the site in a browser, which a machine has to have",
    "overfit": "trains the default detector until it knows eight images, six minutes or more",
    "throughput": "times convolutions beside the processor's peak, which needs a quiet machine",
    "mpi": "trains on up to four ranks of MPI and kills some, which needs cores of its own",
    "ranks": "times one rank of MPI beside two, which needs a quiet machine",
    "startup": "times what importing and listing cost, which needs a quiet machine",
}

#: The commit of 0.1.0, whose files still open.
EARLIER = "d550112095b3f5c9e09d68140654d91c616d13fa"

#: Percent of the core's lines and branches that the session tests has to reach.
COVERED = 95

#: Two workers keep two cores busy: much of the time goes to waiting for subprocesses.
WORKERS = ("-n", "2", "--dist", "worksteal")

#: Tests of the pages, of what they show, and of docstrings.  The session docs runs them.
DOCS_TESTS = tuple(
    f"tests/integration/test_{name}.py" for name in ("docs", "docs_pictures", "docstrings")
)

nox.options.default_venv_backend = "venv"
nox.options.sessions = [*CI_SESSIONS, "left_out"]


def folder_of(distribution: str) -> Path:
    return ROOT / distribution.replace("-", "_")


def digest() -> str:
    """Names the sources as they stand, so that wheels are built again only when they change."""
    state = hashlib.sha256()
    for distribution in DISTRIBUTIONS:
        folder = folder_of(distribution)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                state.update(f"{path.relative_to(ROOT).as_posix()}\0".encode())
                state.update(path.read_bytes())
    return state.hexdigest()[:16]


def wheels(session: nox.Session) -> dict[str, Path]:
    """The three wheels by distribution, built by the first session that asks."""
    folder = Path(session.cache_dir) / "wheels" / digest()
    if not folder.exists():
        shutil.rmtree(folder.parent, ignore_errors=True)  # those of other states of the sources
        partial = folder.with_suffix(".partial")
        sources = [str(folder_of(distribution)) for distribution in DISTRIBUTIONS]
        session.run(
            "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(partial), *sources
        )
        partial.rename(folder)
    return {
        distribution: next(folder.glob(f"{distribution.replace('-', '_')}-*-py3-none-any.whl"))
        for distribution in DISTRIBUTIONS
    }


def install(
    session: nox.Session,
    *others: str,
    distributions: tuple[str, ...] = DISTRIBUTIONS,
    extras: tuple[str, ...] = (),
) -> None:
    """Install wheels of ours, by path, with what they need and `others` from the index.

    Parameters
    ----------
    session
        Whose environment.
    *others
        Requirements of the session itself.
    distributions
        Which of ours; never taken from the index.
    extras
        Extras such as ``"docs"``, of whichever of them has it.
    """
    built = wheels(session)
    known = {
        **dict.fromkeys(("docs", "mpi", "vision"), CORE),
        **dict.fromkeys(("coco", "plot", "dask"), DETECTION),
    }
    requirements = []
    for distribution in distributions:
        asked = ",".join(extra for extra in extras if known[extra] == distribution)
        url = built[distribution].resolve().as_uri()
        requirements.append(f"{distribution}{f'[{asked}]' if asked else ''} @ {url}")
    if session.virtualenv.venv_backend == "venv" and getattr(session.virtualenv, "_reused", False):
        # pip keeps an installed wheel of the same version, whatever is in it.
        session.install("--quiet", "--force-reinstall", "--no-deps", *requirements)
    session.install("--quiet", *requirements, *others)


@nox.session
def lint(session: nox.Session) -> None:
    """Style (ruff) and the direction of imports (import-linter)."""
    install(session, "ruff", "import-linter")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def typecheck(session: nox.Session) -> None:
    """mypy, strict, over the three packages, and over scripts that use them as installed."""
    install(session, "mypy", extras=("docs",))
    session.run("mypy", *(str(folder_of(distribution) / "src") for distribution in DISTRIBUTIONS))
    # Without this project's configuration, which would show mypy the sources.
    session.run("mypy", "--strict", "--config-file=", "--exclude=test_scripts", "tests/typing")


@nox.session
@nox.parametrize("distribution", DISTRIBUTIONS, ids=("core", "classification", "detection"))
def alone(session: nox.Session, distribution: str) -> None:
    """Each distribution with only what it needs: imported, listed, and told apart."""
    needed = DISTRIBUTIONS[: DISTRIBUTIONS.index(distribution) + 1]
    install(session, distributions=needed)
    session.run("python", "-m", "pip", "check", silent=True)
    check = ROOT / "tests" / "alone" / "check.py"
    session.chdir(session.create_tmp())
    session.run("python", "-I", str(check), distribution)


def wheelhouse(session: nox.Session) -> Path:
    """A folder with our wheels and those of the toy plugins, as an index would hold them."""
    folder = Path(session.create_tmp()).resolve() / "wheelhouse"
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "tests/plugins/build.py", str(folder))
    for wheel in wheels(session).values():
        shutil.copy(wheel, folder)
    return folder


def run_installed(session: nox.Session, folder: Path, **settings: str) -> None:
    """Run the tests that are this session's in ``tests/plugins``; see ``conftest.py`` there."""
    settings |= {"LUCID_INSTALLED_SESSION": session.name, "LUCID_WHEELHOUSE": str(folder)}
    session.run("python", "-m", "pytest", "tests/plugins", *session.posargs, env=settings)


@nox.session
def plugins(session: nox.Session) -> None:
    """Toy and faulty plugins of all kinds, installed at once beside the real ones."""
    install(session, "pytest", "hatchling")
    folder = wheelhouse(session)
    toys = [str(wheel) for wheel in sorted(folder.glob("toy_*.whl"))]
    # Without what they need: one of them needs a core that does not exist.
    session.install("--quiet", "--no-index", "--no-deps", "--force-reinstall", *toys)
    run_installed(session, folder)


@nox.session
def combos(session: nox.Session) -> None:
    """Installing in every order and from every source, and uninstalling."""
    install(session, "pytest", "hatchling", "editables", extras=("coco", "plot"))
    run_installed(session, wheelhouse(session))


@nox.session
def packaging(session: nox.Session) -> None:
    """The sdists and wheels of a release: built, checked as the index does, looked into."""
    session.install("--quiet", "pytest", "build", "twine", "hatchling", "packaging")
    folder = wheelhouse(session)
    made = Path(session.create_tmp()).resolve() / "release"
    shutil.rmtree(made, ignore_errors=True)
    for distribution in DISTRIBUTIONS:
        command = ("python", "-m", "build", "--no-isolation", "--outdir", str(made))
        session.run(*command, str(folder_of(distribution)), silent=True)
    files = sorted(made.iterdir())
    session.run("twine", "check", "--strict", *map(str, files))
    run_installed(session, folder, LUCID_DIST=str(made))
    for file in files:
        session.log(f"{file.stat().st_size / 1024:6.0f} KiB  {file.name}")


def build_site(session: nox.Session, *options: str) -> Path:
    """Build the site where the session has what that needs; the folder with its pages."""
    out = ROOT / "docs" / "_build" / "html"
    session.run(
        "python", "-m", "sphinx", "-q", "-W", "-n", "--keep-going", *options, "docs", str(out)
    )
    return out


@nox.session
def docs(session: nox.Session) -> None:
    """The site, into docs/_build/html, warnings as errors; then its examples and its links."""
    install(session, "pytest", "pytest-xdist", "numpydoc", extras=("docs", "coco", "plot"))
    out = build_site(session, *session.posargs)
    settings = {"LUCID_SITE": str(out)}
    session.run("python", "-m", "pytest", "-q", *WORKERS, *DOCS_TESTS, env=settings)
    session.log(f"open {out / 'index.html'}")


@nox.session
def site(session: nox.Session) -> None:
    """The site in headless Chromium; screenshots for a person to look at in site-output/."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        session.skip(f"none of {', '.join(names)} is here; on Debian: apt-get install chromium")
    # axe-playwright-python carries axe-core; Playwright drives the machine's own browser.
    install(session, "pytest", "playwright", "axe-playwright-python", extras=("docs",))
    built = build_site(session)
    pictures = ROOT / "site-output"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    settings = {
        "LUCID_SITE": str(built),
        "LUCID_CHROMIUM": browser,
        "LUCID_SCREENSHOTS": str(pictures),
    }
    session.run("python", "-m", "pytest", "tests/site", *session.posargs, env=settings)
    session.log(f"look at {pictures}")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but those of the session docs, on the wheels; the core's coverage."""
    # The plugin that the tests begin and install is built without isolation, so without a network.
    builds = ("build", "editables", "hatchling")
    runners = ("pytest", "pytest-cov", "pytest-xdist", "hypothesis", "numpydoc", "safetensors")
    install(session, *runners, *builds, extras=("docs", "coco", "plot"))
    # pytest-cov reports above pytest's own summary, which CI reads as the last line.
    coverage = ("--cov=lucid", f"--cov-fail-under={COVERED}", "--cov-report=term:skip-covered")
    left_out = [f"--ignore={path}" for path in DOCS_TESTS]
    arguments = session.posargs or (*WORKERS, *left_out, *coverage)
    settings = {"COVERAGE_FILE": str(Path(session.cache_dir).resolve() / "coverage" / "data")}
    session.run("python", "-m", "pytest", *arguments, env=settings)


@nox.session
def quick(session: nox.Session) -> None:
    """What a change breaks most often, in under a minute: no training, no site, no process."""
    runners = ("pytest", "pytest-xdist", "hypothesis", "safetensors")
    install(session, *runners, extras=("docs", "coco", "plot"))
    folders = ("tests/core", "tests/classification", "tests/detection")
    arguments = session.posargs or (*WORKERS, "-q", *folders)
    settings = {"LUCID_QUICK": "1"}
    session.run("python", "-m", "pytest", "-m", "not slow", *arguments, env=settings)


@nox.session
def tests_reference(session: nox.Session) -> None:
    """The tests of the three packages where there is no Numba: kernels in their NumPy form."""
    builds = ("build", "editables", "hatchling")
    runners = ("pytest", "hypothesis", "safetensors")
    install(session, *runners, *builds, extras=("docs", "coco", "plot"))
    session.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "numba", "llvmlite")
    folders = ("tests/core", "tests/classification", "tests/detection")
    session.run("python", "-m", "pytest", *(session.posargs or folders))


#: Processors by the vectors they have: what LLVM calls them and what it is told of them.
PROCESSORS = {
    "sse2": ("x86-64", "+sse,+sse2"),
    "avx": ("sandybridge", "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx"),
    "avx2": ("haswell", "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx,+avx2,+fma,+f16c,+bmi,+bmi2"),
    "host": ("", ""),
}


@nox.session
@nox.parametrize("processor", list(PROCESSORS), ids=list(PROCESSORS))
def portability(session: nox.Session, processor: str) -> None:
    """The kernels' tests, compiled for processors with narrower vectors than this one's."""
    install(session, "pytest", "hypothesis")
    name, features = PROCESSORS[processor]
    settings = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features} if name else {}
    session.run("python", "-m", "pytest", "tests/core/kernels", *session.posargs, env=settings)


@nox.session
def compat(session: nox.Session) -> None:
    """Models, weights, interrupted runs and reports of 0.1.0, opened by the present code."""
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder)
    sources, environment, files = folder / "sources", folder / "environment", folder / "files"
    for made in (sources, files):
        made.mkdir(parents=True)
    archive = str(folder / "sources.tar")
    session.run("git", "archive", "-o", archive, EARLIER, external=True)
    shutil.unpack_archive(archive, sources, filter="data")
    session.run("python", "-m", "venv", str(environment))
    python = str(environment / ("Scripts" if os.name == "nt" else "bin") / "python")
    earlier = [str(sources / distribution.replace("-", "_")) for distribution in DISTRIBUTIONS]
    earlier[-1] += "[coco]"
    session.run(python, "-m", "pip", "install", "--quiet", *earlier, external=True)
    session.run(python, "tests/compat/write.py", str(files), external=True)
    install(session, "pytest", extras=("coco",))
    settings = {"LUCID_COMPAT_FILES": str(files)}
    session.run("python", "-m", "pytest", "tests/compat", *session.posargs, env=settings)


@nox.session
def kit(session: nox.Session) -> None:
    """The conformance kit, over every model of both plugins."""
    install(session)
    for distribution in (CLASSIFICATION, DETECTION):
        session.run("lucid", "check-plugin", distribution, *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """The main job: pretrain, train a digit detector, evaluate it; results in demo-output/."""
    install(session, "scikit-learn", extras=("coco", "plot"))
    script = ROOT / "docs" / "tutorials" / "digit_detector.py"
    session.run("python", str(script), *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Values and gradients beside PyTorch, torchvision and ONNX, in an environment of its own."""
    install(session, "pytest", "hypothesis", TORCH, ONNX, SUPERVISION)
    session.install("--quiet", "--no-deps", TORCHVISION)
    session.run("python", "tests/conformance/onnx_nodes.py", "--table")
    session.run("python", "-m", "pytest", "tests/conformance", *session.posargs)


@nox.session
def dask(session: nox.Session) -> None:
    """Prediction over many images on Dask: workers killed, images broken, memory flat."""
    install(session, "pytest", "psutil", extras=("dask",))
    session.run("python", "-m", "pytest", "tests/dask", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """What Lucid must survive, row by row of docs/reference/faults.md, in random order."""
    runners = ("pytest", "pytest-randomly", "hypothesis", "safetensors")
    install(session, *runners, extras=("coco", "plot"))
    rows = str(session.run("python", "tests/faults/matrix.py", silent=True, log=False))
    session.run("python", "-m", "pytest", "tests/faults", *rows.split(), *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """120,000 damaged files, then ten minutes of coverage-guided fuzzing; see tests/fuzz."""
    install(session, "atheris", "safetensors")
    session.run("python", "tests/fuzz/mutated_files.py")
    session.run("python", "tests/fuzz/guided.py", *session.posargs)


@nox.session
def ray(session: nox.Session) -> None:
    """The recipe for Ray Data, run as the site shows it."""
    install(session, "pytest", "ray[data]")
    session.run("python", "-m", "pytest", "tests/ray", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Lucid beside PyTorch and ONNX Runtime, in turns; --publish writes the page of the site."""
    install(session, TORCH, ONNX, ONNXRUNTIME, "safetensors", extras=("plot",))
    session.install("--quiet", "--no-deps", TORCHVISION)
    session.run("python", "tests/benchmarks/run.py", *session.posargs)


@nox.session
def mpi(session: nox.Session) -> None:
    """Training on 1, 2 and 4 ranks, with the MPI of the extra: the same results, no hangs."""
    install(session, "pytest", extras=("mpi", "coco"))
    session.run("python", "-m", "pytest", "tests/mpi", *session.posargs)


@nox.session
def ranks(session: nox.Session) -> None:
    """Two ranks of MPI do at least 1.7 times as much as one; what a network would make of it."""
    install(session, extras=("mpi",))
    session.run("python", "tests/benchmarks/ranks.py", *session.posargs)


@nox.session
def overfit(session: nox.Session) -> None:
    """The default detector learns eight images by heart, to a mAP@0.5 of 1."""
    install(session, extras=("coco",))
    session.run("python", "tests/benchmarks/overfit.py", *session.posargs)


@nox.session
def throughput(session: nox.Session) -> None:
    """Measure the convolutions of ResNet-50 in GFLOP/s; --publish writes kernel_development.md."""
    install(session)
    session.run("python", "tests/benchmarks/throughput.py", *session.posargs)


@nox.session
def startup(session: nox.Session) -> None:
    """``import lucid`` and the first listing beside ``import numpy``; medians and ratios."""
    install(session)
    session.run("python", "tests/benchmarks/import_cost.py", *session.posargs)


@nox.session(venv_backend="none")
def left_out(session: nox.Session) -> None:
    """Say what a bare ``nox`` does not run."""
    for name, reason in LEFT_OUT.items():
        session.log(f"not run: {name} ({reason}); python -m nox -s {name}")
