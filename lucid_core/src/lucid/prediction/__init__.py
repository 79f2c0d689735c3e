"""Predicting for many images: on this machine, or on a cluster by Dask.

``predictor``     a model in a file, as something that can be sent to other processes
``sources``       directories, patterns and lists of files, as the files they stand for
``store``         results on disk as they come, and the report that is made of them
``run``           from files to a report
``dask_cluster``  the same work shared out by Dask, which only this module knows
"""

from lucid.prediction.file_search import find_files
from lucid.prediction.predictor import Predictor
from lucid.prediction.result_store import Batch, ResultStore
from lucid.prediction.run import Outcome, predict_files

__all__ = ["Batch", "Outcome", "Predictor", "ResultStore", "find_files", "predict_files"]
