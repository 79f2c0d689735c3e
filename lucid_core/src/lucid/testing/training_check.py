"""Check that a model can be trained."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lucid.nn import Module, Parameter
from lucid.optim import Adam
from lucid.testing.example_batch import ExampleBatch, example_batch_of
from lucid.testing.tested_model import CheckError, ModelUnderTest, seeded, wrap_errors
from lucid.training.losses import compute_losses, sum_losses

__all__ = ["check_training_step"]

#: Hide these frames in pytest's tracebacks: the message is enough.
__tracebackhide__ = True

#: Learning rates of Adam; the second is for models that diverge with the first.
_RATES = (1e-3, 1e-5)
_STEPS = 6
#: Minimum relative decrease of the loss.
_MIN_DECREASE = 1e-5


def check_training_step(tested: ModelUnderTest) -> None:
    """Check that training on one batch lowers the loss and gives all parameters finite gradients.

    Each step uses the same seed for dropout and sampling, so that the loss is a function of the
    weights.  Frozen parameters are skipped.

    Parameters
    ----------
    tested : ModelUnderTest
        Model under test.
    """
    losses: list[float] = []
    for rate in _RATES:
        model = tested.pop_model().train()
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not trained:
            return
        with seeded():
            example = example_batch_of(tested.info, model)
        losses = _train(model, trained, example, rate)
        if _decreased(losses):
            return
    raise CheckError(
        f"{_STEPS} steps of Adam on one batch, with lr={_RATES[0]:g} and lr={_RATES[1]:g}, did not "
        f"lower the loss: it went from {losses[0]:.6g} to {losses[-1]:.6g}",
        "compute the loss with lucid operations only (numpy() and .data have no gradient), and "
        "use a batch that can be learned",
    )


def _train(
    model: Module, trained: Mapping[str, Parameter], example: ExampleBatch, rate: float
) -> list[float]:
    """Train until the loss decreased and all parameters got a gradient; return the losses."""
    optimizer = Adam(list(trained.values()), lr=rate)
    without_gradient = dict(trained)
    losses: list[float] = []
    for _ in range(_STEPS + 1):
        model.zero_grad()
        with (
            seeded(),
            wrap_errors(
                "the loss of a training batch",
                "accept the example batch in training mode; help('lucid.testing.example_batch') "
                "describes the batch of each task",
            ),
        ):
            total, values = sum_losses(compute_losses(example.loss, model, example.batch))
        _check_finite(values)
        losses.append(float(total.item()))
        if _decreased(losses) and not without_gradient:
            return losses
        if not total.requires_grad:
            raise CheckError(
                "the loss does not depend on any parameter",
                "compute it with lucid operations only: numpy(), .data and no_grad() have no "
                "gradient",
            )
        with wrap_errors("backward() of the loss", "correct the vjp of the operation in the error"):
            total.backward()
        _check_gradients(trained)
        without_gradient = {name: p for name, p in without_gradient.items() if p.grad is None}
        optimizer.step()
    if without_gradient:
        names = sorted(without_gradient)
        raise CheckError(
            f"no gradient for {', '.join(names[:3])}"
            f"{f' and {len(names) - 3} more' if len(names) > 3 else ''}",
            "use them in forward(), freeze them with requires_grad_(False) in the builder, or "
            "declare an example_batch whose loss uses them",
        )
    return losses


def _decreased(losses: list[float]) -> bool:
    return min(losses[1:], default=math.inf) < losses[0] - _MIN_DECREASE * abs(losses[0])


def _check_finite(values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise CheckError(
                f"{name} is {value} in training",
                "check the initial weights, and divisions by and logarithms of 0 in the loss",
            )


def _check_gradients(trained: Mapping[str, Parameter]) -> None:
    for name, parameter in trained.items():
        if parameter.grad is not None and not np.isfinite(parameter.grad.numpy()).all():
            raise CheckError(
                f"the gradient of {name} is not finite",
                "check for infinite derivatives (sqrt or norm at 0, log of 0) in the loss",
            )
