"""The one training loop that all plugins share.

``trainer``     the loop
``communicator``  how several ranks talk, ``mpi`` on MPI
``ranks``       what they do beside a training on one, ``gradients`` added up over them
``checkpoint``  a whole training state in one file
``checkpointables``  named objects with a state, ``state`` of a trainer made of them
``history``     rows of numbers, as CSV and as a picture
``callback``    what others do between the steps
``interrupts``  Ctrl-C that waits for the end of a step
``reports``     what it tells after each epoch
``schedules``   learning rates over a whole training
``validating``  metrics, finite weights, the best model
``run``         a run of any ``task``, started and resumed, in its ``run_folder``
``data_record``  data of a run, ``run_files`` its files and lock
``class_rows``  last layers of saved models for other classes
"""

from lucid.training.callback import Callback
from lucid.training.checkpoint import load_checkpoint, save_checkpoint
from lucid.training.checkpointables import Checkpointable
from lucid.training.communicator import Communicator
from lucid.training.history import plot_history, write_csv
from lucid.training.losses import Weighted
from lucid.training.mpi import MpiCommunicator, default_communicator, mpi_communicator
from lucid.training.reports import PlotEpochs, ReportEpochs
from lucid.training.run import Run
from lucid.training.run_folder import RunFolder
from lucid.training.schedules import warm_up_then
from lucid.training.state import TrainerState
from lucid.training.task import RunData, Setup, StartingModel, Task
from lucid.training.trainer import Trainer

__all__ = [
    "Callback",
    "Checkpointable",
    "Communicator",
    "MpiCommunicator",
    "PlotEpochs",
    "ReportEpochs",
    "Run",
    "RunData",
    "RunFolder",
    "Setup",
    "StartingModel",
    "Task",
    "Trainer",
    "TrainerState",
    "Weighted",
    "default_communicator",
    "load_checkpoint",
    "mpi_communicator",
    "plot_history",
    "save_checkpoint",
    "warm_up_then",
    "write_csv",
]
