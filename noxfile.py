"""Nox sessions: ``python -m nox`` runs the CI sessions, ``python -m nox -l`` lists all.

Sessions test wheels, not the source tree: the wheels are built once per state of the sources and
installed into the environment of each session.
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
#: In dependency order.
DISTRIBUTIONS = (CORE, CLASSIFICATION, DETECTION)
PACKAGES = ("lucid", "lucid_models_classification", "lucid_models_detection")

# Pinned: the tests compare with the results of these versions.
TORCH = "torch==2.13.0"
TORCHVISION = "torchvision==0.28.0"
ONNX = "onnx==1.23.2"
ONNXRUNTIME = "onnxruntime==1.31.1"
SUPERVISION = "supervision==0.31.2"

CI_SESSIONS = ("lint", "typecheck", "alone", "plugins", "combos", "packaging", "docs", "tests")
#: Sessions that are not in CI, and why.
LEFT_OUT = {
    "quick": "a part of the tests, for development",
    "tests_reference": "the same tests without Numba, about ten minutes",
    "portability": "compiles the kernels for four processors, about ten minutes",
    "compat": "writes files with 0.1.0 from the git history, some minutes",
    "kit": "builds and trains every model; the tests do so with two of them",
    "demo": "trains a detector for several minutes",
    "conformance": "needs PyTorch, torchvision and ONNX, a large download",
    "faults": "runs tests of the session tests again, in random order",
    "fuzz": "takes about twenty minutes",
    "bench": "measures time, which needs an idle machine",
    "dask": "predicts on 2,000 images, some minutes",
    "ray": "needs Ray, a large download",
    "site": "needs Chromium",
    "overfit": "trains the default detector for six minutes or more",
    "throughput": "measures time, which needs an idle machine",
    "mpi": "trains on up to four MPI ranks, which needs idle cores",
    "ranks": "measures time, which needs an idle machine",
    "startup": "measures time, which needs an idle machine",
}

#: The commit of 0.1.0, for the session compat.
EARLIER = "d550112095b3f5c9e09d68140654d91c616d13fa"

#: Required coverage of the core's lines and branches in the session tests, in percent.
COVERED = 95

#: Two workers even on two cores: tests often wait for subprocesses.
WORKERS = ("-n", "2", "--dist", "worksteal")

#: Tests of pages, their examples and docstrings, run by the session docs.
DOCS_TESTS = tuple(
    f"tests/integration/test_{name}.py" for name in ("docs", "docs_pictures", "docstrings")
)

#: Files whose wording lint checks beyond spelling, as patterns of git.
PROSE = ("lucid_*.py", "lucid_*.md", "docs/*.py", "docs/*.md", "*.md", "noxfile.py")

nox.options.default_venv_backend = "venv"
nox.options.sessions = [*CI_SESSIONS, "left_out"]


def folder_of(distribution: str) -> Path:
    return ROOT / distribution.replace("-", "_")


def digest() -> str:
    """Hash the sources, so that wheels are rebuilt only when they change."""
    state = hashlib.sha256()
    for distribution in DISTRIBUTIONS:
        folder = folder_of(distribution)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                state.update(f"{path.relative_to(ROOT).as_posix()}\0".encode())
                state.update(path.read_bytes())
    return state.hexdigest()[:16]


def wheels(session: nox.Session) -> dict[str, Path]:
    """Build the three wheels once and return them by distribution."""
    folder = Path(session.cache_dir) / "wheels" / digest()
    if not folder.exists():
        shutil.rmtree(folder.parent, ignore_errors=True)  # wheels of older sources
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
    """Install our wheels by path, and their dependencies and `others` from the index.

    Parameters
    ----------
    session
        Session to install into.
    *others
        Other requirements of the session.
    distributions
        Our distributions to install, never from the index.
    extras
        Extras such as ``"docs"``, of the distribution that has them.
    """
    built = wheels(session)
    known = {
        **dict.fromkeys(("docs", "mpi", "vision"), CORE),
        **dict.fromkeys(("coco", "plot", "dask"), DETECTION),
    }
    requirements = []
    for distribution in distributions:
        selected = ",".join(extra for extra in extras if known[extra] == distribution)
        url = built[distribution].resolve().as_uri()
        requirements.append(f"{distribution}{f'[{selected}]' if selected else ''} @ {url}")
    if session.virtualenv.venv_backend == "venv" and getattr(session.virtualenv, "_reused", False):
        # pip keeps an installed wheel of the same version even if its content differs.
        session.install("--quiet", "--force-reinstall", "--no-deps", *requirements)
    session.install("--quiet", *requirements, *others)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style (ruff), wording (codespell, phrases) and imports (import-linter)."""
    install(session, "ruff", "codespell[toml]", "import-linter")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    phrases = ("git", "grep", "-nEi", "-f", "tests/style/phrases.txt", "--", *PROSE)
    session.run(*phrases, external=True, success_codes=[1])  # 1: no line matches
    session.run("lint-imports")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Run mypy in strict mode over the packages and over scripts that use them."""
    install(session, "mypy", extras=("docs",))
    session.run("mypy", *(str(folder_of(distribution) / "src") for distribution in DISTRIBUTIONS))
    # Without this project's configuration, which points mypy at the sources.
    session.run("mypy", "--strict", "--config-file=", "--exclude=test_scripts", "tests/typing")


@nox.session
@nox.parametrize("distribution", DISTRIBUTIONS, ids=("core", "classification", "detection"))
def alone(session: nox.Session, distribution: str) -> None:
    """Test each distribution with only its dependencies: import and listing."""
    needed = DISTRIBUTIONS[: DISTRIBUTIONS.index(distribution) + 1]
    install(session, distributions=needed)
    session.run("python", "-m", "pip", "check", silent=True)
    check = ROOT / "tests" / "alone" / "check.py"
    session.chdir(session.create_tmp())
    session.run("python", "-I", str(check), distribution)


def wheelhouse(session: nox.Session) -> Path:
    """Collect our wheels and those of the toy plugins in a folder."""
    folder = Path(session.create_tmp()).resolve() / "wheelhouse"
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "tests/plugins/build.py", str(folder))
    for wheel in wheels(session).values():
        shutil.copy(wheel, folder)
    return folder


def run_installed(session: nox.Session, folder: Path, **settings: str) -> None:
    """Run this session's tests in ``tests/plugins``; see its ``conftest.py``."""
    settings |= {"LUCID_INSTALLED_SESSION": session.name, "LUCID_WHEELHOUSE": str(folder)}
    session.run("python", "-m", "pytest", "tests/plugins", *session.posargs, env=settings)


