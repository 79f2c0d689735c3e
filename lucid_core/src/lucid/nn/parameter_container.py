"""Registration of parameters, buffers and submodules, and iteration over them."""

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
    """Dictionary of registered objects; a change advances the mutation epoch."""

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
    """Base class of :class:`lucid.nn.Module` that registers parameters, buffers and submodules."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers: set[str]

    def __init__(self) -> None:
        set_plainly = super().__setattr__
        for kind in _KINDS:
            set_plainly(kind, _TrackedDict())
        set_plainly("_non_persistent_buffers", set())

    # Registration

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, ParameterContainer):
            self.add_module(name, value)  # type: ignore[arg-type]
        elif (kind := self._registered_kind(name)) is None:
            before = self.__dict__.get(name, _MISSING)
            super().__setattr__(name, value)
            if value is not before:  # eval() before every prediction changes nothing
                begin_epoch()
        elif value is None or (kind == "_buffers" and isinstance(value, Tensor)):
            self.__dict__[kind][name] = value
        else:
            raise TypeError(
                f"{type(self).__name__}.{name}: expected a {_EXPECTED_TYPES[kind]} or None, "
                f"got {type(value).__name__}"
            )

    def __getattr__(self, name: str) -> Any:
        # Called only if the normal lookup fails.
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
            self._non_persistent_buffers.discard(name)
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
            raise TypeError(f"expected a string as name, got {name!r}")
        if not name or "." in name:
            raise ValueError(f"expected a name that is not empty and has no dot, got {name!r}")
        if hasattr(type(self), name):
            raise ValueError(
                f"{type(self).__name__} cannot register {name!r}: the class has an attribute of "
                "this name; choose another name"
            )
        for other in _KINDS:
            if other != kind:
                self.__dict__[other].pop(name, None)
        self.__dict__.pop(name, None)
        self._non_persistent_buffers.discard(name)
        self.__dict__[kind][name] = value

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Register a parameter, like ``self.name = parameter``; None reserves the name."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(
                f"parameter {name!r}: expected a Parameter or None, got {type(parameter).__name__}"
            )
        self._register("_parameters", name, parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is state but not trained, such as running statistics.

        Parameters
        ----------
        name : str
            Attribute name.
        tensor : Tensor or None
            The buffer.
        persistent : bool, default True
            Whether ``state_dict()`` includes it.
        """
        if tensor is not None and (not isinstance(tensor, Tensor) or isinstance(tensor, Parameter)):
            raise TypeError(
                f"buffer {name!r}: expected a plain Tensor or None, got {type(tensor).__name__}"
            )
        self._register("_buffers", name, tensor)
        if not persistent:
            self._non_persistent_buffers.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a submodule, like ``self.name = module``."""
        if module is not None and not isinstance(module, ParameterContainer):
            remedy = ""
            if isinstance(module, list | tuple):
                remedy = "; unpack the list: Sequential(*layers)"
            elif isinstance(module, type):
                remedy = f"; create an instance: {module.__name__}()"
            found = type(module).__name__
            raise TypeError(f"submodule {name!r}: expected a Module or None, got {found}{remedy}")
        if module is not None and any(part is self for part in module.modules()):
            raise ValueError(f"{type(self).__name__} cannot contain itself (as {name!r})")
        self._register("_modules", name, module)

    # Iteration

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and all submodules with dotted names, parents first.

        Parameters
        ----------
        prefix : str, default ""
            Prefix of every name.
        remove_duplicate : bool, default True
            Whether a module with several names is yielded only under the first.
        """
        return _walk(cast("Module", self), prefix, set() if remove_duplicate else None)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all submodules, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield direct submodules with their names, each once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield direct submodules, each once."""
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
        """Yield parameters with dotted names.

        Parameters
        ----------
        prefix : str, default ""
            Prefix of every name.
        recurse : bool, default True
            Whether to include submodules.
        remove_duplicate : bool, default True
            Whether a parameter with several names is yielded only under the first.
        """
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield parameters, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield buffers with dotted names; arguments as for :meth:`named_parameters`."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """Return the submodule with a dotted name; "" is this module.

        Raises
        ------
        AttributeError
            If there is none.
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
