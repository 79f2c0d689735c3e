"""Everything public has a comparison with PyTorch: this module fails when something is added
without one.

What the comparisons name is read off their sources: the attributes of Lucid's modules and
tensors, and the strings by which tables name what they compare.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lucid
from lucid import nn, ops, optim
from lucid.nn import functional

#: Functions that are compared through the layer that calls them.
BY_LAYER = {
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
    "cross_entropy": "CrossEntropyLoss",
    "huber_loss": "HuberLoss",
    "l1_loss": "L1Loss",
    "mse_loss": "MSELoss",
    "nll_loss": "NLLLoss",
    "smooth_l1_loss": "SmoothL1Loss",
}
#: Public names of nn and optim that compute nothing of their own.
NOTHING_TO_COMPARE = {
    "LoadResult": "what loading a state dict returns",
    "Module": "the base class of layers",
    "ModuleDict": "holds modules",
    "ModuleList": "holds modules",
    "Parameter": "a tensor",
    "RemovableHandle": "what registering a hook returns",
    "functional": "a module; each of its functions is in this list",
    "init": "a module; random numbers are not PyTorch's",
    "utils": "a module; test_torch_optim.py has what is in it",
    "LRScheduler": "the base class of schedulers",
    "Optimizer": "the base class of optimizers",
    "lr_scheduler": "a module; each of its classes is in this list",
}
#: Names of other libraries.
OTHERS = {"Theirs", "np", "pytest", "theirs", "torch", "warnings"}


def root(node: ast.AST) -> str | None:
    """First name of a chain of attributes and calls."""
    while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def named(source: str) -> set[str]:
    """Names of Lucid used in a module."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and root(node) not in OTHERS:
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
        elif isinstance(node, ast.FunctionDef):  # tables may go by the names of what draws
            names.add(node.name)
    return names


@pytest.fixture(scope="module")
def compared() -> set[str]:
    here = Path(__file__)
    sources = set(here.parent.glob("test_torch_*.py")) - {here}
    return set().union(*(named(path.read_text(encoding="utf-8")) for path in sources))


def test_names_used_in_sources() -> None:
    source = "def conv2d(): ...\ncompare(lucid.exp, torch.sin, x.tanh(), getattr(lucid, 'cos'))"
    assert named(source) == {"conv2d", "exp", "tanh", "cos"}


def test_every_operation_is_compared(compared: set[str]) -> None:
    assert set(ops.__all__) - compared == set()


def test_every_function_is_compared(compared: set[str]) -> None:
    through_layers = {name for name, layer in BY_LAYER.items() if layer in compared}
    assert set(functional.__all__) - compared - through_layers == set()
    assert set(BY_LAYER) <= set(functional.__all__)


def test_every_layer_loss_optimizer_and_scheduler_is_compared(compared: set[str]) -> None:
    public = {*nn.__all__, *optim.__all__, *optim.lr_scheduler.__all__}
    assert public - compared - set(NOTHING_TO_COMPARE) == set()
    assert set(NOTHING_TO_COMPARE) <= public


def test_every_method_is_a_compared_operation() -> None:
    """Methods delegate to the operation of their name, so one comparison suffices."""
    methods = {
        name
        for name, value in vars(lucid.Tensor).items()
        if callable(value) and not name.startswith("_")
    }
    others = {
        "backward": "test_torch_*.py call it everywhere",
        "copy_": "writes into a tensor",
        "detach": "cuts the graph",
        "double": "astype",
        "fill_": "writes into a tensor",
        "float": "astype",
        "item": "leaves Lucid",
        "mark_changed": "counts",
        "numpy": "leaves Lucid",
        "requires_grad_": "sets a flag",
        "to": "astype",
        "tolist": "leaves Lucid",
        "view": "reshape",
        "zero_": "writes into a tensor",
    }
    assert methods - set(ops.__all__) == set(others)
