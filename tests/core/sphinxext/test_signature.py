from __future__ import annotations

from typing import Any

from lucid.sphinxext.signature import signature_source


class Net:
    pass


def test_short_signature_is_one_line():
    def tiny(num_classes: int = 10, **kwargs: Any) -> Net: ...

    assert signature_source("tiny", tiny) == (
        "@register_model\ndef tiny(num_classes: int = 10, **kwargs) -> Net"
    )


def test_longer_signature_has_arguments_on_own_line():
    def a_model_with_a_long_name(
        num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
    ) -> Net: ...

    assert signature_source("a_model_with_a_long_name", a_model_with_a_long_name) == (
        "@register_model\n"
        "def a_model_with_a_long_name(\n"
        "    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs\n"
        ") -> Net"
    )


def test_very_long_signature_has_one_argument_per_line():
    def model(
        first_argument: str = "something long",
        second_argument: str = "something else",
        third: int = 3,
    ) -> Net: ...

    assert signature_source("model", model).splitlines()[2:] == [
        "    first_argument: str = 'something long',",
        "    second_argument: str = 'something else',",
        "    third: int = 3,",
        ") -> Net",
    ]


def test_markers_of_positional_and_keyword_only_arguments():
    def model(a, /, b=1, *, c: int = 2): ...

    assert signature_source("model", model).endswith("def model(a, /, b=1, *, c: int = 2)")


def test_no_marker_after_star_args():
    def model(*sizes: int, c: int = 2): ...

    assert signature_source("model", model).endswith("def model(*sizes: int, c: int = 2)")


def test_annotations_that_are_objects():
    def model(size, shape): ...

    model.__annotations__ = {"size": int, "shape": tuple[int, ...], "return": Net}
    assert signature_source("model", model).endswith(
        "def model(size: int, shape: tuple[int, ...]) -> Net"
    )
