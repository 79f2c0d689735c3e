"""One model's page: facts gathered by building the model, then reStructuredText."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lucid.sphinxext.docstring import Docstring, definition_list, escape, parse
from lucid.sphinxext.signature import signature_source

if TYPE_CHECKING:
    from lucid.models import ModelInfo

__all__ = ["ModelFacts", "collect_facts", "failure_page", "model_page", "page_name", "page_parts"]

_FIELD_LISTS = ("Parameters", "Other Parameters", "Returns", "Raises", "Warns")

#: Sections in the order of the page; what a docstring has besides comes before the last two.
_BEFORE = ("Parameters", "Other Parameters", "Returns", "Raises", "Warns", "Examples")
_ADMONITIONS = {"Tip": "tip", "Tips": "tip", "Warning": "warning", "Warnings": "warning"}
_LAST = ("See Also", "References")


@dataclass(frozen=True)
class ModelFacts:
    """What a page says about a model.

    Attributes
    ----------
    info : ModelInfo
        The registry's entry.
    signature : str
        Head of the builder's definition, as source.
    docstring : Docstring
        The builder's docstring in parts.
    parameters, distinct_parameters : int
        ``parameter_size`` and ``distinct_parameter_size`` of the model as built
        without arguments.
    multiply_adds : int or None
        At the registered input shape; None where it was not counted.
    """

    info: ModelInfo
    signature: str
    docstring: Docstring
    parameters: int
    distinct_parameters: int
    multiply_adds: int | None = None


def collect_facts(info: ModelInfo, *, multiply_adds: bool = True) -> ModelFacts:
    """Build a registered model and note what its page needs.

    Parameters
    ----------
    info : ModelInfo
        The registry's entry.
    multiply_adds : bool, default True
        Whether to run the model once at its registered input shape.

    Returns
    -------
    ModelFacts
        The model itself is let go.

    Raises
    ------
    Exception
        Whatever the builder raises; and ``ValueError`` if the number of
        parameters is not the one that the plugin registered.
    """
    import lucid.models

    builder: Callable[..., Any] = lucid.models.get_builder(info.name)
    model = lucid.models.create_model(info.name)
    if info.total_parameters not in (None, model.parameter_size):
        raise ValueError(
            f"{info.name} is registered with total_parameters={info.total_parameters:,}, "
            f"but the model that its builder returns has {model.parameter_size:,}"
        )
    counted = None
    if multiply_adds:
        counted = lucid.models.summarize(model.eval(), info.input_shape).multiply_adds
    return ModelFacts(
        info=info,
        signature=signature_source(_function(info), builder),
        docstring=parse(builder.__doc__),
        parameters=model.parameter_size,
        distinct_parameters=model.distinct_parameter_size,
        multiply_adds=counted,
    )


def model_page(facts: ModelFacts) -> str:
    """The page of one model, in reStructuredText.

    Parameters
    ----------
    facts : ModelFacts
        As :func:`collect_facts` returns it.

    Returns
    -------
    str
        All of :func:`page_parts`, in their order.
    """
    return "\n\n".join(page_parts(facts).values()) + "\n"


def page_parts(facts: ModelFacts) -> dict[str, str]:
    """The parts of a model's page by name, in the order of the page.

    Parameters
    ----------
    facts : ModelFacts
        As :func:`collect_facts` returns it.

    Returns
    -------
    dict of str to str
        In reStructuredText: ``title``, ``autofunction`` (the signature; the
        docstring's sections follow in the page's own order), ``introduction``,
        ``total_parameters``, ``facts``, ``signature``, then the docstring's sections
        by their titles: Parameters, Returns, Examples, Training Notes, Tip, Warning
        and whatever else there is.
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
    """The document of a model below the folder of pages: its name, made fit for a file."""
    name = info.name.replace(":", ".")
    return "index-model" if name == "index" else name  # index is the table of all


def failure_page(name: str, plugin: str, error: str) -> str:
    """The page of a model that could not be documented: who is at fault, and with what.

    Parameters
    ----------
    name : str
        Name of the model.
    plugin : str
        Distribution and version that registered it.
    error : str
        What went wrong.

    Returns
    -------
    str
        The page, in reStructuredText.
    """
    body = f"The page of this model could not be made. {plugin} reports::"
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
            f" (distinct: {facts.distinct_parameters:,}; the {shared:,} between them belong to "
            "parameters that are registered under a second name and counted under both)"
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
    return "\n".join(f"| {item}" for item in items)


def _function(info: ModelInfo) -> str:
    """The model's own name, where ``info.name`` has to say the distribution as well."""
    return info.name.rpartition(":")[2]


def _signature_directive(facts: ModelFacts) -> str:
    info = facts.info
    if ":" in info.name:  # two plugins claim the name, so lucid.models has no such attribute
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
