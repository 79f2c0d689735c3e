"""The limit on pixels that the environment sets."""

from __future__ import annotations

import pytest

from lucid.vision.pixel_limit import MAX_PIXELS_VARIABLE, default_max_pixels, pixel_limit


def test_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, " 1000 ")
    assert default_max_pixels() == 1000
    for value in ("", " "):
        monkeypatch.setenv(MAX_PIXELS_VARIABLE, value)
        assert default_max_pixels() is None


def test_limit_that_is_not_a_positive_integer_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("many", "-1", "0", "1.5"):
        monkeypatch.setenv(MAX_PIXELS_VARIABLE, value)
        with pytest.raises(ValueError, match=f"{MAX_PIXELS_VARIABLE}: .*'{value}'"):
            default_max_pixels()


@pytest.mark.parametrize("value", [0, -1, 1.5, "1000"])
def test_argument_that_is_not_a_positive_integer_is_rejected(value: object) -> None:
    with (
        pytest.raises(ValueError, match="max_pixels: expected a positive integer"),
        pixel_limit(value),
    ):
        pass
