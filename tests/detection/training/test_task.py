"""Training runs of a tiny detector: results, interruption, resuming."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_detection

import lucid
from lucid import nn
from lucid.training import Callback, Communicator, Run, load_checkpoint
from lucid_models_detection import TrainingOptions, train_detector
from lucid_models_detection.training import DetectorTask

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_model")]

QUICK: dict[str, Any] = {
    "model": "tiny_detector",
    "epochs": 2,
    "batch_size": 2,
    "samples": 1,
    "log": None,
}


class At(Callback):
    """Call a function after a step."""

    def __init__(self, step: int, action: Callable[[Any], None]) -> None:
        self.step, self.action = step, action

    def on_step(self, trainer: Any, losses: Any) -> None:
        if trainer.step == self.step:
            self.action(trainer)


def interrupt(trainer: Any) -> None:
    raise KeyboardInterrupt


def die(trainer: Any) -> None:
    """Raise without saving, as if the process was killed."""
    raise RuntimeError("dead")


def save_source(path: Path) -> nn.Module:
    """Save a detector to start from."""
    source = small_detection.tiny_detector()
    source.model_name, source.model_kwargs = "tiny_detector", {}
    lucid.save_model(source, path, class_names=("background", "square", "disc"))
    return source


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of two sizes, two of them without objects."""
    folder = tmp_path_factory.mktemp("coco")
    return small_detection.write_coco(folder, 8, sizes=((64, 64), (80, 56)), empty=(2, 5))


def outcome(folder: Path) -> str:
    """Digest of the files of a run, except for times."""
    state = load_checkpoint(folder / "last.safetensors")
    digest = hashlib.sha256()

    def add(node: Any) -> None:
        if isinstance(node, dict):
            for key in sorted(set(node) - {"seconds", "callbacks"}):
                digest.update(key.encode())
                add(node[key])
        elif isinstance(node, list):
            for item in node:
                add(item)
        else:
            digest.update(
                node.data.tobytes() if isinstance(node, lucid.Tensor) else repr(node).encode()
            )

    add(state)
    digest.update(
        b"".join(v.data.tobytes() for v in lucid.load(folder / "best.safetensors").values())
    )
    return digest.hexdigest()


