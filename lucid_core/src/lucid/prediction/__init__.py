"""Batch prediction for many images, on this machine or on a Dask cluster.

``predictor``        picklable predictor: weights file and options
``file_search``      find files by folder, glob pattern or list
``result_store``     results on disk, and the report written from them
``finished_report``  finished reports, read to resume
``run``              ``predict_files`` and executors
``dask_cluster``     Dask executor
"""

from lucid.prediction.file_search import find_files
from lucid.prediction.predictor import Predictor
from lucid.prediction.result_store import Batch, ResultStore
from lucid.prediction.run import Outcome, predict_files

__all__ = ["Batch", "Outcome", "Predictor", "ResultStore", "find_files", "predict_files"]
