from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from lucid.training import Callback, Communicator, RunFolder, load_checkpoint
from lucid.training.data_fingerprint import DataFingerprint

NO_DATA = DataFingerprint()


@dataclass(frozen=True)
class Options:
    data: str
    lr: float = 0.1
    epochs: int = 3
    weights: str | None = None
    model_options: dict[str, int] = field(default_factory=dict)


@pytest.fixture
def begin(tmp_path):
    """Start a run in ``new/run``; its lock is held as long as the object exists."""

    def call(options=None, metadata=(("classes", ["ant", "bee"]),), data=NO_DATA):
        folder = RunFolder(tmp_path / "new" / "run")
        with folder.locked(Communicator(), resume=False):
            folder.start(options or Options(str(tmp_path)), dict(metadata), data)
        return folder

    return call


@pytest.fixture
def run(begin):
    return begin()


def claim(path, *, resume=False):
    """Prepare a run in a folder and release it."""
    folder = RunFolder(path)
    with folder.locked(Communicator(), resume=resume):
        pass
    folder.lock.release()


def test_options_of_a_run_are_loaded(run, tmp_path):
    options, metadata = run.load_options(Options, ("classes",), {"lr": 0.1})
    assert options == Options(str(tmp_path))
    assert metadata["classes"] == ["ant", "bee"]
    assert (run.last.name, run.best.name) == ("last.safetensors", "best.safetensors")


