"""The one training loop that all plugins share.

``trainer``     the loop
``checkpoint``  a whole training state in one file
``history``     rows of numbers, as CSV and as a picture
``callback``    what others do between the steps
``interrupts``  Ctrl-C that waits for the end of a step
``reports``     what it tells after each epoch
``schedules``   learning rates over a whole training
``runs``        the folder of a training that its options alone describe
"""

from lucid.training.callback import Callback
from lucid.training.checkpoint import load_checkpoint, save_checkpoint
from lucid.training.history import plot_history, write_csv
from lucid.training.reports import PlotEpochs, ReportEpochs
from lucid.training.runs import RunFolder
from lucid.training.schedules import warm_up_then
from lucid.training.trainer import Trainer

__all__ = [
    "Callback",
    "PlotEpochs",
    "ReportEpochs",
    "RunFolder",
    "Trainer",
    "load_checkpoint",
    "plot_history",
    "save_checkpoint",
    "warm_up_then",
    "write_csv",
]
