"""Check that published weights fit the model that they are registered for."""

from __future__ import annotations

import lucid
from lucid.testing.tested_model import CheckError, seeded, wrap_errors
from lucid.weights import CatalogEntry, weight_converters
from lucid.weights.model_metadata import encode_metadata

__all__ = ["check_weights"]

#: Hide these frames in pytest's tracebacks: the message is enough.
__tracebackhide__ = True

_HOOK = "lucid_register_weights"


def check_weights(entry: CatalogEntry) -> None:
    """Check that published weights fit their model; fetches nothing.

    The model must be registered, by any plugin, and accept the arguments; the converter must be
    registered for it; there must be a name for each class; arguments and preprocessing must be
    JSON data, so that :func:`lucid.save_model` can save the model.

    Parameters
    ----------
    entry : lucid.weights.CatalogEntry
        Registered weights.
    """
    if not lucid.models.is_model(entry.model):
        raise CheckError(
            f"the weights {entry.tag} are for the model {entry.model!r}, which is not registered",
            f"register the model, or correct its name in {_HOOK}",
        )
    _check_converter(entry)
    with wrap_errors("importing the class names", f"correct classes in {_HOOK}"):
        class_names = entry.class_names
    arguments = ", ".join(f"{name}={value!r}" for name, value in entry.arguments.items())
    with (
        seeded(),
        wrap_errors(f"{entry.model}({arguments})", f"correct arguments in {_HOOK}"),
    ):
        model = lucid.models.create_model(entry.model, **entry.arguments)
    expected = getattr(model, "num_classes", None)
    if class_names is not None and expected not in (None, len(class_names)):
        raise CheckError(
            f"expected {expected} class names for {entry.model}({arguments}), got "
            f"{len(class_names)} of {entry.classes}",
            f"correct classes in {_HOOK}, or pass arguments={{'num_classes': {len(class_names)}}}",
        )
    advice = "pass numbers, strings, booleans, None, and lists and dicts of them"
    with wrap_errors(f"describing the model with the weights {entry.tag}", advice):
        encode_metadata(model, class_names, entry.preprocessing)


def _check_converter(entry: CatalogEntry) -> None:
    if entry.converter is None:
        return
    name = lucid.models.model_info(entry.model).name
    converters = weight_converters()
    if not any(c.name == entry.converter and name in c.models for c in converters):
        usable = ", ".join(c.name for c in converters if name in c.models) or "none"
        raise CheckError(
            f"expected a converter registered for {name} ({usable}), got {entry.converter!r}",
            f"correct converter in {_HOOK}, or add the model in lucid_register_weight_converters",
        )
