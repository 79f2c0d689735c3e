"""``register_model`` in scripts and in plugins."""

from __future__ import annotations

import sys
import typing

import pytest

from lucid import PluginError, PluginWarning, models, nn


@pytest.fixture(autouse=True)
def _own_registry(environment):
    """Use a new registry in each test."""


def test_script_registers_without_discovery(environment) -> None:
    environment.add("toy", "toy_net", plugin="raise AssertionError('discovered')")

    @models.register_model
    def two_layers(width: int = 8) -> nn.Sequential:
        """Two small layers.

        And more text.
        """
        return nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2))

    assert "toy.plugin" not in sys.modules
    model = two_layers(width=3)
    assert (model.model_name, model.model_kwargs) == ("two_layers", {"width": 3})
    assert "toy.plugin" not in sys.modules
    with pytest.warns(PluginWarning, match="discovered"):
        assert models.list_models() == ["two_layers"]
    info = models.model_info("two_layers")
    assert info.builder.endswith(":test_script_registers_without_discovery.<locals>.two_layers")
    assert (info.task, info.family, info.summary) == (
        "unspecified",
        "two_layers",
        "Two small layers",
    )
    assert (info.distribution, info.version, info.total_parameters) == (None, None, None)
    assert models.create_model("two_layers").model_name == "two_layers"
    assert models.two_layers is two_layers


def test_register_after_discovery(environment) -> None:
    assert models.list_models() == []

    @models.register_model(
        name="renamed",
        task="image-classification",
        family="mine",
        total_parameters=0,
        summary="Nothing",
        input_shape=[1, 3],
        example_batch="some.module:batch",
    )
    def original() -> nn.Module:
        return nn.Identity()

    assert models.list_models(task="image-*", family="mine") == ["renamed"]
    info = models.model_info("renamed")
    assert (info.input_shape, info.total_parameters) == ((1, 3), 0)
    assert (info.summary, info.example_batch) == ("Nothing", "some.module:batch")
    assert original().model_name == "renamed"


def test_rerun_cell_replaces_model() -> None:
    for width in (1, 2):

        @models.register_model
        def cell(width: int = width) -> nn.Linear:
            return nn.Linear(1, width)

    assert models.list_models() == ["cell"]
    assert models.create_model("cell").weight.shape == (2, 1)


def test_script_with_name_of_plugin_model(environment) -> None:
    environment.add("toy", "net")

    @models.register_model
    def net() -> nn.Identity:
        return nn.Identity()

    assert set(models.list_models()) == {f"{__name__}:net", "toy:net"}
    with pytest.raises(PluginError, match="'net' is registered by"):
        models.create_model("net")
    assert isinstance(models.create_model(f"{__name__}:net"), nn.Identity)
    assert isinstance(models.create_model("toy:net"), nn.Linear)


def no_annotation(width=3):
    return nn.Linear(1, width)


def returns_int(width: int = 3) -> int:
    return width


def returns_text(width: int = 3) -> "int":  # noqa: UP037
    return width


def returns_either() -> typing.Union[nn.Linear, nn.Identity]:  # noqa: UP007
    return nn.Linear(1, 1)


def needs_arguments(depth: int, width: int = 3, *, height: int) -> nn.Linear:
    return nn.Linear(depth, width)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (no_annotation, "got no annotation"),
        (returns_int, "subclass of lucid.nn.Module.*got <class 'int'>"),
        (returns_text, "subclass of lucid.nn.Module.*got <class 'int'>"),
        (returns_either, "subclass of lucid.nn.Module"),
        (needs_arguments, "give a default to: depth, height"),
        (nn.Linear, "expects a function"),
        (7, "expects a function"),
    ],
)
def test_invalid_builder_is_rejected(function: object, expected: str) -> None:
    with pytest.raises(TypeError, match=expected):
        models.register_model(function)
    assert models.list_models() == []


