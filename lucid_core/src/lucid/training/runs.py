"""The folder of a training that is begun, and gone on with, by its options alone.

A command that trains keeps everything in one folder: ``run.json`` (what it was begun
with), and what :class:`~lucid.training.Trainer` writes, ``last.safetensors``,
``best.safetensors`` and ``metrics.csv``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from lucid.errors import WeightFileError
from lucid.training.checkpoint import load_checkpoint
from lucid.training.trainer import BEST, LAST, Trainer
from lucid.weights import atomic_write

__all__ = ["RunFolder"]

DESCRIPTION = "run.json"

Options = TypeVar("Options")


class RunFolder:
    """Where a training keeps its files, and what it was begun with.

    Parameters
    ----------
    path : path-like
        The folder; :meth:`begin` makes it.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    last : pathlib.Path
        The state to resume from.
    best : pathlib.Path
        The best model.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.last = self.path / LAST
        self.best = self.path / BEST
        self._description = self.path / DESCRIPTION
        self._begun = False

    @property
    def has_state(self) -> bool:
        """Whether there is a state to go on from; :meth:`train` saves one at once."""
        return self.last.exists()

    def check_free(self) -> None:
        """Refuse to begin where that would lose a training.

        Raises
        ------
        ValueError
            If the folder holds a training that has made a step.
        """
        if self.has_state and self._has_steps():
            raise ValueError(
                f"{self.path}: holds a training already; go on with it by --resume, or give "
                "another --output"
            )

    def _has_steps(self) -> bool:
        try:
            return bool(load_checkpoint(self.last)["step"])
        except (WeightFileError, LookupError):  # somebody may still want what is left of it
            return True

    def begin(self, options: Any, facts: Mapping[str, Any]) -> None:
        """Write down what the training begins with; the first state of another one goes.

        Parameters
        ----------
        options : dataclass
            What its user chose.
        facts : mapping
            What came of it and must stay: plain data.

        Raises
        ------
        ValueError
            As of :meth:`check_free`: another training may have been quicker.
        """
        self.check_free()
        record = {"options": asdict(options), **facts}
        text = json.dumps(record, indent=2, ensure_ascii=False)
        self.path.mkdir(parents=True, exist_ok=True)
        self.last.unlink(missing_ok=True)
        with atomic_write(self._description) as file:
            file.write(text.encode())
        self._begun = True

    def begun_with(
        self, kind: type[Options], facts: Sequence[str], given: Mapping[str, Any]
    ) -> tuple[Options, dict[str, Any]]:
        """What the training was begun with.

        Parameters
        ----------
        kind : type
            Of the options.
        facts : sequence of str
            The names of the facts.
        given : mapping
            Options that were given again; they must be what they were.

        Returns
        -------
        options : dataclass
        facts : dict

        Raises
        ------
        ValueError
            If there is no training, its description is damaged, or an option is another
            than it was.
        """
        if not self._description.exists():
            raise ValueError(f"{self.path}: holds no training to resume, {DESCRIPTION} is missing")
        try:
            record = json.loads(self._description.read_text(encoding="utf-8"))
            options = kind(**record["options"])
            kept = {name: record[name] for name in facts}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self._description}: damaged: {error}") from None
        for name, value in given.items():
            if value != getattr(options, name):
                raise ValueError(
                    f"{self.path}: the training began with {name} {getattr(options, name)!r}, got "
                    f"{value!r}; it can only go on as it began"
                )
        return options, kept

    def train(self, trainer: Trainer) -> list[dict[str, Any]]:
        """Train to the end, from the state in the folder or else from the first step.

        The state of the first step is saved, too, for it may hold weights that came from
        another file: from then on a training that is killed needs nothing but its folder.

        Parameters
        ----------
        trainer : Trainer
            The loop, whose ``directory`` is this folder.

        Returns
        -------
        list of dict
            The history, as of :meth:`Trainer.fit`.

        Raises
        ------
        ValueError
            If it was begun here, and another training has made a step in the folder since.
        """

        def begin() -> None:
            if self._begun:
                self.check_free()
            if self._begun or not self.has_state:
                trainer.save()
            self._begun = False

        # Rank 0 answers for all: others may see its file late, on a file system of a network.
        trainer.communicator.from_main(begin)
        return trainer.fit(resume=True)
