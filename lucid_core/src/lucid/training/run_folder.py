"""Folder of a run, from which it is resumed.

It contains ``run.json`` (options and metadata), ``run_images.json`` (list of images) and the files
of :class:`~lucid.training.Trainer`: ``last.safetensors``, ``best.safetensors``, ``metrics.csv``.
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
    """Return a note if the image contents of a resumed run were not compared.

    Parameters
    ----------
    before : mapping or None
        ``DataFingerprint.summary`` recorded at the start of the run, if any.
    opened : bool
        Whether the images were opened now.
    """
    if before is None or not before["images"]:
        return "images were not compared, because Lucid 0.1.0 recorded no image sizes"
    recorded = [images.get("contents") is not None for images in before["images"].values()]
    if opened and all(recorded):
        return None
    reason = "of --no-check-data" if not opened else "the run started with --no-check-data"
    return (
        f"images were compared by name and size only, because {reason}; changes that keep the size "
        "are not detected"
    )


class RunFolder:
    """Folder of a run: lock, options, metadata and checkpoints.

    Parameters
    ----------
    path : path-like
        The folder; created when a run starts.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    last : pathlib.Path
        Checkpoint to resume from.
    best : pathlib.Path
        Best model.
    lock : lucid.locks.FileLock
        Lock, held from :meth:`locked` to the end of :meth:`train`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.last = self.path / LAST_CHECKPOINT
        self.best = self.path / BEST_MODEL
        self.lock = run_lock(self.path)
        self._run_json = self.path / RUN_JSON

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint; :meth:`train` saves the first before the first step."""
        return self.last.exists()

    @contextmanager
    def locked(self, communicator: Communicator, *, resume: bool) -> Iterator[None]:
        """Acquire the lock and check the folder; keep the lock for :meth:`train` unless it raises.

        Parameters
        ----------
        communicator : Communicator
            Ranks of the run; rank 0 acquires the lock.
        resume : bool
            Whether to resume the run in the folder.

        Raises
        ------
        ValueError
            If another process uses the folder, there is no run to resume, or a new run would
            overwrite another one.
        OSError
            If the folder cannot be written to.
        """

        def acquire() -> None:
            if resume and not self._run_json.exists():  # do not create a folder for the lock
                raise ValueError(f"{self.path}: contains no run to resume, {RUN_JSON} is missing")
            self.lock.acquire()
            self._check_resumable() if resume else self._check_no_results()

        try:
            communicator.call_on_main(acquire)
            yield
        except BaseException:
            self.lock.release()
            raise

    def check_not_data_folder(self, name: str, data: str | None, *, within: bool = False) -> None:
        """Raise ValueError if the run would write into its data.

        Parameters
        ----------
        name : str
            Option name of the data folder.
        data : str or None
            The data folder.
        within : bool, default False
            Whether subfolders of the data folder are rejected too.
        """
        if data is None:
            return
        own, other = self.path.resolve(), Path(data).resolve()
        if own == other or (within and other in own.parents):
            raise ValueError(
                f"{self.path}: expected a folder outside the data of --{name.replace('_', '-')} "
                f"({data}); choose another --output"
            )

    def _check_no_results(self) -> None:
        """Raise if a new run would overwrite the results of another one."""
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
        """Raise if the run has results but no checkpoint."""
        results = [path.name for path in (self.best, self.path / METRICS_LOG) if path.exists()]
        if results and not self.has_checkpoint:
            raise ValueError(
                f"{self.path}: cannot resume the run, {LAST_CHECKPOINT} is missing; to train from "
                f"{BEST_MODEL}, start a new run with --weights {self.best}"
            )

    def _is_run(self) -> bool:
        """Whether run.json in the folder was written by a run."""
        try:
            return isinstance(self._read()["options"], dict)
        except (OSError, ValueError, LookupError):
            return False

    def _has_steps(self) -> bool:
        try:
            return bool(load_checkpoint(self.last)["step"])
        except (WeightFileError, LookupError):  # damaged, but may be recoverable
            return True

    def start(self, options: Any, metadata: Mapping[str, Any], data: DataFingerprint) -> None:
        """Record a new run; call it within :meth:`locked`.

        The checkpoint of a run without steps is removed.

        Parameters
        ----------
        options : dataclass
            Options of the run.
        metadata : mapping
            Further plain data that a resumed run needs.
        data : DataFingerprint
            Fingerprint of the data.
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
        """Load the options saved when the run started.

        Parameters
        ----------
        kind : type
            Dataclass of the options.
        metadata_keys : sequence of str
            Required keys of the metadata.
        given : mapping
            Options given again.  All but paths must be unchanged.
        paths : sequence of str, default ()
            Options that are paths of data and may change; :meth:`check_data` compares contents.
        start_files : sequence of str, default ()
            Options that are paths of initial weights.  The files may be missing; if given again,
            their contents are compared.

        Returns
        -------
        options : dataclass
            Saved options with the given paths.
        metadata : dict
            Contents of ``run.json``; ``"data"`` is None for a run of Lucid 0.1.0.

        Raises
        ------
        ValueError
            If ``run.json`` is damaged, an option differs, or data are missing.
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
                    f"pass their new path as --{name.replace('_', '-')}"
                )
        return dataclasses.replace(options, **moved), record

    def _check_command(self, kind: type[Any], options: object) -> None:
        """Raise if the run was started by another command, with other options."""
        known = {field.name for field in dataclasses.fields(kind)}
        if isinstance(options, dict) and (foreign := sorted(options.keys() - known)):
            raise ValueError(
                f"{self.path}: unknown options {', '.join(foreign)}, saved by another command or a "
                "newer Lucid; resume with the command that started the run, or choose another "
                "--output"
            )

    def compare_data(self, now: DataFingerprint, before: Mapping[str, Any] | None) -> None:
        """Raise ValueError if data differ from those at the start of the run.

        Parameters
        ----------
        now : DataFingerprint
            Fingerprint of all or some of the current data.
        before : mapping or None
            As for :meth:`check_data`.
        """
        if before is not None and (found := now.differences(before, self.path / IMAGES_JSON)):
            raise ValueError(
                f"{self.path}: the run started with other data: {'; '.join(found)}; restore the "
                "data, or start a new run in another --output"
            )

    def check_data(
        self, options: Any, now: DataFingerprint, before: Mapping[str, Any] | None
    ) -> None:
        """Raise ValueError if data differ from those at the start of the run; save their paths.

        Call it within :meth:`locked`, on rank 0.

        Parameters
        ----------
        options : dataclass
            Options with the current paths.
        now : DataFingerprint
            Fingerprint of the current data.
        before : mapping or None
            ``DataFingerprint.summary`` recorded at the start of the run, if any.
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
        """Train from the checkpoint in the folder, else from the first step.

        The first checkpoint is saved before the first step, with the initial weights, so that
        resuming needs only the folder.

        Parameters
        ----------
        trainer : Trainer
            Trainer whose ``directory`` is this folder.
        callbacks : sequence of Callback, default ()
            Callbacks besides the trainer's own.

        Returns
        -------
        list of dict
            History, as returned by :meth:`Trainer.fit`.

        Raises
        ------
        ValueError
            If another process uses the folder, or ``directory`` is another folder.
        """
        if trainer.directory != self.path:
            raise ValueError(
                f"expected a trainer with directory={str(self.path)!r}, got {trainer.directory}"
            )

        def begin() -> bool:
            self.lock.acquire()
            return self.has_checkpoint

        try:
            # Rank 0 decides: on network file systems, other ranks may not see its file yet.
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
            "the learning rates depend on it. To train for more epochs, start a new run in another "
            f"--output with --weights {folder / BEST_MODEL}"
        )
    option = name.replace("_", "-")
    if isinstance(before, Mapping):  # each --model-option gives one of the model_options
        option = option.removesuffix("s")
    return text + f"leave out --{option}, or start a new run in another --output"
