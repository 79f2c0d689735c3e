"""Names of torchvision that the package lacks: each error says where the counterpart is."""

from __future__ import annotations

import importlib
import re

import pytest

import lucid
import lucid_models_detection
from lucid_models_detection import parts
from lucid_models_detection.spellings import NAMES

#: A name for each pattern.
EXAMPLES = {name: name.replace("*", "resnet50_fpn_v2") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_error_of_a_name_says_what_to_type(name: str) -> None:
    wanted = EXAMPLES[name]
    remedy = NAMES[name].replace("`", "")
    assert wanted not in dir(lucid_models_detection)
    with pytest.raises(AttributeError, match=f"has no attribute '{wanted}'; ") as caught:
        getattr(lucid_models_detection, wanted)
    assert remedy in str(caught.value)
    with pytest.raises(ImportError, match=f"cannot import name '{wanted}'") as refused:
        exec(f"from lucid_models_detection import {wanted}")
    assert remedy in str(refused.value)


@pytest.mark.parametrize("name", NAMES)
def test_the_code_of_a_remedy_runs(name: str) -> None:
    for code in re.findall(r"`([^`]+)`", NAMES[name]):
        exec(code, {"lucid": lucid, "lucid_models_detection": lucid_models_detection})


def test_parts_say_it_too() -> None:
    with pytest.raises(AttributeError, match="parts import FeaturePyramid"):
        _ = parts.FeaturePyramidNetwork
    with pytest.raises(ImportError, match="faster_rcnn import BoxPredictor"):
        from lucid_models_detection.parts import FastRCNNPredictor  # noqa: F401
    with pytest.raises(ImportError, match=r"import lucid_models_detection\.boxes"):
        importlib.import_module("lucid_models_detection.ops")
