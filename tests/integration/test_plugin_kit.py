"""Both plugins pass the plugin checks, here with one model of each and all published weights.

All of their models pass through it in a session of their own: ``nox -s kit``.
"""

from __future__ import annotations

import pytest

import lucid
from lucid.testing.plugin_checks import Check, checks

CHECKS = [
    *checks("lucid-models-classification", "resnet_18"),
    *checks("lucid-models-detection", "faster_rcnn_resnet_18_fpn"),
    *checks("lucid-models-detection", "retinanet_resnet_18_fpn"),
]
WEIGHTS = [
    check
    for distribution in ("lucid-models-classification", "lucid-models-detection")
    for check in checks(distribution)
    if check.name.startswith("weights-")
]


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_conformance(check: Check) -> None:
    check.run()


@pytest.mark.parametrize("check", WEIGHTS, ids=str)
def test_published_weights_fit_their_models(check: Check, cheap_weights) -> None:
    check.run()


def test_models_declare_an_example_batch() -> None:
    for name in lucid.models.list_models(plugin="lucid-models-*"):
        assert lucid.models.model_info(name).example_batch
