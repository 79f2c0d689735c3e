"""Reading data: datasets, and a loader that makes batches of them.

``dataset``  samples by number
``collate``  from a list of samples to one batch
``plan``     which samples stand in which batch, with which random numbers
``workers``  processes that make batches ahead of time
``loader``   the four above together
``identity`` what identifies images and annotation files when a run is resumed
"""

from lucid.data.collate import default_collate
from lucid.data.dataset import Dataset, Subset, TensorDataset
from lucid.data.loader import DataLoader
from lucid.hints import add_hints

__all__ = ["DataLoader", "Dataset", "Subset", "TensorDataset", "default_collate"]

add_hints(globals())
