"""Stack level of warnings."""

from __future__ import annotations

import pytest

from lucid.hints import add_hints


def test_find_stack_level():
    source = (
        "import warnings\n"
        "from lucid.errors import find_stack_level\n"
        "__all__ = ['warn']\n"
        "def warn(times=1):\n"
        "    if times > 1:\n"
        "        return warn(times - 1)\n"
        "    warnings.warn('here', UserWarning, stacklevel=find_stack_level())\n"
    )
    namespace = {"__name__": "lucid.made_up"}
    exec(compile(source, "made_up.py", "exec"), namespace)
    plain = namespace["warn"]
    add_hints(namespace)
    assert namespace["warn"] is not plain
    for function, times in ((plain, 1), (plain, 3), (namespace["warn"], 1), (namespace["warn"], 2)):
        with pytest.warns(UserWarning, match="here") as caught:
            function(times)
        assert caught[0].filename == __file__
