"""Container modules."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Self, overload

from lucid.nn.module import Module

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


class _IndexedContainer(Module):
    """Base class of containers whose submodules are accessed by position."""

    def _module_list(self) -> list[Module]:
        return [module for module in self._modules.values() if module is not None]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._module_list())

    def __contains__(self, module: object) -> bool:
        return any(module is child for child in self._module_list())

    def _key_at(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"index {index} is out of range for {type(self).__name__} of length {len(self)}"
            )
        return list(self._modules)[index]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._key_at(index), module)

    def append(self, module: Module) -> Self:
        """Append a module."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Append several modules."""
        for module in modules:
            self.append(module)
        return self


class Sequential(_IndexedContainer):
    """Chain of modules, each called with the output of the previous one.

    Parameters
    ----------
    *modules : Module
        Modules in call order, or one mapping from names to modules.

    Examples
    --------
    >>> from lucid import nn
    >>> nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    Sequential(
      (0): Linear(in_features=4, out_features=2)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = list(modules[0].items())
        else:
            named = [(str(i), module) for i, module in enumerate(modules)]  # type: ignore[misc]
        for name, module in named:
            self.add_module(name, module)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))  # type: ignore[arg-type]
        return self.get_submodule(self._key_at(index))

    def forward(self, x: Any) -> Any:
        """Call the modules in order; ``x`` is the input of the first."""
        for module in self:
            x = module(x)
        return x


class ModuleList(_IndexedContainer):
    """List of registered submodules; it has no ``forward``.

    Parameters
    ----------
    modules : iterable of Module, optional
        Initial modules.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return ModuleList(self._module_list()[index])
        return self.get_submodule(self._key_at(index))

    def __delitem__(self, index: int) -> None:
        modules = self._module_list()
        del modules[list(self._modules).index(self._key_at(index))]
        self._renumber(modules)

    def insert(self, index: int, module: Module) -> None:
        """Insert a module before position ``index``."""
        if not isinstance(module, Module):
            raise TypeError(f"ModuleList.insert: expected a Module, got {type(module).__name__}")
        modules = self._module_list()
        modules.insert(index, module)
        self._renumber(modules)

    def _renumber(self, modules: list[Module]) -> None:
        self._modules.clear()
        self.extend(modules)


class ModuleDict(Module):
    """Dictionary of registered submodules; it has no ``forward``.

    Parameters
    ----------
    modules : mapping of str to Module, optional
        Initial modules by name.
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add modules; replace those with the same name."""
        for name, module in modules.items():
            self.add_module(name, module)

    def __getitem__(self, name: str) -> Module:
        module = self._modules[name]
        assert module is not None  # None cannot be put in
        return module

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        del self._modules[name]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def keys(self) -> KeysView[str]:
        """Return the names in insertion order."""
        return self._modules.keys()

    def values(self) -> ValuesView[Module | None]:
        """Return the modules in insertion order."""
        return self._modules.values()

    def items(self) -> ItemsView[str, Module | None]:
        """Return pairs of name and module in insertion order."""
        return self._modules.items()
