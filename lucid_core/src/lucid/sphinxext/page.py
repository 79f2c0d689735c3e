"""Page of one model: build the model, collect its data, render reStructuredText."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lucid.sphinxext.docstring import Docstring, definition_list, escape, parse
from lucid.sphinxext.signature import signature_source

if TYPE_CHECKING:
    from lucid.models import ModelInfo
    from lucid.weights import CatalogEntry

__all__ = ["ModelFacts", "collect_facts", "failure_page", "model_page", "page_name", "page_parts"]

_FIELD_LISTS = ("Parameters", "Other Parameters", "Returns", "Raises", "Warns")

#: Order of the sections; other sections of the docstring come before ``_LAST``.
_BEFORE = ("Parameters", "Other Parameters", "Returns", "Raises", "Warns", "Examples")
_ADMONITIONS = {"Tip": "tip", "Tips": "tip", "Warning": "warning", "Warnings": "warning"}
_LAST = ("See Also", "References")


@dataclass(frozen=True)
class ModelFacts:
    """Data of a model's page.

    Attributes
    ----------
    info : ModelInfo
        Registered description.
    signature : str
        Source of the builder's signature.
    docstring : Docstring
        Parsed docstring of the builder.
    parameters, distinct_parameters : int
        ``parameter_size`` and ``distinct_parameter_size`` of the model built without
        arguments.
    multiply_adds : int or None
        Multiply-adds at the registered input shape; None if not counted.
    weights : tuple of CatalogEntry
        Published weights of the model.
    """

    info: ModelInfo
    signature: str
    docstring: Docstring
    parameters: int
    distinct_parameters: int
    multiply_adds: int | None = None
    weights: tuple[CatalogEntry, ...] = ()


def collect_facts(
    info: ModelInfo, *, multiply_adds: bool = True, weights: Sequence[CatalogEntry] = ()
) -> ModelFacts:
    """Build a registered model and collect the data of its page.

    `multiply_adds` runs the model once at its registered input shape; those of `weights` that
    belong to the model are kept.  Raises ValueError if the number of parameters is not
    ``total_parameters``; exceptions of the builder propagate.
    """
    import lucid.models

    builder: Callable[..., Any] = lucid.models.get_builder(info.name)
    model = lucid.models.create_model(info.name)
    if info.total_parameters not in (None, model.parameter_size):
        raise ValueError(
            f"{info.name} is registered with total_parameters={info.total_parameters:,}, but the "
            f"model has {model.parameter_size:,}; correct lucid_register_models"
        )
    count = None
    if multiply_adds:
        count = lucid.models.summarize(model.eval(), info.input_shape).multiply_adds
    return ModelFacts(
        info=info,
        signature=signature_source(_function(info), builder),
        docstring=parse(builder.__doc__),
        parameters=model.parameter_size,
        distinct_parameters=model.distinct_parameter_size,
        multiply_adds=count,
        weights=tuple(entry for entry in weights if entry.model in (info.name, *info.aliases)),
    )


def model_page(facts: ModelFacts) -> str:
    """Return the page of a model in reStructuredText: all :func:`page_parts`."""
    return "\n\n".join(page_parts(facts).values()) + "\n"


def page_parts(facts: ModelFacts) -> dict[str, str]:
    """Return the parts of a model's page by name, in the order of the page.

    ``title``, ``autofunction``, ``introduction``, ``total_parameters``, ``facts``,
    ``signature``, then the sections of the docstring by title: Parameters, Returns, Examples,
    Training Notes, others, Tip and Warning.
    """
    info, doc = facts.info, facts.docstring
    parts = {
        "title": _title(info.name, "="),
        "autofunction": _signature_directive(facts),
        "introduction": doc.introduction or escape(info.summary),
        "total_parameters": _total(facts),
        "facts": _facts_line(facts),
        "signature": f"{_title('Function Signature')}\n\n{_code('python', facts.signature)}",
    }
    sections = dict(doc.sections)
    if "Examples" not in sections:
        sections["Examples"] = _default_example(facts)
    if "Training Notes" not in sections and "Notes" in sections:
        sections["Training Notes"] = sections.pop("Notes")
    for title in [*_BEFORE, "Training Notes"]:
        if title in sections:
            parts[title] = _section(title, sections.pop(title))
    admonitions = [title for title in _ADMONITIONS if title in sections]
    others = [title for title in sections if title not in (*_ADMONITIONS, *_LAST)]
    for title in [*others, *admonitions, *_LAST]:
        if title in sections:
            parts[title] = _section(title, sections.pop(title))
    return parts


def page_name(info: ModelInfo) -> str:
    """Return the document name of a model's page in the folder of pages."""
    name = info.name.replace(":", ".")
    return "index-model" if name == "index" else name  # index is the table of models


