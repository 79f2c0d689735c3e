from __future__ import annotations

import dataclasses

import pytest

from lucid.models.info import (
    ModelInfo,
    canonicalize_name,
    check_fields,
    check_name,
    natural_key,
)


def test_natural_order_sorts_numbers_by_value() -> None:
    names = ["resnet_101", "resnet_18", "resnet", "wide_resnet_50_2", "resnet_9x2", "resnet_9x10"]
    assert sorted(names, key=natural_key) == [
        "resnet",
        "resnet_9x2",
        "resnet_9x10",
        "resnet_18",
        "resnet_101",
        "wide_resnet_50_2",
    ]


def test_distribution_names_are_normalized() -> None:
    assert canonicalize_name("Lucid_Models..Toy") == "lucid-models-toy"


@pytest.mark.parametrize(
    "name", ["resnet-18", "18_net", "class", "_hidden", "", "a:b", "list_models"]
)
def test_name_must_be_importable(name: str) -> None:
    with pytest.raises(ValueError, match=r"identifier|reserved") as caught:
        check_name(name, frozenset({"list_models"}))
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("builder", "package.module"),
        ("builder", "package/module:function"),
        ("builder", 3),
        ("example_batch", "module:"),
        ("task", ""),
        ("summary", "two\nlines"),
        ("total_parameters", -1),
        ("total_parameters", True),
        ("total_parameters", 1.5),
        ("input_shape", ()),
        ("input_shape", "1,3"),
        ("input_shape", (1, 0)),
        ("input_shape", (1, 2.0)),
    ],
)
def test_invalid_field_error_has_name_and_value(field: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError), match=field) as caught:
        check_fields(**{field: value})
    assert repr(value) in str(caught.value)


def test_info_is_frozen_and_has_origin() -> None:
    info = ModelInfo("net", "t", "f", "s", "pkg.mod:net", 5, distribution="toy", version="1.2")
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.name = "other"  # type: ignore[misc]
    assert info.qualified_name == "toy:net"
    assert info.origin == "toy 1.2"
    script = ModelInfo("net", "t", "f", "s", "__main__:net", None)
    assert script.qualified_name == "__main__:net"
