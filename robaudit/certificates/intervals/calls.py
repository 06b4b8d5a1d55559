"""The calls of a program, as bounds are carried through them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.certificates.intervals.values import Bounds
from robaudit.target.running.pools import max_pool2d

__all__ = ["Call", "UnknownCallError", "name_of"]

OPERATORS: dict[Any, str] = {
    operator.getitem: "getitem",
    operator.add: "add",
    operator.sub: "sub",
    operator.mul: "mul",
    max_pool2d: "max_pool2d",  # ours, which gives what torch's gives
}


class UnknownCallError(Exception):
    """A call that bounds cannot be carried through; the message names it."""


@dataclass(frozen=True)
class Call:
    """A call with the values that it is given: bounds, or constants.

    Args:
        name: of the function in torch.
        run: calls it.
        args: and ``kwargs``, in which bounds stand for what depends on the input.
    """

    name: str
    run: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def given(self) -> list[Bounds]:
        """The bounds among its arguments, in order."""
        flat = [part for arg in self.args for part in (arg if isinstance(arg, list | tuple) else (arg,))]
        return [part for part in (*flat, *self.kwargs.values()) if isinstance(part, Bounds)]

    def at(self, *values: Tensor) -> Tensor:
        """The call on tensors in the places of its bounds."""
        rest = list(values)

        def put(arg: Any) -> Any:
            if isinstance(arg, Bounds):
                return rest.pop(0)
            return [put(part) for part in arg] if isinstance(arg, list | tuple) and arg else arg

        result: Tensor = self.run(*map(put, self.args), **{name: put(arg) for name, arg in self.kwargs.items()})
        return result

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by place or name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


def name_of(target: Any) -> str | None:
    """What torch calls a function of a program; None where it is none of torch's."""
    if isinstance(target, str):
        return target
    if target in OPERATORS:
        return OPERATORS[target]
    name = str(getattr(target, "__name__", ""))
    homes = (torch, F, Tensor)
    return name if any(getattr(home, name, None) is target for home in homes) else None
