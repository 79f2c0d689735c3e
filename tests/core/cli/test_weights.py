"""``lucid weights`` with a plugin's catalog and a folder as the mirror, in this process."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lucid.cli import main

CONTENTS = {"net-v1": b"first" * 20_000, "net-v2": b"second" * 20_000, "other": b"other" * 20_000}
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}

PLUGIN = f"""
import lucid

@lucid.hookimpl
def lucid_register_models(register):
    for name in ("net", "other"):
        register(
            name, "toy.builders:" + name, task="testing", family="toy", total_parameters=6,
            summary="A model to test with", aliases=(name + "_1",),
        )

@lucid.hookimpl
def lucid_register_weights(register):
    def add(model, tag, file, size, **fields):
        sha256 = {SHA256!r}[file]
        register(
            model, tag, url="https://example.org/" + file + ".npz", sha256=sha256, size=size,
            source="toy", **fields,
        )

    add("other", "shapes", "other", 100_000, license="MIT")
    add("net", "v1", "net-v1", 100_000, license="MIT")
    add(
        "net", "v2", "net-v2", 120_000, license="CC-BY-4.0; with conditions",
        metrics={{"acc@1": 80.5, "acc@5": 95.0}}, arguments={{"sizes": (1, 2)}}, default=True,
    )
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["weights", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def folder(environment, tmp_path, monkeypatch) -> Path:
    """Folder of fetched files, empty; the published files are on a mirror."""
    environment.add("toy", plugin=PLUGIN)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name, content in CONTENTS.items():
        (mirror / f"{name}-{SHA256[name][:8]}.npz").write_bytes(content)
    monkeypatch.setenv("LUCID_WEIGHTS_MIRROR", str(mirror))
    monkeypatch.setenv("LUCID_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LUCID_OFFLINE", raising=False)
    return tmp_path / "home" / "weights"


def cached(folder: Path, name: str) -> Path:
    return folder / f"{name}-{SHA256[name][:8]}.npz"


# --- list --------------------------------------------------------------------------------


def test_table_marks_default_and_fetched(folder, capsys, monkeypatch) -> None:
    assert run(capsys, "fetch", "net", "v1")[0] == 0
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "MODEL  TAG               MIB  METRIC      LICENSE    FETCHED",
        "net    v1                0.1  -           MIT        yes",
        "net    v2 (default)      0.1  acc@1 80.5  CC-BY-4.0  no",
        "other  shapes (default)  0.1  -           MIT        no",
    ]


def test_table_on_narrow_terminal_omits_license(folder, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "59")
    _, out, err = run(capsys, "other")
    assert ("LICENSE" in out, err) == (True, "")  # this table is narrower
    _, out, err = run(capsys)
    assert out.splitlines()[1] == "net    v1                0.1  -           no"
    assert err.startswith("licenses: ")


@pytest.mark.parametrize("pattern", ["n*", "net", "net_1"])
def test_list_by_pattern(folder, capsys, pattern: str) -> None:
    code, out, _ = run(capsys, pattern)
    assert (code, [line.split()[0] for line in out.splitlines()[1:]]) == (0, ["net", "net"])
    assert run(capsys, "list", pattern)[1] == out


def test_list_as_json_has_all_fields(folder, capsys) -> None:
    code, out, err = run(capsys, "net", "--json")
    assert (code, err) == (0, "")
    first, second = json.loads(out)
    assert (first["default"], first["path"]) == (False, None)
    assert second == {
        "model": "net",
        "tag": "v2",
        "url": "https://example.org/net-v2.npz",
        "sha256": SHA256["net-v2"],
        "size": 120_000,
        "license": "CC-BY-4.0; with conditions",
        "source": "toy",
        "metrics": {"acc@1": 80.5, "acc@5": 95.0},
        "classes": None,
        "preprocessing": None,
        "arguments": {"sizes": [1, 2]},
        "converter": None,
        "default": True,
        "origin": "toy 1.0",
        "filename": cached(folder, "net-v2").name,
        "path": None,
    }
    run(capsys, "fetch", "net")
    assert json.loads(run(capsys, "--json")[1])[1]["path"] == str(cached(folder, "net-v2"))


@pytest.mark.parametrize("command", [(), ("verify",)])
def test_pattern_without_match(folder, capsys, command: tuple[str, ...]) -> None:
    code, out, err = run(capsys, *command, "x*")
    assert (code, out) == (0, "")
    assert err == "no published weights match; run 'lucid weights' to list all 3\n"


def test_no_plugin_registers_weights(environment, capsys) -> None:
    environment.add("toy", "net")
    code, out, err = run(capsys)
    assert (code, out) == (0, "")
    assert "no plugin registers any" in err


def test_unknown_command_lists_commands(folder, capsys) -> None:
    code, out, err = run(capsys, "download", "net")
    assert (code, out) == (2, "")
    assert "a command (list, fetch, verify, remove), got 'download net'" in err


