"""Tables of PyTorch names: each name is missing, and the code of each hint runs."""

from __future__ import annotations

import ast
import importlib
import re
from typing import Any

import numpy
import pytest
from PIL import Image

import lucid
from lucid.torch_names import ATTRIBUTES, KEYWORDS, KEYWORDS_OF, ORIGINS, POSITIONS

ROWS = [(owner, name) for owner, names in ATTRIBUTES.items() for name in names]


def owner_of(owner: str) -> Any:
    if owner == "Tensor":
        return lucid.ones(2, 3)
    if owner == "Generator":
        return lucid.random.Generator(0)
    if owner == "Module":
        return lucid.nn.Linear(3, 3)
    return importlib.import_module(owner)


def names() -> dict[str, Any]:
    """Names that code in hints may use."""
    model = lucid.nn.Linear(3, 3)
    return {
        "lucid": lucid,
        "numpy": numpy,
        "x": lucid.ones(2, 3),
        "y": lucid.full((2, 3), 2.0),
        "loss": lucid.ones(1, requires_grad=True).sum(),
        "images": lucid.ones(2, 3, 8, 8),
        "kernel": lucid.ones(4, 3, 1, 3),
        "index": lucid.tensor([1, 0]),
        "mask": lucid.tensor([[True, False, True], [False, False, True]]),
        "weight": lucid.ones(5, 3),
        "model": model,
        "child": lucid.nn.ReLU(),
        "hook": lambda module, args, output: None,
        "params": model.parameters(),
        "optimizer": lucid.optim.SGD(model.parameters(), 0.1),
        "generator": lucid.random.Generator(0),
        "dataset": list(range(4)),
        "image": Image.new("RGB", (4, 4)),
        "array": numpy.zeros((3, 4, 4), numpy.float32),
    }


def code_in(hint: str) -> list[str]:
    return re.findall(r"`([^`]+)`", hint)


def is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


def test_table_sizes_and_origins():
    assert len(ROWS) + len(KEYWORDS) > 200
    assert set(ORIGINS) == set(ATTRIBUTES)


@pytest.mark.parametrize("owner", ATTRIBUTES)
def test_missing_names_raise_with_hint(owner):
    value = owner_of(owner)
    assert set(dir(value)).isdisjoint(ATTRIBUTES[owner])
    for name, hint in ATTRIBUTES[owner].items():
        assert not hasattr(value, name), name
        with pytest.raises(AttributeError) as caught:
            getattr(value, name)
        message = str(caught.value)
        assert f"has no attribute {name!r}; " in message
        assert hint.replace("`", "") in message
        assert "\n" not in message
        assert "`" not in message


@pytest.fixture
def settings_as_before():
    """Restore the number of threads and the print options."""
    before = lucid.get_num_threads()
    with numpy.printoptions():
        yield
    lucid.set_num_threads(before)


@pytest.mark.usefixtures("settings_as_before")
@pytest.mark.parametrize(("owner", "name"), ROWS)
def test_code_in_hints_runs(owner, name):
    scope = names()
    for code in code_in(ATTRIBUTES[owner][name]):
        if code in ("forward", "torch.utils.data"):
            continue
        if "save" in code or "path" in code:
            assert callable(eval(code.partition("(")[0], scope))
            continue
        with lucid.no_grad() if "no_grad" in ATTRIBUTES[owner][name] else lucid.enable_grad():
            exec(code, scope)


def test_code_in_keyword_hints_is_valid():
    texts = [*KEYWORDS.values(), *(text for of in KEYWORDS_OF.values() for text in of.values())]
    for text in texts:
        for code in code_in(text):
            assert is_python(f"f({code}1)" if code.endswith("=") else code.lstrip(".")) or (
                is_python(f"f({code})")
            ), code


def callables() -> dict[str, set[str]]:
    """Parameter names of every public function, class and method."""
    import inspect

    found: dict[str, set[str]] = {"create_model": {"num_classes", "in_channels"}, "to": set()}
    modules = [
        "",
        ".nn",
        ".nn.functional",
        ".optim",
        ".optim.lr_scheduler",
        ".data",
        ".random",
        ".models",
        ".vision.transforms",
    ]
    owners: list[Any] = [importlib.import_module(f"lucid{name}") for name in modules]
    classes = [lucid.Tensor, lucid.nn.Module, lucid.random.Generator]
    for owner in [*owners, *classes, lucid.optim.lr_scheduler.LRScheduler]:
        for name in getattr(owner, "__all__", None) or dir(owner):
            value = getattr(owner, name)
            if callable(value) and not name.startswith("_"):
                try:
                    parameters = inspect.signature(value).parameters
                except ValueError:
                    continue
                found.setdefault(name, set()).update(parameters)
    return found


def test_positional_hints():
    for name, positions in POSITIONS.items():
        assert name in callables()
        for keyword in positions.values():
            assert keyword in KEYWORDS or keyword in callables()[name]


@pytest.mark.parametrize("keyword", [k for k, v in KEYWORDS.items() if v.isidentifier()])
def test_renamed_keywords_exist(keyword):
    assert any(KEYWORDS[keyword] in parameters for parameters in callables().values())


@pytest.mark.parametrize("function", list(KEYWORDS_OF))
def test_functions_with_own_hints_exist(function):
    assert function in callables()