@nox.session
def plugins(session: nox.Session) -> None:
    """Test toy and faulty plugins, installed together with ours."""
    install(session, "pytest", "hatchling")
    folder = wheelhouse(session)
    toys = [str(wheel) for wheel in sorted(folder.glob("toy_*.whl"))]
    # Without dependencies: one of them requires a core that does not exist.
    session.install("--quiet", "--no-index", "--no-deps", "--force-reinstall", *toys)
    run_installed(session, folder)


@nox.session
def combos(session: nox.Session) -> None:
    """Test installation in every order and from every source, and uninstallation."""
    install(session, "pytest", "hatchling", "editables", extras=("coco", "plot"))
    run_installed(session, wheelhouse(session))


@nox.session
def packaging(session: nox.Session) -> None:
    """Build the sdists and wheels of a release and check metadata and contents."""
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
    """Build the site and return the folder of its pages."""
    out = ROOT / "docs" / "_build" / "html"
    session.run(
        "python", "-m", "sphinx", "-q", "-W", "-n", "--keep-going", *options, "docs", str(out)
    )
    return out


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build/html, warnings as errors; test examples and links."""
    install(session, "pytest", "pytest-xdist", "numpydoc", extras=("docs", "coco", "plot"))
    out = build_site(session, *session.posargs)
    settings = {"LUCID_SITE": str(out)}
    session.run("python", "-m", "pytest", "-q", *WORKERS, *DOCS_TESTS, env=settings)
    session.log(f"open {out / 'index.html'}")


@nox.session
def site(session: nox.Session) -> None:
    """Test the site in headless Chromium; screenshots in site-output/."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        session.skip(f"found none of {', '.join(names)}; on Debian: apt-get install chromium")
    # axe-playwright-python includes axe-core; Playwright drives the installed browser.
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
    """Run all tests except those of the session docs, with coverage of the core."""
    # Tests build a new plugin without isolation, so that they need no network.
    builds = ("build", "editables", "hatchling")
    runners = ("pytest", "pytest-cov", "pytest-xdist", "hypothesis", "numpydoc", "safetensors")
    install(session, *runners, *builds, extras=("docs", "coco", "plot"))
    # pytest-cov prints before pytest's summary, which CI reads as the last line.
    coverage = ("--cov=lucid", f"--cov-fail-under={COVERED}", "--cov-report=term:skip-covered")
    left_out = [f"--ignore={path}" for path in DOCS_TESTS]
    arguments = session.posargs or (*WORKERS, *left_out, *coverage)
    settings = {"COVERAGE_FILE": str(Path(session.cache_dir).resolve() / "coverage" / "data")}
    session.run("python", "-m", "pytest", *arguments, env=settings)


@nox.session
def quick(session: nox.Session) -> None:
    """Run the fast tests, in under a minute: no training, no site, no processes."""
    runners = ("pytest", "pytest-xdist", "hypothesis", "safetensors")
    install(session, *runners, extras=("docs", "coco", "plot"))
    folders = ("tests/core", "tests/classification", "tests/detection")
    arguments = session.posargs or (*WORKERS, "-q", *folders)
    settings = {"LUCID_QUICK": "1"}
    session.run("python", "-m", "pytest", "-m", "not slow", *arguments, env=settings)


