"""What a module consists of: parameters, buffers, submodules, and the walks over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from lucid.autograd.mutation import begin_epoch
from lucid.hints import attribute_error
from lucid.nn.parameter import Parameter
from lucid.tensor import Tensor

if TYPE_CHECKING:
    from lucid.nn.module import Module

__all__ = ["ParameterContainer"]

_KINDS = ("_parameters", "_buffers", "_modules")
_MISSING = object()
_EXPECTED_TYPES = {"_parameters": "Parameter", "_buffers": "Tensor", "_modules": "Module"}


class _TrackedDict(dict[str, Any]):
    """Parameters, buffers or submodules by name; a change begins an epoch."""

    __slots__ = ()


def _tracked(name: str) -> Callable[..., Any]:
    plain = getattr(dict, name)

    def change(self: _TrackedDict, *args: Any, **kwargs: Any) -> Any:
        result = plain(self, *args, **kwargs)
        begin_epoch()
        return result

    change.__name__, change.__doc__ = name, plain.__doc__
    return change


for _name in ("__delitem__", "__ior__", "__setitem__", "clear", "pop", "popitem", "setdefault",
              "update"):  # fmt: skip
    setattr(_TrackedDict, _name, _tracked(_name))


class ParameterContainer:
    """The base of :class:`lucid.nn.Module` that registers what is assigned to attributes."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient_buffers: set[str]

    def __init__(self) -> None:
        set_plainly = super().__setattr__
        for kind in _KINDS:
            set_plainly(kind, _TrackedDict())
        set_plainly("_transient_buffers", set())

    # Registering

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, ParameterContainer):
            self.add_module(name, value)  # type: ignore[arg-type]
        elif (kind := self._registered_kind(name)) is None:
            before = self.__dict__.get(name, _MISSING)
            super().__setattr__(name, value)
            if value is not before:  # eval() sets what is so already, often before every call
                begin_epoch()
        elif value is None or (kind == "_buffers" and isinstance(value, Tensor)):
            self.__dict__[kind][name] = value
        else:
            raise TypeError(
                f"{type(self).__name__}.{name} takes a {_EXPECTED_TYPES[kind]} or None, "
                f"got {type(value).__name__}"
            )

    def __getattr__(self, name: str) -> Any:
        # Reached only where ordinary lookup has found nothing.
        own = self.__dict__
        for kind in _KINDS:
            entries = own.get(kind)
            if entries and name in entries:
                return entries[name]
        raise attribute_error("Module", name, f"{type(self).__name__!r} object")

    def __delattr__(self, name: str) -> None:
        kind = self._registered_kind(name)
        if kind is None:
            super().__delattr__(name)
        else:
            del self.__dict__[kind][name]
            self._transient_buffers.discard(name)
        begin_epoch()

    def __dir__(self) -> list[str]:
        own = self.__dict__
        registered = [name for kind in _KINDS for name in own.get(kind, ())]
        return sorted({*super().__dir__(), *registered})

    def _registered_kind(self, name: str) -> str | None:
        own = self.__dict__
        for kind in _KINDS:
            if name in own.get(kind, ()):
                return kind
        return None

    def _register(self, kind: str, name: str, value: Any) -> None:
        if kind not in self.__dict__:
            raise AttributeError(
                f"call super().__init__() in {type(self).__name__}.__init__ before assigning "
                f"{name!r}"
            )
        if not isinstance(name, str):
            raise TypeError(f"a name must be a string, got {name!r}")
        if not name or "." in name:
            raise ValueError(f"a name must not be empty or contain a dot, got {name!r}")
        if hasattr(type(self), name):
            raise ValueError(
                f"{type(self).__name__} cannot register {name!r}: "
                "the class has an attribute of this name, which would hide it"
            )
        for other in _KINDS:
            if other != kind:
                self.__dict__[other].pop(name, None)
        self.__dict__.pop(name, None)
        self._transient_buffers.discard(name)
        self.__dict__[kind][name] = value

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Register a parameter, as ``self.name = parameter`` does; None keeps the name free."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(
                f"parameter {name!r} must be a Parameter or None, got {type(parameter).__name__}"
            )
        self._register("_parameters", name, parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is part of the state but no parameter, as running statistics.

        Parameters
        ----------
        name : str
            Attribute under which it is reached.
        tensor : Tensor or None
            The buffer.
        persistent : bool, default True
            Whether it is part of ``state_dict()``.
        """
        if tensor is not None and (not isinstance(tensor, Tensor) or isinstance(tensor, Parameter)):
            raise TypeError(
                f"buffer {name!r} must be a plain Tensor or None, got {type(tensor).__name__}"
            )
        self._register("_buffers", name, tensor)
        if not persistent:
            self._transient_buffers.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a submodule, as ``self.name = module`` does."""
        if module is not None and not isinstance(module, ParameterContainer):
            remedy = ""
            if isinstance(module, list | tuple):
                remedy = "; unpack the list: Sequential(*layers)"
            elif isinstance(module, type):
                remedy = f"; create an instance: {module.__name__}()"
            raise TypeError(
                f"submodule {name!r} must be a Module or None, got {type(module).__name__}{remedy}"
            )
        if module is not None and any(part is self for part in module.modules()):
            raise ValueError(f"{type(self).__name__} cannot contain itself (as {name!r})")
        self._register("_modules", name, module)

    # Walking

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names, parents first.

        Parameters
        ----------
        prefix : str, default ""
            Put before every name.
        remove_duplicate : bool, default True
            Give a module that is registered under several names once, under
            the first of them.
        """
        return _walk(cast("Module", self), prefix, set() if remove_duplicate else None)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one with their names, each once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below this one, each once."""
        return (module for _, module in self.named_children())

    def _named(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        modules = (
            self.named_modules(prefix, remove_duplicate) if recurse else iter([(prefix, self)])
        )
        seen: set[int] = set()
        for path, module in modules:
            for name, value in module.__dict__[kind].items():
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its dotted name.

        Parameters
        ----------
        prefix : str, default ""
            Put before every name.
        recurse : bool, default True
            Include those of submodules.
        remove_duplicate : bool, default True
            Give a parameter that is registered under several names once, under
            the first of them.
        """
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Every parameter, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Every buffer with its dotted name; arguments as for :meth:`named_parameters`."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Every buffer, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name; "" is this module itself.

        Raises
        ------
        AttributeError
            If there is none, saying how far the name leads.
        """
        module = cast("Module", self)
        for i, part in enumerate(target.split(".") if target else ()):
            below = module._modules.get(part)
            if below is None:
                reached = ".".join(target.split(".")[:i]) or "the module itself"
                raise AttributeError(
                    f"no submodule {target!r}: {reached} ({type(module).__name__}) has no "
                    f"submodule {part!r}, only {list(module._modules)}"
                )
            module = below
        return module


def _walk(module: Module, path: str, seen: set[int] | None) -> Iterator[tuple[str, Module]]:
    if seen is not None:
        if id(module) in seen:
            return
        seen.add(id(module))
    yield path, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, f"{path}.{name}" if path else name, seen)
