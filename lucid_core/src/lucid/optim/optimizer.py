"""Optimizer: groups of parameters, their options, and the state kept for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, TypeAlias, TypeVar, overload

import numpy as np

from lucid.autograd import Variable, enable_grad
from lucid.autograd.variable import Array
from lucid.tensor import Tensor

__all__ = ["Optimizer", "Parameters", "check_not_negative", "check_number"]

#: What optimizers are built over: tensors, or groups of them with options of their own.
Parameters: TypeAlias = Iterable[Tensor] | Iterable[Mapping[str, Any]]

Loss = TypeVar("Loss")

# What a group may hold beside the options of its optimizer.
_EXTRAS = ("initial_lr", "name", "params")


def check_number(owner: str, name: str, value: object) -> None:
    """Raise TypeError unless an option is one real number: Python's, NumPy's or a tensor's."""
    if isinstance(value, Tensor | np.ndarray):
        if value.size == 1 and value.dtype.kind in "iuf":
            return
    elif isinstance(value, Real) and not isinstance(value, bool):
        return
    raise TypeError(
        f"{owner}: expected a number for {name}, got {value!r} ({type(value).__name__}); "
        f"pass {name}=0.1, for example"
    )


def check_not_negative(owner: str, options: Mapping[str, Any], *names: str) -> None:
    """Raise TypeError or ValueError unless options are numbers of at least 0."""
    for name in names:
        check_number(owner, name, options[name])
        if not options[name] >= 0:
            raise ValueError(f"{owner}: {name} must not be negative, got {options[name]}")


