"""A few thousand damaged weight files; ``nox -s fuzz`` reads many more."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from checks import Figures, InvariantError, check_weights
from mutations import mutated
from seeds import corpus, weight_seeds

import lucid


@pytest.fixture(scope="module")
def seeds():
    return weight_seeds()


@pytest.fixture
def _traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("_traced")
@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_damaged_files_are_rejected_or_read_within_limits(tmp_path, seeds, suffix):
    """Results agree with the safetensors library, or the error says why Lucid is stricter."""
    figures = Figures()
    for number in range(1000):
        content = mutated(seeds[suffix], random.Random(f"test {number}"))
        check_weights(content, tmp_path / f"w{suffix}", figures)
    assert figures.accepted
    assert figures.errors.keys() == {"WeightFileError"}
    assert bool(figures.compared) == (suffix == ".safetensors")


@pytest.mark.usefixtures("_traced")
@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_fuzzing_regressions(tmp_path, suffix):
    for content in corpus(suffix):
        check_weights(content, tmp_path / f"w{suffix}", Figures())


@pytest.mark.usefixtures("_traced")
def test_fuzz_checks_detect_faulty_readers(tmp_path, seeds, monkeypatch):
    """The checks detect other errors, memory, time, and files that another library rejects."""
    path, good = tmp_path / "w.safetensors", seeds[".safetensors"][0]

    def broken(how):
        monkeypatch.setattr(lucid, "load", how)
        with pytest.raises(InvariantError) as caught:
            check_weights(good, path, Figures())
        monkeypatch.undo()
        return str(caught.value)

    real = lucid.load

    def raises(path):
        raise KeyError("w")

    def unnamed(path):
        raise lucid.WeightFileError("damaged")

    def hungry(path):
        bytearray(2**25)
        return real(path)

    def slow(path):
        while True:
            pass

    def other(path):
        return {**real(path), "seen": lucid.tensor([8])}

    assert "KeyError" in broken(raises)
    assert "does not name the file" in broken(unnamed)
    assert "bytes more than what came back" in broken(hungry)
    assert "more than 1.0 s" in broken(slow)
    assert "differ" in broken(other)
    assert "without a stated reason" in broken(
        lambda path: (_ for _ in ()).throw(lucid.WeightFileError(f"{path}: do not like it"))
    )
    check_weights(good, path, Figures())
