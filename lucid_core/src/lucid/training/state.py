"""Everything that the rest of a training depends on: taken between two steps, put back whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lucid import random
from lucid.errors import WeightFileError
from lucid.training.checkpoint import load_checkpoint

if TYPE_CHECKING:
    from lucid.training.trainer import Trainer

__all__ = ["restore", "resume", "state_of"]

_COUNTS = ("epoch", "step", "batch", "best")


def state_of(trainer: Trainer, marked: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a training; ``marked`` is what :func:`mark` gave after the last step."""
    return {
        "model_name": trainer.model.model_name,
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": None if trainer.scheduler is None else trainer.scheduler.state_dict(),
        "callbacks": [callback.state_dict() for callback in trainer.callbacks],
        **{name: getattr(trainer, name) for name in _COUNTS},
        "sums": trainer.sums,
        "history": trainer.history,
        **marked,
    }


def mark(trainer: Trainer) -> dict[str, Any]:
    """Where everything random stands.

    Noted between steps rather than when a checkpoint is written: an interrupt
    may come when the next batch was taken already, or within a validation.
    """
    marked = {"random": random.get_state(), "loader": None}
    if hasattr(trainer.loader, "state_dict"):
        marked["loader"] = trainer.loader.state_dict()
    return marked


def resume(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Continue from a checkpoint file, which rank 0 reads; if it does not fit, nothing changes."""
    state = trainer.communicator.from_main(lambda: load_checkpoint(path))
    try:
        restore(trainer, state)
    except (ValueError, LookupError, TypeError) as error:
        theirs = state.get("model_name") or "a model without a name"
        ours = trainer.model.model_name or type(trainer.model).__name__
        raise WeightFileError(
            f"{os.fspath(path)}: the training of {theirs} in it cannot go on as that of {ours}: "
            f"{error}"
        ) from error


def restore(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Put a state back; if part of it does not fit, everything stays as it was."""
    if (state["scheduler"] is None) != (trainer.scheduler is None):
        raise ValueError("one of the two has a scheduler, the other has none")
    if len(state["callbacks"]) != len(trainer.callbacks):
        raise ValueError(
            f"it had {len(state['callbacks'])} callbacks, there are {len(trainer.callbacks)} now"
        )
    parts: list[tuple[Any, Any]] = [
        (trainer.model, state["model"]),
        (trainer.optimizer, state["optimizer"]),
    ]
    if trainer.scheduler is not None:
        parts.append((trainer.scheduler, state["scheduler"]))
    if state["loader"] is not None and hasattr(trainer.loader, "load_state_dict"):
        parts.append((trainer.loader, state["loader"]))
    parts.extend(zip(trainer.callbacks, state["callbacks"], strict=True))

    before = [(part, part.state_dict()) for part, _ in parts]
    # The model's is the only one whose values are written over in place.
    before[0] = (trainer.model, {k: v.clone() for k, v in trainer.model.state_dict().items()})
    random_before = random.get_state()
    try:
        random.set_state(state["random"])
        for part, saved in parts:
            part.load_state_dict(saved)
        counts = {name: state[name] for name in _COUNTS}
        sums = dict(state["sums"])
        history = [dict(row) for row in state["history"]]
    except BaseException:
        for part, saved in before:
            part.load_state_dict(saved)
        random.set_state(random_before)
        raise
    for name, value in counts.items():
        setattr(trainer, name, value)
    trainer.sums = sums
    trainer.history = history