def test_train_detector_minimal(data: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    options = {**QUICK, "log": lines.append, "lr": 1e-3}
    run = train_detector(data, data.parent, tmp_path / "run", **options)
    said = " ".join(" ".join(lines).split())
    assert said.startswith(f"data {data}: 8 images, 9 annotations, 2 classes classes ")
    summary = "tiny_detector: 2 classes, 7 images to train on, 1 to validate on"
    rest = lines[lines.index(summary) + 1 :]
    assert [line.split("  ")[0] for line in rest[:2]] == ["epoch 1/2", "epoch 2/2"]
    assert all(line.startswith("note: ") for line in rest[2:])
    assert {
        path.relative_to(run.folder.path).as_posix() for path in run.folder.path.rglob("*.*")
    } == {
        "run.json",
        "run_images.json",
        "last.safetensors",
        "best.safetensors",
        "metrics.csv",
        "training.png",
        "samples/epoch_001.png",
        "samples/epoch_002.png",
    }
    row = run.trainer.history[-1]
    losses = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss"}
    assert losses | {f"val_{name}" for name in losses} | {"mAP", "mAP@0.5"} <= row.keys()
    model = lucid.load_model(run.folder.best)
    assert model.num_classes == 3
    metadata = lucid.weights.model_metadata(run.folder.best)
    assert metadata.class_names == ("background", "square", "disc")
    assert metadata.preprocessing == {
        "categories": [
            {"id": 3, "name": "square", "label": 1},
            {"id": 7, "name": "disc", "label": 2},
        ]
    }


def test_default_communicator_uses_mpiexec_ranks(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = Communicator()
    monkeypatch.setattr("lucid.training.run.default_communicator", lambda: ranks)
    begun = train_detector(data, data.parent, tmp_path / "run", **{**QUICK, "epochs": 1})
    gone_on = train_detector(data, data.parent, tmp_path / "run", resume=True, log=None)
    for run in (begun, gone_on):
        assert run.trainer.communicator is run.trainer.validate.communicator is ranks


def test_training_reduces_the_loss(data: Path, tmp_path: Path) -> None:
    options = {**QUICK, "epochs": 12, "lr": 1e-3, "val": data, "samples": 0, "augment": "none"}
    history = train_detector(data, data.parent, tmp_path, **options).trainer.history
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["val_loss"] < history[0]["val_loss"]


def test_interrupted_run_resumes_bit_for_bit(data: Path, tmp_path: Path) -> None:
    options = {**QUICK, "augment": "full", "accumulate": 2, "epochs": 3, "lr": 1e-3}
    train_detector(data, data.parent, tmp_path / "whole", **options, callbacks=[Callback()])
    for step in (2, 5):  # the end of an epoch, and the middle of one
        folder = tmp_path / str(step)
        with pytest.raises(KeyboardInterrupt):
            train_detector(data, data.parent, folder, **options, callbacks=[At(step, interrupt)])
        assert load_checkpoint(folder / "last.safetensors")["step"] == step
        again = {"resume": True, "callbacks": [Callback()], "log": None}
        run = train_detector(data, data.parent, folder, **again)
        assert run.trainer.epoch == 3
        assert outcome(folder) == outcome(tmp_path / "whole")


def test_run_killed_in_first_epoch_keeps_initial_weights(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "source.safetensors"
    save_source(path)
    options = {**QUICK, "weights": path}
    train_detector(data, data.parent, tmp_path / "whole", **options, callbacks=[Callback()])
    with pytest.raises(RuntimeError, match="dead"):
        train_detector(data, data.parent, tmp_path / "half", **options, callbacks=[At(2, die)])
    assert load_checkpoint(tmp_path / "half" / "last.safetensors")["step"] == 0
    path.unlink()  # the run directory is sufficient
    train_detector(
        data, data.parent, tmp_path / "half", resume=True, callbacks=[Callback()], log=None
    )
    assert outcome(tmp_path / "half") == outcome(tmp_path / "whole")


def test_run_without_checkpoint_restarts_from_the_same_file(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "source.safetensors"
    save_source(path)
    train_detector(data, data.parent, tmp_path / "whole", **QUICK, weights=path)
    chosen = {**QUICK, "data": str(data), "images": str(data.parent), "weights": str(path)}
    del chosen["log"]
    for name in ("half", "lost"):  # killed before the first checkpoint
        Run.start(DetectorTask(), tmp_path / name, TrainingOptions(**chosen))
        assert {file.name for file in (tmp_path / name).iterdir()} == {
            "run.json",
            "run_images.json",
        }
    Run.resume(DetectorTask(), tmp_path / "half", {}).fit()
    assert outcome(tmp_path / "half") == outcome(tmp_path / "whole")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="source"):
        Run.resume(DetectorTask(), tmp_path / "lost", {})


def test_result_does_not_depend_on_workers(data: Path, tmp_path: Path) -> None:
    options = {**QUICK, "augment": "full", "epochs": 1}
    for workers in (0, 2):
        train_detector(data, data.parent, tmp_path / str(workers), **options, workers=workers)
    assert outcome(tmp_path / "0") == outcome(tmp_path / "2")


def test_moved_data_resumes_bit_for_bit(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path / "data", 6)
    source = tmp_path / "source.safetensors"
    save_source(source)
    options = {**QUICK, "samples": 0, "weights": source, "val": path}
    train_detector(path, path.parent, tmp_path / "whole", **options, callbacks=[Callback()])
    folder = tmp_path / "half"
    with pytest.raises(KeyboardInterrupt):
        train_detector(path, path.parent, folder, **options, callbacks=[At(4, interrupt)])
    new = (tmp_path / "data").rename(tmp_path / "elsewhere") / path.name
    with pytest.raises(ValueError, match=r"does not exist; .* new path as --val"):
        train_detector(new, new.parent, folder, resume=True, log=None)
    again = {"val": new, "weights": source.rename(tmp_path / "moved"), "resume": True, "log": None}
    train_detector(new, new.parent, folder, **again, callbacks=[Callback()])
    assert outcome(folder) == outcome(tmp_path / "whole")
    image = sorted(new.parent.glob("*.png"))[2]
    image.write_bytes(image.read_bytes() + b" ")
    with pytest.raises(ValueError, match=f"images has 6 .*: 1 of another size .{image.name}"):
        train_detector(new, new.parent, folder, **again)
    image.rename(image.with_suffix(".bak"))
    with pytest.raises(ValueError, match=rf"{image.name}: no such file"):
        train_detector(new, new.parent, folder, **again)


def test_run_of_the_first_release_resumes(data: Path, tmp_path: Path) -> None:
    options = {"data": str(data), "images": str(data.parent), "model": "tiny_detector"}
    Run.start(DetectorTask(), tmp_path, TrainingOptions(**options))
    record = json.loads((tmp_path / "run.json").read_text())
    digest = record.pop("data")["files"]["data"]
    (tmp_path / "last.safetensors").touch()
    for found in ("0" * 64, digest):
        (tmp_path / "run.json").write_text(json.dumps({**record, "digests": {str(data): found}}))
        (tmp_path / "run_images.json").unlink(missing_ok=True)
        if found != digest:
            with pytest.raises(ValueError, match="data is another file"):
                Run.resume(DetectorTask(), tmp_path, {})
    assert "Lucid 0.1.0" in Run.resume(DetectorTask(), tmp_path, {}).summary
    assert "recorded" not in Run.resume(DetectorTask(), tmp_path, {}).summary  # recorded now


def test_output_must_not_be_the_image_folder(data: Path) -> None:
    before = sorted(data.parent.iterdir())
    for name in ("images", "val_images"):
        options = {"images": "other", "val": data, name: data.parent}
        with pytest.raises(ValueError, match=f"the data of --{name.replace('_', '-')}"):
            train_detector(data, options.pop("images"), data.parent, **options)
    assert sorted(data.parent.iterdir()) == before


def test_images_without_objects(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path, 6, empty=(0, 1, 3))
    for size in (1, 2, 6):
        options = {**QUICK, "batch_size": size, "epochs": 1}
        run = train_detector(path, tmp_path, tmp_path / f"run{size}", **options)
        assert np.isfinite(run.trainer.history[0]["loss"])
        assert run.trainer.history[0]["step"] == -(-5 // size)


def test_nonfinite_loss_stops_with_intact_checkpoint(data: Path, tmp_path: Path) -> None:
    def break_it(trainer: Any) -> None:
        trainer.model.rpn.head.cls_logits.bias.data[:] = np.nan

    with pytest.raises(FloatingPointError, match=r"loss_objectness is nan.* at step 6 \(epoch 2\)"):
        train_detector(data, data.parent, tmp_path, **QUICK, callbacks=[At(5, break_it)])
    state = load_checkpoint(tmp_path / "last.safetensors")
    assert state["epoch"] == 1
    assert all(np.isfinite(value.data).all() for value in state["model"].values())


def test_frozen_stages_and_backbone_lr(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "source.safetensors"
    save_source(path)
    options = TrainingOptions(
        str(data), str(data.parent), weights=str(path), lr=0.1, optimizer="sgd", warm_up=0
    )
    run = Run.start(DetectorTask(), tmp_path / "run", options)
    rates = [group["lr"] for group in run.trainer.optimizer.param_groups]
    assert rates == pytest.approx([0.1, 0.01])
    net = run.trainer.model.backbone.net
    assert not any(p.requires_grad for p in [*net.stem.parameters(), *net.layer1.parameters()])
    assert all(p.requires_grad for p in net.layer2.parameters())
    assert (net.layer1.training, net.layer2.training) == (False, True)
    fresh = Run.start(
        DetectorTask(),
        tmp_path / "fresh",
        TrainingOptions(str(data), str(data.parent), model="tiny_detector"),
    )
    assert all(p.requires_grad for p in fresh.trainer.model.parameters())
    assert len({group["lr"] for group in fresh.trainer.optimizer.param_groups}) == 1


def test_no_plot_without_matplotlib(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    run = train_detector(data, data.parent, tmp_path, **{**QUICK, "epochs": 1})
    assert not run.has_plots
    assert not (tmp_path / "training.png").exists()


def test_unknown_option_is_rejected(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="'epoch'; valid options are data, images"):
        train_detector(data, data.parent, tmp_path, epoch=3)


def test_resume_rejects_other_options_and_data(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path / "data", 4)
    options = {**QUICK, "epochs": 1}
    train_detector(path, path.parent, tmp_path / "run", **options)

    def resume(**given: Any) -> Run:
        return train_detector(path, path.parent, tmp_path / "run", resume=True, log=None, **given)

    assert resume(epochs=1).trainer.epoch == 1  # done already
    with pytest.raises(ValueError, match="started with epochs 1, got 2"):
        resume(epochs=2)
    with pytest.raises(ValueError, match="already contains a run"):
        train_detector(path, path.parent, tmp_path / "run", **options)
    path.write_text("no annotations, which is not looked at any more")
    with pytest.raises(ValueError, match="other data: data is another file"):
        resume()


def test_last_batch_of_one_image_is_rejected(tmp_path: Path) -> None:
    data = small_detection.write_coco(tmp_path, 5, sizes=((48, 48),))
    options = {
        "model": "faster_rcnn_resnet_18_fpn",
        "model_options": {
            "hidden_dim": 8,
            "rpn_post_nms_top_n": 20,
            "min_size": 24,
            "max_size": 24,
        },
        "epochs": 1,
    }
    given = {"data": str(data), "images": str(data.parent), **options}
    # Four training images: the second batch of three has one image.
    with pytest.raises(ValueError, match=r"batch of one image \(4 images.*48 x 48.*--batch-size"):
        Run.start(DetectorTask(), tmp_path / "run", TrainingOptions(batch_size=3, **given))
    assert not (tmp_path / "run" / "run.json").exists()
    Run.start(DetectorTask(), tmp_path / "run", TrainingOptions(batch_size=2, **given))
