"""Tensor class; operators and methods call :mod:`lucid.ops`."""

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
from lucid.kernels import is_channels_last, recording
from lucid.ops import inplace, numpy_protocol
from lucid.ops import shape as shape_ops
from lucid.ops.index import getitem

__all__ = ["Tensor"]

# In the class body, ``float`` is the method.
_Float: TypeAlias = float


def _reflected(
    operation: Callable[[ArrayLike, ArrayLike], Tensor],
) -> Callable[[Tensor, ArrayLike], Tensor]:
    """Make ``__radd__`` etc. of a binary operation."""

    def call(self: Tensor, other: ArrayLike) -> Tensor:
        return operation(other, self)

    return call


class Tensor(Variable):
    """N-dimensional array with automatic differentiation.

    Parameters
    ----------
    data : numpy.ndarray
        Booleans, integers or floats; not copied (:func:`lucid.tensor` copies).
    requires_grad : bool, default False
        Whether to record operations on it for ``backward``.

    Notes
    -----
    Images have shape (N, C, H, W) and are channels last in memory; see
    :mod:`lucid.kernels.layout`.

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

    # --- data and metadata ----------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The NumPy array, not a copy; assigning replaces it.

        Writing to the array changes the tensor.  As in PyTorch, ``backward`` does not notice such
        writes: call :meth:`mark_changed` after a write between forward and backward pass.
        """
        expose(self._data)
        return self._data

    @data.setter
    def data(self, value: ArrayLike) -> None:
        array = array_of(value)
        supported_dtype(array.dtype)
        if self._requires_grad and array.dtype.kind != "f":
            raise TypeError(
                f"expected floating data for a tensor that requires gradients, got {array.dtype}"
            )
        before, self._data = self._data, array
        if array is before:  # x.data -= y writes to it and assigns it again
            mark_written(array)
        else:
            expose(before)
            if array.shape != before.shape:
                mark_reshaped(self)

    def mark_changed(self) -> None:
        """Record that :attr:`data` was written in place, so that ``backward`` can check it."""
        mark_written(self._data)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, as a tuple of integers."""
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
        """Whether operations on the tensor are recorded."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and self._data.dtype.kind != "f":
            raise TypeError(f"expected a floating tensor to require gradients, got {self.dtype}")
        if not value and self._node is not None:
            raise RuntimeError(
                "requires_grad=False expected a leaf tensor, got a computed one; use detach()"
            )
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set :attr:`requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor is a leaf of the graph, not the result of a recorded operation."""
        return self._node is None

    @property
    def grad(self) -> Tensor | None:
        """Gradient accumulated by ``backward``; None before the first call."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"expected .grad to be a Tensor or None, got {type(value).__name__}"
                )
            if value.shape != self.shape:
                raise ValueError(f"expected .grad of shape {self.shape}, got {value.shape}")
            if value.dtype != self.dtype:
                raise TypeError(f"expected .grad of dtype {self.dtype}, got {value.dtype}")
        self._grad = value

    # --- differentiation ------------------------------------------------------------------------

    def backward(self, gradient: ArrayLike | None = None, retain_graph: bool = False) -> None:
        """Compute gradients of the tensor and add them to ``.grad`` of the leaves.

        Parameters
        ----------
        gradient : array-like, optional
            Gradient with respect to this tensor, of its shape.  Default: 1, for a single element.
        retain_graph : bool, default False
            Keep the graph for another call.

        Raises
        ------
        RuntimeError
            If the tensor requires no gradient, has several elements and no ``gradient`` is given,
            the graph was freed, or a saved array was changed in place.
        """
        backward(self, None if gradient is None else array_of(gradient, self.dtype), retain_graph)

    def detach(self) -> Tensor:
        """Return a tensor over the same array that requires no gradient."""
        return Tensor(self._data)

    # --- conversion -----------------------------------------------------------------------------

    def numpy(self) -> Array:
        """Return :attr:`data`, whether or not the tensor requires gradients."""
        return self.data

    def item(self) -> Any:
        """Return the single element as a Python number."""
        recording.refuse("a value of a tensor")
        if self._data.size != 1:
            raise ValueError(f"item() expected a tensor of one element, got shape {self.shape}")
        return self._data.item()

    def tolist(self) -> Any:
        """Convert to nested lists of Python numbers."""
        recording.refuse("values of a tensor")
        return self._data.tolist()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Return the array for ``np.asarray``; it has no gradient.

        Binary operations raise if they get the array of a tensor that requires gradients.
        """
        if copy:
            array = np.array(self._data, dtype=dtype)
        elif dtype is not None and np.dtype(dtype) != self._data.dtype:
            if copy is False:
                raise ValueError(f"copy=False expected dtype {self.dtype}, got {np.dtype(dtype)}")
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
        """Call a NumPy function; see :mod:`lucid.ops.numpy_protocol`."""
        return numpy_protocol.call_function(function, args, kwargs)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Call a NumPy ufunc; see :mod:`lucid.ops.numpy_protocol`."""
        return numpy_protocol.call_ufunc(ufunc, method, inputs, kwargs)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()

    def __reduce__(self) -> Any:
        # NumPy pickles in C order, but convolution weights must stay channels last.
        last = self._data.ndim == 4 and is_channels_last(self._data)
        array = self._data.transpose(0, 2, 3, 1) if last else self._data
        return _rebuild, (type(self), array, last, self._requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("deepcopy expected a leaf tensor, got a computed one; use detach()")
        copy = _rebuild(type(self), self._data.copy(order="K"), False, self._requires_grad)
        if self._grad is not None:
            copy._grad = Tensor(self._grad._data.copy(order="K"))
        memo[id(self)] = copy
        return copy

    # --- in-place operations ---------------------------------------------------------------

    # They raise for a leaf that requires gradients, unless under no_grad().

    def copy_(self, other: ArrayLike) -> Tensor:
        """Copy values from another tensor, cast and broadcast to this one."""
        inplace.assign(self, ..., other)
        return self

    def fill_(self, value: ArrayLike) -> Tensor:
        """Fill with one value."""
        inplace.assign(self, ..., value)
        return self

    def zero_(self) -> Tensor:
        """Fill with 0."""
        return self.fill_(0)

    def __setitem__(self, index: Any, value: ArrayLike) -> None:
        inplace.assign(self, index, value)

    __iadd__ = inplace.operator(ops.add)
    __isub__ = inplace.operator(ops.subtract)
    __imul__ = inplace.operator(ops.multiply)
    __itruediv__ = inplace.operator(ops.divide)
    __ifloordiv__ = inplace.operator(ops.floor_divide)
    __imod__ = inplace.operator(ops.remainder)
    __ipow__ = inplace.operator(ops.power)
    __imatmul__ = inplace.operator(ops.matmul)
    __iand__ = inplace.operator(ops.bitwise_and)
    __ior__ = inplace.operator(ops.bitwise_or)
    __ixor__ = inplace.operator(ops.bitwise_xor)

    # --- Python's protocols ---------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        return getitem(self, index)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration expected at least one axis, got a 0-d tensor")
        return (getitem(self, i) for i in range(len(self._data)))

    def __contains__(self, value: ArrayLike) -> bool:
        return bool(ops.equal(self, value).any())

    def __bool__(self) -> bool:
        recording.refuse("a value of a tensor")
        return bool(self._data)

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        recording.refuse("a value of a tensor")
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

    __add__, __radd__ = ops.add, _reflected(ops.add)
    __sub__, __rsub__ = ops.subtract, _reflected(ops.subtract)
    __mul__, __rmul__ = ops.multiply, _reflected(ops.multiply)
    __truediv__, __rtruediv__ = ops.divide, _reflected(ops.divide)
    __floordiv__, __rfloordiv__ = ops.floor_divide, _reflected(ops.floor_divide)
    __mod__, __rmod__ = ops.remainder, _reflected(ops.remainder)
    __pow__, __rpow__ = ops.power, _reflected(ops.power)
    __matmul__, __rmatmul__ = ops.matmul, _reflected(ops.matmul)
    __and__, __rand__ = ops.bitwise_and, _reflected(ops.bitwise_and)
    __or__, __ror__ = ops.bitwise_or, _reflected(ops.bitwise_or)
    __xor__, __rxor__ = ops.bitwise_xor, _reflected(ops.bitwise_xor)
    __neg__ = ops.negative
    __pos__ = ops.positive
    __abs__ = ops.abs
    __invert__ = ops.invert
    __lt__ = ops.less
    __le__ = ops.less_equal
    __gt__ = ops.greater
    __ge__ = ops.greater_equal

    # For non-numeric operands, NotImplemented makes Python compare identity.

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.equal(self, other) if _is_numeric(other) else NotImplemented

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.not_equal(self, other) if _is_numeric(other) else NotImplemented

    # --- methods --------------------------------------------------------------------------------

    @property
    def T(self) -> Tensor:  # noqa: N802
        """Transpose, the axes in reverse order."""
        return ops.transpose(self)

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """Matrix transpose, the last two axes swapped."""
        return ops.transpose(self, -1, -2)

    def to(self, dtype: DTypeLike) -> Tensor:
        """Convert to a dtype; the tensor itself if it has that dtype."""
        return self if self.dtype == dtype_of(dtype) else ops.astype(self, dtype)

    def float(self) -> Tensor:
        """Convert to float32."""
        return self.to(np.float32)

    def double(self) -> Tensor:
        """Convert to float64."""
        return self.to(np.float64)

    def contiguous(self) -> Tensor:
        """Convert to C order; the tensor itself if it is in C order."""
        return self if self._data.flags.c_contiguous else ops.contiguous(self)

    # Functions of ``lucid`` as methods: the tensor is their first argument.

    exp = ops.exp
    log = ops.log
    sqrt = ops.sqrt
    square = ops.square
    sign = ops.sign
    sin = ops.sin
    cos = ops.cos
    tan = ops.tan
    tanh = ops.tanh
    erf = ops.erf
    sigmoid = ops.sigmoid
    relu = ops.relu
    floor = ops.floor
    ceil = ops.ceil
    isnan = ops.isnan
    isinf = ops.isinf
    isfinite = ops.isfinite
    abs = ops.abs
    astype = ops.astype
    clone = ops.clone
    reshape = ops.reshape
    transpose = ops.transpose
    permute = ops.permute
    flatten = ops.flatten
    squeeze = ops.squeeze
    unsqueeze = ops.unsqueeze
    expand = ops.expand
    sum = ops.sum
    mean = ops.mean
    prod = ops.prod
    max = ops.max
    min = ops.min
    var = ops.var
    std = ops.std
    argmax = ops.argmax
    argmin = ops.argmin
    any = ops.any
    all = ops.all
    norm = ops.norm
    logsumexp = ops.logsumexp
    cumsum = ops.cumsum
    clip = ops.clip
    round = ops.round
    split = ops.split
    chunk = ops.chunk
    gather = ops.gather
    tile = ops.tile
    repeat_interleave = ops.repeat_interleave
    flip = ops.flip
    roll = ops.roll
    tril = ops.tril
    triu = ops.triu
    scatter_add = ops.scatter_add
    unique = ops.unique
    sort = ops.sort
    argsort = ops.argsort
    topk = ops.topk
    nonzero = ops.nonzero

    def view(self, *shape: int | Sequence[int]) -> Tensor:
        """Reshape without a copy; ValueError if the memory layout requires one.

        Writing to one changes the other.  Convolution weights and feature maps are channels last
        in memory, so their ``view(-1)`` raises, as in PyTorch with
        ``memory_format=torch.channels_last``; use :meth:`reshape`.
        """
        return shape_ops.view(self, *shape)

    def softmax(self, axis: int) -> Tensor:
        """Softmax along ``axis``; see :func:`lucid.softmax`."""
        return ops.softmax(self, axis)

    def log_softmax(self, axis: int) -> Tensor:
        """Log-softmax along ``axis``; see :func:`lucid.log_softmax`."""
        return ops.log_softmax(self, axis)

    def pow(self, exponent: ArrayLike) -> Tensor:
        """Elementwise power; see :func:`lucid.pow`."""
        return ops.power(self, exponent)

    def matmul(self, other: ArrayLike) -> Tensor:
        """Matrix product; see :func:`lucid.matmul`."""
        return ops.matmul(self, other)

    def maximum(self, other: ArrayLike) -> Tensor:
        """Elementwise maximum; see :func:`lucid.maximum`."""
        return ops.maximum(self, other)

    def minimum(self, other: ArrayLike) -> Tensor:
        """Elementwise minimum; see :func:`lucid.minimum`."""
        return ops.minimum(self, other)


def _is_numeric(x: object) -> TypeGuard[ArrayLike]:
    """Whether ``x`` may be an operand: a number, sequence, array or tensor."""
    numbers = (Variable, bool, int, _Float, np.ndarray, np.generic, list, tuple)
    return isinstance(x, numbers) or hasattr(x, "__array__")


def _rebuild(cls: type[Tensor], array: Array, last: bool, requires_grad: bool) -> Tensor:
    result = cls.__new__(cls)
    Tensor.__init__(result, array.transpose(0, 3, 1, 2) if last else array, requires_grad)
    return result


add_class_hints(Tensor, "Tensor")
set_tensor_class(Tensor)
