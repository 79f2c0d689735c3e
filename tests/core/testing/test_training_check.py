"""What the kit says of models that do not train, and which batches it trains on."""

from __future__ import annotations

import numpy as np
import pytest

from lucid.testing.plugin_checks import CheckError, check_training_step

#: A net whose forward is given; the loss of a task of its own is what it returns.
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


# --- models that train -------------------------------------------------------------------


def test_a_task_of_its_own_where_the_model_gives_the_loss(net) -> None:
    check_training_step(net())


def test_several_losses_by_name(net) -> None:
    check_training_step(net("return {'one': self.a(x).mean(), 'two': self.b(self.a(x)).mean()}"))


def test_a_loss_that_comes_with_the_batch(net) -> None:
    check_training_step(
        net(
            "return self.b(self.a(x))",
            batch="ExampleBatch(lucid.random.randn(4, 2), lambda model, x: (model(x) ** 2).sum())\n"
            "from lucid.testing import ExampleBatch",
        )
    )


def test_images_and_labels_of_a_classifier(net) -> None:
    forward = "return self.b(self.a(x))"
    check_training_step(net(forward, task="image-classification"))


def test_the_default_batch_of_a_classifier(net) -> None:
    tested = net(
        "assert x.shape[0] > 1 and x.shape[1:] == (2,); return self.b(self.dropout(self.a(x)))",
        task="image-classification",
        example_batch=None,
    )
    check_training_step(tested)


def test_the_default_batch_of_a_detector(net) -> None:
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


def test_frozen_parameters_are_left_out(net) -> None:
    loss = "return F.cross_entropy(self.a(x), labels)"
    check_training_step(net(loss, after="net.b.requires_grad_(False)"))


def test_there_is_nothing_to_train_where_all_is_frozen(net) -> None:
    check_training_step(net("raise AssertionError", after="net.requires_grad_(False)"))


def test_a_loss_that_long_steps_overshoot(net) -> None:
    # A narrow valley: steps of a thousandth lead away from it, steps of 1e-5 down.
    after = "net.a.weight.data[:] = 1e-4; net.a.bias.data[:] = 1e-4"
    valley = "return sum((p ** 2).sum() for p in self.a.parameters()) * 1e6"
    check_training_step(net(valley, after=f"{after}; net.b.requires_grad_(False)"))


# --- models that do not --------------------------------------------------------------------


def test_parameters_that_are_not_reached(net) -> None:
    said = problem(net("return F.cross_entropy(self.a(x), labels)"))
    assert said == "training does not reach b.bias, b.weight: no gradient"


def test_a_loss_without_a_gradient(net) -> None:
    tested = net("return lucid.tensor(F.cross_entropy(self.a(x), labels).numpy())")
    assert problem(tested) == "the loss does not depend on any parameter"


def test_a_loss_that_does_not_fall(net) -> None:
    constant = "y = self.b(self.a(x)); return (y - y).sum() + 3.0"
    said = problem(net(constant))
    assert "did not lower the loss; it went from 3 to 3" in said


def test_a_loss_that_is_not_finite(net) -> None:
    assert problem(net("return self.b(self.a(x)).sum() * float('inf')")).startswith("loss is ")


def test_a_gradient_that_is_not_finite(net) -> None:
    # The square root of 0 has no finite slope.
    with np.errstate(all="ignore"):
        said = problem(net("return ((self.b(self.a(x)) * 0).sum()) ** 0.5"))
    assert said == "the gradient of a.weight is not finite"


def test_an_output_that_is_no_loss(net) -> None:
    assert "the loss of a training batch raised TypeError" in problem(net("return self.a(x)"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"example_batch": None}, "there is no default training batch for the task 'testing'"),
        ({"batch": "3"}, "toy.builders:batch returned 3"),
        ({"batch": "1 / 0"}, "example_batch 'toy.builders:batch' raised ZeroDivisionError"),
        ({"example_batch": "toy.builders:none"}, "example_batch 'toy.builders:none' raised"),
        ({"example_batch": "toy.none:batch"}, "raised ModuleNotFoundError"),
        (
            {"example_batch": None, "task": "object-detection"},
            "input_shape (1, 2) is no batch of images (N, C, H, W)",
        ),
        (
            {"forward": "return x, x", "example_batch": None, "task": "image-classification"},
            "an image classifier gives logits (N, num_classes), this one a tuple",
        ),
        (
            {
                "forward": "return self.a(x).reshape(-1, 3, 1)",
                "example_batch": None,
                "task": "image-classification",
            },
            "gives logits (N, num_classes), this one a Tensor of shape (4, 3, 1)",
        ),
        (
            {"forward": "return 1 / 0", "example_batch": None, "task": "image-classification"},
            "the model called with images of shape (4, 2) raised ZeroDivisionError",
        ),
    ],
)
def test_a_batch_with_a_fault(net, fields, said) -> None:
    assert said in problem(net(**fields))
