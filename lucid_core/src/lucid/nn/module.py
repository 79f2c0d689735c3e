"""Module: named parameters, buffers and submodules around a ``forward``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from lucid.dtypes import dtype_of
from lucid.hints import add_class_hints, forward_message
from lucid.nn.hooks import HookDict, RemovableHandle
from lucid.nn.parameter_container import ParameterContainer
from lucid.nn.state_dict import LoadResult, load_into
from lucid.tensor import Tensor

__all__ = ["Module"]


class Module(ParameterContainer):
    """Base class of every layer, loss and model.

    A subclass calls ``super().__init__()``, assigns parameters, modules and
    buffers to attributes, and defines ``forward``.  What is assigned is
    registered under the attribute's name; nested names are joined by dots.

    Attributes
    ----------
    training : bool
        Whether layers that differ between training and evaluation (batch
        normalisation, dropout) behave as in training; see :meth:`train`.
    model_name : str or None
        Name in the registry; set by ``lucid.models.create_model``.

    Examples
    --------
    >>> import lucid
    >>> from lucid import nn
    >>> class Twice(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = nn.Linear(3, 3)
    ...     def forward(self, x):
    ...         return self.linear(self.linear(x))
    >>> model = Twice()
    >>> [name for name, _ in model.named_parameters()]
    ['linear.weight', 'linear.bias']
    >>> model(lucid.zeros(2, 3)).shape
    (2, 3)
    """

    training: bool
    model_name: str | None = None
    #: Layers and shapes as its builder returned them; set by ``lucid.models.create_model``.
    model_structure: Any = None
    #: Names that a state dict may have for this class although it keeps nothing under them.
    _ignored_keys: ClassVar[tuple[str, ...]] = ()
    _forward_pre_hooks: HookDict
    _forward_hooks: HookDict

    def __init__(self) -> None:
        super().__init__()
        self.training = True
        self._forward_pre_hooks = HookDict()
        self._forward_hooks = HookDict()

    @property
    def has_hooks(self) -> bool:
        """Whether forward hooks wait for this module to be called."""
        return bool(self._forward_hooks or self._forward_pre_hooks)

    # Computing

    def _forward_is_missing(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    # Declared as a value, so that a subclass may give forward the signature it needs.
    forward: Callable[..., Any] = _forward_is_missing

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_pre_hooks:
            for pre_hook in tuple(self._forward_pre_hooks.values()):
                replaced = pre_hook(self, args)
                if replaced is not None:
                    args = replaced if isinstance(replaced, tuple) else (replaced,)
        try:
            output = self.forward(*args, **kwargs)
        except TypeError as error:
            # A wrong call fails before forward is entered: there is no frame below.
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            message = forward_message(type(self).__name__, self.forward, args, kwargs)
            raise error if message is None else TypeError(message) from None
        if self._forward_hooks:
            for hook in tuple(self._forward_hooks.values()):
                replaced = hook(self, args, output)
                if replaced is not None:
                    output = replaced
        return output

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, args)`` before each forward; what it returns replaces ``args``."""
        return self._forward_pre_hooks.add(hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each forward.

        What it returns, unless None, replaces the output.
        """
        return self._forward_hooks.add(hook)

    # State

    def _entries(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and persistent buffers under every name, module by module."""
        for path, module in self.named_modules(remove_duplicate=False):
            dot = f"{path}." if path else ""
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield dot + name, parameter
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._transient_buffers:
                    yield dot + name, buffer

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted name.

        The tensors are detached and share the module's memory: copy them to
        keep them from changing when the module is trained on.  A tensor
        registered under several names comes under each.
        """
        return {name: tensor.detach() for name, tensor in self._entries()}

    def load_state_dict(
        self,
        state_dict: Mapping[str, Any],
        strict: bool = True,
        skip_mismatched: bool = False,
    ) -> LoadResult:
        """Copy values by name into parameters and buffers: all of them, or none.

        Floating values are cast to the dtype of the tensor they go to (float64 and
        float16 files fill a float32 model), integers to its integer dtype, and copied
        into its memory.  Integers and booleans are no values of a floating parameter:
        quantized weights are refused.  A tensor that is
        registered under several names needs a value under one of them.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or array
            As :meth:`state_dict` gives it.
        strict : bool, default True
            Take missing and unexpected keys for an error.
        skip_mismatched : bool, default False
            Pass over values of a wrong shape, so that all but the last layer of
            a classifier of another number of classes is loaded.

        Returns
        -------
        LoadResult
            With the lists ``loaded``, ``missing``, ``unexpected``, ``skipped``.

        Raises
        ------
        StateDictError
            Counting the keys that are missing, unexpected or of a wrong shape or dtype and
            the tensors with two names and two values, ten of each by name; the
            module is unchanged.
        """
        useless = {
            f"{path}.{name}" if path else name
            for path, module in self.named_modules(remove_duplicate=False)
            for name in module._ignored_keys
        }
        return load_into(
            type(self).__name__, self._entries(), useless, state_dict, strict, skip_mismatched
        )

    @property
    def parameter_size(self) -> int:
        """Number of values, summed over every parameter *name*: two names count twice."""
        return sum(p.size for _, p in self.named_parameters(remove_duplicate=False))

    @property
    def distinct_parameter_size(self) -> int:
        """Number of values in all parameters, each counted once."""
        return sum(p.size for p in self.parameters())

    # Changing everything at once

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call ``function`` with every module, children before parents, and return ``self``."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Put this module and all below it into training (or evaluation) mode."""
        if not isinstance(mode, bool):
            raise ValueError(f"train() takes a bool, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all below it into evaluation mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether gradients are computed for the parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradient of every parameter; overwrite it with zeros for False."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    def to(self, dtype: Any) -> Self:
        """Convert parameters, gradients and buffers of floating dtype, in place.

        Parameters
        ----------
        dtype : dtype-like
            float32 or float64.
        """
        target = dtype_of(dtype)
        if target not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise TypeError(f"a module is converted to float32 or float64, not to {target}")
        for tensor in (*self.parameters(), *self.buffers()):
            for part in (tensor, tensor.grad):
                if part is not None and part.dtype.kind == "f" and part.dtype != target:
                    part.data = part.data.astype(target, order="K")
        return self

    # Showing

    def extra_repr(self) -> str:
        """What stands between the parentheses of ``repr``: the settings of a layer."""
        return ""

    def __repr__(self) -> str:
        settings = self.extra_repr()
        lines = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        if not lines:
            return f"{type(self).__name__}({settings})"
        body = "\n  ".join(([settings] if settings else []) + lines)
        return f"{type(self).__name__}(\n  {body}\n)"


add_class_hints(Module)