@pytest.mark.slow
def test_list_imports_no_network_library() -> None:
    code = "import sys, lucid.cli; lucid.cli.main(['weights']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    modules = done.stdout.split()
    assert "lucid.weights.download" in modules
    assert not {"requests", "urllib3", "ssl", "urllib.request"}.intersection(modules)


# --- fetch -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(("net",), "net-v2"), (("net_1", "default"), "net-v2"), (("net", "V1"), "net-v1")],
)
def test_fetch_prints_path(folder, capsys, arguments: tuple[str, ...], name: str) -> None:
    code, out, _ = run(capsys, "fetch", *arguments)
    assert (code, out) == (0, f"{cached(folder, name)}\n")
    assert cached(folder, name).read_bytes() == CONTENTS[name]


def test_fetch_as_json(folder, capsys) -> None:
    code, out, _ = run(capsys, "fetch", "net", "--json")
    path = str(cached(folder, "net-v2"))
    assert code == 0
    assert json.loads(out) == {"model": "net", "tag": "v2", "path": path, "bytes": 120_000}


@pytest.mark.parametrize("command", ["fetch", "remove"])
def test_unknown_model_and_tag(folder, capsys, command: str) -> None:
    code, out, err = run(capsys, command, "nett")
    assert (code, out) == (2, "")
    assert "did you mean 'net'?" in err
    code, out, err = run(capsys, command, "net", "v3")
    assert (code, out) == (2, "")
    assert "expected a tag of net (v1, v2, or default)" in err


# --- verify ------------------------------------------------------------------------------


def test_verify_without_fetched_files(folder, capsys) -> None:
    assert run(capsys, "verify") == (0, "", "none of these weights are fetched\n")
    assert json.loads(run(capsys, "verify", "--json")[1]) == []


def test_verify_reports_damaged_file(folder, capsys) -> None:
    run(capsys, "fetch", "net", "v1")
    run(capsys, "fetch", "other")
    assert run(capsys, "verify")[0] == 0
    damaged, good = cached(folder, "net-v1"), cached(folder, "other")
    damaged.write_bytes(CONTENTS["net-v1"][:-1] + b"?")
    code, out, err = run(capsys, "verify")
    assert (code, err) == (1, "replace the file: lucid weights fetch net v1\n")
    assert [line.split() for line in out.splitlines()] == [
        ["MODEL", "TAG", "RESULT", "PATH"],
        ["net", "v1", "damaged", str(damaged)],
        ["other", "shapes", "ok", str(good)],
    ]
    code, out, _ = run(capsys, "verify", "--json")
    assert code == 1
    assert json.loads(out) == [
        {"model": "net", "tag": "v1", "path": str(damaged), "ok": False},
        {"model": "other", "tag": "shapes", "path": str(good), "ok": True},
    ]
    assert run(capsys, "verify", "other")[0] == 0
    run(capsys, "fetch", "net", "v1")  # the advice
    assert run(capsys, "verify")[0] == 0


# --- remove ------------------------------------------------------------------------------


def test_remove_default(folder, capsys) -> None:
    run(capsys, "fetch", "net", "v1")
    run(capsys, "fetch", "net", "v2")
    assert run(capsys, "remove", "net") == (0, "removed 1 file, 0.1 MiB freed\n", "")
    assert [path.name for path in folder.glob("*.npz")] == [cached(folder, "net-v1").name]
    assert run(capsys, "remove", "net") == (0, "", "net v2 is not fetched\n")


def test_remove_all(folder, capsys) -> None:
    run(capsys, "fetch", "net", "v1")
    run(capsys, "fetch", "other")
    code, out, _ = run(capsys, "remove", "--all", "--json")
    assert code == 0
    assert json.loads(out) == [
        {"model": "net", "tag": "v1", "path": str(cached(folder, "net-v1")), "bytes": 100_000},
        {"model": "other", "tag": "shapes", "path": str(cached(folder, "other")), "bytes": 100_000},
    ]
    assert not list(folder.glob("*.npz"))
    assert run(capsys, "remove", "--all") == (0, "", "no weights are fetched\n")


@pytest.mark.parametrize("arguments", [(), ("net", "--all")])
def test_remove_takes_model_or_all(folder, capsys, arguments: tuple[str, ...]) -> None:
    run(capsys, "fetch", "net")
    code, out, err = run(capsys, "remove", *arguments)
    assert (code, out) == (2, "")
    assert "either MODEL or --all" in err
    assert cached(folder, "net-v2").is_file()


# --- other commands ----------------------------------------------------------------------


def test_info_shows_tags(folder, capsys) -> None:
    assert main(["info", "net"]) == 0
    assert "weights      v1, v2 (default)\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["download", "pull", "fetch"])
def test_name_of_other_tool(folder, capsys, name: str) -> None:
    assert main([name, "net"]) == 2
    assert capsys.readouterr().err.endswith("did you mean 'weights fetch'?\n")
