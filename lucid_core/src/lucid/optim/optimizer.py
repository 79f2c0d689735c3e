"""Base class of optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, TypeAlias, TypeVar, overload

import numpy as np

from lucid.autograd import Variable, enable_grad
from lucid.autograd.variable import Array
from lucid.tensor import Tensor

__all__ = ["Optimizer", "Parameters", "check_not_negative", "check_number"]

#: Tensors, or parameter groups.
Parameters: TypeAlias = Iterable[Tensor] | Iterable[Mapping[str, Any]]

Loss = TypeVar("Loss")

# Keys of a group besides the optimizer's options.
_EXTRA_KEYS = ("initial_lr", "name", "params")


def check_number(owner: str, name: str, value: object) -> None:
    """Raise TypeError unless an option is a real scalar of Python, NumPy or a tensor."""
    if isinstance(value, Tensor | np.ndarray):
        if value.size == 1 and value.dtype.kind in "iuf":
            return
    elif isinstance(value, Real) and not isinstance(value, bool):
        return
    raise TypeError(
        f"{owner}: expected a number for {name}, got {value!r} ({type(value).__name__}); "
        f"pass for example {name}=0.1"
    )


def check_not_negative(owner: str, options: Mapping[str, Any], *names: str) -> None:
    """Raise TypeError or ValueError unless options are non-negative numbers."""
    for name in names:
        check_number(owner, name, options[name])
        if not options[name] >= 0:
            raise ValueError(f"{owner}: expected {name} >= 0, got {options[name]}")


class Optimizer:
    """Base class of optimizers.

    Subclasses define ``_check`` (validation of options) and ``_update`` (update of a group).

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters to optimize, or parameter groups: dicts with the parameters as ``"params"``
        and options that override the defaults.
    defaults : dict
        Default options.

    Attributes
    ----------
    param_groups : list of dict
        Parameter groups with all options, which may be changed between steps.
    state : dict
        State of each parameter between steps: arrays and numbers by name.

    Raises
    ------
    ValueError
        If there are no parameters, one is given twice, or an option is unknown or out of range.
    TypeError
        If a parameter is no tensor.
    """

    #: State of each updated parameter.
    _state_keys: ClassVar[tuple[str, ...]] = ()
    #: State that only some options need.
    _optional_state_keys: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        if isinstance(params, Variable) or not isinstance(params, Iterable):
            raise TypeError(
                f"{type(self).__name__}: expected an iterable of parameters or groups, got "
                f"{type(params).__name__}; pass model.parameters()"
            )
        given = list(params)
        if not given:
            raise ValueError(f"{type(self).__name__}: expected at least one parameter, got none")
        if isinstance(given[0], Mapping):
            for group in given:
                self.add_param_group(group)  # type: ignore[arg-type]
        else:
            self.add_param_group({"params": given})

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add a parameter group; if it is invalid, raise and add nothing.

        Parameters
        ----------
        group : dict
            One or several parameters as ``"params"``, and options.  ``"name"`` is free for the
            caller.
        """
        kind = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"{kind}: expected a dict with a key 'params' as group, got {group!r}")
        unknown = [key for key in group if key not in self.defaults and key not in _EXTRA_KEYS]
        if unknown:
            raise ValueError(
                f"{kind}: expected options among {sorted(self.defaults)}, got {unknown}"
            )
        params = group["params"]
        if not isinstance(params, Iterable):
            raise TypeError(
                f"{kind}: expected an iterable of parameters as 'params' of a group, got "
                f"{type(params).__name__}; pass model.parameters()"
            )
        params = [params] if isinstance(params, Variable) else list(params)
        taken = {id(p) for other in self.param_groups for p in other["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{kind}: expected tensors, got {type(p).__name__} at position {i}; "
                    "pass model.parameters()"
                )
            if not p.is_leaf or p.dtype.kind != "f":
                raise ValueError(
                    f"{kind}: expected floating-point leaf tensors, got {p.dtype}"
                    f"{'' if p.is_leaf else ', not a leaf'} (position {i}, shape {p.shape})"
                )
            if id(p) in taken:
                raise ValueError(
                    f"{kind}: parameter at position {i} (shape {p.shape}) is given twice"
                )
            taken.add(id(p))
        complete = {**self.defaults, **group, "params": params}
        self._check(complete)
        self.param_groups.append(complete)

    def _check(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option is out of range."""
        raise NotImplementedError(f"{type(self).__name__} defines no _check()")

    def _update(
        self,
        parameters: Sequence[Array],
        gradients: Sequence[Array],
        states: Sequence[dict[str, Any]],
        options: Mapping[str, Any],
    ) -> None:
        """Update parameters with the same options in place."""
        raise NotImplementedError(f"{type(self).__name__} defines no _update()")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], Loss]) -> Loss: ...
    def step(self, closure: Callable[[], Loss] | None = None) -> Loss | None:
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Called first, with gradients enabled: computes the loss, calls its ``backward`` and
            returns it.

        Returns
        -------
        object
            Return value of ``closure``, None without it.

        Raises
        ------
        ValueError
            If the data of a parameter was replaced by an array whose shape differs from that of
            gradient or state; nothing is updated.
        TypeError
            If ``closure`` is not callable.
        """
        loss = None
        if closure is not None and not callable(closure):
            raise TypeError(
                f"step(): expected a callable, got {type(closure).__name__}; call "
                "loss.backward(), then step()"
            )
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._check_shapes()
        for group in self.param_groups:
            due = [p for p in group["params"] if p.grad is not None]
            states = [self.state.setdefault(p, {}) for p in due]
            try:
                self._update([p.data for p in due], [p.grad.data for p in due], states, group)
            finally:
                for p in due:
                    p.mark_changed()
        return loss

    def _check_shapes(self) -> None:
        """Raise ValueError if a parameter's shape differs from that of gradient or state."""
        for group in self.param_groups:
            for i, p in enumerate(group["params"]):
                if p.grad is None:
                    continue
                arrays = {".grad": p.grad._data, **self.state.get(p, {})}
                for name, array in arrays.items():
                    if isinstance(array, np.ndarray) and array.shape != p._data.shape:
                        raise ValueError(
                            f"{type(self).__name__}: expected {name} of shape {p.shape}, got "
                            f"{array.shape} (parameter {i} of its group, whose data was replaced); "
                            "set .grad to None and create a new optimizer"
                        )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters.

        Parameters
        ----------
        set_to_none : bool, default True
            Whether to set gradients to None instead of zeros.  With zeros, the next step updates
            the parameters by momentum and weight decay.
        """
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.zero_()

    # State

    def state_dict(self) -> dict[str, Any]:
        """Return options and state, with the index of each parameter instead of the parameter.

        Returns
        -------
        dict
            ``"state"``: numbers and tensors of each parameter by index; tensors share memory with
            the optimizer.  ``"param_groups"``: groups with indices as ``"params"``.
        """
        positions: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                positions[id(p)] = len(positions)
            listed = [positions[id(p)] for p in group["params"]]
            groups.append({**group, "params": listed})
        state = {
            positions[id(p)]: {
                name: Tensor(value) if isinstance(value, np.ndarray) else value
                for name, value in kept.items()
            }
            for p, kept in self.state.items()
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Copy options and state; indices are matched with parameters in order.

        Parameters
        ----------
        state_dict : dict
            As returned by :meth:`state_dict` of an optimizer of the same class, with groups of
            the same sizes and parameters of the same shapes.

        Raises
        ------
        ValueError
            If it does not match; the optimizer is unchanged.
        """
        kind = type(self).__name__
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise ValueError(
                f"{kind}: expected a state dict with the keys 'state' and 'param_groups'"
            )
        groups = self._check_groups(state_dict["param_groups"])
        saved = [i for group in state_dict["param_groups"] for i in group["params"]]
        current = [p for group in self.param_groups for p in group["params"]]
        parameter_of = dict(zip(saved, current, strict=True))
        state: dict[Tensor, dict[str, Any]] = {}
        for position, kept in state_dict["state"].items():
            # Keys of a JSON object are strings.
            known = int(position) if isinstance(position, str) else position
            if known not in parameter_of:
                raise ValueError(
                    f"{kind}: expected a group with parameter {position}, got its state only"
                )
            known_names = {*self._state_keys, *self._optional_state_keys}
            if kept and not set(self._state_keys) <= set(kept) <= known_names:
                raise ValueError(
                    f"{kind}: expected state {list(self._state_keys)}, got {list(kept)} (parameter "
                    f"{position})"
                )
            p = parameter_of[known]
            state[p] = {
                name: self._check_state_value(f"{name} of parameter {position}", value, p)
                for name, value in kept.items()
            }
        self.param_groups = groups
        self.state = state

    def _check_groups(self, saved: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        kind = type(self).__name__
        here = [len(group["params"]) for group in self.param_groups]
        there = [len(group["params"]) for group in saved]
        if here != there:
            raise ValueError(
                f"{kind}: expected groups of {here} parameters, got {there} in the state dict"
            )
        groups = []
        for i, (old, new) in enumerate(zip(self.param_groups, saved, strict=True)):
            missing = sorted(set(self.defaults) - set(new))
            unknown = sorted(set(new) - set(self.defaults) - set(_EXTRA_KEYS))
            if missing or unknown:
                raise ValueError(
                    f"{kind}: group {i} of the state dict lacks options {missing} and has unknown "
                    f"options {unknown}"
                )
            # Tuples such as betas are lists in JSON.
            options = {k: tuple(v) if isinstance(v, list) else v for k, v in new.items()}
            self._check(options)
            groups.append({**options, "params": old["params"]})
        return groups

    def _check_state_value(self, what: str, value: Any, parameter: Tensor) -> Any:
        if not isinstance(value, np.ndarray | Variable):
            return value
        array = value._data if isinstance(value, Variable) else value
        if array.shape != parameter.shape or array.dtype.kind != "f":
            raise ValueError(
                f"{type(self).__name__}: expected {what} of shape {parameter.shape} and a "
                f"floating-point dtype, got {array.shape} and {array.dtype}"
            )
        own = np.empty_like(parameter.data)
        own[...] = array
        return own

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}("]
        for i, group in enumerate(self.param_groups):
            options = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            lines.append(f"  ({i}): {len(group['params'])} parameters, {options}")
        return "\n".join([*lines, ")"])
