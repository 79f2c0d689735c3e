"""Datasets and data loading.

``dataset``        map-style datasets
``collate``        collate samples into a batch
``batch_sampler``  sample indices and seeds of each batch
``workers``        worker processes that prefetch batches
``loader``         ``DataLoader``
``fingerprint``    detect changed data when a run is resumed
``checkers``       data checkers of plugins
``report``         findings about a data set
``layout_hints``   layouts of other tools, for errors
"""

from lucid.data.collate import default_collate
from lucid.data.dataset import Dataset, Subset, TensorDataset
from lucid.data.loader import DataLoader
from lucid.hints import add_hints

__all__ = ["DataLoader", "Dataset", "Subset", "TensorDataset", "default_collate"]

add_hints(globals())