class Optimizer:
    """Base class of optimizers.

    A subclass names its options with defaults, checks them in ``_check`` and
    changes the parameters of a group in ``_update``.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        The parameters; or groups, each a dict with the parameters under
        ``"params"`` and options that differ from the defaults beside them.
    defaults : dict
        The options of groups that do not say otherwise.

    Attributes
    ----------
    param_groups : list of dict
        The groups, with all of their options; these may be changed between steps.
    state : dict
        What is kept for a parameter between steps: arrays and numbers by name.

    Raises
    ------
    ValueError
        If there are no parameters, one comes twice, or an option is out of
        range or unknown.
    TypeError
        If something else than a tensor is among the parameters.
    """

    #: What a subclass keeps for a parameter that it has changed at least once.
    _state_keys: ClassVar[tuple[str, ...]] = ()
    #: What it keeps beside that with some options.
    _optional_state_keys: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        if isinstance(params, Variable) or not isinstance(params, Iterable):
            raise TypeError(
                f"{type(self).__name__} expected an iterable of parameters or groups, got "
                f"{type(params).__name__}; pass model.parameters()"
            )
        given = list(params)
        if not given:
            raise ValueError(f"{type(self).__name__} got no parameters")
        if isinstance(given[0], Mapping):
            for group in given:
                self.add_param_group(group)  # type: ignore[arg-type]
        else:
            self.add_param_group({"params": given})

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters, with options of their own where given.

        Parameters
        ----------
        group : dict
            The parameters (one or several) under ``"params"``, and options.
            ``"name"`` is free for the caller.

        Raises
        ------
        ValueError, TypeError
            As for the optimizer; nothing is added then.
        """
        kind = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"a parameter group is a dict with a key 'params', got {group!r}")
        unknown = [key for key in group if key not in self.defaults and key not in _EXTRAS]
        if unknown:
            raise ValueError(f"{kind} has no options {unknown}; it has {sorted(self.defaults)}")
        params = group["params"]
        if not isinstance(params, Iterable):
            raise TypeError(
                f"{kind} expected parameters under 'params' of a group, got "
                f"{type(params).__name__}; pass model.parameters()"
            )
        params = [params] if isinstance(params, Variable) else list(params)
        taken = {id(p) for held in self.param_groups for p in held["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{kind} changes tensors, got {type(p).__name__} at position {i}; "
                    "pass model.parameters()"
                )
            if not p.is_leaf or p.dtype.kind != "f":
                raise ValueError(
                    f"{kind} changes floating leaf tensors; that at position {i}, of shape "
                    f"{p.shape}, is of {p.dtype}" + ("" if p.is_leaf else " and was computed")
                )
            if id(p) in taken:
                raise ValueError(
                    f"the parameter of shape {p.shape} at position {i} is given to {kind} twice"
                )
            taken.add(id(p))
        complete = {**self.defaults, **group, "params": params}
        self._check(complete)
        self.param_groups.append(complete)

    def _check(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError for an option out of range."""
        raise NotImplementedError(f"{type(self).__name__} defines no _check()")

    def _update(
        self,
        parameters: Sequence[Array],
        gradients: Sequence[Array],
        states: Sequence[dict[str, Any]],
        options: Mapping[str, Any],
    ) -> None:
        """Change the arrays of parameters with the same options in place."""
        raise NotImplementedError(f"{type(self).__name__} defines no _update()")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], Loss]) -> Loss: ...
    def step(self, closure: Callable[[], Loss] | None = None) -> Loss | None:
        """Change every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Called first, with gradients recorded: computes the loss, and the
            gradients by its ``backward``.

        Returns
        -------
        object
            What ``closure`` returned; None without one.

        Raises
        ------
        ValueError
            If the data of a parameter was replaced by an array of another shape than its
            gradient or state has; nothing is changed then.
        TypeError
            If ``closure`` cannot be called.
        """
        loss = None
        if closure is not None and not callable(closure):
            raise TypeError(
                f"step() expected a function that computes the loss, got "
                f"{type(closure).__name__}; call loss.backward(), then step()"
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
        """Refuse parameters whose data was replaced by arrays that do not fit what is kept."""
        for group in self.param_groups:
            for i, p in enumerate(group["params"]):
                if p.grad is None:
                    continue
                kept = {".grad": p.grad._data, **self.state.get(p, {})}
                for name, array in kept.items():
                    if isinstance(array, np.ndarray) and array.shape != p._data.shape:
                        raise ValueError(
                            f"{type(self).__name__}: parameter {i} of its group has shape "
                            f"{p.shape}, its {name} {array.shape}: its data was replaced; set "
                            ".grad to None and build a new optimizer after that"
                        )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradient of every parameter, or overwrite it with zeros.

        Parameters
        ----------
        set_to_none : bool, default True
            False keeps the arrays, and the parameter is changed by the next step
            as by a gradient of 0.
        """
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.zero_()

    # State

    def state_dict(self) -> dict[str, Any]:
        """Options and state, with positions in place of parameters.

        Returns
        -------
        dict
            ``"state"``: for each position a dict of numbers and tensors, which
            share memory with the optimizer; ``"param_groups"``: the groups,
            with positions under ``"params"``.
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
        """Take over options and state; positions are matched with parameters in order.

        Parameters
        ----------
        state_dict : dict
            As :meth:`state_dict` of an optimizer of the same kind, over
            parameters of the same shapes in groups of the same sizes, gives it.
            It is copied.

        Raises
        ------
        ValueError
            Saying what does not fit; the optimizer is unchanged then.
        """
        kind = type(self).__name__
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise ValueError(f"{kind}: a state dict has the keys 'state' and 'param_groups'")
        groups = self._check_groups(state_dict["param_groups"])
        saved = [i for group in state_dict["param_groups"] for i in group["params"]]
        current = [p for group in self.param_groups for p in group["params"]]
        parameter_of = dict(zip(saved, current, strict=True))
        state: dict[Tensor, dict[str, Any]] = {}
        for position, kept in state_dict["state"].items():
            # JSON turns the keys of a dict into strings.
            known = int(position) if isinstance(position, str) else position
            if known not in parameter_of:
                raise ValueError(f"{kind}: the state of parameter {position} belongs to no group")
            known_names = {*self._state_keys, *self._optional_state_keys}
            if kept and not set(self._state_keys) <= set(kept) <= known_names:
                raise ValueError(
                    f"{kind} keeps {list(self._state_keys)} for a parameter, "
                    f"the state of parameter {position} has {list(kept)}"
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
                f"{kind} has groups of {here} parameters, the state dict has groups of {there}"
            )
        groups = []
        for i, (old, new) in enumerate(zip(self.param_groups, saved, strict=True)):
            missing = sorted(set(self.defaults) - set(new))
            unknown = sorted(set(new) - set(self.defaults) - set(_EXTRAS))
            if missing or unknown:
                raise ValueError(
                    f"{kind}: group {i} of the state dict lacks the options {missing} "
                    f"and has unknown ones {unknown}"
                )
            # JSON turns tuples (betas) into lists.
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
                f"{type(self).__name__}: {what} has shape {array.shape} and {array.dtype}, "
                f"the parameter {parameter.shape} and {parameter.dtype}"
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
