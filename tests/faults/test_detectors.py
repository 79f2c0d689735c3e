"""Detectors with invalid targets, images and weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import lucid
from lucid_models_detection import FasterRCNN
from lucid_models_detection.commands import detect

CLASSES = 4
LOSSES = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"}
HEIGHT, WIDTH = 40, 48

# One detector serves all examples of a test, which leave it as it is.
EXAMPLES = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
pytestmark = [
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),
]


def make(**options: Any) -> FasterRCNN:
    lucid.random.seed(0)
    return FasterRCNN.from_backbone(
        "resnet_18",
        CLASSES,
        2,
        **{
            "hidden_dim": 16,
            "pool_size": 2,
            "rpn_pre_nms_top_n": (60, 40),
            "rpn_post_nms_top_n": (50, 20),
            "box_batch_size_per_image": 32,
            "box_score_threshold": 0.0,
        }
        | options,
    )


@pytest.fixture(scope="module")
def model() -> FasterRCNN:
    return make().eval()


def image(height: int = HEIGHT, width: int = WIDTH) -> Any:
    return np.random.default_rng(height + width).random((3, height, width), np.float32)


def good(box: tuple[float, ...], label: int) -> bool:
    """Return whether a target is valid: a box with an area inside the image, a foreground label."""
    x1, y1, x2, y2 = (np.float32(v) for v in box)
    inside = x1 >= -1 and y1 >= -1 and x2 <= WIDTH + 1 and y2 <= HEIGHT + 1
    return bool(np.isfinite(box).all() and x2 > x1 and y2 > y1 and inside and 1 <= label < CLASSES)


EDGE = st.one_of(
    st.floats(0, HEIGHT, width=32),
    st.sampled_from([-2.0, 0.0, 5.0, 30.0, 41.0, 48.0, 1e9, float("nan"), float("inf")]),
)


@EXAMPLES
@given(
    objects=st.lists(st.tuples(st.tuples(EDGE, EDGE, EDGE, EDGE), st.integers(-1, 5)), max_size=3)
)
def test_targets_are_used_or_rejected(model: FasterRCNN, objects: list[Any]) -> None:
    boxes = np.array([box for box, _ in objects], np.float32).reshape(-1, 4)
    labels = np.array([label for _, label in objects], np.int64)
    targets = [
        {"boxes": [[1, 2, 30, 20]], "labels": [1]},
        {"boxes": boxes, "labels": labels},
    ]
    wrong = [(box, label) for box, label in objects if not good(box, label)]
    if wrong:
        with pytest.raises(ValueError, match=r'targets\[1\]\["(boxes|labels)"\]\[\d\].*expected'):
            model([image(), image()], targets)
    else:
        losses = model([image(), image()], targets)
        assert losses.keys() == LOSSES
        assert all(np.isfinite(loss.item()) for loss in losses.values())


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("empty", [np.zeros((0, 4)), np.zeros(0), []], ids=["0x4", "0", "list"])
def test_images_without_targets(train: bool, empty: Any) -> None:
    model = make().train(train)
    nothing = {"boxes": empty, "labels": []}
    something = {"boxes": [[4, 5, 30, 33]], "labels": [2]}
    alone = model([image()], [nothing])
    assert alone["loss_box_reg"].item() == alone["loss_rpn_box_reg"].item() == 0
    for targets in ([nothing, something], [nothing, nothing]):
        losses = model([image(), image(33, 61)], targets)
        sum(losses.values(), lucid.zeros(())).backward()
        assert all(np.isfinite(loss.item()) for loss in losses.values())
        gradients = [p.grad.numpy() for p in model.parameters() if p.grad is not None]
        assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("targets", [[], [{"boxes": [[4, 5, 30, 33]], "labels": [2]}]])
def test_no_proposals(monkeypatch: pytest.MonkeyPatch, targets: list[Any]) -> None:
    """The RPN returns no proposals, as if all boxes were invalid."""
    model = make()
    monkeypatch.setattr(model.rpn, "_filter_proposals", lambda *args: np.zeros((0, 4), np.float32))
    (found,) = model.predict([image()])
    shapes = {key: value.shape for key, value in found.items()}
    assert shapes == {"boxes": (0, 4), "labels": (0,), "scores": (0,)}
    losses = model([image()], targets or [{"boxes": [], "labels": []}])
    sum(losses.values(), lucid.zeros(())).backward()
    assert all(np.isfinite(loss.item()) for loss in losses.values())
    if not targets:
        assert losses["loss_box_reg"].item() == losses["loss_classifier"].item() == 0


@pytest.mark.parametrize(
    "images", [[], (), np.zeros((0, 3, 32, 32), np.float32), lucid.zeros(0, 3, 32, 32)]
)
def test_no_images(model: FasterRCNN, images: Any) -> None:
    for call in (model.predict, lambda images: model(images, [])):
        with pytest.raises(ValueError, match="expected at least one image, got none"):
            call(images)
    with pytest.raises((TypeError, ValueError), match=r"at least one image|\(N, 3, H, W\)"):
        model(images)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_empty_images_are_rejected(model: FasterRCNN, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"images\[1\]: .*at least one pixel"):
        model.predict([image(), np.zeros((3, *size), np.float32)])


@settings(EXAMPLES, max_examples=25)
@given(sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=3))
def test_images_smaller_than_the_stride(model: FasterRCNN, sizes: list[tuple[int, int]]) -> None:
    images = [image(*size) for size in sizes]
    for found, (height, width) in zip(model.predict(images), sizes, strict=True):
        assert (found["boxes"] >= 0).all()
        assert (found["boxes"] <= np.array([width, height, width, height])).all()
    targets = [{"boxes": [[0, 0, width, height]], "labels": [1]} for height, width in sizes]
    assert all(np.isfinite(loss.item()) for loss in model(images, targets).values())
    height, width = sizes[0]
    assert model(lucid.Tensor(images[0][None]))[0].shape[::2] == (1, CLASSES)


# Numbers that are none

BROKEN = st.sampled_from([np.nan, np.inf, -np.inf])


def check_prediction(model: FasterRCNN, images: list[Any]) -> None:
    for found in model.predict(images):
        assert np.isfinite(found["boxes"]).all()
        assert np.isfinite(found["scores"]).all()
        assert ((found["labels"] >= 1) & (found["labels"] < CLASSES)).all()


@EXAMPLES
@given(
    value=BROKEN,
    row=st.integers(0, HEIGHT - 1),
    column=st.integers(0, WIDTH - 1),
    whole=st.booleans(),
)
def test_nonfinite_images(
    model: FasterRCNN, value: float, row: int, column: int, whole: bool
) -> None:
    broken = image()
    broken[:, row : None if whole else row + 1, column] = value
    target = {"boxes": [[4, 5, 30, 33]], "labels": [2]}
    for call in (
        lambda: model([image(), broken], [target, target]),
        lambda: model.predict([image(), broken]),
    ):
        with pytest.raises(ValueError, match=r"images\[1\]: .*values NaN or infinite"):
            call()


@EXAMPLES
@given(data=st.data(), value=BROKEN)
def test_nonfinite_weights(model: FasterRCNN, data: st.DataObject, value: float) -> None:
    """Set one element of each parameter that affects the result."""
    names = [n for n, _ in model.named_parameters() if not n.startswith("backbone.net.fc.")]
    name = data.draw(st.sampled_from(names))
    array = model.state_dict()[name].data
    place = data.draw(st.integers(0, array.size - 1))
    at = np.unravel_index(place, array.shape)
    before = array[at]
    array[at] = value
    try:
        check_prediction(model, [image()])
        target = {"boxes": [[4, 5, 30, 33]], "labels": [2]}
        try:
            losses = model([image()], [target])
        except FloatingPointError as error:
            assert any(loss in str(error) for loss in LOSSES)  # noqa: PT017
        else:
            # It had no part in them: boxes of a class that is not here, or what ReLU cut off.
            assert "bbox_pred" in name or not np.isnan(value), f"{name} at {at} was not noticed"
            assert all(np.isfinite(loss.item()) for loss in losses.values())
    finally:
        array[at] = before


# Files

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)


def save(path: Path, kind: str) -> Path:
    """Encode the same image in another mode or format."""
    rgb = Image.fromarray(PIXELS)
    exif = Image.Exif()
    if kind in ("L", "LA", "P", "RGBA", "1"):
        rgb.convert(kind).save(path.with_suffix(".png"))
    elif kind == "I;16":
        deep = PIXELS[..., 0].astype(np.uint16) * 257
        Image.fromarray(deep).save(path.with_suffix(".png"))
    elif kind == "CMYK":
        rgb.convert("CMYK").save(path.with_suffix(".tif"))
    elif kind == "transposed":
        exif[0x0112] = 6
        rgb.save(path.with_suffix(".png"), exif=exif)
    elif kind == "animated":
        rgb.save(path.with_suffix(".gif"), save_all=True, append_images=[rgb.rotate(90)])
    (saved,) = path.parent.glob(f"{path.name}.*")
    return saved


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    model = lucid.models.create_model(
        "faster_rcnn_resnet_18_fpn", num_classes=3, backbone_num_classes=2, hidden_dim=16
    )
    lucid.save_model(model, path)
    return path


def run(weights: Path, picture: Path, output: Path, *options: str) -> Any:
    arguments = [str(picture), "--weights", str(weights), "--output", str(output), *options]
    return CliRunner().invoke(detect, [*arguments, "--score-threshold", "0"])


#: Pixels of an upright image as stored for each EXIF orientation: the inverse of the display
#: transform.
STORED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: x.transpose(1, 0, 2)[::-1],
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: x.transpose(1, 0, 2)[:, ::-1],
}


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp"])
def test_detections_do_not_depend_on_the_exif_orientation(
    tmp_path: Path, weights: Path, kind: str
) -> None:
    # Edges between the pixel blocks of lossy formats: these keep the image exactly enough.
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:32, :, 0] = upright[:, :48, 1] = 255
    folder = tmp_path / "images"
    folder.mkdir()
    for orientation, transposed in STORED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = Image.fromarray(np.ascontiguousarray(transposed(upright)))
        stored.save(folder / f"{orientation}.{kind}", exif=exif, quality=95)
    for output in ("report.json", "drawn"):
        result = run(weights, folder, tmp_path / output)
        assert result.exit_code == 0, result.output
    records = json.loads((tmp_path / "report.json").read_text())["images"]
    assert [(record["width"], record["height"]) for record in records] == [(96, 64)] * 8
    assert all(record["detections"] for record in records)
    drawn = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "drawn").glob("*.png"))]
    assert [picture.shape for picture in drawn] == [(64, 96, 3)] * 8
    if kind in ("png", "tif"):
        for record, picture in zip(records, drawn, strict=True):
            assert record["detections"] == records[0]["detections"]
            np.testing.assert_array_equal(picture, drawn[0])


def test_large_image_is_rejected_unless_the_limit_is_raised(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    result = run(weights, tmp_path / "large.png", tmp_path / "out.png")
    assert "large.png" in str(result.exception)
    assert "--max-pixels" in str(result.exception)
    assert not (tmp_path / "out.png").exists()
    result = run(weights, tmp_path / "large.png", tmp_path / "out.png", "--max-pixels", "2000")
    assert result.exit_code == 0, result.output
    monkeypatch.undo()
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.size == (48, 40)


@pytest.mark.parametrize(
    "kind", ["L", "LA", "P", "RGBA", "1", "I;16", "CMYK", "transposed", "animated"]
)
def test_image_files_of_all_modes(tmp_path: Path, weights: Path, kind: str) -> None:
    result = run(weights, save(tmp_path / "picture", kind), tmp_path / "out.png")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.mode == "RGB"
        assert drawn.size == ((40, 48) if kind == "transposed" else (48, 40))


def test_damaged_image_files(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(PIXELS).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:400])
    none = tmp_path / "none.png"
    none.write_text("not a picture")
    for path, reason in ((cut, "cannot be decoded"), (none, "not an image")):
        result = run(weights, path, tmp_path / "out.png")
        assert isinstance(result.exception, ValueError)
        assert reason in str(result.exception)
        assert path.name in str(result.exception)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    result = run(weights, whole, tmp_path / "out.png")
    assert "limit of 100;" in str(result.exception)
    assert not (tmp_path / "out.png").exists()
