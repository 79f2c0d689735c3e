"""Weight files: safetensors and ``.npz``, saved atomically, and PyTorch's, read without trust.

``entries``             what may stand in a file: names, element types, metadata, the digest
``safetensors_format``  arrays to and from safetensors
``npz_format``          arrays to and from ``.npz``
``pth_format``          arrays from PyTorch's checkpoints, of both forms
``torch_objects``       what the names in such a checkpoint mean
``pickle_machine``      the pickles in it, read as data
``pickled``             what they are read into
``archive``             zip archives, held against the size of their file
``foreign``             files of other kinds, named for what they are
``atomic``              the old file or the new one, never a part
``state_dicts``         which of the dicts in such a checkpoint is the state dict
``wrappers``            prefixes before the names, found and stripped
``files``               ``save`` and ``load``: all of the above together
``conversion``          the base class of weight converters, and loading by one
``registered_converters``  the converters that plugins register
``converters``          which of them recognizes given weights
``model_converters``    loading and saving under the names of one other library
``bare``                weights without a model's name, to be opened by a task's commands
``model_metadata``      what the file of a whole model says beside its weights
``whole_models``        ``save_model`` and ``load_model``: one file rebuilds a model
"""

from lucid.hints import explain_module
from lucid.weights.atomic import atomic_write
from lucid.weights.bare import BareWeights, other_model
from lucid.weights.conversion import WeightConverter, load_converted, rename_key
from lucid.weights.converters import IdentifiedWeights, identify_weights
from lucid.weights.files import load, read_metadata, save
from lucid.weights.model_converters import converter_for, foreign_state_dict, load_foreign
from lucid.weights.model_metadata import (
    ModelMetadata,
    find_saved_model,
    model_metadata,
    names_model,
)
from lucid.weights.registered_converters import RegisteredConverter, weight_converters
from lucid.weights.whole_models import load_model, load_weights, save_model
from lucid.weights.wrappers import rename, unwrap

__all__ = [
    "BareWeights",
    "IdentifiedWeights",
    "ModelMetadata",
    "RegisteredConverter",
    "WeightConverter",
    "atomic_write",
    "converter_for",
    "find_saved_model",
    "foreign_state_dict",
    "identify_weights",
    "load",
    "load_converted",
    "load_foreign",
    "load_model",
    "load_weights",
    "model_metadata",
    "names_model",
    "other_model",
    "read_metadata",
    "rename",
    "rename_key",
    "save",
    "save_model",
    "unwrap",
    "weight_converters",
]

explain_module(globals())
