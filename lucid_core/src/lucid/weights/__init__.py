"""Weight files: safetensors and ``.npz``, saved atomically, and PyTorch's, read without trust.

``entries``             what may stand in a file: names, element types, metadata, the digest
``safetensors_format``  arrays to and from safetensors
``npz_format``          arrays to and from ``.npz``
``pth_format``          arrays from PyTorch's checkpoints, of both forms
``torch_objects``       what the names in such a checkpoint mean
``pickle_machine``      the pickles in it, read as data
``pickled``             what they are read into
``archive``             zip archives, held against the size of their file
``atomic``              the old file or the new one, never a part
``files``               ``save`` and ``load``: all of the above together
``whole_models``        ``save_model`` and ``load_model``: one file rebuilds a model
"""

from lucid.hints import explain_module
from lucid.weights.atomic import atomic_write
from lucid.weights.files import load, read_metadata, save
from lucid.weights.whole_models import (
    ModelMetadata,
    load_model,
    load_weights,
    model_metadata,
    names_model,
    save_model,
)

__all__ = [
    "ModelMetadata",
    "atomic_write",
    "load",
    "load_model",
    "load_weights",
    "model_metadata",
    "names_model",
    "read_metadata",
    "save",
    "save_model",
]

explain_module(globals())
