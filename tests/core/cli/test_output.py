"""What commands write."""

from __future__ import annotations

import json

import pytest

from lucid.cli.output import printable, printable_lines, write_json, write_table


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"map": float("nan"), "rows": [(1.5, float("inf")), "é"]})
    out = capsys.readouterr().out
    assert out.isascii()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(out, parse_constant=refuse) == {"map": None, "rows": [[1.5, None], "é"]}


def test_text_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("猫 é [1]") == "猫 é [1]"
    assert printable("a\nb\x1b[0m\udcff\t") == r"a\nb\x1b[0m\udcff\t"
    assert printable_lines("one:\n\n  two\tthree\r\n") == "one:\n  two   three"
    write_table([("a\nb", "c"), ("longer", "d")])
    assert capsys.readouterr().out == "a\\nb    c\nlonger  d\n"
