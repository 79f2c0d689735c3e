"""Check of training, and its example batches."""

from __future__ import annotations

import numpy as np
import pytest

from lucid.testing.plugin_checks import CheckError, check_training_step

#: A network with the given forward, which returns the loss.
NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 3)
        self.b = nn.Linear(3, 3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x, labels=None):
        {forward}

def net() -> Net:
    net = Net()
    {after}
    return net

def batch():
    return {batch}
"""
BATCH = "(lucid.random.randn(4, 2), lucid.tensor([0, 1, 2, 0]))"
LOSS = "return F.cross_entropy(self.b(self.dropout(self.a(x))), labels)"


@pytest.fixture
def net(toy):
    def install(forward: str = LOSS, *, after: str = "pass", batch: str = BATCH, **fields):
        fields = {"example_batch": "toy.builders:batch"} | fields
        return toy(NET.format(forward=forward, after=after, batch=batch), **fields)

    return install


def problem(tested) -> str:
    with pytest.raises(CheckError) as caught:
        check_training_step(tested)
    assert caught.value.advice
    return caught.value.problem


# --- passing models ----------------------------------------------------------------------


def test_model_that_returns_loss_passes(net) -> None:
    check_training_step(net())


def test_model_that_returns_dict_of_losses_passes(net) -> None:
    check_training_step(net("return {'one': self.a(x).mean(), 'two': self.b(self.a(x)).mean()}"))


def test_loss_of_example_batch_passes(net) -> None:
    check_training_step(
        net(
            "return self.b(self.a(x))",
            batch="ExampleBatch(lucid.random.randn(4, 2), lambda model, x: (model(x) ** 2).sum())\n"
            "from lucid.testing import ExampleBatch",
        )
    )


def test_classifier_with_example_batch_passes(net) -> None:
    forward = "return self.b(self.a(x))"
    check_training_step(net(forward, task="image-classification"))


def test_default_batch_of_classifier(net) -> None:
    tested = net(
        "assert x.shape[0] > 1 and x.shape[1:] == (2,); return self.b(self.dropout(self.a(x)))",
        task="image-classification",
        example_batch=None,
    )
    check_training_step(tested)


def test_default_batch_of_detector(net) -> None:
    tested = net(
        "assert x.shape == (2, 3, 8, 16) and len(labels) == 2\n"
        "        for target in labels:\n"
        "            x1, y1, x2, y2 = target['boxes'].T\n"
        "            assert (0 <= x1).all() and (x1 < x2).all() and (x2 <= 16).all()\n"
        "            assert (0 <= y1).all() and (y1 < y2).all() and (y2 <= 8).all()\n"
        "            assert (target['labels'] == 1).all()\n"
        "        y = self.b(self.a(x.mean(axis=(1, 2))[:, :2]))\n"
        "        return {'loss_box': (y ** 2).mean(), 'loss_class': y.mean()}",
        task="object-detection",
        example_batch=None,
        input_shape=(1, 3, 8, 16),
    )
    check_training_step(tested)


def test_frozen_parameters_are_skipped(net) -> None:
    loss = "return F.cross_entropy(self.a(x), labels)"
    check_training_step(net(loss, after="net.b.requires_grad_(False)"))


def test_frozen_model_passes(net) -> None:
    check_training_step(net("raise AssertionError", after="net.requires_grad_(False)"))


def test_smaller_learning_rate_is_tried(net) -> None:
    # A narrow valley: lr=1e-3 diverges, lr=1e-5 converges.
    after = "net.a.weight.data[:] = 1e-4; net.a.bias.data[:] = 1e-4"
    valley = "return sum((p ** 2).sum() for p in self.a.parameters()) * 1e6"
    check_training_step(net(valley, after=f"{after}; net.b.requires_grad_(False)"))


# --- failing models --------------------------------------------------------------------


def test_parameters_without_gradient_fail(net) -> None:
    message = problem(net("return F.cross_entropy(self.a(x), labels)"))
    assert message == "no gradient for b.bias, b.weight"


def test_loss_without_gradient_fails(net) -> None:
    tested = net("return lucid.tensor(F.cross_entropy(self.a(x), labels).numpy())")
    assert problem(tested) == "the loss does not depend on any parameter"


def test_constant_loss_fails(net) -> None:
    constant = "y = self.b(self.a(x)); return (y - y).sum() + 3.0"
    message = problem(net(constant))
    assert "from 3 to 3" in message


def test_non_finite_loss_fails(net) -> None:
    assert problem(net("return self.b(self.a(x)).sum() * float('inf')")).startswith("loss is ")


def test_non_finite_gradient_fails(net) -> None:
    # The derivative of the square root at 0 is infinite.
    with np.errstate(all="ignore"):
        message = problem(net("return ((self.b(self.a(x)) * 0).sum()) ** 0.5"))
    assert message == "the gradient of a.weight is not finite"


def test_output_that_is_not_a_loss_fails(net) -> None:
    assert "the loss of a training batch raised TypeError" in problem(net("return self.a(x)"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"example_batch": None}, "the task 'testing' has no default training batch"),
        ({"batch": "3"}, "expected toy.builders:batch to return a tuple, got 3"),
        ({"batch": "1 / 0"}, "example_batch 'toy.builders:batch' raised ZeroDivisionError"),
        ({"example_batch": "toy.builders:none"}, "example_batch 'toy.builders:none' raised"),
        ({"example_batch": "toy.none:batch"}, "raised ModuleNotFoundError"),
        (
            {"example_batch": None, "task": "object-detection"},
            "expected input_shape (N, C, H, W), got (1, 2)",
        ),
        (
            {"forward": "return x, x", "example_batch": None, "task": "image-classification"},
            "from an image classifier, got a tuple",
        ),
        (
            {
                "forward": "return self.a(x).reshape(-1, 3, 1)",
                "example_batch": None,
                "task": "image-classification",
            },
            "from an image classifier, got a Tensor of shape (4, 3, 1)",
        ),
        (
            {"forward": "return 1 / 0", "example_batch": None, "task": "image-classification"},
            "the model called with images of shape (4, 2) raised ZeroDivisionError",
        ),
    ],
)
def test_invalid_example_batch_fails(net, fields, expected) -> None:
    assert expected in problem(net(**fields))
