"""Weight files: save and load state dicts and whole models, read checkpoints of other libraries.

``serialization``       ``save`` and ``load``; the format follows from the suffix or the contents
``model_file``          ``save_model`` and ``load_model``: weights and how to rebuild the model
``model_metadata``      model name, arguments, class names and preprocessing in a file's metadata
``safetensors_format``  safetensors reader and writer
``npz_format``          ``.npz`` reader and writer
``torch_checkpoint``    PyTorch checkpoint reader (``.pth``, ``.pt``, ``.bin``)
``safe_unpickler``      unpickler that runs nothing
``pickle_objects``      values that the unpickler returns
``torch_pickle``        tensors, storages and dtypes in a PyTorch pickle
``state_dict_search``   find the state dict, or its EMA, in a checkpoint
``format_checks``       checks of names, shapes, metadata and digest for every format
``zip_archive``         checks of zip archives
``atomic_file``         atomic file replacement
``unsupported_files``   detect files that are not weights
``key_prefixes``        strip prefixes such as ``module.`` from keys
``converter``           base class of weight converters
``converter_registry``  converters that plugins register
``identify``            find the converter that recognizes a state dict
``external_weights``    load and export weights with the keys of another library
``state_dict_file``     weight files without model metadata
``catalog``             published weights that plugins register
``download``            verified downloads of published weights
``pretrained``          models with published or saved weights
``weights_info``        origin of the weights of a model
"""

from lucid.hints import add_hints
from lucid.weights.atomic_file import atomic_write
from lucid.weights.catalog import CatalogEntry, catalog_entry, is_weight_path, list_weights
from lucid.weights.converter import WeightConverter, load_converted, rename_key
from lucid.weights.converter_registry import RegisteredConverter, weight_converters
from lucid.weights.download import fetch
from lucid.weights.external_weights import export_state_dict, find_converter, load_external_weights
from lucid.weights.identify import IdentifiedWeights, identify_weights
from lucid.weights.key_prefixes import rename_state_dict, strip_prefix
from lucid.weights.model_file import load_model, load_weights, save_model
from lucid.weights.model_metadata import (
    ModelMetadata,
    find_saved_model,
    has_model_metadata,
    model_metadata,
)
from lucid.weights.pretrained import resolve_weights
from lucid.weights.serialization import load, read_metadata, save
from lucid.weights.state_dict_file import StateDictFile, suggest_model
from lucid.weights.weights_info import WeightsInfo

__all__ = [
    "CatalogEntry",
    "IdentifiedWeights",
    "ModelMetadata",
    "RegisteredConverter",
    "StateDictFile",
    "WeightConverter",
    "WeightsInfo",
    "atomic_write",
    "catalog_entry",
    "export_state_dict",
    "fetch",
    "find_converter",
    "find_saved_model",
    "has_model_metadata",
    "identify_weights",
    "is_weight_path",
    "list_weights",
    "load",
    "load_converted",
    "load_external_weights",
    "load_model",
    "load_weights",
    "model_metadata",
    "read_metadata",
    "rename_key",
    "rename_state_dict",
    "resolve_weights",
    "save",
    "save_model",
    "strip_prefix",
    "suggest_model",
    "weight_converters",
]

add_hints(globals())
