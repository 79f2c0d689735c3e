"""The order in which distributions are installed is of no account."""

from __future__ import annotations

from itertools import permutations

import pytest

CORE, CLASSIFICATION, DETECTION = OURS = (
    "lucid-core",
    "lucid-models-classification",
    "lucid-models-detection",
)


@pytest.mark.parametrize("order", [*permutations(OURS)], ids=" ".join)
def test_every_order_gives_the_same_zoo(site, registered, order: tuple[str, ...]) -> None:
    there: set[str] = set()
    for distribution in order:
        site.install("--no-deps", distribution)
        there.add(distribution)
        if CORE in there:
            expected = {name: models for name, models in registered.items() if name in there}
            assert site.models() == expected
    site.installed.pip("check")


@pytest.mark.parametrize("wanted", OURS)
def test_asking_for_one_brings_what_it_needs(site, wanted: str) -> None:
    site.install(wanted)
    assert list(site.models()) == list(OURS[1 : OURS.index(wanted) + 1])
    site.installed.pip("check")


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")], ids=" ".join)
def test_neither_of_two_with_the_same_model_gains_by_being_first(
    site, order: tuple[str, ...]
) -> None:
    site.install(CORE)
    for which in order:
        site.install(f"toy-twin-{which}")
    # The order on the path, too: an installation earlier on it does not win.
    wheels = {w: str(next(site.wheelhouse.glob(f"toy_twin_{w}-*.whl"))) for w in order}
    for path in ("", wheels[order[0]], wheels[order[1]]):
        listed = site.installed.shown(
            "import lucid; show([lucid.models.list_models(), lucid.models.is_model('toy_twin')])",
            env={"PYTHONPATH": path},
        )
        assert listed == [["toy-twin-one:toy_twin", "toy-twin-two:toy_twin"], False]


def test_a_detector_without_the_classifiers_says_what_is_missing(site) -> None:
    site.install(CORE)
    site.install("--no-deps", DETECTION)
    assert list(site.models()) == [DETECTION]
    done = site.installed.lucid("summary", "faster_rcnn_resnet_18_fpn", code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("lucid: error: ")
    assert f"python -m pip install {CLASSIFICATION}" in line
