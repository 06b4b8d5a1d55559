"""A recorded program, as its rewrites look at it and change it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

_SYNONYMS = {
    "truediv": "div",
    "true_divide": "div",
    "divide": "div",
    "multiply": "mul",
    "rmul": "mul",
    "radd": "add",
    "subtract": "sub",
    "bmm": "matmul",
    "expand": "broadcast_to",
    "clip": "clamp",
}


@dataclass(frozen=True)
class Scaled:
    """A value times a number."""

    node: fx.Node
    factor: float


class Program:
    """Nodes with the shapes and types of their values, and the values of constants."""

    def __init__(self, graph: fx.Graph, constants: Mapping[str, Tensor]) -> None:
        self.graph = graph
        self.gone: set[fx.Node] = set()
        self._constants = constants

    def value(self, node: fx.Node) -> Tensor:
        """A tensor on the meta device: shape and type of what the node gives."""
        value: Tensor = node.meta["val"]
        return value

    def shape(self, node: fx.Node) -> list[int]:
        """Of what the node gives."""
        return list(self.value(node).shape)

    def known(self, node: fx.Node) -> Tensor | None:
        """The value of a constant."""
        return self._constants.get(str(node.target)) if node.op == "get_attr" else None

    def number(self, value: Any) -> float | None:
        """A number, or a constant that is a single one."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        held = self.known(value) if isinstance(value, fx.Node) else None
        return float(held.item()) if held is not None and held.numel() == 1 and held.dtype != torch.bool else None

    def is_constant(self, value: Any) -> bool:
        """Whether it is a constant or another shape of one."""
        while isinstance(value, fx.Node) and is_call(value, "reshape", "unsqueeze", "broadcast_to"):
            value = value.args[0]
        return isinstance(value, fx.Node) and value.op == "get_attr"

    def same_type(self, *nodes: fx.Node) -> bool:
        """Whether all values are of one type, floats of at least 32 bits (rounding in between matters to others)."""
        types = {self.value(node).dtype for node in nodes}
        return len(types) == 1 and types <= {torch.float32, torch.float64}

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Add a call; where is the caller's affair (``graph.inserting_before``)."""
        node = self.graph.call_function(function, args, kwargs)
        with torch.no_grad():
            shapes = pytree.tree_map(lambda a: a.meta["val"] if isinstance(a, fx.Node) else a, (args, kwargs))
            node.meta["val"] = function(*shapes[0], **shapes[1])
        return node

    def erase(self, node: fx.Node) -> None:
        """Take out a node that nobody reads, and what is then read by nobody."""
        stack = [node]
        while stack:
            dead = stack.pop()
            if dead in self.gone or dead.users or dead.op in ("placeholder", "output"):
                continue
            stack += dead.all_input_nodes
            self.graph.erase_node(dead)
            self.gone.add(dead)

    def unscaled(self, node: fx.Node) -> Scaled:
        """What a node multiplies by numbers; products that others read are left alone."""
        factor = 1.0
        while is_call(node, "mul", "div") and len(node.users) == 1:
            left, right = operands(node)
            number = self.number(right)
            if number is not None and isinstance(left, fx.Node):
                factor = factor * number if name_of(node) == "mul" else factor / number
                inner = left
            elif name_of(node) == "mul" and (number := self.number(left)) is not None and isinstance(right, fx.Node):
                factor, inner = factor * number, right
            else:
                break
            if self.shape(inner) != self.shape(node) or self.value(inner).dtype != self.value(node).dtype:
                break
            node = inner
        return Scaled(node, factor)

    def factors(self, node: fx.Node) -> tuple[float, list[fx.Node]]:
        """A product as a number and the values that are multiplied; parts that others read are not taken apart."""
        whole, parts = 1.0, []
        stack: list[Any] = [node]
        while stack:
            value = stack.pop()
            number = self.number(value)
            if number is not None:
                whole *= number
            elif (
                isinstance(value, fx.Node) and (value is node or len(value.users) == 1) and is_call(value, "mul", "div")
            ):
                left, right = operands(value)
                divisor = self.number(right)
                if name_of(value) == "mul":
                    stack += [left, right]
                elif divisor is not None:
                    whole, stack = whole / divisor, [*stack, left]
                else:
                    parts.append(value)
            else:
                parts.append(value)
        return whole, parts


def name_of(node: fx.Node) -> str:
    """What a node calls, one name for torch's synonyms; empty for what is no call."""
    if node.op not in ("call_function", "call_method"):
        return ""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    name = name.removeprefix("__").removesuffix("__")
    return _SYNONYMS.get(name, name)


def is_call(node: Any, *names: str) -> bool:
    """Whether the node calls one of these operators."""
    return isinstance(node, fx.Node) and name_of(node) in names


def argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """An argument given by position or by name."""
    if position < len(node.args):
        return node.args[position]
    return node.kwargs.get(name, default)


def operands(node: fx.Node) -> tuple[Any, Any]:
    """Both operands of a binary operator; (None, None) where it has more arguments (``alpha``)."""
    left, right = argument(node, 0, "input"), argument(node, 1, "other")
    return (left, right) if len(node.args) + len(node.kwargs) == 2 else (None, None)


def source(node: Any) -> fx.Node | None:
    """The first argument of a call, if it is a value of the program."""
    first = node.args[0] if isinstance(node, fx.Node) and node.args else None
    return first if isinstance(first, fx.Node) else None


def sole(value: Any, *names: str) -> fx.Node | None:
    """The value as a call of one of these operators that nobody else reads, else None."""
    return value if is_call(value, *names) and len(value.users) == 1 else None


def close(a: float | None, b: float) -> bool:
    """Whether a number of the file means this one; half precision keeps three digits."""
    return a is not None and math.isclose(a, b, rel_tol=1e-3)


def integers(value: Any) -> list[int] | None:
    """A list of plain integers, a single one as a list of it."""
    if isinstance(value, int):
        return [value]
    if isinstance(value, (list, tuple)) and all(isinstance(v, int) for v in value):
        return list(value)
    return None
