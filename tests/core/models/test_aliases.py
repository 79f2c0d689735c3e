"""Aliases resolve like names, are not listed, and conflict like names."""

from __future__ import annotations

from pathlib import Path

import pytest

import lucid
from lucid import PluginError, PluginWarning, UnknownModelError, models, nn
from lucid.models import zoo

REGISTER = """
import lucid

@lucid.hookimpl
def lucid_register_models(register):
    for name, aliases in {models!r}.items():
        register(
            name, "{package}.builders:" + name, task="testing", family="toy",
            total_parameters=6, summary="A model to test with", input_shape=(1, 2),
            aliases=aliases,
        )
"""

BUILDERS = """
from lucid import nn

def {name}(width: int = 2) -> nn.Linear:
    return nn.Linear(2, width)
"""


def add(environment, distribution: str, **aliases: object) -> None:
    """Install a distribution with models and their aliases."""
    package = distribution.replace("-", "_")
    environment.add(
        distribution,
        plugin=REGISTER.format(models=aliases, package=package),
        builders="".join(BUILDERS.format(name=name) for name in aliases),
    )


@pytest.fixture
def alpha(environment):
    add(environment, "alpha", net_1=("net1", "netone"), net_2=["net2"])
    return environment


def test_alias_resolves_and_is_not_listed(alpha) -> None:
    assert models.list_models() == models.list_models("*", plugin="alpha") == ["net_1", "net_2"]
    assert models.list_models("net1") == []
    assert models.is_model("net1")
    assert (
        models.model_info("net1") == models.model_info("net_1") == models.model_info("alpha:netone")
    )
    assert models.model_info("net_2").aliases == ("net2",)
    assert models.get_builder("net1") is models.get_builder("net_1") is models.net1
    assert "net1" not in dir(models)
    assert models.list_plugins()[0].models == ("net_1", "net_2")


def test_models_and_files_have_registered_name(alpha, tmp_path: Path) -> None:
    model = models.create_model("netone", width=3)
    assert model.model_name == "net_1"
    lucid.save_model(model, tmp_path / "model.safetensors")
    assert lucid.weights.model_metadata(tmp_path / "model.safetensors").name == "net_1"
    from lucid.models import net2

    assert net2().model_name == "net_2"


def test_error_suggests_registered_name_for_similar_alias(alpha) -> None:
    with pytest.raises(UnknownModelError, match=r"did you mean 'net_1'\?"):
        models.create_model("netones")
    with pytest.raises(UnknownModelError, match=r"'net1\.a1_in1k'; did you mean 'net_1'\?"):
        models.create_model("net1.a1_in1k")


@pytest.mark.parametrize(
    ("other", "pick", "built", "listed"),
    [
        ({"tiny": ("net1",)}, "beta:tiny", "tiny", ["net_1", "net_2", "tiny"]),
        ({"net1": ()}, "beta:net1", "beta:net1", ["beta:net1", "net_1", "net_2"]),
    ],
)
def test_alias_conflicts_like_name(alpha, other, pick, built, listed) -> None:
    add(alpha, "beta", **other)
    with pytest.raises(PluginError, match=r"'net1' is registered by alpha 1\.0 and by beta") as e:
        models.create_model("net1")
    assert f"'alpha:net_1' or '{pick}'" in str(e.value)
    assert not models.is_model("net1")
    assert models.list_models() == listed
    assert models.create_model("alpha:net1").model_name == "net_1"
    assert models.create_model("beta:net1").model_name == built
    assert models.create_model("netone").model_name == "net_1"


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ({"net": ("net",)}, "model 'net': alias 'net'"),
        ({"net": ("n", "n")}, "model 'net': alias 'n'"),
        ({"one": (), "two": ("one",)}, "model 'two': alias 'one' .* 'one'"),
        ({"one": ("n",), "two": ("n",)}, "model 'two': alias 'n' .* 'one'"),
        ({"one": ("two",), "two": ()}, "model 'two' .* alias of 'one'"),
        ({"net": "n"}, "model 'net': aliases must be a tuple of str such as .* got 'n'"),
        ({"net": (3,)}, "model 'net', aliases: .* got 3"),
        ({"net": ("resnet-18",)}, "model 'net', aliases: .* got 'resnet-18'"),
        ({"net": ("list_models",)}, "model 'net', aliases: .*'list_models'"),
    ],
)
def test_invalid_aliases_fail_plugin(environment, aliases, message: str) -> None:
    add(environment, "wrong", **aliases)
    with pytest.warns(PluginWarning, match=message):
        assert models.list_models() == []


def test_scripts_register_aliases(environment, monkeypatch: pytest.MonkeyPatch) -> None:
    @models.register_model(aliases=["short"])
    def a_long_name() -> nn.Linear:
        return nn.Linear(2, 2)

    assert models.create_model("short").model_name == "a_long_name"
    assert zoo.model_info("short").aliases == ("short",)
    with pytest.raises(ValueError, match="alias 'another'"):
        models.register_model(name="another", aliases=("another",))(a_long_name)


def test_decorator_in_plugin_must_match_aliases(environment) -> None:
    decorated = "from lucid import nn\nfrom lucid.models import register_model\n"
    decorated += (
        "@register_model(aliases={aliases})\ndef net() -> nn.Linear: return nn.Linear(2, 2)\n"
    )
    plugin = REGISTER.format(models={"net": ("n",)}, package="same")
    environment.add("same", plugin=plugin, builders=decorated.format(aliases=["n"]))
    assert models.create_model("n").model_name == "net"
    plugin = REGISTER.format(models={"net2": ("m",)}, package="unlike")
    other = decorated.format(aliases=["x"]).replace("def net", "def net2")
    environment.add("unlike", plugin=plugin, builders=other)
    models.refresh()
    with pytest.raises(PluginError, match=r"aliases=\('x',\) .* \('m',\)"):
        models.create_model("m")


def test_command_line_resolves_and_shows_aliases(alpha, capsys) -> None:
    from lucid.cli import entry_point

    assert entry_point.run(["info", "net1"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["name", "net_1"] in lines
    assert ["aliases", "net1, netone"] in lines
    assert entry_point.run(["summary", "net1"]) == 0
    assert "net_1" in capsys.readouterr().out


def test_model_option_resolves_alias(alpha) -> None:
    import click
    from click.testing import CliRunner

    from lucid.cli.model_options import model_option

    @click.command()
    @model_option("The model.", "model_name")
    def command(model_name: str | None) -> None:
        click.echo(model_name)

    assert CliRunner().invoke(command, ["--model", "netone"]).output == "net_1\n"
    assert CliRunner().invoke(command, []).output == "\n"
    failed = CliRunner().invoke(command, ["--model", "net_3"])
    assert isinstance(failed.exception, UnknownModelError)
