"""The tensor: an array, its gradient, and operators that delegate to :mod:`lucid.ops`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from lucid import ops
from lucid.autograd import (
    ArrayLike,
    Variable,
    array_of,
    backward,
    set_tensor_class,
)
from lucid.autograd.mutation import expose, mark_reshaped, mark_written
from lucid.autograd.primitive import mark_detached
from lucid.autograd.variable import Array
from lucid.dtypes import DType, DTypeLike, dtype_of, supported_dtype
from lucid.hints import ElementCount, add_class_hints
from lucid.kernels import is_channels_last
from lucid.ops import inplace, numpy_protocol
from lucid.ops import shape as shape_ops
from lucid.ops.index import getitem
from lucid.ops.operands import Axis

__all__ = ["Tensor"]

# Inside the class the name float is the method of PyTorch's name.
_Float: TypeAlias = float


class Tensor(Variable):
    """An n-dimensional array that remembers how it was computed.

    Parameters
    ----------
    data : numpy.ndarray
        Booleans, integers or floats.  Not copied (:func:`lucid.tensor` copies).
    requires_grad : bool, default False
        Whether operations on it are recorded, so that ``backward`` reaches it.

    Notes
    -----
    Images are (N, C, H, W) in shape.  In memory the engine keeps channels last;
    see :mod:`lucid.kernels.layout`.

    Examples
    --------
    >>> import lucid
    >>> x = lucid.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    __slots__ = ()

    def __init__(self, data: ArrayLike, requires_grad: bool = False) -> None:
        array = array_of(data)
        supported_dtype(array.dtype)
        self._data = array
        self._grad = None
        self._node = None
        self._requires_grad = False
        self.requires_grad = requires_grad

    # --- what it is -----------------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The array itself, not a copy; assigning replaces it.

        Writing into it changes the tensor, and predictions see it, however long the array is
        held.  ``backward`` does not see it, as in PyTorch: call :meth:`mark_changed` after a
        write between forward and backward pass.
        """
        expose(self._data)
        return self._data

    @data.setter
    def data(self, value: ArrayLike) -> None:
        array = array_of(value)
        supported_dtype(array.dtype)
        if self._requires_grad and array.dtype.kind != "f":
            raise TypeError(
                f"the data of a tensor that requires gradients must be floats, got {array.dtype}"
            )
        before, self._data = self._data, array
        if array is before:  # x.data -= y writes into it and assigns it again
            mark_written(array)
        else:
            expose(before)
            if array.shape != before.shape:
                mark_reshaped(self)

    def mark_changed(self) -> None:
        """Record that :attr:`data` was written in place; Lucid's own operations do it.

        ``backward`` then raises if a derivative needs the values that were overwritten.
        """
        mark_written(self._data)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        shape: tuple[int, ...] = self._data.shape
        return shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return ElementCount(self._data.size)

    @property
    def dtype(self) -> DType:
        """Element type, a NumPy dtype."""
        return self._data.dtype

    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are recorded."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and self._data.dtype.kind != "f":
            raise TypeError(f"only floating tensors can require gradients, not {self.dtype}")
        if not value and self._node is not None:
            raise RuntimeError(
                "only leaves can stop requiring gradients; use detach() for a computed tensor"
            )
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set :attr:`requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user, not computed by a recorded operation."""
        return self._node is None

    @property
    def grad(self) -> Tensor | None:
        """What ``backward`` has added up so far; None before."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"a gradient must be a Tensor or None, got {type(value).__name__}")
            if value.shape != self.shape:
                raise ValueError(f"a gradient of shape {value.shape} for a tensor of {self.shape}")
            if value.dtype != self.dtype:
                raise TypeError(f"a gradient of {value.dtype} for a tensor of {self.dtype}")
        self._grad = value

    # --- differentiation ------------------------------------------------------------------------

    def backward(self, gradient: ArrayLike | None = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf it was computed from.

        Parameters
        ----------
        gradient : array-like, optional
            Gradient with respect to this tensor, of its shape.  Needed unless
            it has one element, whose gradient is 1.
        retain_graph : bool, default False
            Keep what was recorded, to run through it again.

        Raises
        ------
        RuntimeError
            If the tensor requires no gradient, has several elements and no
            ``gradient`` was given, or its graph was freed by an earlier call.
        """
        backward(self, None if gradient is None else array_of(gradient, self.dtype), retain_graph)

    def detach(self) -> Tensor:
        """The same array, cut off from how it was computed."""
        return Tensor(self._data)

    # --- leaving Lucid --------------------------------------------------------------------------

    def numpy(self) -> Array:
        """The array itself, whether or not gradients are required; the same as :attr:`data`."""
        return self.data

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self._data.size != 1:
            raise ValueError(f"item() needs a tensor of one element, got shape {self.shape}")
        return self._data.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self._data.tolist()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        """The array for ``np.asarray``, which leaves the graph: no gradient passes through it.

        A binary operation of Lucid that is given the array of a tensor that requires
        gradients raises.
        """
        if copy:
            array = np.array(self._data, dtype=dtype)
        elif dtype is not None and np.dtype(dtype) != self._data.dtype:
            if copy is False:
                raise ValueError(f"a copy is needed to turn {self.dtype} into {np.dtype(dtype)}")
            array = self._data.astype(dtype)
        else:
            array = self.data.view() if self._requires_grad else self.data
        return mark_detached(array) if self._requires_grad else array

    def __array_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """NumPy's functions; see :mod:`lucid.ops.numpy_protocol`."""
        return numpy_protocol.call_function(function, args, kwargs)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """NumPy's universal functions; see :mod:`lucid.ops.numpy_protocol`."""
        return numpy_protocol.call_ufunc(ufunc, method, inputs, kwargs)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()

    def __reduce__(self) -> Any:
        # NumPy pickles in C order; weights of convolutions must come back channels last.
        last = self._data.ndim == 4 and is_channels_last(self._data)
        array = self._data.transpose(0, 2, 3, 1) if last else self._data
        return _rebuild, (type(self), array, last, self._requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("only leaves can be deep-copied; detach() a computed tensor first")
        copy = _rebuild(type(self), self._data.copy(order="K"), False, self._requires_grad)
        if self._grad is not None:
            copy._grad = Tensor(self._grad._data.copy(order="K"))
        memo[id(self)] = copy
        return copy

    # --- changing values in place ---------------------------------------------------------------

    # A leaf that requires gradients raises unless under no_grad(); see lucid.ops.inplace.

    def copy_(self, other: ArrayLike) -> Tensor:
        """Overwrite the values with those of another, cast and broadcast to this tensor."""
        inplace.assign(self, ..., other)
        return self

    def fill_(self, value: ArrayLike) -> Tensor:
        """Overwrite every element with one value."""
        inplace.assign(self, ..., value)
        return self

    def zero_(self) -> Tensor:
        """Overwrite every element with 0."""
        return self.fill_(0)

    def __setitem__(self, index: Any, value: ArrayLike) -> None:
        inplace.assign(self, index, value)

    def __iadd__(self, other: ArrayLike) -> Tensor:
        return inplace.update(self, ops.add, other)

    def __isub__(self, other: ArrayLike) -> Tensor:
        return inplace.update(self, ops.subtract, other)

    def __imul__(self, other: ArrayLike) -> Tensor:
        return inplace.update(self, ops.multiply, other)

    def __itruediv__(self, other: ArrayLike) -> Tensor:
        return inplace.update(self, ops.divide, other)

    def __ifloordiv__(self, other: ArrayLike) -> Tensor:
        return inplace.update(self, ops.floor_divide, other)

    def __imod__(self, other: ArrayLike) -> Tensor:
        return inplace.update(self, ops.remainder, other)

    def __ipow__(self, other: ArrayLike) -> Tensor:
        return inplace.update(self, ops.power, other)

    def __imatmul__(self, other: ArrayLike) -> Tensor:
        return inplace.update(self, ops.matmul, other)

    def __iand__(self, other: ArrayLike) -> Tensor:
        return inplace.update(self, ops.bitwise_and, other)

    def __ior__(self, other: ArrayLike) -> Tensor:
        return inplace.update(self, ops.bitwise_or, other)

    def __ixor__(self, other: ArrayLike) -> Tensor:
        return inplace.update(self, ops.bitwise_xor, other)

    # --- Python's protocols ---------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        return getitem(self, index)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a tensor of no axes cannot be iterated over")
        return (getitem(self, i) for i in range(len(self._data)))

    def __contains__(self, value: ArrayLike) -> bool:
        return bool(ops.equal(self, value)._data.any())

    def __bool__(self) -> bool:
        return bool(self._data)

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self._data.__index__()

    def __float__(self) -> _Float:
        return _Float(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.size == 1 else format(repr(self), spec)

    def __repr__(self) -> str:
        text = np.array2string(self._data, separator=", ", prefix="tensor(")
        notes = "" if self.dtype in (np.float32, np.int64, np.bool_) else f", dtype={self.dtype}"
        if self._requires_grad:
            notes += ", requires_grad=True"
        return f"tensor({text}{notes})"

    __hash__ = object.__hash__

    # --- operators ------------------------------------------------------------------------------

    def __add__(self, other: ArrayLike) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: ArrayLike) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: ArrayLike) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: ArrayLike) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: ArrayLike) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: ArrayLike) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: ArrayLike) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: ArrayLike) -> Tensor:
        return ops.divide(other, self)

    def __floordiv__(self, other: ArrayLike) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: ArrayLike) -> Tensor:
        return ops.floor_divide(other, self)

    def __mod__(self, other: ArrayLike) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: ArrayLike) -> Tensor:
        return ops.remainder(other, self)

    def __pow__(self, other: ArrayLike) -> Tensor:
        return ops.power(self, other)

    def __rpow__(self, other: ArrayLike) -> Tensor:
        return ops.power(other, self)

    def __matmul__(self, other: ArrayLike) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: ArrayLike) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        return ops.positive(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __invert__(self) -> Tensor:
        return ops.invert(self)

    def __and__(self, other: ArrayLike) -> Tensor:
        return ops.bitwise_and(self, other)

    def __rand__(self, other: ArrayLike) -> Tensor:
        return ops.bitwise_and(other, self)

    def __or__(self, other: ArrayLike) -> Tensor:
        return ops.bitwise_or(self, other)

    def __ror__(self, other: ArrayLike) -> Tensor:
        return ops.bitwise_or(other, self)

    def __xor__(self, other: ArrayLike) -> Tensor:
        return ops.bitwise_xor(self, other)

    def __rxor__(self, other: ArrayLike) -> Tensor:
        return ops.bitwise_xor(other, self)

    # Nothing but numbers can be equal elementwise: NotImplemented has Python compare identity.

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.equal(self, other) if _is_numeric(other) else NotImplemented

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.not_equal(self, other) if _is_numeric(other) else NotImplemented

    def __lt__(self, other: ArrayLike) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: ArrayLike) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: ArrayLike) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: ArrayLike) -> Tensor:
        return ops.greater_equal(self, other)

    # --- methods with arguments of their own; the plain ones are added below --------------------

    @property
    def T(self) -> Tensor:  # noqa: N802
        """The axes in reverse order."""
        return ops.transpose(self)

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The last two axes exchanged."""
        return ops.transpose(self, -1, -2)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """A copy in another element type; see :func:`lucid.ops.astype`."""
        return ops.astype(self, dtype)

    def to(self, dtype: DTypeLike) -> Tensor:
        """The tensor in an element type: itself where it has it already."""
        return self if self.dtype == dtype_of(dtype) else ops.astype(self, dtype)

    def float(self) -> Tensor:
        """The tensor as float32."""
        return self.to(np.float32)

    def double(self) -> Tensor:
        """The tensor as float64."""
        return self.to(np.float64)

    def clone(self) -> Tensor:
        """A copy that the gradient passes through."""
        return ops.clone(self)

    def contiguous(self) -> Tensor:
        """The tensor in C order: itself where it is so already."""
        return self if self._data.flags.c_contiguous else ops.contiguous(self)

    # The methods below name the operations that take a tensor first, one for one.

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """See :func:`lucid.reshape`."""
        return ops.reshape(self, *shape)

    def view(self, *shape: int | Sequence[int]) -> Tensor:
        """The same memory in another shape; ValueError where only a copy has that shape.

        Writing into one changes the other.  :meth:`reshape` copies where it has to.  Convolution
        weights and feature maps are channels last in memory, so ``view(-1)`` of them raises, as
        in PyTorch with ``memory_format=torch.channels_last``.
        """
        return shape_ops.view(self, *shape)

    def transpose(self, *axes: int) -> Tensor:
        """See :func:`lucid.transpose`."""
        return ops.transpose(self, *axes)

    def permute(self, *axes: int | Sequence[int]) -> Tensor:
        """See :func:`lucid.permute`."""
        return ops.permute(self, *axes)

    def flatten(self, start_axis: int = 0, end_axis: int = -1) -> Tensor:
        """See :func:`lucid.flatten`."""
        return ops.flatten(self, start_axis, end_axis)

    def squeeze(self, axis: Axis = None) -> Tensor:
        """See :func:`lucid.squeeze`."""
        return ops.squeeze(self, axis)

    def unsqueeze(self, axis: int) -> Tensor:
        """See :func:`lucid.unsqueeze`."""
        return ops.unsqueeze(self, axis)

    def expand(self, *shape: int | Sequence[int]) -> Tensor:
        """See :func:`lucid.expand`."""
        return ops.expand(self, *shape)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.sum`."""
        return ops.sum(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.mean`."""
        return ops.mean(self, axis, keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.prod`."""
        return ops.prod(self, axis, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.max`; returns the values alone, without indices."""
        return ops.max(self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.min`; returns the values alone, without indices."""
        return ops.min(self, axis, keepdims)

    def var(self, axis: Axis = None, correction: _Float = 1, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.var`."""
        return ops.var(self, axis, correction, keepdims)

    def std(self, axis: Axis = None, correction: _Float = 1, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.std`."""
        return ops.std(self, axis, correction, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.argmax`."""
        return ops.argmax(self, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.argmin`."""
        return ops.argmin(self, axis, keepdims)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.any`."""
        return ops.any(self, axis, keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.all`."""
        return ops.all(self, axis, keepdims)

    def norm(self, ord: _Float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.norm`."""
        return ops.norm(self, ord, axis, keepdims)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`lucid.logsumexp`."""
        return ops.logsumexp(self, axis, keepdims)

    def cumsum(self, axis: int) -> Tensor:
        """See :func:`lucid.cumsum`."""
        return ops.cumsum(self, axis)

    def exp(self) -> Tensor:
        """See :func:`lucid.exp`."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """See :func:`lucid.log`."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        """See :func:`lucid.sqrt`."""
        return ops.sqrt(self)

    def abs(self) -> Tensor:
        """See :func:`lucid.abs`."""
        return ops.abs(self)

    def sin(self) -> Tensor:
        """See :func:`lucid.sin`."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """See :func:`lucid.cos`."""
        return ops.cos(self)

    def tanh(self) -> Tensor:
        """See :func:`lucid.tanh`."""
        return ops.tanh(self)

    def erf(self) -> Tensor:
        """See :func:`lucid.erf`."""
        return ops.erf(self)

    def sign(self) -> Tensor:
        """See :func:`lucid.sign`."""
        return ops.sign(self)

    def square(self) -> Tensor:
        """See :func:`lucid.square`."""
        return ops.square(self)

    def tan(self) -> Tensor:
        """See :func:`lucid.tan`."""
        return ops.tan(self)

    def isfinite(self) -> Tensor:
        """See :func:`lucid.isfinite`."""
        return ops.isfinite(self)

    def isinf(self) -> Tensor:
        """See :func:`lucid.isinf`."""
        return ops.isinf(self)

    def isnan(self) -> Tensor:
        """See :func:`lucid.isnan`."""
        return ops.isnan(self)

    def sigmoid(self) -> Tensor:
        """See :func:`lucid.sigmoid`."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """See :func:`lucid.relu`."""
        return ops.relu(self)

    def softmax(self, axis: int) -> Tensor:
        """See :func:`lucid.softmax`."""
        return ops.softmax(self, axis)

    def log_softmax(self, axis: int) -> Tensor:
        """See :func:`lucid.log_softmax`."""
        return ops.log_softmax(self, axis)

    def pow(self, exponent: ArrayLike) -> Tensor:
        """See :func:`lucid.pow`."""
        return ops.power(self, exponent)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """See :func:`lucid.clip`."""
        return ops.clip(self, min, max)

    def floor(self) -> Tensor:
        """See :func:`lucid.floor`."""
        return ops.floor(self)

    def ceil(self) -> Tensor:
        """See :func:`lucid.ceil`."""
        return ops.ceil(self)

    def round(self, decimals: int = 0) -> Tensor:
        """See :func:`lucid.round`."""
        return ops.round(self, decimals)

    def matmul(self, other: ArrayLike) -> Tensor:
        """See :func:`lucid.matmul`."""
        return ops.matmul(self, other)

    def split(self, size_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
        """See :func:`lucid.split`."""
        return ops.split(self, size_or_sections, axis)

    def chunk(self, chunks: int, axis: int = 0) -> list[Tensor]:
        """See :func:`lucid.chunk`."""
        return ops.chunk(self, chunks, axis)

    def gather(self, axis: int, index: ArrayLike) -> Tensor:
        """See :func:`lucid.gather`."""
        return ops.gather(self, axis, index)

    def maximum(self, other: ArrayLike) -> Tensor:
        """See :func:`lucid.maximum`."""
        return ops.maximum(self, other)

    def minimum(self, other: ArrayLike) -> Tensor:
        """See :func:`lucid.minimum`."""
        return ops.minimum(self, other)

    def tile(self, repeats: int | Sequence[int]) -> Tensor:
        """See :func:`lucid.tile`."""
        return ops.tile(self, repeats)

    def repeat_interleave(self, repeats: int, axis: int) -> Tensor:
        """See :func:`lucid.repeat_interleave`."""
        return ops.repeat_interleave(self, repeats, axis)

    def flip(self, axis: Axis = None) -> Tensor:
        """See :func:`lucid.flip`."""
        return ops.flip(self, axis)

    def roll(self, shift: int | Sequence[int], axis: Axis = None) -> Tensor:
        """See :func:`lucid.roll`."""
        return ops.roll(self, shift, axis)

    def tril(self, diagonal: int = 0) -> Tensor:
        """See :func:`lucid.tril`."""
        return ops.tril(self, diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        """See :func:`lucid.triu`."""
        return ops.triu(self, diagonal)

    def scatter_add(self, axis: int, index: ArrayLike, source: ArrayLike) -> Tensor:
        """See :func:`lucid.scatter_add`."""
        return ops.scatter_add(self, axis, index, source)

    def unique(
        self,
        *,
        return_index: bool = False,
        return_inverse: bool = False,
        return_counts: bool = False,
        axis: int | None = None,
    ) -> Any:
        """See :func:`lucid.unique`."""
        return ops.unique(
            self,
            return_index=return_index,
            return_inverse=return_inverse,
            return_counts=return_counts,
            axis=axis,
        )

    def sort(self, axis: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
        """See :func:`lucid.sort`."""
        return ops.sort(self, axis, descending)

    def argsort(self, axis: int = -1, descending: bool = False) -> Tensor:
        """See :func:`lucid.argsort`."""
        return ops.argsort(self, axis, descending)

    def topk(self, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
        """See :func:`lucid.topk`."""
        return ops.topk(self, k, axis, largest)

    def nonzero(self) -> tuple[Tensor, ...]:
        """See :func:`lucid.nonzero`."""
        return ops.nonzero(self)


def _is_numeric(x: object) -> TypeGuard[ArrayLike]:
    """Whether operations may take it: a number, a sequence of numbers, an array or a tensor."""
    numbers = (Variable, bool, int, _Float, np.ndarray, np.generic, list, tuple)
    return isinstance(x, numbers) or hasattr(x, "__array__")


def _rebuild(cls: type[Tensor], array: Array, last: bool, requires_grad: bool) -> Tensor:
    result = cls.__new__(cls)
    Tensor.__init__(result, array.transpose(0, 3, 1, 2) if last else array, requires_grad)
    return result


add_class_hints(Tensor, "Tensor")
set_tensor_class(Tensor)