def test_unresolved_annotation_is_checked_when_model_is_built() -> None:
    @models.register_model
    def early() -> Later:  # noqa: F821
        return 3

    with pytest.raises(PluginError, match=r"must return a lucid\.nn\.Module, got int"):
        models.create_model("early")


def test_local_class_can_be_defined_after_builder() -> None:
    @models.register_model
    def early() -> Later:
        return Later()

    with pytest.raises(NameError):
        early()

    class Later(nn.Identity):
        pass

    assert isinstance(models.create_model("early"), Later)


def test_keyboard_interrupt_during_builder_import_propagates(environment) -> None:
    environment.add("toy", "net", builders="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        models.create_model("net")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "a b"}, "'a b'"),
        ({"name": "list_models"}, "'list_models'"),
        ({"task": ""}, "task .* got ''"),
        ({"total_parameters": "many"}, "total_parameters .* got 'many'"),
        ({"familly": "x"}, "'familly'"),
    ],
)
def test_invalid_fields_register_nothing(fields: dict[str, object], expected: str) -> None:
    def net() -> nn.Identity:
        return nn.Identity()

    with pytest.raises((TypeError, ValueError), match=expected):
        models.register_model(**fields)(net)
    assert models.list_models() == []


def test_positional_arguments_are_stored_by_name() -> None:
    @models.register_model
    def net(a: int = 1, b: int = 2, *, c: int = 3, **more: int) -> nn.Identity:
        return nn.Identity()

    assert net(5, c=6, d=7).model_kwargs == {"a": 5, "c": 6, "d": 7}
    assert net(b=1).model_kwargs == {"b": 1}

    @models.register_model
    def spread(*values: int) -> nn.Identity:
        return nn.Identity()

    assert spread().model_kwargs == {}
    with pytest.raises(TypeError, match=r"spread\(\) .*'values'"):
        spread(1, 2)


def test_outer_builder_sets_model_name() -> None:
    @models.register_model
    def inner() -> nn.Identity:
        return nn.Identity()

    @models.register_model
    def outer(width: int = 1) -> nn.Identity:
        return inner()

    model = outer(width=2)
    assert (model.model_name, model.model_kwargs) == ("outer", {"width": 2})


DECORATED = """
from lucid import nn
from lucid.models import register_model

@register_model{keywords}
def {function}(width: int = 2) -> nn.Linear:
    return nn.Linear(2, width)
"""


def test_decorator_in_plugin_registers_nothing(environment) -> None:
    environment.add("toy", "net")
    import toy.builders

    assert toy.builders.net().model_name == "net"
    assert models.list_models() == ["net"]
    assert models.model_info("net").distribution == "toy"
    assert models.net is toy.builders.net


def test_decorator_fields_that_match_plugin(environment) -> None:
    keywords = "(task='testing', total_parameters=6, input_shape=(1, 2))"
    environment.add("toy", "net", builders=DECORATED.format(keywords=keywords, function="net"))
    assert models.create_model("net").model_name == "net"


MISMATCHED = {
    "another name": ("(name='web')", "net", r"name='web' .* 'net'"),
    "another count": ("(total_parameters=7)", "net", "total_parameters=7 .* 6 "),
    "not registered": ("", "extra", r"toy 1\.0 .* register\('extra'"),
}


@pytest.mark.parametrize("case", MISMATCHED)
def test_mismatched_decorator_after_discovery(environment, case: str) -> None:
    keywords, function, expected = MISMATCHED[case]
    builders = DECORATED.format(keywords=keywords, function=function)
    environment.add("toy", "net", builders=builders)
    assert models.list_models() == ["net"]
    with pytest.raises(PluginError, match=expected):
        models.create_model("net")
    assert models.list_models() == ["net"]


@pytest.mark.parametrize("case", MISMATCHED)
def test_mismatched_decorator_before_discovery(environment, case: str) -> None:
    keywords, function, expected = MISMATCHED[case]
    builders = DECORATED.format(keywords=keywords, function=function)
    environment.add("toy", "net", builders=builders)
    import toy.builders  # noqa: F401

    with pytest.warns(PluginWarning, match=expected):
        assert models.list_models() == []


