"""Module: base class of layers, losses and models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from lucid.autograd.mutation import base_array
from lucid.dtypes import dtype_of
from lucid.hints import add_class_hints, forward_message
from lucid.kernels.memory import owns_memory
from lucid.nn import replay
from lucid.nn.hooks import HookDict, RemovableHandle
from lucid.nn.parameter_container import ParameterContainer
from lucid.nn.state_dict import LoadResult, load_into
from lucid.tensor import Tensor

if TYPE_CHECKING:
    from lucid.weights.weights_info import WeightsInfo

__all__ = ["Module"]


class Module(ParameterContainer):
    """Base class of layers, losses and models.

    A subclass calls ``super().__init__()``, assigns parameters and submodules to attributes,
    registering them, and defines ``forward``.  Nested names are joined by dots.

    Attributes
    ----------
    training : bool
        Whether the module is in training mode, which affects layers such as batch normalization
        and dropout; see :meth:`train`.
    model_name : str or None
        Name in the registry; set by ``lucid.models.create_model``.
    weights_info : lucid.weights.WeightsInfo or None
        File that the weights were loaded from; set by ``lucid.models.create_model``,
        ``lucid.load_model`` and ``lucid.weights.load_weights``, None after
        :meth:`load_state_dict`.

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
    weights_info: WeightsInfo | None = None
    #: Layers and shapes of the model as built; set by ``lucid.models.create_model``.
    model_structure: Any = None
    #: Whether predictions are replayed (``lucid.nn.replay``): True for models, ``"part"`` for
    #: modules that such models consist of.
    replayable: ClassVar[bool | Literal["part"]] = False
    #: State dict keys of this class that are accepted and ignored.
    _ignored_keys: ClassVar[tuple[str, ...]] = ()
    _forward_pre_hooks: HookDict
    _forward_hooks: HookDict

    def __init__(self) -> None:
        super().__init__()
        self.training = True
        self._forward_pre_hooks = HookDict()
        self._forward_hooks = HookDict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Unpickled arrays are views of bytes, which others could write to.
        for tensor in (*self._parameters.values(), *self._buffers.values()):
            if tensor is not None and not owns_memory(base_array(tensor._data)):
                tensor._data = tensor._data.copy(order="K")

    @property
    def has_hooks(self) -> bool:
        """Whether forward hooks or pre-hooks are registered."""
        return bool(self._forward_hooks or self._forward_pre_hooks)

    # Forward

    def _forward_is_missing(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    # An attribute, so that subclasses may define forward with any signature.
    forward: Callable[..., Any] = _forward_is_missing

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_pre_hooks:
            for pre_hook in tuple(self._forward_pre_hooks.values()):
                replaced = pre_hook(self, args)
                if replaced is not None:
                    args = replaced if isinstance(replaced, tuple) else (replaced,)
        try:
            if self.replayable is True and len(args) == 1 and not kwargs:
                output = replay.run(self, args[0])
            else:
                output = self.forward(*args, **kwargs)
        except TypeError as error:
            # Wrong arguments fail before forward is entered, without a frame below this one.
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
        """Call ``hook(module, args)`` before each forward.

        Its result, unless None, replaces ``args``.
        """
        return self._forward_pre_hooks.add(hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each forward.

        Its result, unless None, replaces the output.
        """
        return self._forward_hooks.add(hook)

    # State

    def _entries(self) -> Iterator[tuple[str, Tensor]]:
        """Yield parameters and persistent buffers under all names, module by module."""
        for path, module in self.named_modules(remove_duplicate=False):
            dot = f"{path}." if path else ""
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield dot + name, parameter
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._non_persistent_buffers:
                    yield dot + name, buffer

    def state_dict(self) -> dict[str, Tensor]:
        """Return parameters and persistent buffers by dotted name.

        The tensors are detached and share memory with the module: copy them to keep their values
        during training.  A tensor with several names occurs under each.
        """
        return {name: tensor.detach() for name, tensor in self._entries()}

    def load_state_dict(
        self,
        state_dict: Mapping[str, Any],
        strict: bool = True,
        skip_mismatched: bool = False,
    ) -> LoadResult:
        """Copy values into parameters and buffers by name: all of them, or none.

        Floating-point values are cast to the dtype of the target tensor (float64 and float16
        files load into a float32 model), integers to its integer dtype.  Integers and booleans
        for a floating-point tensor, such as quantized weights, are an error.  A tensor with
        several names needs a value under one of them.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or array
            As returned by :meth:`state_dict`.
        strict : bool, default True
            Whether missing and unexpected keys are an error.
        skip_mismatched : bool, default False
            Whether to skip values with another shape, such as the head of a classifier with
            another number of classes.

        Returns
        -------
        LoadResult
            With the lists ``loaded``, ``missing``, ``unexpected``, ``skipped``.

        Raises
        ------
        StateDictError
            If keys are missing, unexpected, of a wrong shape or dtype, or give one tensor two
            different values; lists up to ten keys of each kind.  The module is unchanged.
        """
        ignored = {
            f"{path}.{name}" if path else name
            for path, module in self.named_modules(remove_duplicate=False)
            for name in module._ignored_keys
        }
        head = (tuple(getattr(self, "head_prefixes", ())), getattr(self, "num_classes", None))
        result = load_into(
            type(self).__name__, self._entries(), ignored, state_dict, strict, skip_mismatched, head
        )
        for module in self.modules():
            if module.weights_info is not None:  # of other weights
                module.weights_info = None
        return result

    @property
    def parameter_size(self) -> int:
        """Number of elements over all parameter names; a parameter with two names counts twice."""
        return sum(p.size for _, p in self.named_parameters(remove_duplicate=False))

    @property
    def distinct_parameter_size(self) -> int:
        """Number of elements of all parameters, each counted once."""
        return sum(p.size for p in self.parameters())

    # Mode, gradients, dtype

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call ``function(module)`` for every submodule, children first, then this module."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training mode (``mode=False``: evaluation mode) of this module and all submodules."""
        if not isinstance(mode, bool):
            raise ValueError(f"train(): expected a bool, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode of this module and all submodules."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether the parameters require gradients."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters, to None or (``set_to_none=False``) zeros."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    def to(self, dtype: Any) -> Self:
        """Convert floating-point parameters, gradients and buffers in place.

        Parameters
        ----------
        dtype : dtype-like
            float32 or float64.
        """
        target = dtype_of(dtype)
        if target not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise TypeError(f"to(): expected float32 or float64, got {target}")
        for tensor in (*self.parameters(), *self.buffers()):
            for part in (tensor, tensor.grad):
                if part is not None and part.dtype.kind == "f" and part.dtype != target:
                    part.data = part.data.astype(target, order="K")
        return self

    # Representation

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows in parentheses."""
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