@nox.session
def tests_reference(session: nox.Session) -> None:
    """Run the tests of the three packages without Numba, on the NumPy kernels."""
    builds = ("build", "editables", "hatchling")
    runners = ("pytest", "hypothesis", "safetensors")
    install(session, *runners, *builds, extras=("docs", "coco", "plot"))
    session.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "numba", "llvmlite")
    folders = ("tests/core", "tests/classification", "tests/detection")
    session.run("python", "-m", "pytest", *(session.posargs or folders))


#: Processors by vector extension: LLVM's name and features.
PROCESSORS = {
    "sse2": ("x86-64", "+sse,+sse2"),
    "avx": ("sandybridge", "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx"),
    "avx2": ("haswell", "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx,+avx2,+fma,+f16c,+bmi,+bmi2"),
    "host": ("", ""),
}


@nox.session
@nox.parametrize("processor", list(PROCESSORS), ids=list(PROCESSORS))
def portability(session: nox.Session, processor: str) -> None:
    """Run the kernel tests, compiled for processors with narrower vectors."""
    install(session, "pytest", "hypothesis")
    name, features = PROCESSORS[processor]
    settings = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features} if name else {}
    session.run("python", "-m", "pytest", "tests/core/kernels", *session.posargs, env=settings)


@nox.session
def compat(session: nox.Session) -> None:
    """Test that models, weights, runs and reports of 0.1.0 open and resume."""
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
    """Run ``lucid check-plugin`` over every model of both plugins."""
    install(session)
    for distribution in (CLASSIFICATION, DETECTION):
        session.run("lucid", "check-plugin", distribution, *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Pretrain, train and evaluate a digit detector; results in demo-output/."""
    install(session, "scikit-learn", extras=("coco", "plot"))
    script = ROOT / "docs" / "tutorials" / "digit_detector.py"
    session.run("python", str(script), *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Compare values and gradients with PyTorch, torchvision and ONNX."""
    install(session, "pytest", "hypothesis", TORCH, ONNX, SUPERVISION)
    session.install("--quiet", "--no-deps", TORCHVISION)
    session.run("python", "tests/conformance/onnx_nodes.py", "--table")
    session.run("python", "-m", "pytest", "tests/conformance", *session.posargs)


@nox.session
def dask(session: nox.Session) -> None:
    """Predict on many images with Dask: killed workers, damaged images, constant memory."""
    install(session, "pytest", "psutil", extras=("dask",))
    session.run("python", "-m", "pytest", "tests/dask", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Run the tests of docs/reference/faults.md in random order."""
    runners = ("pytest", "pytest-randomly", "hypothesis", "safetensors")
    install(session, *runners, extras=("coco", "plot"))
    rows = str(session.run("python", "tests/faults/matrix.py", silent=True, log=False))
    session.run("python", "-m", "pytest", "tests/faults", *rows.split(), *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Read 120,000 damaged files, then fuzz with coverage guidance for ten minutes."""
    install(session, "atheris", "safetensors")
    session.run("python", "tests/fuzz/mutated_files.py")
    session.run("python", "tests/fuzz/guided.py", *session.posargs)


@nox.session
def ray(session: nox.Session) -> None:
    """Run the Ray Data recipe of the site."""
    install(session, "pytest", "ray[data]")
    session.run("python", "-m", "pytest", "tests/ray", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Compare time and memory with PyTorch and ONNX Runtime; --publish writes the page."""
    install(session, TORCH, ONNX, ONNXRUNTIME, "safetensors", extras=("plot",))
    session.install("--quiet", "--no-deps", TORCHVISION)
    session.run("python", "tests/benchmarks/run.py", *session.posargs)


@nox.session
def mpi(session: nox.Session) -> None:
    """Train on 1, 2 and 4 MPI ranks: equal results, no hangs."""
    install(session, "pytest", extras=("mpi", "coco"))
    session.run("python", "-m", "pytest", "tests/mpi", *session.posargs)


@nox.session
def ranks(session: nox.Session) -> None:
    """Measure two MPI ranks, at least 1.7 times one, and estimate scaling on networks."""
    install(session, extras=("mpi",))
    session.run("python", "tests/benchmarks/ranks.py", *session.posargs)


@nox.session
def overfit(session: nox.Session) -> None:
    """Overfit the default detector on eight images to a mAP@0.5 of 1."""
    install(session, extras=("coco",))
    session.run("python", "tests/benchmarks/overfit.py", *session.posargs)


@nox.session
def throughput(session: nox.Session) -> None:
    """Measure ResNet-50's convolutions, or each layer of --model, beside the machine's limits."""
    install(session)
    session.run("python", "tests/benchmarks/throughput.py", *session.posargs)


@nox.session
def startup(session: nox.Session) -> None:
    """Time ``import lucid`` and the first listing relative to ``import numpy``."""
    install(session)
    session.run("python", "tests/benchmarks/import_cost.py", *session.posargs)


@nox.session(venv_backend="none")
def left_out(session: nox.Session) -> None:
    """Log the sessions that are not in CI."""
    for name, reason in LEFT_OUT.items():
        session.log(f"not run: {name} ({reason}); python -m nox -s {name}")
