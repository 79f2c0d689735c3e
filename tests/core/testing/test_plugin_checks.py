"""List of checks and their results."""

from __future__ import annotations

import pytest

import lucid
from lucid.errors import PluginError, PluginWarning
from lucid.testing.plugin_checks import checks, run_checks

DISTRIBUTION_CHECKS = ["requirement", "dependencies", "loads", "imports"]
MODEL_CHECKS = [
    *("builder", "parameters", "seed", "forward", "protocol", "state-dict", "pickle"),
    "training-step",
]


def test_checks_of_distribution_and_models(environment) -> None:
    environment.add("toy", "net_10", "net_9")
    found = checks("Toy")
    assert [check.name for check in found] == DISTRIBUTION_CHECKS + MODEL_CHECKS * 2
    assert [check.model for check in found] == [None] * 4 + ["net_9"] * 8 + ["net_10"] * 8
    assert [str(check) for check in found[:6]] == [
        *DISTRIBUTION_CHECKS,
        "net_9-builder",
        "net_9-parameters",
    ]
    assert all(check.description.endswith(".") for check in found)
    assert [check.model for check in checks("toy", "*_10")[4:]] == ["net_10"] * 8
    assert len(checks("toy", ["*_10", "net_?"])) == 20


def test_pattern_without_match_is_rejected(environment) -> None:
    environment.add("toy", "net_10", "net_9")
    environment.add("other", "other_net", entry_point="other")
    with pytest.raises(PluginError, match="no model of toy matches 'other_net'; it has net_9, net"):
        checks("toy", ["net_9", "other_net"])


@pytest.mark.slow
def test_results_of_plugin_with_invalid_builder(toy) -> None:
    toy('def net() -> nn.Linear:\n    "A net."\n    return 1')
    results = list(run_checks(checks("toy")))
    assert [result.check for result in results] == DISTRIBUTION_CHECKS + MODEL_CHECKS
    assert [result.outcome for result in results] == ["passed"] * 4 + ["failed"] + ["not run"] * 7
    assert results[0].problem is None
    assert results[0].advice is None
    assert "must return a lucid.nn.Module, got int" in (results[4].problem or "")
    assert all(result.advice and result.seconds >= 0 for result in results[4:])


@pytest.mark.slow
def test_ambiguous_model_name_is_qualified(toy, environment) -> None:
    environment.add("other", "net", entry_point="other")
    with pytest.raises(PluginError, match="registered by"):
        toy()  # ambiguous
    found = checks("toy", "net")
    assert {check.model for check in found[4:]} == {"toy:net"}
    results = {result.check: result.outcome for result in run_checks(found)}
    assert results.pop("training-step") == "failed"  # no default batch for its task
    assert set(results.values()) == {"passed"}


def test_plugin_registers_checks_of_task(toy, environment) -> None:
    environment.add(
        "other",
        entry_point="other",
        plugin='''
import lucid

@lucid.hookimpl
def lucid_register_model_checks(register):
    from lucid.testing.plugin_checks import CheckError

    def check_bias(tested):
        """Check that the model has a bias."""
        raise CheckError(f"{tested.name} has none", "add one")

    register("testing", "bias", check_bias)
    register("another task", "bias", check_bias)
''',
    )
    toy()
    found = checks("toy")
    assert [check.name for check in found][-2:] == ["bias", "training-step"]
    assert found[-2].description == "Check that the model has a bias."
    (result,) = run_checks([found[-2]])
    assert (result.outcome, result.problem, result.advice) == ("failed", "net has none", "add one")
    environment.add("twice", entry_point="twice", plugin=TWICE)
    lucid.models.refresh()
    with pytest.raises(PluginError, match=r"'forward' .* testing"):
        checks("toy")


def test_checks_of_published_weights(toy, environment) -> None:
    environment.add("another", plugin=WEIGHTS.replace('"v', '"w'), entry_point="another")
    toy(plugin=WEIGHTS)
    names = ["net-weights-v1", "net-weights-v2", "other-weights-v1"]
    assert [str(check) for check in checks("toy")[12:]] == names
    assert [str(check) for check in checks("toy", "n*")[12:]] == names[:2]
    assert [str(check) for check in checks("another")[4:]] == [
        *("net-weights-w1", "net-weights-w2", "other-weights-w1")
    ]


WEIGHTS = """
import lucid

@lucid.hookimpl
def lucid_register_weights(register):
    for model, tag in (("net", "v1"), ("net", "v2"), ("other", "v1")):
        url = "https://example.org/net.npz"
        sha256 = tag.encode().hex() * 2
        register(model, tag, url=url, sha256=sha256, size=1, license="MIT", source="toy")
"""


TWICE = """
import lucid

@lucid.hookimpl
def lucid_register_model_checks(register):
    register("testing", "forward", print)
"""


def plugin_of_checks(body: str) -> str:
    return f"""
import lucid

@lucid.hookimpl
def lucid_register_model_checks(register):
    def dark(tested):
        "Check that it is dark."
        {body}

    register("testing", "dark", dark)
"""


@pytest.mark.parametrize("fault", ["1 / 0", "raise SystemExit(0)", "tested.nothing"])
def test_registered_check_that_raises_fails(environment, fault) -> None:
    environment.add("toy", "net")
    environment.add("kit", plugin=plugin_of_checks(fault), entry_point="kit")
    (dark,) = [check for check in checks("toy") if check.name == "dark"]
    (result,) = run_checks([dark])
    assert result.outcome == "failed"
    assert (result.problem or "").startswith("check 'dark' raised ")
    assert "CheckError" in (result.advice or "")


def test_checks_of_failing_hook_are_skipped(environment) -> None:
    environment.add("toy", "net")
    source = plugin_of_checks("pass").replace('register("testing"', '1 / 0; register("testing"')
    environment.add("kit", plugin=source, entry_point="kit")
    with pytest.warns(PluginWarning, match=r"kit 1\.0: .*ZeroDivisionError"):
        names = [check.name for check in checks("toy")]
    assert names == DISTRIBUTION_CHECKS + MODEL_CHECKS
