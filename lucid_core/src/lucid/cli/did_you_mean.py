"""Suggestions for unknown commands and options.

Tables map the names that other tools use to Lucid's.  Plugins add names for their own commands
with :func:`did_you_mean`.  Other names are matched by similarity.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from weakref import WeakKeyDictionary

import click

__all__ = ["did_you_mean", "suggest_command", "suggest_option"]

Command = TypeVar("Command", bound=click.Command)

#: Lucid's commands, and commands of its groups, with their names in other tools.
_COMMANDS = {
    "models": ("list", "ls", "list-models", "zoo"),
    "info": ("show", "describe"),
    "plugins": ("list-plugins", "doctor"),
    "weights fetch": ("download", "pull", "fetch"),
    "warmup": ("compile", "warm-up", "jit"),
    "new-plugin": ("init", "new", "create-plugin"),
    "check-plugin": ("check", "lint"),
}

#: Lucid's options, with their names in other tools.
_OPTIONS = {
    "--accumulate": ("--accumulation-steps", "--grad-accum", "--accumulate-grad-batches"),
    "--batch-size": ("--batch", "-b", "--bs", "--batchsize", "--train-batch-size"),
    "--class-names": ("--names", "--labels", "--classes"),
    "--data": ("--dataset", "--data-dir", "--data-path", "--train-dir", "--root", "--ann-file",
               "--annotations", "--ann"),
    "--debug": ("--verbose", "-v", "--traceback"),
    "--epochs": ("--epoch", "--num-epochs", "--max-epochs", "-e"),
    "--frozen-stages": ("--freeze", "--freeze-backbone"),
    "--images": ("--img-dir", "--image-dir", "--img-folder", "--image-folder", "--imgs"),
    "--lr": ("--lr0", "--learning-rate", "--base-lr"),
    "--max-grad-norm": ("--clip-grad", "--grad-clip", "--clip", "--gradient-clip-val"),
    "--model": ("--arch", "-a", "--architecture", "--net", "--model-name"),
    "--optimizer": ("--optim", "--opt"),
    "--output": ("--project", "--name", "--out", "-o", "--out-dir", "--output-dir", "--save-dir",
                 "--save-path", "--work-dir", "--save", "--save-txt", "--save-json"),
    "--resume": ("--resume-from", "--resume-from-checkpoint", "--continue", "--auto-resume"),
    "--schedule": ("--scheduler", "--lr-scheduler", "--sched", "--cos-lr"),
    "--score-threshold": ("--conf", "--conf-thres", "--conf-threshold", "--confidence",
                          "--score-thr", "--threshold", "--thresh"),
    "--top": ("--topk", "--top-k", "-k"),
    "--val": ("--val-dir", "--val-data", "--validation"),
    "--val-fraction": ("--val-split", "--val-size", "--split"),
    "--warm-up": ("--warmup", "--warmup-steps", "--warmup-epochs"),
    "--weights": ("--checkpoint", "--ckpt", "--ckpt-path", "--model-path", "--pretrained",
                  "--load", "--load-from"),
    "--workers": ("--num-workers", "-j", "--nw", "--jobs"),
}  # fmt: skip

_CPU = "Lucid runs on the CPU in float32; remove it (OMP_NUM_THREADS sets the number of threads)"

#: Options without a counterpart, with a remedy.
_NO_OPTION = {
    **dict.fromkeys(
        ("--device", "--gpu", "--gpus", "--cuda", "--half", "--fp16", "--amp", "--accelerator"),
        _CPU,
    ),
    **dict.fromkeys(
        ("--num-classes", "--nc", "--nb-classes"),
        "the number of classes follows from the data or the weights; remove it",
    ),
    **dict.fromkeys(
        ("--weight-decay", "--wd", "--momentum", "--beta1"),
        "each optimizer has a fixed value; remove it",
    ),
    **dict.fromkeys(
        ("--patience", "--early-stopping"),
        "the best model is saved, and Ctrl-C ends a run; remove it",
    ),
}


@dataclass(frozen=True)
class _Spellings:
    names: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


_of_command: WeakKeyDictionary[click.Command, _Spellings] = WeakKeyDictionary()


def did_you_mean(
    *names: str, options: Mapping[str, str] | None = None
) -> Callable[[Command], Command]:
    """Register other tools' names for a command and its options, for suggestions.

    Parameters
    ----------
    *names : str
        Names of the command in other tools.
    options : mapping of str to str, optional
        Option of another tool to Lucid's option, or to a remedy.

    Returns
    -------
    callable
        Decorator for a :class:`click.Command`; place it above ``@click.command()``.
    """

    def add(command: Command) -> Command:
        _of_command[command] = _Spellings(names, dict(options or {}))
        return command

    return add


def suggest_option(error: click.NoSuchOption) -> str:
    """Return the error message for an unknown option, with the closest match."""
    given = error.option_name
    message = f"No such option: {given}"
    command = None if error.ctx is None else error.ctx.command
    if command is None or error.ctx is None:
        return message
    own = [name for parameter in command.get_params(error.ctx) for name in parameter.opts]
    known = [name for name in [*own, "--debug"] if name.startswith("-")]
    usual = given.lower().replace("_", "-")
    spellings = _of_command.get(command, _Spellings()).options
    if advice := spellings.get(usual) or _NO_OPTION.get(usual):
        pass
    elif usual in known:
        advice = usual
    else:
        advice = next((name for name, others in _OPTIONS.items() if usual in others), "")
        advice = advice if advice in known else " or ".join(_close(usual, known))
    if not advice:
        file = "" if given.startswith("--") else f"; for a file of that name, give ./{given}..."
        return f"{message} ({error.ctx.command_path} --help lists all options{file})"
    return f"{message}; {f'did you mean {advice}?' if advice.startswith('-') else advice}"


def suggest_command(name: str, commands: Mapping[str, click.Command | None]) -> str:
    """Return the closest command, or a hint to list all, for the error about `name`."""
    usual = name.lower().replace("_", "-")
    if usual in ("help", "version"):
        return f"; did you mean --{usual}?"
    nested = [known for known in _COMMANDS if " " in known and known.split()[0] in commands]
    picks = [
        known
        for known, command in {**dict.fromkeys(nested), **commands}.items()
        if usual in _COMMANDS.get(known, ())
        or (command is not None and usual in _of_command.get(command, _Spellings()).names)
        or known == usual
        or known.startswith(f"{usual}-")
    ]
    picks = picks or _close(usual, commands)
    if not picks:
        return "; `lucid --help` lists the commands"
    return f"; did you mean {' or '.join(map(repr, picks))}?"


def _close(name: str, known: Iterable[str]) -> list[str]:
    """Return the most similar names, compared without leading dashes."""
    bare = {other.lstrip("-"): other for other in known}
    return [bare[other] for other in difflib.get_close_matches(name.lstrip("-"), bare, n=2)]
