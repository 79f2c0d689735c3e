"""Weights of other libraries, recognized and renamed by the converters of plugins."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import lucid
from lucid import PluginError, PluginWarning, WeightFileError, WeightFileWarning
from lucid.models import create_model
from lucid.weights import StateDictFile, identify_weights, load_external_weights, load_weights

PLUGIN = """
import lucid

@lucid.hookimpl
def lucid_register_models(register):
    for name in {models!r}:
        register(
            name, "{package}.builders:" + name, task="{task}", family="toy",
            total_parameters=6, summary="A toy", input_shape=(1, 2),
        )

@lucid.hookimpl
def lucid_register_weight_converters(register):
    {register}
"""

REGISTER = """register(
        "{name}", "{package}.weights:converter", source="elsewhere", task="{task}",
        models={models!r},
    )"""

CONVERTER = """
from lucid import StateDictError
from lucid.weights import WeightConverter

class Converter(WeightConverter):
    def identify(self, shapes):
        shape = shapes.get("kernel")
        {identify}
        return ("{model}", {{"width": shape[0]}}) if shape else None

    def rename(self, key):
        {rename}
        return {{"kernel": "weight", "offset": "bias"}}.get(key, key)

    {more}

converter = {instance}
"""


def install(
    environment: Any,
    distribution: str = "toy-plugin",
    *,
    model: str = "tiny",
    task: str = "testing",
    register: str = REGISTER,
    identify: str = "",
    rename: str = "",
    more: str = "",
    instance: str = "Converter()",
) -> None:
    """Install a plugin with a linear model of the builder's `width` and a converter for it."""
    package = distribution.replace("-", "_")
    names = {"package": package, "models": (model,), "task": task, "name": f"{model}-weights"}
    plugin = PLUGIN.format(register=register.format(**names), **names)
    builder = (
        "from lucid import nn\nfrom lucid.models import register_model\n\n@register_model\n"
        f"def {model}(width: int = 2) -> nn.Linear:\n    return nn.Linear(2, width)\n"
    )
    environment.add(distribution, plugin=plugin, builders=builder)
    code = CONVERTER.format(
        model=model, identify=identify, rename=rename, more=more, instance=instance
    )
    (environment.folder / package / "weights.py").write_text(textwrap.dedent(code))


