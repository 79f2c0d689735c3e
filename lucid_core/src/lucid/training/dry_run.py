"""Training-mode forward passes that leave the model unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lucid import random
from lucid.autograd import no_grad
from lucid.nn import Module

__all__ = ["dry_run"]


@contextmanager
def dry_run(model: Module) -> Iterator[Module]:
    """Set training mode without gradients; restore the model at the end of the block.

    Running statistics, the mode of each submodule and the state of :mod:`lucid.random` are
    restored.

    Parameters
    ----------
    model : lucid.nn.Module
        Model to run.

    Examples
    --------
    >>> import lucid
    >>> from lucid.training.dry_run import dry_run
    >>> norm = lucid.nn.BatchNorm2d(3).eval()
    >>> with dry_run(norm) as model:
    ...     _ = model(lucid.random.rand(2, 3, 4, 4))
    >>> norm.training, norm.running_mean.tolist()
    (False, [0.0, 0.0, 0.0])
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.numpy().copy()) for buffer in model.buffers()]
    generator = random.get_state()
    try:
        with no_grad():
            yield model.train()
    finally:
        for buffer, values in buffers:
            buffer.copy_(values)
        random.set_state(generator)
        for module, training in modes:
            module.training = training
