"""Training loop, checkpoints and data-parallel training, shared by all plugins.

``trainer``           training loop
``communicator``      collective operations between ranks; ``mpi`` implements them with MPI
``data_parallel``     one rank's part of a distributed step
``gradient_reducer``  gradient all-reduce overlapped with backward
``checkpoint``        file format of training checkpoints
``checkpointables``   objects with a state; ``state`` is a trainer's, made of them
``history``           metrics of each epoch, as CSV and as a plot
``callback``          base class of callbacks; ``epoch_callbacks`` log and plot each epoch
``interrupts``        Ctrl-C and SIGTERM deferred to the end of a step
``schedules``         learning-rate schedules with warm-up
``validation``        metrics, finite weights, best model
``run``               a training run of any ``task``, started and resumed in its ``run_folder``
``data_fingerprint``  digests of a run's data; ``run_files`` names its files and lock
``class_mapping``     classification heads transferred to other classes
"""

from lucid.training.callback import Callback
from lucid.training.checkpoint import load_checkpoint, save_checkpoint
from lucid.training.checkpointables import Checkpointable
from lucid.training.communicator import Communicator
from lucid.training.epoch_callbacks import LogEpochs, PlotEpochs
from lucid.training.history import plot_history, write_csv
from lucid.training.losses import WeightedLoss
from lucid.training.mpi import MpiCommunicator, default_communicator, mpi_communicator
from lucid.training.run import Run
from lucid.training.run_folder import RunFolder
from lucid.training.schedules import schedule_with_warmup
from lucid.training.state import TrainerState
from lucid.training.task import InitialModel, RunData, Task, TrainerSetup
from lucid.training.trainer import Trainer

__all__ = [
    "Callback",
    "Checkpointable",
    "Communicator",
    "InitialModel",
    "LogEpochs",
    "MpiCommunicator",
    "PlotEpochs",
    "Run",
    "RunData",
    "RunFolder",
    "Task",
    "Trainer",
    "TrainerSetup",
    "TrainerState",
    "WeightedLoss",
    "default_communicator",
    "load_checkpoint",
    "mpi_communicator",
    "plot_history",
    "save_checkpoint",
    "schedule_with_warmup",
    "write_csv",
]
