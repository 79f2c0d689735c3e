"""Lucid's plugins and a valid toy plugin work although other plugins fail."""

from __future__ import annotations

BUILD_AND_RUN = """
import warnings
warnings.simplefilter("ignore")
import lucid
lucid.random.seed(0)
shapes = {}
with lucid.no_grad():
    model = lucid.models.create_model("resnet_18", num_classes=5)
    shapes["resnet_18"] = model.eval()(lucid.random.randn(1, 3, 32, 32)).shape
    detector = lucid.models.faster_rcnn_resnet_18_fpn(num_classes=3)
    logits, deltas = detector.eval()(lucid.random.randn(1, 3, 64, 64))
    shapes["faster_rcnn_resnet_18_fpn"] = [logits.shape[2], deltas.shape[2]]
    toy = lucid.models.create_model("toy_good", num_classes=2)
    shapes[toy.model_name] = toy(lucid.random.randn(1, 3, 8, 8)).shape
show(shapes)
"""


def test_plugins_build_and_run(installed) -> None:
    # NumPy kernels avoid compilation.
    shapes = installed.shown(BUILD_AND_RUN, env={"LUCID_KERNELS": "reference"})
    assert shapes == {
        "resnet_18": [1, 5],
        "faster_rcnn_resnet_18_fpn": [3, 4],
        "toy_good": [1, 2],
    }


def test_valid_toy_passes_check_plugin(installed) -> None:
    done = installed.lucid("check-plugin", "toy-good", code=None)
    assert done.returncode == 0, done.stdout + done.stderr


def test_faulty_toys_fail_check_plugin(installed) -> None:
    for distribution, message in {
        "toy-exits": "toy-exits wants the whole program to stop",
        "toy-no-builder": "renamed_since",
        "toy-no-module": "lucid.nn.Module",
    }.items():
        done = installed.lucid("check-plugin", distribution, code=None)
        assert done.returncode != 0, distribution
        assert message in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
