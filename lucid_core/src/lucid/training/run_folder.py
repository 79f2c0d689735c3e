"""Folder of a training run that its options alone start, and that can be resumed.

A command that trains keeps everything in one folder: ``run.json`` (the options and what
followed from them), ``run_images.json``, and what :class:`~lucid.training.Trainer`
writes: ``last.safetensors``, ``best.safetensors`` and ``metrics.csv``.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from lucid.errors import WeightFileError
from lucid.training.callback import Callback
from lucid.training.checkpoint import load_checkpoint
from lucid.training.communicator import Communicator
from lucid.training.data_fingerprint import DataFingerprint
from lucid.training.run_files import BEST_MODEL, LAST_CHECKPOINT, METRICS_LOG, run_lock
from lucid.training.trainer import Trainer
from lucid.weights import atomic_write

__all__ = ["RunFolder", "comparison_note"]

RUN_JSON, IMAGES_JSON = "run.json", "run_images.json"

Options = TypeVar("Options", bound=Any)


def comparison_note(before: Mapping[str, Any] | None, opened: bool) -> str | None:
    """Say how far the images of a resumed run were compared, if not with certainty.

    Parameters
    ----------
    before : mapping or None
        The ``DataFingerprint.summary`` of when the run started, as far as it is known.
    opened : bool
        Whether the images were opened now.
    """
    if before is None or not before["images"]:
        return "started by Lucid 0.1.0, which recorded no image sizes: images were not compared"
    recorded = [images.get("contents") is not None for images in before["images"].values()]
    if opened and all(recorded):
        return None
    reason = "of --no-check-data" if not opened else "the run started with --no-check-data"
    return (
        f"images were compared by name and size only, because {reason}: an image of the same size "
        "with other content is not noticed"
    )


class RunFolder:
    """Folder of a run: its lock, its options, and the files of its training.

    Parameters
    ----------
    path : path-like
        The folder; made when a run starts.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    last : pathlib.Path
        The state to resume from.
    best : pathlib.Path
        The best model.
    lock : lucid.locks.FileLock
        Held from :meth:`locked` to the end of :meth:`train`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.last = self.path / LAST_CHECKPOINT
        self.best = self.path / BEST_MODEL
        self.lock = run_lock(self.path)
        self._run_json = self.path / RUN_JSON

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a state to resume from; :meth:`train` saves one at once."""
        return self.last.exists()

    @contextmanager
    def locked(self, communicator: Communicator, *, resume: bool) -> Iterator[None]:
        """Hold the folder's lock while a run is prepared; keep it for :meth:`train`.

        Parameters
        ----------
        communicator : Communicator
            The ranks, of which rank 0 takes the lock.
        resume : bool
            Whether a run that the folder contains is to be continued.

        Raises
        ------
        ValueError
            If another process trains in the folder, if there is no run to resume, or if a new
            run would overwrite an earlier one.
        OSError
            If the folder cannot be written to.
        """

        def take() -> None:
            if resume and not self._run_json.exists():  # nothing is made where nothing is
                raise ValueError(f"{self.path}: contains no run to resume, {RUN_JSON} is missing")
            self.lock.acquire()
            self._check_resumable() if resume else self._check_no_results()

        try:
            communicator.call_on_main(take)
            yield
        except BaseException:
            self.lock.release()
            raise

    def check_not_data_folder(self, name: str, data: str | None, *, within: bool = False) -> None:
        """Refuse a folder of data as the folder of the run.

        Parameters
        ----------
        name : str
            The option that names the data.
        data : str or None
            A folder of data.
        within : bool, default False
            Whether to refuse a folder inside it, too.

        Raises
        ------
        ValueError
            If the run would write into the data.
        """
        if data is None:
            return
        own, other = self.path.resolve(), Path(data).resolve()
        if own == other or (within and other in own.parents):
            raise ValueError(
                f"{self.path}: the output would be written into the data of "
                f"--{name.replace('_', '-')} ({data}); choose another --output"
            )

    def _check_no_results(self) -> None:
        """Refuse to start where that would overwrite the results of another run."""
        results = [path.name for path in (self.best, self.path / METRICS_LOG) if path.exists()]
        if self.has_checkpoint and self._has_steps():
            results.append(LAST_CHECKPOINT)
        if not self._is_run():
            own = (RUN_JSON, IMAGES_JSON)
            results += [name for name in own if (self.path / name).exists()]
        if not results:
            return
        if self._run_json.exists() and self.has_checkpoint:
            remedy = "continue it with --resume, or choose another --output"
            raise ValueError(f"{self.path}: already contains a run; {remedy}")
        raise ValueError(
            f"{self.path}: already contains {', '.join(results)}, which a run would overwrite; "
            "choose another --output"
        )

    def _check_resumable(self) -> None:
        """Refuse to resume a run that has lost its state: it would start again from nothing."""
        results = [path.name for path in (self.best, self.path / METRICS_LOG) if path.exists()]
        if results and not self.has_checkpoint:
            raise ValueError(
                f"{self.path}: cannot resume the run, {LAST_CHECKPOINT} is missing; to train from "
                f"{BEST_MODEL}, start a new run with --weights {self.best}"
            )

    def _is_run(self) -> bool:
        """Whether the description in the folder is one of a run, and not some other file."""
        try:
            return isinstance(self._read()["options"], dict)
        except (OSError, ValueError, LookupError):
            return False

    def _has_steps(self) -> bool:
        try:
            return bool(load_checkpoint(self.last)["step"])
        except (WeightFileError, LookupError):  # somebody may still want what is left of it
            return True

    def start(self, options: Any, metadata: Mapping[str, Any], data: DataFingerprint) -> None:
        """Write down what the run starts with.

        Called within :meth:`locked`; the first state of a run that made no step is removed.

        Parameters
        ----------
        options : dataclass
            What the user chose.
        metadata : mapping
            What followed from the options and must stay: plain data.
        data : DataFingerprint
            What is trained on.
        """
        self.last.unlink(missing_ok=True)
        data.save(self.path / IMAGES_JSON)
        self._write({"options": asdict(options), **metadata, "data": data.summary()})

    def _write(self, record: Mapping[str, Any]) -> None:
        with atomic_write(self._run_json) as file:
            file.write(json.dumps(record, indent=2, ensure_ascii=False).encode())

    def _read(self) -> dict[str, Any]:
        try:
            record = json.loads(self._run_json.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{self._run_json}: damaged: {error}") from None
        if not isinstance(record, dict):
            raise ValueError(f"{self._run_json}: damaged: expected a JSON object")
        return record

    def load_options(
        self,
        kind: type[Options],
        metadata_keys: Sequence[str],
        given: Mapping[str, Any],
        paths: Sequence[str] = (),
        start_files: Sequence[str] = (),
    ) -> tuple[Options, dict[str, Any]]:
        """Load the options that the run started with.

        Parameters
        ----------
        kind : type
            Dataclass of the options.
        metadata_keys : sequence of str
            Required keys of the recorded metadata.
        given : mapping
            Options that were given again.  They must be what they were, except paths.
        paths : sequence of str, default ()
            Options that name data.  Given again, they say where the data are now;
            :meth:`check_data` compares the content.
        start_files : sequence of str, default ()
            Options that name a file whose weights the run started from.  Such a file may be
            missing by now; given again, its content is compared as well.

        Returns
        -------
        options : dataclass
            With the paths that were given.
        metadata : dict
            All that was written down.  ``"data"`` is None for a run of Lucid 0.1.0.

        Raises
        ------
        ValueError
            If the record is damaged, an option differs, or data are not where they were.
        """
        record = {"data": None, **self._read()}
        self._check_command(kind, record.get("options"))
        try:
            options = kind(**record["options"])
            if missing := [name for name in metadata_keys if name not in record]:
                raise KeyError(missing[0])
            if record["data"] is not None:
                digests = dict(record["data"]["files"])
                _ = record["data"]["images"].items()
            else:
                digests = {}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{self._run_json}: damaged: {error}") from None
        movable = {*paths, *(name for name in start_files if name in digests)}
        moved = {}
        for name, value in given.items():
            before = getattr(options, name)
            if name in movable and before is not None and value is not None:
                moved[name] = value
            elif value != before:
                raise ValueError(_option_mismatch(self.path, name, before, value))
        for name in paths:
            where = moved.get(name, getattr(options, name))
            if where is not None and not Path(where).exists():
                raise ValueError(
                    f"{where}: does not exist; if the data of the run in {self.path} have moved, "
                    f"give their new path as --{name.replace('_', '-')}"
                )
        return dataclasses.replace(options, **moved), record

    def _check_command(self, kind: type[Any], options: object) -> None:
        """Refuse a run of another command, whose options are others."""
        known = {field.name for field in dataclasses.fields(kind)}
        if isinstance(options, dict) and (foreign := sorted(options.keys() - known)):
            raise ValueError(
                f"{self.path}: started by another command or a newer Lucid, with options that are "
                f"not known here: {', '.join(foreign)}; resume it with the command that started "
                "it, or choose another --output"
            )

    def compare_data(self, now: DataFingerprint, before: Mapping[str, Any] | None) -> None:
        """Refuse other data than the run started with, without remembering where they are.

        Parameters
        ----------
        now : DataFingerprint
            Of all data, or of some of them before the others are read.
        before : mapping or None
            As for :meth:`check_data`.

        Raises
        ------
        ValueError
            If the data differ: says in what.
        """
        if before is not None and (found := now.differences(before, self.path / IMAGES_JSON)):
            raise ValueError(
                f"{self.path}: the run started with other data: {'; '.join(found)}; restore the "
                "data, or start a new run in another --output"
            )

    def check_data(
        self, options: Any, now: DataFingerprint, before: Mapping[str, Any] | None
    ) -> None:
        """Refuse to resume with other data; remember where they are now.

        Called within :meth:`locked`, on rank 0.

        Parameters
        ----------
        options : dataclass
            With the present paths.
        now : DataFingerprint
            Of the data that they name.
        before : mapping or None
            The ``DataFingerprint.summary`` of when the run started, as far as it is known.

        Raises
        ------
        ValueError
            If the data differ from those that the run started with: says in what.
        """
        self.compare_data(now, before)
        record = self._read()
        written = {**record, "options": asdict(options)}
        if "data" not in record:  # started by Lucid 0.1.0
            now.save(self.path / IMAGES_JSON)
            written["data"] = now.summary()
        if written != record:
            self._write(written)

    def train(self, trainer: Trainer, callbacks: Sequence[Callback] = ()) -> list[dict[str, Any]]:
        """Train to the end, from the state in the folder or else from the first step.

        The state before the first step is saved too, as it may hold weights that came from
        another file: a run that is killed needs only its folder to be resumed.

        Parameters
        ----------
        trainer : Trainer
            The loop, whose ``directory`` is this folder.
        callbacks : sequence of Callback, default ()
            Called after the trainer's own.

        Returns
        -------
        list of dict
            The history, as :meth:`Trainer.fit` returns it.

        Raises
        ------
        ValueError
            If another process trains in the folder, or the trainer saves in another one.
        """
        if trainer.directory != self.path:
            raise ValueError(
                f"expected a trainer with directory={str(self.path)!r}, got {trainer.directory}"
            )

        def begin() -> bool:
            self.lock.acquire()
            return self.has_checkpoint

        try:
            # Rank 0 answers for all: others may see its file late, on a network file system.
            resume = trainer.communicator.call_on_main(begin)
            return trainer.fit(
                resume=resume, callbacks=callbacks, lock=self.lock, save_initial=not resume
            )
        finally:
            self.lock.release()


def _option_mismatch(folder: Path, name: str, before: Any, value: Any) -> str:
    text = f"{folder}: the run started with {name} {before!r}, got {value!r}; "
    if name == "epochs":
        return text + (
            "the learning rates follow from it. To train for longer, start a new run in another "
            f"--output with --weights {folder / BEST_MODEL}"
        )
    option = name.replace("_", "-")
    if isinstance(before, Mapping):  # each --model-option gives one of the model_options
        option = option.removesuffix("s")
    return text + f"leave out --{option}, or start a new run in another --output"