def theirs(width: int = 3, prefix: str = "", **extra: np.ndarray) -> dict[str, np.ndarray]:
    kernel = np.arange(2 * width, dtype=np.float32).reshape(width, 2)
    state = {"kernel": kernel, "offset": np.full(width, 7, np.float32), **extra}
    return {prefix + key: value for key, value in state.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    lucid.save(theirs(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_file_of_another_library_loads(environment, path: Path, tmp_path: Path) -> None:
    install(environment)
    model = lucid.load_model(path)
    assert (model.model_name, model.model_kwargs) == ("tiny", {"width": 3})
    np.testing.assert_array_equal(model.weight.numpy(), [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(model.bias.numpy(), [7, 7, 7])
    lucid.save_model(model, tmp_path / "own.safetensors")
    again = lucid.load_model(tmp_path / "own.safetensors")
    np.testing.assert_array_equal(again.weight.numpy(), model.weight.numpy())


def test_prefix_is_stripped(environment, tmp_path: Path) -> None:
    install(environment)
    state = theirs(prefix="module.") | {"criterion.scale": np.ones(2, np.float32)}
    lucid.save(state, tmp_path / "w.npz")
    with pytest.warns(WeightFileWarning, match=r"skipped other entries \(1\): 'criterion\.scale'"):
        model = lucid.load_model(tmp_path / "w.npz")
    np.testing.assert_array_equal(model.bias.numpy(), [7, 7, 7])
    with pytest.warns(WeightFileWarning, match="skipped other entries"):
        found = identify_weights(state)
    assert found is not None
    assert (found.name, found.arguments, list(found.state), list(found.other_entries)) == (
        "tiny", {"width": 3}, ["kernel", "offset"], ["criterion.scale"],
    )  # fmt: skip


def test_extra_information_of_a_converter(environment, path: Path) -> None:
    more = """
    def prepare(self, state, model):
        import numpy as np
        import lucid
        rows = model.bias.shape[0]
        grown = {k: np.resize(v.numpy(), (rows, *v.shape[1:])) for k, v in state.items()}
        return {key: lucid.tensor(value) for key, value in grown.items()}

    def class_names(self, arguments):
        return [str(i) for i in range(arguments["width"])]

    def preprocessing(self, arguments):
        return {"size": 8}
    """
    install(environment, more=more)
    assert lucid.load_model(path).weight.numpy().tolist() == [[0, 1], [2, 3], [4, 5]]
    found = identify_weights(theirs())
    assert found is not None
    assert (found.arguments, found.class_names) == ({"width": 3}, ("0", "1", "2"))
    assert found.preprocessing == {"size": 8}
    assert found.build(width=5).weight.shape == (5, 2)


def test_weights_that_nothing_recognizes(environment, tmp_path: Path) -> None:
    install(environment)
    state = {"other": np.zeros(2, np.float32)}
    assert identify_weights(state) is None
    lucid.save(state, tmp_path / "w.npz")
    with pytest.raises(WeightFileError, match=r"no model metadata; create the model and use"):
        lucid.load_model(tmp_path / "w.npz")


def test_two_converters_for_one_file_are_named(environment, path: Path) -> None:
    install(environment)
    install(environment, "second-plugin", model="other")
    message = (
        r"several converters.*'other-weights' of second-plugin 1\.0 as other and the weight "
        r"converter 'tiny-weights' of toy-plugin 1\.0 as tiny.*LUCID_DISABLE_PLUGINS"
    )
    with pytest.raises(WeightFileError, match=message) as caught:
        lucid.load_model(path)
    assert str(path) in str(caught.value)
    found = identify_weights(theirs(), model="other")
    assert found is not None
    assert found.name == "other"
    assert identify_weights(theirs(), task="another") is None


def test_converter_that_recognizes_more_keys_wins(environment, tmp_path: Path) -> None:
    install(environment)
    install(
        environment, "second-plugin", model="whole",
        identify='shape = shapes.get("body.kernel") if "top" in shapes else None',
        rename='key = key.removeprefix("body.")',
        more='def has_key(self, key):\n        return key.startswith("body.") or key == "top"',
    )  # fmt: skip
    state = theirs(prefix="body.", ) | {"top": np.zeros(1, np.float32)}  # fmt: skip
    found = identify_weights(state)  # no warning of the other converter, which strips "body."
    assert found is not None
    assert found.name == "whole"
    with pytest.warns(WeightFileWarning, match="skipped other entries"):
        part = identify_weights({**theirs(prefix="body."), "else": state["top"]})
    assert part is not None
    assert part.name == "tiny"


def test_weights_of_no_model_are_explained(environment, path: Path) -> None:
    refuse = 'raise StateDictError("no tiny has a kernel of 3 rows")'
    install(environment, identify=refuse)
    with pytest.raises(WeightFileError, match=r"w\.safetensors: no tiny has a kernel of 3 rows"):
        lucid.load_model(path)
    install(environment, "second-plugin", model="other")
    lucid.models.refresh()
    assert lucid.load_model(path).model_name == "other"


FAULTS = {
    "identify raises": ({"identify": "1 / 0"}, r"identify\(\) failed: ZeroDivisionError"),
    "identify exits": ({"identify": "raise SystemExit(3)"}, r"identify\(\) failed: SystemExit: 3"),
    "identify returns a name alone": ({"identify": 'return "tiny"'}, r"\(name, arguments\) or Non"),
    "another model": ({"identify": 'return "resnet_18", {}'}, r"'resnet_18', which it is not reg"),
    "wrong arguments": (
        {"identify": 'return "tiny", {"depth": 2}'},
        r"invalid arguments for tiny, {'depth': 2}",
    ),
    "rename raises": ({"rename": 'if key == "offset": 1 / 0'}, "rename.*failed|has_key.*failed"),
    "rename gives None": (
        {"rename": "return None", "more": "def has_key(self, key):\n        return False"},
        r"rename\('kernel'\) returned None",
    ),
    "names that are not there": (
        {"rename": 'return "layers." + key'},
        r"keys that tiny does not have: 'layers\.kernel', 'layers\.offset'",
    ),
    "prepare raises": ({"more": "prepare = None"}, r"failed: TypeError"),
    "prepare adds": (
        {"more": "def prepare(self, s, m):\n        return {**s, 'gamma': s['bias']}"},
        r"that tiny does not have: 'gamma'",
    ),
    "no converter": ({"instance": "Converter"}, r"an instance of lucid\.weights\.WeightConverter"),
    "no module": (
        {"register": REGISTER.replace(".weights:", ".gone:")},
        r"import\(\) failed: ModuleNotFoundError: .*gone",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_converter_name_it(environment, path: Path, fault: str) -> None:
    options, message = FAULTS[fault]
    install(environment, **options)
    with pytest.raises(PluginError, match=message) as caught:
        lucid.load_model(path)
    assert "the weight converter 'tiny-weights' of toy-plugin 1.0" in str(caught.value)


@pytest.mark.parametrize("fault", ["rename raises", "rename gives None", "prepare raises"])
def test_faults_of_a_converter_that_the_caller_chooses_name_it(
    environment, path: Path, fault: str
) -> None:
    options, message = FAULTS[fault]
    install(environment, **{**options, "identify": "return None"})
    model = create_model("tiny", width=3)
    before = model.weight.numpy().copy()
    for load in (
        lambda: StateDictFile.read(path, model="tiny").load_into(model),
        lambda: load_external_weights(model, path, "elsewhere"),
    ):
        with pytest.raises(PluginError, match=rf"'tiny-weights' of toy-plugin 1\.0.*({message})"):
            load()
    np.testing.assert_array_equal(model.weight, before)


@pytest.mark.parametrize("names", [["a"], [1, 2], "ab", 3])
def test_class_names_of_another_kind_or_number_name_the_converter(environment, path, names) -> None:
    install(
        environment,
        identify='return "tiny", {"num_classes": 2}',
        more=f"def class_names(self, arguments):\n        return {names!r}",
    )
    found = identify_weights(lucid.load(path))
    with pytest.raises(PluginError, match=r"weights' .*: class_names\(\) must .* of 2 names or"):
        _ = found.class_names


def test_preprocessing_of_another_kind_names_the_converter(environment, path) -> None:
    install(environment, more="def preprocessing(self, arguments):\n        return [224]")
    with pytest.raises(PluginError, match=r"'tiny-weights' .*: preprocessing\(\) must return a d"):
        _ = identify_weights(lucid.load(path)).preprocessing


def test_fault_does_not_hide_another_converter(environment, path: Path) -> None:
    install(environment, identify="1 / 0")
    install(environment, "second-plugin", model="other")
    with pytest.warns(PluginWarning, match="'tiny-weights' of toy-plugin 1.0: identify"):
        model = lucid.load_model(path)
    assert model.model_name == "other"


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_another_library_are_loaded_into_a_built_model(
    environment, tmp_path: Path, prefix: str
) -> None:
    install(environment)
    lucid.save(theirs(prefix=prefix), tmp_path / "w.npz")
    model = create_model("tiny", width=3)
    assert load_weights(model, tmp_path / "w.npz").loaded == ["weight", "bias"]
    np.testing.assert_array_equal(model.weight.numpy(), theirs()["kernel"])
    own = {key: value + 1 for key, value in model.state_dict().items()}
    lucid.save(own, tmp_path / "own.npz")
    load_weights(model, tmp_path / "own.npz")
    np.testing.assert_array_equal(model.weight.numpy(), theirs()["kernel"] + 1)
    with pytest.raises(WeightFileError, match=r"wrong shape \(2\):\s+weight: expected shape \(2"):
        load_weights(create_model("tiny"), tmp_path / "w.npz")
    lucid.save({"kernel": theirs()["kernel"]}, tmp_path / "part.npz")
    report = load_weights(model, tmp_path / "part.npz", strict=False)
    assert (report.loaded, report.missing) == (["weight"], ["bias"])


def test_given_model_for_unrecognized_weights(environment, path) -> None:
    install(environment, identify="return None")
    bare = StateDictFile.read(path, model="tiny")
    assert bare.identified is None
    assert not bare.has_none_of(["bias"])
    model = create_model("tiny", width=3)
    assert bare.load_into(model).loaded == ["weight", "bias"]
    np.testing.assert_array_equal(model.bias.numpy(), [7, 7, 7])
    lucid.save({"kernel": theirs()["kernel"]}, path)
    with pytest.raises(lucid.StateDictError, match=r"missing \(1\):\s+bias$"):
        StateDictFile.read(path, model="tiny").load_into(create_model("tiny", width=3))


@pytest.mark.parametrize(
    ("register", "message"),
    [
        ("1 / 0", "ZeroDivisionError"),
        (REGISTER.replace(".weights:converter", ""), r"must be 'package\.module:attribute', got"),
        (REGISTER.replace("{models!r}", "'tiny'"), "models must be a sequence of names, got 'tiny"),
        (REGISTER.replace('"elsewhere"', "None"), "source must be text, got None"),
        (f"{REGISTER}; {REGISTER}", "'tiny-weights' is registered twice"),
    ],
)
def test_failing_hook_skips_its_converters(
    environment, path: Path, register: str, message: str
) -> None:
    install(environment, register=register)
    with (
        pytest.warns(PluginWarning, match=rf"toy-plugin 1\.0: its weight conv.*{message}"),
        pytest.raises(WeightFileError, match="no model metadata"),
    ):
        lucid.load_model(path)
    assert create_model("tiny").weight.shape == (2, 2)  # the models stay


def test_mismatched_weights_raise_weight_file_error(environment, tmp_path: Path) -> None:
    install(environment)
    lucid.save(theirs(extra=np.ones(2, np.float32)), tmp_path / "w.npz")
    with pytest.raises(WeightFileError, match=r"do not fit tiny: (.|\n)*unexpected \(1\):\s+extra"):
        lucid.load_model(tmp_path / "w.npz")
    twice = theirs(weight=np.ones((3, 2), np.float32))
    lucid.save(twice, tmp_path / "w.npz")
    with pytest.raises(WeightFileError, match=r"'kernel' and 'weight' both map to"):
        lucid.load_model(tmp_path / "w.npz")


CLASSIFIER = """
import lucid
from lucid import nn
from lucid.models import register_model

class Pebble(nn.Module):
    head_prefixes = ("verdict.",)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.shore = nn.Conv2d(3, 4, 3)
        self.verdict = nn.Linear(4, num_classes)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return self.verdict(self.shore(x).mean(axis=(2, 3)))

@register_model
def pebble(num_classes: int = 1000) -> Pebble:
    return Pebble(num_classes)
"""

CLASSIFIER_WEIGHTS = """
import re
from lucid.weights import WeightConverter, rename_key

class Converter(WeightConverter):
    def identify(self, shapes):
        head = shapes.get("linear.weight", ("?",))
        stem = "sand.weight" in shapes
        return ("pebble", {"num_classes": head[0]} if len(head) == 2 else {}) if stem else None

    def rename(self, key):
        rules = [(re.compile(r"sand\\.(.*)"), r"shore.\\1"),
                 (re.compile(r"linear\\.(.*)"), r"verdict.\\1")]
        return rename_key(key, rules)

    def class_names(self, arguments):
        return ("amber", "blue", "cyan") if arguments["num_classes"] == 3 else None

converter = Converter()
"""


@pytest.fixture
def pebble(environment) -> dict[str, np.ndarray]:
    """An outside classifier, and weights for it under the names of another library."""
    install(environment, model="pebble", task="image-classification")
    package = environment.folder / "toy_plugin"
    (package / "builders.py").write_text(CLASSIFIER)
    (package / "weights.py").write_text(CLASSIFIER_WEIGHTS)
    return {
        "sand.weight": np.zeros((4, 3, 3, 3), np.float32),
        "sand.bias": np.ones(4, np.float32),
        "linear.weight": np.zeros((3, 4), np.float32),
        "linear.bias": np.array([0, 5, 0], np.float32),
    }


def test_lucid_classify_opens_the_weights_of_an_outside_classifier(
    pebble: dict[str, np.ndarray], tmp_path: Path
) -> None:
    images = pytest.importorskip("PIL.Image")
    commands = pytest.importorskip("lucid_models_classification.commands")
    images.new("RGB", (40, 30)).save(tmp_path / "1.png")
    lucid.save({f"module.{k}": v for k, v in pebble.items()}, tmp_path / "w.safetensors")
    arguments = [str(tmp_path / "1.png"), "--weights", str(tmp_path / "w.safetensors"), "--json"]
    result = CliRunner().invoke(commands.classify, arguments, catch_exceptions=False)
    best = json.loads(result.stdout)[0]["predictions"][0]
    assert "blue" in best.values()
    assert max(v for v in best.values() if isinstance(v, float)) == pytest.approx(
        np.exp(5) / (np.exp(5) + 2), rel=1e-5
    )


def test_outside_classifier_starts_from_its_weights(
    pebble: dict[str, np.ndarray], tmp_path: Path
) -> None:
    loading = pytest.importorskip("lucid_models_classification.loading")
    path = tmp_path / "w.safetensors"
    lucid.save(pebble, path)
    started = loading.load_for_fine_tuning(path, ["left", "right"])
    state = started.model.state_dict()
    assert state["shore.bias"].tolist() == [1, 1, 1, 1]
    assert state["verdict.bias"].shape == (2,)
    assert "is reinitialized" in started.note
    kept = loading.load_for_fine_tuning(path, ["blue", "amber", "cyan"], "pebble")
    assert kept.model.verdict.bias.tolist() == [5, 0, 0]
    lucid.save({k: v for k, v in pebble.items() if "sand" in k}, path)
    assert "is reinitialized" in loading.load_for_fine_tuning(path, ["a", "b"]).note
    message = r"expected the classifier verdict\.weight and verdict\.bias of pebble, got none"
    with pytest.raises(WeightFileError, match=message):
        loading.load_classifier(path)


def test_published_weights_of_a_model_that_two_plugins_register(environment, publish: Any) -> None:
    install(environment)
    environment.add("other-plugin", "tiny")
    source = create_model("toy-plugin:tiny", width=3)
    state = {"kernel": source.weight, "offset": source.bias}
    publish("toy-plugin:tiny", state, converter="tiny-weights")
    loaded = create_model("toy-plugin:tiny", weights="test_v1")
    assert np.array_equal(loaded.weight.numpy(), source.weight.numpy())
