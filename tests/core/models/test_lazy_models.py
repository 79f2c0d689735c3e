"""Models as attributes of ``lucid.models``."""

from __future__ import annotations

import importlib.util

import pytest

from lucid import PluginWarning, UnknownModelError, models


def test_attribute_and_import_return_builder(environment) -> None:
    environment.add("toy", "toy_net")
    from lucid.models import toy_net

    assert toy_net is models.toy_net is models.get_builder("toy_net")
    assert toy_net(3).model_kwargs == {"width": 3}
    assert hasattr(models, "toy_net")


def test_dir_lists_functions_and_models(environment) -> None:
    environment.add("one", "toy_net", "shared")
    environment.add("two", "shared")
    listed = dir(models)
    assert "toy_net" in listed
    assert set(models.__all__) <= set(listed)
    assert not [name for name in listed if not name.isidentifier()]
    assert "shared" not in listed


def test_hasattr_is_false_for_unknown_name(environment) -> None:
    environment.add("toy", "toy_net")
    assert not hasattr(models, "toy_nett")
    with pytest.raises(AttributeError, match="did you mean 'toy_net'"):
        _ = models.toy_nett


def test_import_error_of_unknown_name_has_suggestions(environment) -> None:
    environment.add("toy", "toy_net")
    environment.add("broken", plugin="raise RuntimeError('sad')")
    with pytest.warns(PluginWarning):
        models.list_models()
    with pytest.raises(UnknownModelError) as unknown:
        models.create_model("toy_nett")
    with pytest.raises(ImportError) as caught:
        from lucid.models import toy_nett  # noqa: F401
    assert str(unknown.value) in str(caught.value)
    assert "did you mean 'toy_net'" in str(caught.value)
    assert "broken 1.0 (RuntimeError: sad)" in str(caught.value)


def test_import_of_model_as_module(environment) -> None:
    with pytest.raises(ImportError, match="no model is called 'toy_net'"):
        importlib.import_module("lucid.models.toy_net")
    environment.add("toy", "toy_net")
    models.refresh()
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'lucid\.models\.toy_net'"):
        importlib.import_module("lucid.models.toy_net")


def test_builder_that_cannot_be_imported(environment) -> None:
    environment.add("toy", "toy_net", builders="import surely_not_installed")
    assert not hasattr(models, "toy_net")
    with pytest.raises(ImportError, match=r"toy 1\.0.*No module named 'surely_not_installed'"):
        from lucid.models import toy_net  # noqa: F401


def test_ambiguous_name_cannot_be_imported(environment) -> None:
    environment.add("one", "shared")
    environment.add("two", "shared")
    with pytest.raises(ImportError, match="'one:shared' or 'two:shared'"):
        from lucid.models import shared  # noqa: F401


def test_strict_mode_failure_becomes_import_error(environment, monkeypatch) -> None:
    environment.add("broken", plugin="raise RuntimeError('sad')")
    monkeypatch.setenv("LUCID_STRICT_PLUGINS", "1")
    assert not hasattr(models, "toy_net")
    with pytest.raises(ImportError, match=r"plugin 'toy' of broken 1\.0: RuntimeError: sad"):
        from lucid.models import toy_net  # noqa: F401
    assert set(dir(models)) >= set(models.__all__)


def test_private_names_and_submodules_do_not_run_discovery(environment) -> None:
    environment.add("toy", plugin="raise AssertionError('discovered')")
    assert not hasattr(models, "_repr_html_")
    assert not hasattr(models, "__wrapped__")
    from lucid.models import summary

    assert summary.__name__ == "lucid.models.summary"
    assert importlib.util.find_spec("lucid.models._nothing") is None
    assert importlib.util.find_spec("lucid.surely_not_there") is None