class Crash(Callback):
    """Raise after a step, so that nothing is saved."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, losses):
        if trainer.step == self.step:
            raise RuntimeError("dead")


def test_run_killed_in_its_first_epoch_resumes_from_the_initial_weights(run, small):
    def weights(trainer):
        return {name: value.tolist() for name, value in trainer.model.state_dict().items()}

    whole = small.make_trainer()
    whole.fit()
    trainer = small.make_trainer(directory=run.path, callbacks=[Crash(2)])
    begun = weights(trainer)
    with pytest.raises(RuntimeError, match="dead"):
        run.train(trainer)
    state = load_checkpoint(run.last)
    assert (state["step"], state["history"]) == (0, [])
    assert {name: value.tolist() for name, value in state["model"].items()} == begun
    resumed = small.make_trainer(seed=99, directory=run.path, callbacks=[Crash(0)])
    assert len(run.train(resumed)) == 3
    assert weights(resumed) == weights(whole)


def test_run_without_steps_is_replaced(run, begin, small):
    with pytest.raises(RuntimeError, match="dead"):
        run.train(small.make_trainer(directory=run.path, callbacks=[Crash(1)]))
    assert run.has_checkpoint
    run = begin()
    assert not run.has_checkpoint  # otherwise the new run would resume the old one
    run.train(small.make_trainer(directory=run.path, epochs=1))
    with pytest.raises(ValueError, match="run: already contains a run; continue it with --resume"):
        claim(run.path)


def test_folder_is_locked_by_one_run(run, small):
    other = small.make_trainer(directory=run.path)
    for attempt in (
        lambda: claim(run.path),
        lambda: claim(run.path, resume=True),
        lambda: RunFolder(run.path).train(other),
        lambda: other.fit(),
        lambda: other.fit(resume=True),
    ):
        with pytest.raises(ValueError, match=r"new/run: in use by process \d+ on .* since "):
            attempt()
    assert {path.name for path in run.path.iterdir()} == {"run.json", "run_images.json", "run.lock"}
    run.train(small.make_trainer(directory=run.path, epochs=1))
    assert not (run.path / "run.lock").exists()
    claim(run.path, resume=True)
    assert other.fit(resume=True)


def test_failure_releases_the_folder(tmp_path, run, small):
    with pytest.raises(RuntimeError, match="dead"):
        run.train(small.make_trainer(directory=run.path, callbacks=[Crash(1)]))
    claim(run.path)
    folder = RunFolder(tmp_path / "a" / "b")
    with suppress(KeyError), folder.locked(Communicator(), resume=False):
        assert folder.lock.held
        raise KeyError
    assert not folder.lock.held
    assert not (tmp_path / "a").exists()  # it was created for the lock only


@pytest.mark.parametrize("name", ["best.safetensors", "metrics.csv"])
def test_results_without_checkpoint_are_neither_overwritten_nor_resumed(run, name):
    run.lock.release()
    (run.path / name).write_text("precious")
    with pytest.raises(ValueError, match=f"already contains {name}, which a run would overwrite"):
        claim(run.path)
    with pytest.raises(ValueError, match=r"last\.safetensors is missing.*--weights "):
        claim(run.path, resume=True)
    assert (run.path / name).read_text() == "precious"


@pytest.mark.parametrize("name", ["run.json", "run_images.json"])
def test_foreign_files_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text('{"images": []}')
    with pytest.raises(ValueError, match=f"already contains {name}, which a run would overwrite"):
        claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_other_files_in_the_folder_are_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_data_folder_is_rejected_as_output(tmp_path):
    inside = RunFolder(tmp_path / "photos" / "run")
    for folder, within in ((RunFolder(tmp_path / "x" / ".." / "photos"), False), (inside, True)):
        with pytest.raises(ValueError, match=r"--val-images .*photos.*; choose another --output"):
            folder.check_not_data_folder("val_images", str(tmp_path / "photos"), within=within)
    inside.check_not_data_folder("images", str(tmp_path / "photos"))
    inside.check_not_data_folder("images", None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr": 0.2}, r"started with lr 0\.1, got 0\.2; leave out --lr"),
        ({"epochs": 9}, r"epochs 3, got 9; .* new run .* --weights .*best\.safetensors"),
        ({"weights": "w"}, r"started with weights None, got 'w'"),
        ({"model_options": {"width": 2}}, r"got \{'width': 2\}; leave out --model-option,"),
    ],
)
def test_load_options_rejects_changed_options(run, given, message):
    with pytest.raises(ValueError, match=message):
        run.load_options(Options, (), given, ("data",), ("weights",))


def test_moved_data_are_accepted_and_their_paths_saved(begin, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new place"
    old.mkdir()
    data = DataFingerprint({"weights": "12"}, {"data": {"a.png": 1}})
    run = begin(Options(str(old), weights="old.bin"), data=data)
    old.rename(new)

    def load(**given):
        return run.load_options(Options, (), given, ("data",), ("weights",))

    with pytest.raises(ValueError, match=r"old: does not exist; .* new path as --data"):
        load()
    options, metadata = load(data=str(new), weights="new.bin")
    assert options == Options(str(new), weights="new.bin")
    run.check_data(options, data, metadata["data"])
    assert load()[0] == options
    kept = (run.path / "run.json").read_bytes()
    other = DataFingerprint({"weights": "34"}, data.images)
    with pytest.raises(ValueError, match=r"other data: weights is another file \(SHA-256 34"):
        run.check_data(Options("x"), other, metadata["data"])
    assert (run.path / "run.json").read_bytes() == kept


def test_changed_images_are_listed_with_counts(begin):
    before = DataFingerprint(images={"data": {f"{i}.png": i for i in range(9)}, "val": {"v": 1}})
    run = begin(data=before)
    now = DataFingerprint(images={"data": {"new.png": 5, "1.png": 1, "2.png": 3}, "val": {"v": 1}})
    _, metadata = run.load_options(Options, (), {})
    with pytest.raises(ValueError, match="other data") as caught:
        run.check_data(Options("d"), now, metadata["data"])
    assert (
        "data has 3 images, had 9: 7 removed (0.png, 3.png, 4.png, ...); 1 added (new.png); "
        "1 of another size (2.png);"
    ) in str(caught.value)
    (run.path / "run_images.json").unlink()  # digests are still compared
    with pytest.raises(ValueError, match="data has 3 images, had 9; restore"):
        run.check_data(Options("d"), now, metadata["data"])


@pytest.mark.parametrize("opened", [(True, True), (False, True), (True, False)])
def test_changed_contents_of_equal_size_are_found_if_opened(begin, tmp_path, opened):
    paths = [tmp_path / name for name in ("a.bmp", "b.bmp", "c.bmp")]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 9000)
    folders = {"data": (paths, tmp_path)}
    run = begin(data=DataFingerprint.compute({}, folders, contents=opened[0]))
    paths[1].write_bytes(b"\2" * 9000)
    _, metadata = run.load_options(Options, (), {})
    now = DataFingerprint.compute({}, folders, contents=opened[1])
    if all(opened):
        with pytest.raises(ValueError, match=r"3 images, had 3: 1 with other content \(b\.bmp\)"):
            run.check_data(Options("d"), now, metadata["data"])
    else:
        run.check_data(Options("d"), now, metadata["data"])


def test_file_names_may_be_any_bytes(begin):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    run = begin(data=DataFingerprint(images={"data": {name: 1}}))
    _, metadata = run.load_options(Options, (), {})
    with pytest.raises(ValueError, match="1 of another size"):
        run.check_data(Options("d"), DataFingerprint(images={"data": {name: 2}}), metadata["data"])


def test_run_of_lucid_0_1_0_is_resumed_and_recorded(run, tmp_path):
    record = {"options": {"data": str(tmp_path)}, "classes": []}
    (run.path / "run.json").write_text(json.dumps(record))
    options, metadata = run.load_options(Options, ("classes",), {})
    assert metadata["data"] is None
    before = {"files": {"data": "12"}, "images": {}}
    with pytest.raises(ValueError, match="data is another file"):
        run.check_data(options, DataFingerprint({"data": "34"}), before)
    now = DataFingerprint({"data": "12"}, {"images": {"a": 1}})
    run.check_data(options, now, before)
    _, metadata = run.load_options(Options, ("classes",), {})
    assert metadata["data"] == now.summary()


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[]",
        '{"options": {}}',
        '{"options": []}',
        '{"options": {"data": "d"}, "data": {"files": {}}}',
        '{"options": {"data": "d"}, "data": {"files": 1, "images": {}}}',
    ],
)
def test_damaged_run_json_is_rejected(run, record):
    path = run.path / "run.json"
    path.write_text(record)
    with pytest.raises(ValueError, match=r"run\.json: damaged"):
        run.load_options(Options, (), {})
    run.lock.release()
    path.unlink()
    with pytest.raises(ValueError, match=r"contains no run to resume, run\.json is missing"):
        claim(run.path, resume=True)


def test_run_of_another_command_is_rejected(run):
    (run.path / "run.json").write_text('{"options": {"data": "d", "speed": 1}}')
    with pytest.raises(ValueError, match=r"options speed, .*another command"):
        run.load_options(Options, (), {})


def test_missing_metadata_is_damage(run):
    with pytest.raises(ValueError, match="damaged: 'model'"):
        run.load_options(Options, ("model",), {})