def test_builders_of_failed_plugin_are_not_listed(environment) -> None:
    environment.add("toy", "net", plugin="import toy.builders\nraise RuntimeError('late')")
    with pytest.warns(PluginWarning, match="late"):
        assert models.list_models() == []


def test_builders_of_disabled_plugin_work_unlisted(environment, monkeypatch) -> None:
    environment.add("toy", "net")
    monkeypatch.setenv(
        "LUCID_DISABLE_PLUGINS", "toy,lucid-models-classification,lucid-models-detection"
    )
    import toy.builders

    assert models.list_models() == []
    assert toy.builders.net().model_name == "net"


def test_builders_in_other_package_than_plugin(environment) -> None:
    environment.add("engine", "net")
    (environment.folder / "engine-1.0.dist-info" / "entry_points.txt").write_text("")
    environment.add(
        "front",
        plugin="""
        import lucid

        @lucid.hookimpl
        def lucid_register_models(register):
            register("net", "engine.builders:net", task="t", family="f",
                     total_parameters=6, summary="s")
        """,
    )
    import engine.builders

    assert models.list_models() == ["net"]
    assert models.model_info("net").distribution == "front"
    assert models.net is engine.builders.net


def test_one_builder_with_two_names(environment) -> None:
    environment.add(
        "toy",
        plugin="""
        import lucid

        @lucid.hookimpl
        def lucid_register_models(register):
            for name in ("net", "alias"):
                register(name, "toy.builders:net", task="t", family="f",
                         total_parameters=6, summary="s")
        """,
        builders=DECORATED.format(keywords="", function="net"),
    )
    assert models.create_model("alias").model_name == "alias"
    assert models.create_model("net").model_name == "net"


def test_keyword_arguments_of_other_libraries_have_remedy():
    @models.register_model
    def net_of_keywords(in_channels: int = 3, **options: int) -> nn.Linear:
        """A layer."""
        if options:
            raise TypeError(f"got unexpected keyword arguments {sorted(options)}")
        return nn.Linear(in_channels, 1)

    for keywords, remedy in [
        ({"in_chans": 1}, "'in_chans': use in_channels="),
        ({"pretrained": True}, "'pretrained': load weights as in lucid.models.create_model("),
        ({"inchannels": 1}, "'inchannels': use in_channels="),
    ]:
        with pytest.raises(TypeError) as caught:
            models.get_builder("net_of_keywords")(**keywords)
        refused = f"'net_of_keywords': got unexpected keyword arguments {[*keywords]}; "
        assert refused in str(caught.value)
        assert remedy in str(caught.value)
    with pytest.raises(TypeError, match=r"unexpected keyword arguments \['width'\]"):
        models.create_model("net_of_keywords", width=2)


def test_unknown_argument_error_has_model_valid_and_closest_names():
    @models.register_model
    def net_without_kwargs(width: int = 4, *, depth: int = 1) -> nn.Linear:
        """A layer."""
        return nn.Linear(width, depth)

    with pytest.raises(TypeError, match="net_without_kwargs") as caught:
        models.create_model("net_without_kwargs", widht=2, pretrained=True)
    message = str(caught.value)
    assert "unexpected keyword argument(s) 'widht', 'pretrained'" in message
    assert "valid ones are width, depth" in message
    assert "'widht': use width=" in message
    assert "'pretrained': load weights as in" in message
    with pytest.raises(TypeError, match=r"argument.* 'heads'; valid ones are width, depth$"):
        net_without_kwargs(heads=2)
    assert net_without_kwargs(2, depth=3).model_kwargs == {"width": 2, "depth": 3}


def test_unknown_argument_passed_on_by_builder_names_model():
    @models.register_model
    def net_that_hands_on(**options: int) -> nn.Linear:
        """A layer."""
        return nn.Linear(1, 1, **options)

    with pytest.raises(TypeError, match=r"model 'net_that_hands_on': .*'heads'"):
        models.create_model("net_that_hands_on", heads=2)
