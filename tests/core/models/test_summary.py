"""Layers, shapes and counts against values computed by hand."""

from __future__ import annotations

import pytest

import lucid
from lucid import models, nn


class Shared(nn.Module):
    """Calls one layer twice and another never, and has its own parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(lucid.ones(3))
        self.twice = nn.Linear(3, 3)
        self.again = self.twice
        self.never = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        y = self.drop(self.again(self.twice(x)) * self.scale)
        return {"out": y, "parts": [y, y[:1]]}


def test_layers_and_multiply_adds_of_small_network() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1, groups=2, bias=False),
        nn.ConvTranspose2d(4, 2, 2, stride=2),
        nn.Flatten(),
        nn.Linear(2 * 8 * 8, 10),
    )
    summary = models.summarize(model, (2, 3, 8, 8))
    rows = [
        (r.name, r.kind, r.output_shapes, r.parameters, r.multiply_adds) for r in summary.layers
    ]
    assert rows == [
        ("0", "Conv2d", ((2, 8, 4, 4),), 8 * 3 * 9 + 8, 2 * 8 * 4 * 4 * 3 * 9),
        ("1", "ReLU", ((2, 8, 4, 4),), 0, 0),
        ("2", "Conv2d", ((2, 4, 4, 4),), 4 * 4, 2 * 4 * 4 * 4 * 4),
        ("3", "ConvTranspose2d", ((2, 2, 8, 8),), 4 * 2 * 4 + 2, 2 * 4 * 4 * 4 * 2 * 4),
        ("4", "Flatten", ((2, 128),), 0, 0),
        ("5", "Linear", ((2, 10),), 1290, 2 * 10 * 128),
    ]
    assert summary.parameters == model.parameter_size == sum(r[3] for r in rows)
    assert summary.multiply_adds == sum(r[4] for r in rows)


def test_fused_conv_is_counted_once() -> None:
    unit = nn.ConvNormAct(3, 4, 3)
    summary = models.summarize(unit, (1, 3, 5, 5))
    assert summary.multiply_adds == 4 * 25 * 3 * 9
    assert summary.parameters == 4 * 27 + 8


class Folded(nn.ConvNormAct):
    """Computes without calling its children, like a module folded for inference."""

    def forward(self, x, residual=None):
        return lucid.conv2d(x, self.conv.weight, padding=1)


def test_module_that_does_not_call_children_is_one_row() -> None:
    (row,) = models.summarize(Folded(3, 4, 3), (1, 3, 5, 5)).layers
    assert (row.kind, row.parameters, row.multiply_adds) == ("Folded", 4 * 27 + 8, 4 * 25 * 3 * 9)


def test_shared_and_uncalled_layers() -> None:
    model = Shared()
    summary = models.summarize(model, (5, 3))
    rows = {r.name: r for r in summary.layers}
    assert list(rows) == ["", "twice", "never.0", "drop"]
    assert (rows[""].parameters, rows[""].output_shapes) == (3, ((5, 3), (5, 3), (1, 3)))
    assert (rows["twice"].calls, rows["twice"].parameters) == (2, 12)
    assert rows["twice"].multiply_adds == 2 * 5 * 9
    assert (rows["never.0"].calls, rows["never.0"].parameters) == (0, 8)
    assert summary.parameters == 3 + 12 + 8
    assert summary.parameter_size == model.parameter_size == 3 + 12 + 12 + 8
    text = str(summary)
    assert "(not called)" in text
    assert "(5, 3) x2" in text
    assert "23 (23 trainable)" in text
    assert "35 (shared parameters under every name)" in text


def test_shared_parameter_counts_in_first_layer() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    summary = models.summarize(model, (1, 3))
    assert [(row.parameters, row.multiply_adds) for row in summary.layers] == [(12, 9), (3, 9)]
    assert summary.parameters == 15


def test_model_is_unchanged() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    model[0].eval()
    model[1].weight.requires_grad_(False)
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    summary = models.summarize(model, [2, 1, 4, 4])
    assert [module.training for module in model] == [False, True, True]
    assert all((before[name] == t.numpy()).all() for name, t in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert summary.trainable_parameters == summary.parameters - 2


def test_hooks_and_mode_are_restored_after_error() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="3"):
        models.summarize(model, (1, 4))
    assert model.training
    assert not model[0]._forward_hooks


def test_float64_model_gets_float64_input() -> None:
    assert models.summarize(nn.Linear(2, 2).to("float64"), (1, 2)).parameters == 6


@pytest.mark.parametrize("shape", [(), (1, 0), (1, 2.5), "1,2", 4, (1, "a")])
def test_invalid_shape_is_rejected(shape: object) -> None:
    with pytest.raises(ValueError, match="input_shape") as caught:
        models.summarize(nn.Linear(2, 2), shape)
    assert repr(shape) in str(caught.value)


def test_non_module_is_rejected() -> None:
    with pytest.raises(TypeError, match="got function"):
        models.summarize(lambda x: x, (1, 2))


def test_table_is_aligned_and_names_model(environment) -> None:
    environment.add("toy", "toy_net")
    text = str(models.summarize(models.create_model("toy_net"), (4, 2)))
    assert text == "\n".join(
        [
            "layer    type    output  parameters  multiply-adds",
            "--------------------------------------------------",
            "(model)  Linear  (4, 2)           6             16",
            "--------------------------------------------------",
            "toy_net on an input of shape (4, 2)",
            "parameters:     6 (6 trainable)",
            "multiply-adds:  16",
        ]
    )


def test_model_with_targets_runs_predict() -> None:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 5)

        def forward(self, images, targets):
            raise AssertionError

        def predict(self, images):
            return self.layer(images)

    assert lucid.models.summarize(Detector(), (2, 3)).multiply_adds == 2 * 3 * 5
