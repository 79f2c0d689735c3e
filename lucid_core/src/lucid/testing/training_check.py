"""The check that a model can be trained at all."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lucid.nn import Module, Parameter
from lucid.optim import Adam
from lucid.testing.example_batch import ExampleBatch, example_batch_of
from lucid.testing.model_under_test import CheckError, ModelUnderTest, seeded, wrap_errors
from lucid.training.losses import compute_losses, sum_losses

__all__ = ["check_training_step"]

#: pytest leaves the frames of the kit out: the message says what is wrong.
__tracebackhide__ = True

#: Adam's steps are about as long as its rate, whatever the scale of the loss.  The second
#: rate is for models that the first overshoots.
_RATES = (1e-3, 1e-5)
_STEPS = 6
#: By how much, relatively, a loss has to fall to be lower than before.
_LOWER = 1e-5


def check_training_step(tested: ModelUnderTest) -> None:
    """Some steps on one batch lower the loss, and every parameter gets a finite gradient.

    Random numbers (dropout, sampling) are drawn from the same start in every step, so
    that the loss is a function of the weights.  Frozen parameters are left out.

    Parameters
    ----------
    tested : ModelUnderTest
        The model.

    Raises
    ------
    CheckError
        If there is no batch to train on; if the loss is not finite or does not fall; or if
        a parameter gets no gradient or one that is not finite.
    CheckNotRunError
        If the model could not be built before.
    """
    losses: list[float] = []
    for rate in _RATES:
        model = tested.take().train()
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not trained:
            return
        with seeded():
            example = example_batch_of(tested.info, model)
        losses = _descend(model, trained, example, rate)
        if _fell(losses):
            return
    raise CheckError(
        f"{_STEPS} steps of Adam on one batch, at rates of {_RATES[0]:g} and then {_RATES[1]:g}, "
        f"did not lower the loss; it went from {losses[0]:.6g} to {losses[-1]:.6g}",
        "make sure that forward() uses the parameters by operations of lucid alone (what goes "
        "through numpy() or .data has no gradient), and that the batch can be learned",
    )


def _descend(
    model: Module, trained: Mapping[str, Parameter], example: ExampleBatch, rate: float
) -> list[float]:
    """Train until the loss is lower and every parameter was reached; return the losses.

    Raises
    ------
    CheckError
        If that is not possible: a parameter without a gradient, or one that is not finite.
    """
    optimizer = Adam(list(trained.values()), lr=rate)
    unreached = dict(trained)
    losses: list[float] = []
    for _ in range(_STEPS + 1):
        model.zero_grad()
        with (
            seeded(),
            wrap_errors(
                "the loss of a training batch",
                "make the model take its example batch in training mode; "
                "help('lucid.testing.example_batch') says what the batch of a task is",
            ),
        ):
            total, values = sum_losses(compute_losses(example.loss, model, example.batch))
        _check_finite(values)
        losses.append(float(total.item()))
        if _fell(losses) and not unreached:
            return losses
        if not total.requires_grad:
            raise CheckError(
                "the loss does not depend on any parameter",
                "compute it by operations of lucid from the parameters to the end: what goes "
                "through numpy(), .data or no_grad() has no gradient",
            )
        with wrap_errors(
            "backward() of the loss", "correct the derivative of the operation it names"
        ):
            total.backward()
        _check_gradients(trained)
        unreached = {name: p for name, p in unreached.items() if p.grad is None}
        optimizer.step()
    if unreached:
        names = sorted(unreached)
        raise CheckError(
            f"training does not reach {', '.join(names[:3])}"
            f"{f' and {len(names) - 3} more' if len(names) > 3 else ''}: no gradient",
            "use them in forward(), freeze them by requires_grad_(False) in the builder, or "
            "declare an example_batch whose loss uses them",
        )
    return losses


def _fell(losses: list[float]) -> bool:
    return min(losses[1:], default=math.inf) < losses[0] - _LOWER * abs(losses[0])


def _check_finite(values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise CheckError(
                f"{name} is {value} in training",
                "look at the initial weights, and for a division or logarithm of 0 in the loss",
            )


def _check_gradients(trained: Mapping[str, Parameter]) -> None:
    for name, parameter in trained.items():
        if parameter.grad is not None and not np.isfinite(parameter.grad.numpy()).all():
            raise CheckError(
                f"the gradient of {name} is not finite",
                "look for an infinite slope (sqrt or norm at 0, log of 0) between it and the loss",
            )