def failure_page(name: str, plugin: str, error: str) -> str:
    """Return the error page of a model that could not be built.

    `plugin` is the distribution and version that registered it.
    """
    body = f"This page could not be generated. Error of {plugin}::"
    text = f"{body}\n\n{textwrap.indent(error or 'no message', '    ')}"
    return f"{_title(name, '=')}\n\n{_directive('error', text)}\n"


def _title(text: str, line: str = "-") -> str:
    return f"{text}\n{line * len(text)}"


def _code(language: str, source: str) -> str:
    return f".. code-block:: {language}\n\n{textwrap.indent(source, '   ')}"


def _directive(name: str, body: str) -> str:
    return f".. {name}::\n\n{textwrap.indent(body, '   ')}"


def _section(title: str, body: str) -> str:
    if title in _ADMONITIONS:
        return _directive(_ADMONITIONS[title], body)
    return f"{_title(title)}\n\n{definition_list(body) if title in _FIELD_LISTS else body}"


def _total(facts: ModelFacts) -> str:
    line = f"**Total Parameters**: {facts.parameters:,}"
    shared = facts.parameters - facts.distinct_parameters
    if shared:
        line += (
            f" (distinct: {facts.distinct_parameters:,}; {shared:,} values belong to parameters "
            "that are registered under two names and counted under both)"
        )
    return line


def _facts_line(facts: ModelFacts) -> str:
    info = facts.info
    shape = " x ".join(str(size) for size in info.input_shape)
    items = [f"**Task**: {info.task}", f"**Family**: {info.family}"]
    if facts.multiply_adds is not None:
        items.append(f"**Multiply-adds**: {facts.multiply_adds:,} at {shape}")
    items.append(f"**Plugin**: {info.origin}")
    if info.aliases:
        names = ", ".join(f"``{alias}``" for alias in info.aliases)
        items.append(f"**Aliases**: {names}")
    if facts.weights:
        items.append(f"**Published weights**: {'; '.join(map(_weights, facts.weights))}")
    return "\n".join(f"| {item}" for item in items)


def _weights(entry: CatalogEntry) -> str:
    """Return tag and first metric, with a mark if the weights are the default."""
    first = [f"{escape(name)} {value}" for name, value in entry.metrics.items()][:1]
    notes = ", ".join(["default"] * entry.default + first)
    return f"``{entry.tag}`` ({notes})" if notes else f"``{entry.tag}``"


def _function(info: ModelInfo) -> str:
    """Return the name of the model without its distribution."""
    return info.name.rpartition(":")[2]


def _signature_directive(facts: ModelFacts) -> str:
    info = facts.info
    if ":" in info.name:  # ambiguous name: lucid.models has no such attribute
        arguments = facts.signature.partition(_function(info))[2]
        head = " ".join(f"{_function(info)}{arguments}".split())
        return f".. py:function:: {head}\n   :no-index:"
    return f".. autofunction:: lucid.models.{info.name}"


def _default_example(facts: ModelFacts) -> str:
    shape = ", ".join(str(size) for size in facts.info.input_shape)
    return "\n".join(
        [
            ">>> import lucid",
            f">>> model = lucid.models.create_model({facts.info.name!r}).eval()",
            f">>> y = model(lucid.random.randn({shape}))",
        ]
    )
