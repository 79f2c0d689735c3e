"""The order of installation does not matter."""

from __future__ import annotations

from itertools import permutations

import pytest

CORE, CLASSIFICATION, DETECTION = OURS = (
    "lucid-core",
    "lucid-models-classification",
    "lucid-models-detection",
)


@pytest.mark.parametrize("order", [*permutations(OURS)], ids=" ".join)
def test_models_do_not_depend_on_install_order(site, registered, order: tuple[str, ...]) -> None:
    installed: set[str] = set()
    for distribution in order:
        site.install("--no-deps", distribution)
        installed.add(distribution)
        if CORE in installed:
            expected = {name: models for name, models in registered.items() if name in installed}
            assert site.models() == expected
    site.installed.pip("check")


@pytest.mark.parametrize("wanted", OURS)
def test_install_includes_dependencies(site, wanted: str) -> None:
    site.install(wanted)
    assert list(site.models()) == list(OURS[1 : OURS.index(wanted) + 1])
    site.installed.pip("check")


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")], ids=" ".join)
def test_ambiguous_name_does_not_depend_on_order(site, order: tuple[str, ...]) -> None:
    site.install(CORE)
    for which in order:
        site.install(f"toy-twin-{which}")
    # The order on the path does not matter, either.
    wheels = {w: str(next(site.wheelhouse.glob(f"toy_twin_{w}-*.whl"))) for w in order}
    for path in ("", wheels[order[0]], wheels[order[1]]):
        listed = site.installed.shown(
            "import lucid; show([lucid.models.list_models(), lucid.models.is_model('toy_twin')])",
            env={"PYTHONPATH": path},
        )
        assert listed == [["toy-twin-one:toy_twin", "toy-twin-two:toy_twin"], False]


def test_missing_classification_plugin_is_named(site) -> None:
    site.install(CORE)
    site.install("--no-deps", DETECTION)
    assert list(site.models()) == [DETECTION]
    done = site.installed.lucid("summary", "faster_rcnn_resnet_18_fpn", code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("lucid: error: ")
    assert f"python -m pip install {CLASSIFICATION}" in line
