"""``lucid train-classifier`` from folders of images to a classifier, interrupted and resumed."""

from __future__ import annotations

import csv
import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lucid
from lucid.cli.entry_point import run
from lucid.models import create_model
from lucid.training import Run, load_checkpoint
from lucid.vision.transforms import preprocessing
from lucid.weights import model_metadata
from lucid_models_classification.torchvision import torchvision_state_dict
from lucid_models_classification.training import ClassifierOptions, ClassifierTask
from lucid_models_classification.training_data import ClassifierData

pytestmark = pytest.mark.slow

Command = Callable[..., tuple[int, str, str]]

COLORS = {"blue": (30, 30, 220), "red": (220, 30, 30)}
#: Classes of published weights.
PUBLISHED = ("red", "other", "blue")
SMALL = ("--image-size", 16, "--batch-size", 4, "--epochs", 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six noisy images of each of two colors."""
    root = tmp_path_factory.mktemp("colors")
    rng = np.random.default_rng(0)
    for name, color in COLORS.items():
        (root / name).mkdir()
        for i in range(6):
            pixels = np.clip(np.array(color) + rng.normal(0, 20, (20, 24, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``lucid train-classifier``; give exit code, output and errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["train-classifier", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def state_of(folder: Path) -> dict[str, Any]:
    state = load_checkpoint(folder / "last.safetensors")
    for row in state["history"]:
        del row["seconds"]
    return plain(state)


def plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return node.data.tobytes() if isinstance(node, lucid.Tensor) else node


def test_classify_loads_the_trained_classifier(
    train: Command, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "run"
    code, out, err = train("--data", data, "--output", folder, *SMALL)
    assert (code, err) == (0, "")
    # Lines are wrapped where the path of the data is long.
    check, _, rest = out.partition("resnet_18: ")
    words = f"data {data}: 12 images, 2 classes classes blue 6, red 6 image sizes 24 x 20 pixels"
    assert check.split() == words.split()
    lines = rest.splitlines()
    assert lines[0] == "2 classes, 10 images to train on, 2 to validate on (held out)"
    assert [line.split("  ")[0] for line in lines[1:3]] == ["epoch 1/2", "epoch 2/2"]
    assert lines[3].startswith("best accuracy ")
    assert lines[3].endswith(f": {folder / 'best.safetensors'}")
    assert {path.name for path in folder.iterdir()} == {
        "run.json",
        "run_images.json",
        "last.safetensors",
        "best.safetensors",
        "metrics.csv",
        "training.png",
    }
    with Image.open(folder / "training.png") as picture:
        assert min(picture.size) > 300
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]  # 10 images, the rest of 2 left out
    assert {"loss", "val_loss", "accuracy", "lr"} <= rows[0].keys()
    assert max(float(row["accuracy"]) for row in rows) == float(lines[3].split()[2].rstrip(":"))

    best = folder / "best.safetensors"
    metadata = model_metadata(best)
    assert (metadata.name, metadata.class_names) == ("resnet_18", ("blue", "red"))
    assert metadata.preprocessing is not None
    assert metadata.preprocessing["crop_size"] == 16
    assert metadata.preprocessing["resize_size"] == 18  # 16 * 256 / 224
    assert run(["classify", str(data / "red" / "0.png"), "--weights", str(best)]) == 0
    assert {line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:]} == {*COLORS}

    # Resuming a finished run does nothing; starting again would overwrite it.
    code, out, _ = train("--output", folder, "--resume", "--lr", 0.01)
    assert code == 0
    assert out.splitlines()[-2:] == ["2 of 2 epochs done already; nothing to do", lines[3]]
    before = best.stat().st_mtime_ns
    code, _, err = train("--data", data, "--output", folder, *SMALL)
    assert (code, err.count("\n")) == (2, 1)
    assert "already contains a run; continue it with --resume" in err
    assert best.stat().st_mtime_ns == before


def test_without_a_communicator_it_takes_the_ranks_of_mpiexec(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = lucid.training.Communicator()
    monkeypatch.setattr("lucid.training.run.default_communicator", lambda: ranks)
    for start in (
        lambda: Run.start(ClassifierTask(), tmp_path, ClassifierOptions(str(data), image_size=16)),
        lambda: Run.resume(ClassifierTask(), tmp_path, {}),
    ):
        each = start()
        assert each.trainer.communicator is each.trainer.validate.communicator is ranks
        del each  # another has the folder's lock


def test_fit_after_a_failure(data: Path, tmp_path: Path) -> None:
    run = Run.start(
        ClassifierTask(),
        tmp_path,
        ClassifierOptions(str(data), batch_size=2, epochs=1, image_size=16),
    )
    loss, run.trainer.loss = run.trainer.loss, None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        run.fit(lambda line: None)
    run.trainer.loss = loss
    lines: list[str] = []
    run.fit(lines.append)
    assert len(lines) == 1


def test_missing_matplotlib_is_reported(
    train: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = train("--data", data, "--output", tmp_path / "run", *SMALL)
    assert (code, err) == (0, "no plots, which need matplotlib: pip install matplotlib\n")
    assert not (tmp_path / "run" / "training.png").exists()


def test_ctrl_c_prints_how_to_resume(
    train: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "fit", interrupted)
    folder = tmp_path / "run"
    code, _, err = train("--data", data, "--output", folder, *SMALL)
    assert code == 130
    assert f"lucid train-classifier --output {folder} --resume" in err
    assert err.splitlines()[-1] == "lucid: interrupted"


def test_resume_with_moved_data_is_bit_for_bit(data: Path, tmp_path: Path) -> None:
    for name in ("here", "there"):
        shutil.copytree(data, tmp_path / name)
    source, place = tmp_path / "source.safetensors", tmp_path / "elsewhere"
    lucid.save_model(create_model("resnet_18", num_classes=3), source)
    options = ClassifierOptions(
        str(tmp_path / "here"),
        str(tmp_path / "there"),
        weights=str(source),
        epochs=2,
        batch_size=4,
        image_size=16,
    )
    Run.start(ClassifierTask(), tmp_path / "whole", options).fit(str)
    half = Run.start(ClassifierTask(), tmp_path / "half", options)
    half.trainer.callbacks[0].on_epoch = lambda trainer, row: trainer.stop()  # type: ignore[method-assign]
    half.fit(str)
    assert load_checkpoint(tmp_path / "half" / "last.safetensors")["epoch"] == 1
    place.mkdir()
    moved = {}
    for name, option in (("here", "data"), ("there", "val"), (source.name, "weights")):
        moved[option] = str((tmp_path / name).rename(place / name))
    with pytest.raises(ValueError, match=r"here: does not exist; .* their new path as --data"):
        Run.resume(ClassifierTask(), tmp_path / "half", {})
    Run.resume(ClassifierTask(), tmp_path / "half", moved).fit(str)
    assert state_of(tmp_path / "half") == state_of(tmp_path / "whole")
    assert Run.resume(ClassifierTask(), tmp_path / "half", {}).options.data == moved["data"]
    with pytest.raises(ValueError, match=r"started with val '.*there', got None"):
        Run.resume(ClassifierTask(), tmp_path / "half", {"val": None})


def test_exchanged_files_are_noticed(data: Path, tmp_path: Path) -> None:
    copy, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(data, copy)
    Run.start(ClassifierTask(), run, ClassifierOptions(str(copy), image_size=16))
    Run.resume(ClassifierTask(), run, {})
    first, second = copy / "blue" / "0.png", copy / "red" / "0.png"
    kept = [path.read_bytes() for path in (first, second)]
    kept = [content.ljust(5000, b" ") for content in kept]  # equal sizes, as of bitmaps
    for path, content in zip((first, second), kept, strict=True):
        path.write_bytes(content)
    Run.start(ClassifierTask(), run, ClassifierOptions(str(copy), image_size=16))
    first.write_bytes(kept[1])
    second.write_bytes(kept[0])
    with pytest.raises(
        ValueError, match=r"data has 12 images, had 12: 2 with other content \(blue/0\.png, red/0"
    ):
        Run.resume(ClassifierTask(), run, {})


def test_unchecked_images_are_compared_by_size(data: Path, tmp_path: Path) -> None:
    run, options = tmp_path / "run", ClassifierOptions(str(data), image_size=16)
    for opened_first, opened_now, reason in (
        (True, False, "because of --no-check-data"),
        (False, True, "because the run started with --no-check-data"),
        (True, True, None),
    ):
        shutil.rmtree(run, ignore_errors=True)
        Run.start(ClassifierTask(), run, options, check_data=opened_first)
        (run / "last.safetensors").touch()
        summary = Run.resume(ClassifierTask(), run, {}, check_data=opened_now).summary
        assert ("by name and size only" in summary) == (reason is not None)
        assert reason is None or reason in summary


def test_a_run_of_the_first_release_is_resumed(data: Path, tmp_path: Path) -> None:
    Run.start(ClassifierTask(), tmp_path, ClassifierOptions(str(data), image_size=16))
    record = json.loads((tmp_path / "run.json").read_text())
    del record["data"]
    for classes, text in (
        ({"blue": 6, "red": 5}, "images per class"),
        ({"blue": 6, "red": 6}, None),
    ):
        (tmp_path / "run.json").write_text(json.dumps({**record, "classes": classes}))
        (tmp_path / "run_images.json").unlink(missing_ok=True)
        if text:
            with pytest.raises(ValueError, match=text):
                Run.resume(ClassifierTask(), tmp_path, {})
            continue
        (tmp_path / "last.safetensors").touch()
        assert "Lucid 0.1.0" in Run.resume(ClassifierTask(), tmp_path, {}).summary
        assert "recorded" not in Run.resume(ClassifierTask(), tmp_path, {}).summary  # they are, now


@pytest.mark.parametrize(
    ("options", "message"),
    [({"epochs": 0}, "epochs: .*1, got 0"), ({"lr": float("inf")}, "lr: .* got inf")],
)
def test_invalid_options_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassifierOptions("data", **options)


def test_output_inside_the_data_is_rejected(data: Path) -> None:
    for folder in (data, data / "run", data / "blue" / "run"):
        with pytest.raises(ValueError, match="outside the data of --data"):
            Run.start(ClassifierTask(), folder, ClassifierOptions(str(data)))
    assert {path.name for path in data.iterdir()} == {*COLORS}


def test_diverged_training_saves_no_best(train: Command, data: Path, tmp_path: Path) -> None:
    code, out, err = train("--data", data, "--output", tmp_path, *SMALL, "--lr", 1e12)
    error = err.splitlines()[-1]  # a line above says where matplotlib is missing
    assert (code, "epoch" in out) == (1, False)
    assert re.search(r"loss is nan|of the model's 122 tensors are not finite after step", error)
    assert "lower learning rate (lr, --lr)" in error
    assert not (tmp_path / "best.safetensors").exists()
    state = load_checkpoint(tmp_path / "last.safetensors")
    assert all(np.isfinite(value.data).all() for value in state["model"].values())


def test_resume_before_the_first_state_restarts(data: Path, tmp_path: Path) -> None:
    options = ClassifierOptions(str(data), epochs=1, batch_size=8, image_size=16)
    Run.start(ClassifierTask(), tmp_path, options)
    assert not (tmp_path / "last.safetensors").exists()
    Run.start(ClassifierTask(), tmp_path, options)  # nothing is lost by beginning again
    run = Run.resume(ClassifierTask(), tmp_path, {})
    run.fit(lambda line: None)
    assert run.trainer.epoch == 1


def test_killed_first_epoch_keeps_initial_weights(data: Path, tmp_path: Path) -> None:
    source, path = create_model("resnet_18", num_classes=5), tmp_path / "source.safetensors"
    lucid.save_model(source, path)
    options = ClassifierOptions(str(data), weights=str(path), epochs=2, batch_size=4, image_size=16)
    whole = Run.start(ClassifierTask(), tmp_path / "whole", options)
    held = whole.trainer.model.layer4[1].conv2.conv.weight.numpy()
    np.testing.assert_array_equal(held, source.layer4[1].conv2.conv.weight.numpy())
    whole.fit(lambda line: None)

    def die(model: Any, batch: Any) -> None:
        raise RuntimeError("dead")

    half = Run.start(ClassifierTask(), tmp_path / "half", options)
    half.trainer.loss = die
    with pytest.raises(RuntimeError, match="dead"):
        half.fit(lambda line: None)
    assert load_checkpoint(tmp_path / "half" / "last.safetensors")["step"] == 0
    path.unlink()  # the folder is all that is needed
    Run.resume(ClassifierTask(), tmp_path / "half", {}).fit(lambda line: None)
    assert state_of(tmp_path / "half") == state_of(tmp_path / "whole")


def test_resume_rejects_changed_data(train: Command, data: Path, tmp_path: Path) -> None:
    copy, folder = tmp_path / "data", tmp_path / "run"
    for name in COLORS:
        (copy / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (16, 16)).save(copy / name / f"{i}.png")
    assert train("--data", copy, "--output", folder, "--image-size", 16, "--epochs", 1)[0] == 0

    def refused(*arguments: object) -> str:
        code, out, err = train("--output", folder, "--resume", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err

    assert "started with lr 0.01, got 0.5; leave out --lr" in refused("--lr", 0.5)
    assert "other data: data has 12 images, had 4: 8 added (blue/2.png" in refused("--data", data)
    assert "started with flip True, got False" in refused("--no-flip")
    (copy / "green").mkdir()
    Image.new("RGB", (16, 16)).save(copy / "green" / "0.png")
    assert "data has 5 images, had 4: 1 added (green/0.png)" in refused()
    record = json.loads((folder / "run.json").read_text())
    for damaged in ("{", "[]", "{}", json.dumps({**record, "options": {"lr": 1}})):
        (folder / "run.json").write_text(damaged)
        assert "run.json: damaged" in refused()
    (folder / "run.json").unlink()
    assert "contains no run to resume, run.json is missing" in refused()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--data DIR"),
        (("--data", "absent"), "absent"),
        (("--data", "DATA", "--model", "resnet_17"), "no model is called 'resnet_17'"),
        (
            ("--data", "DATA", "--model", "faster_rcnn_resnet_18_fpn"),
            "faster_rcnn_resnet_18_fpn for object-detec",
        ),
        (("--data", "DATA", "--val", "DATA", "--val-fraction", 0.5), "--val-fraction, got both"),
        (
            ("--data", "DATA", "--val", "OTHER"),
            "named after the classes 'blue', 'red', got 'green'",
        ),
        (("--data", "SINGLE"), "no class has two images"),
        (("--data", "DATA", "--weights", "absent.pth"), "absent.pth"),
        (("--data", "DATA", "--val-fraction", 1), "--val-fraction"),
    ],
)
def test_bad_input_is_one_line_without_output(
    train: Command, data: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    folders = {"DATA": data, "OTHER": tmp_path / "other", "SINGLE": tmp_path / "single"}
    for folder, names in (("other", ("red", "green")), ("single", ("red", "blue"))):
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
            Image.new("RGB", (16, 16)).save(tmp_path / folder / name / "1.png")
    given = [folders.get(str(argument), argument) for argument in arguments]
    code, out, err = train("--output", tmp_path / "run", *given)
    assert (code, out) == (2, "")
    assert err.startswith("lucid: error: ")
    assert message in err
    assert not (tmp_path / "run").exists()


def test_training_starts_from_weights_of_lucid(data: Path, tmp_path: Path) -> None:
    source = create_model("resnet_18", num_classes=5, in_channels=1)
    path = tmp_path / "gray.safetensors"
    gray = {"resize_size": 30, "crop_size": 28, "mean": [0.5], "std": [0.25]}
    lucid.save_model(source, path, preprocessing=gray)
    options = ClassifierOptions(str(data), str(data), weights=str(path), image_size=16)
    run = Run.start(ClassifierTask(), tmp_path / "run", options)
    model = run.trainer.model
    assert model.model_kwargs == {"num_classes": 2, "in_channels": 1}
    np.testing.assert_array_equal(model.stem.conv.weight.numpy(), source.stem.conv.weight.numpy())
    images, labels = next(iter(run.trainer.loader))
    assert images.shape == (12, 1, 16, 16)
    assert set(labels.tolist()) == {0, 1}
    assert run.trainer.preprocessing == {
        "resize_size": 18,
        "crop_size": 16,
        "mean": [0.5],
        "std": [0.25],
    }
    assert "12 images to train on, 12 to validate on (" in run.summary
    assert "\nthe last layer is reinitialized" in run.summary


@pytest.mark.parametrize(
    ("names", "rows", "note"),
    [
        (("blue", "red"), [0, 1], None),
        (("Red", "blue"), [1, 0], "keeps 2 of 2 classes by name, in the order of the data"),
        (("red", "green"), [None, 0], "keeps 1 of 2 classes by name; new: blue; left out: green"),
        (("green", "red", "blue"), [2, 1], "left out: green"),
        (("cyan", "pink"), [None, None], "is reinitialized: none of the classes"),
        (None, [0, 1], "is kept: the file has 2 classes too, without names"),
    ],
)
def test_the_last_layer_follows_the_names_of_the_classes(
    data: Path,
    tmp_path: Path,
    names: tuple[str, ...] | None,
    rows: list[int | None],
    note: str | None,
) -> None:
    lucid.random.seed(17)  # any but the run's own, whose fresh rows would be equal
    source = create_model("resnet_18", num_classes=len(names or "ab"))
    path = tmp_path / "source.safetensors"
    lucid.save_model(source, path, class_names=names)
    run = Run.start(
        ClassifierTask(),
        tmp_path / "run",
        ClassifierOptions(str(data), weights=str(path), image_size=16),
    )
    theirs, own = (m.fc.weight.numpy() for m in (source, run.trainer.model))
    for values, row in zip(own, rows, strict=True):
        if row is None:
            assert values.any()
            assert not (values == theirs).all(axis=1).any()
        else:
            np.testing.assert_array_equal(values, theirs[row])
    summary, _, said = run.summary.partition("\n")
    assert note in said if note else not said
    assert summary.startswith("resnet_18: 2 classes")


@pytest.mark.parametrize("with_classifier", [True, False])
def test_training_starts_from_weights_of_torchvision(
    data: Path, tmp_path: Path, with_classifier: bool
) -> None:
    lucid.random.seed(1)  # not the seed of the run, which a test before may have left
    source = create_model("resnet_18", num_classes=2)
    path = tmp_path / "theirs.safetensors"
    state = torchvision_state_dict(source)
    if not with_classifier:
        del state["fc.weight"], state["fc.bias"]
    lucid.save(state, path)
    run = Run.start(
        ClassifierTask(), tmp_path / "run", ClassifierOptions(str(data), weights=str(path))
    )
    model = run.trainer.model
    assert model.model_name == "resnet_18"
    np.testing.assert_array_equal(
        model.layer4[1].conv2.conv.weight.numpy(), source.layer4[1].conv2.conv.weight.numpy()
    )
    same = np.array_equal(model.fc.weight.numpy(), source.fc.weight.numpy())
    assert same == with_classifier
    with pytest.raises(lucid.WeightFileError, match=r"theirs.*do not fit resnet_34"):
        Run.start(
            ClassifierTask(),
            tmp_path / "other",
            ClassifierOptions(str(data), model="resnet_34", weights=str(path)),
        )


def test_training_starts_from_published_weights(
    train: Command, data: Path, tmp_path: Path, publish: Any
) -> None:
    source = create_model("resnet_18", num_classes=3)
    publish(
        "resnet_18",
        torchvision_state_dict(source),
        arguments={"num_classes": 3},
        classes=f"{__name__}:PUBLISHED",
        preprocessing=preprocessing(mean=(0.1, 0.2, 0.3), std=(1, 1, 1)),
        converter="torchvision-resnet",
        default=True,
    )
    code, out, err = train(
        *("--data", data, "--output", tmp_path / "run", "--weights", "test_v1"),
        *("--image-size", 16, "--batch-size", 4, "--epochs", 1, "--lr", 1e-30),
    )
    assert (code, "resnet_18 test_v1" in err) == (0, True)
    assert "left out: other" in out
    trained = lucid.load_model(tmp_path / "run" / "best.safetensors")
    kept = source.fc.weight.numpy()[[2, 0]]  # blue and red
    np.testing.assert_allclose(trained.fc.weight.numpy(), kept, rtol=1e-5)
    info = trained.weights_info
    assert info is not None
    assert (info.tag, info.class_names) == (None, ("blue", "red"))
    assert info.preprocessing["mean"] == [0.1, 0.2, 0.3]


def test_invalid_image_sizes_are_rejected(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--image-size: .*at least 8 pixels, got 1"):
        Run.start(ClassifierTask(), tmp_path / "run", ClassifierOptions(str(data), image_size=1))
    # The last feature map of one image has one value per channel.
    with pytest.raises(ValueError, match=r"at least two images of 32 x 32 .*--batch-size"):
        Run.start(
            ClassifierTask(),
            tmp_path / "run",
            ClassifierOptions(str(data), image_size=32, batch_size=1),
        )
    assert not (tmp_path / "run").exists()
    begun = Run.start(
        ClassifierTask(),
        tmp_path / "run",
        ClassifierOptions(str(data), image_size=33, batch_size=1),
    )
    assert begun.trainer.model.training
    means = [
        value.numpy()
        for name, value in begun.trainer.model.state_dict().items()
        if name.endswith("running_mean")
    ]
    assert means
    assert all((mean == 0).all() for mean in means)  # the attempt left no trace


def test_ranks_share_the_data_check(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 0 opens the images and sends what it found; the others open none."""
    sent: list[bytes] = []

    class Ranks(lucid.training.Communicator):
        size = 2

        def broadcast(self, value: Any) -> Any:
            if self.is_main:
                sent.append(pickle.dumps(value))
            return pickle.loads(sent[self.turn])

    first, second = Ranks(), Ranks()
    second.rank = 1
    options = ClassifierOptions(str(data), image_size=33, batch_size=4)
    found = []
    for ranks in (first, second):
        ranks.turn = 0
        found.append(ClassifierTask().read_data(options, ranks, True))
        monkeypatch.setattr(ClassifierData, "read", None)
    assert len(sent) == 1
    assert found[0].train.samples == found[1].train.samples
    assert found[0].held_out == found[1].held_out


def test_arguments_of_the_model_are_options(
    train: Command, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of a new model, and those that replace a file's."""
    small = ("--data", data, "--image-size", 32, "--batch-size", 4, "--epochs", 1)
    model = ("--model", "mobilenet_v3_small", "--model-option", "width_mult=0.25")
    code, _, err = train(
        *small, *model, "--model-option", "in_channels=1", "--output", tmp_path / "first"
    )
    assert code == 0, err
    first = tmp_path / "first" / "best.safetensors"
    metadata = model_metadata(first)
    assert metadata.kwargs == {"num_classes": 2, "width_mult": 0.25, "in_channels": 1}
    assert metadata.preprocessing is not None
    assert metadata.preprocessing["mean"] == pytest.approx([0.449], abs=1e-3)

    code, _, err = train(
        *(*small, "--weights", first, "--model-option", "norm_momentum=0.5"),
        *("--output", tmp_path / "second"),
    )
    assert code == 0, err
    second = model_metadata(tmp_path / "second" / "best.safetensors")
    assert second.kwargs == metadata.kwargs | {"norm_momentum": 0.5}


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("momentum=0.5", "norm_momentum"),
        ("width_mult=wide", "width_mult: expected a finite number above 0"),
        ("num_classes=3", "model_options: expected no num_classes"),
        ("in_channels=2", "3 or 1 in_channels, got 2"),
        ("dropout", "expected NAME=VALUE"),
    ],
)
def test_bad_model_options_are_one_line_without_output(
    train: Command, data: Path, tmp_path: Path, option: str, expected: str
) -> None:
    output = tmp_path / "run"
    code, _, err = train(
        *("--data", data, "--output", output, "--model", "mobilenet_v3_small"),
        *("--model-option", option),
    )
    assert code == 2, err
    assert expected in err
    assert err.count("\n") <= 3
    assert not output.exists()


@pytest.mark.parametrize(("options", "noted"), [((), True), (("norm_momentum=0.1",), False)])
def test_too_few_batches_for_running_statistics_are_noted(
    train: Command, data: Path, tmp_path: Path, options: tuple[str, ...], noted: bool
) -> None:
    small = ("--model", "mobilenet_v3_small", "--model-option", "width_mult=0.25", *SMALL)
    given = [part for option in options for part in ("--model-option", option)]
    code, out, _ = train("--data", data, "--output", tmp_path / "run", *small, *given)
    assert code == 0
    note = "note: after 4 batches, running statistics of batch norms with momentum 0.01"
    assert (note in out) == noted
    if noted:
        assert "still 96% initial values" in out  # 0.99 ** 4
        assert "norm_momentum=0.1" in out


def test_running_statistics_of_a_file_are_not_noted(
    train: Command, data: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first.safetensors"
    lucid.save_model(create_model("mobilenet_v3_small", num_classes=2, width_mult=0.25), first)
    code, out, _ = train("--data", data, "--weights", first, "--output", tmp_path / "run", *SMALL)
    assert code == 0
    assert "note:" not in out
