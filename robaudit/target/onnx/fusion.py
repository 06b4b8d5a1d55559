"""Formulas that exporters spell out, brought back to the one operator that they mean."""

from __future__ import annotations

import math

from torch import Tensor

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.linear import INTERNAL


class Producers:
    """Who makes a value, how many read it, and what is constant."""

    def __init__(self, makers: dict[str, Node], uses: dict[str, int], constants: dict[str, Tensor]) -> None:
        self._makers, self._uses, self._constants = makers, uses, constants

    def sole(self, name: str, op: str) -> Node | None:
        """The node of this kind that makes a value which nobody else reads."""
        node = self._makers.get(name)
        return node if node and node.op == op and not node.domain and self._uses[name] == 1 else None

    def number(self, name: str) -> float | None:
        """A constant that is a single number."""
        value = self._constants.get(name)
        return float(value.item()) if value is not None and value.numel() == 1 else None

    def with_number(self, node: Node) -> tuple[str, float] | None:
        """The other operand of a binary node that has a constant number."""
        for mine, other in ((0, 1), (1, 0)):
            value = self.number(node.inputs[mine])
            if value is not None and (mine == 1 or node.op in ("Add", "Mul")):
                return node.inputs[other], value
        return None


def gelu_input(made: Producers, node: Node) -> str | None:
    """x when a Mul is the last step of ``0.5 x (1 + erf(x / sqrt 2))``, in either order of the products."""
    for half, rest in _operands(node):
        # Mul(Mul(x, 1 + erf), 0.5)
        if made.number(half) == 0.5 and (product := made.sole(rest, "Mul")):
            for x, grown in _operands(product):
                if _is_one_plus_erf(made, grown, x):
                    return x
        # Mul(Mul(x, 0.5), 1 + erf)
        if (scaled := made.sole(half, "Mul")) and (found := made.with_number(scaled)):
            x, factor = found
            if factor == 0.5 and _is_one_plus_erf(made, rest, x):
                return x
        # Mul(x, Mul(1 + erf, 0.5))
        if (scaled := made.sole(rest, "Mul")) and (found := made.with_number(scaled)):
            grown, factor = found
            if factor == 0.5 and _is_one_plus_erf(made, grown, half):
                return half
    return None


def gelu(node: Node, x: str) -> Node:
    """The operator in place of the formula's last step."""
    return Node("Gelu", INTERNAL, 1, node.name, (x,), node.outputs)


def _operands(node: Node) -> tuple[tuple[str, str], tuple[str, str]]:
    a, b = node.inputs
    return (a, b), (b, a)


def _is_one_plus_erf(made: Producers, name: str, x: str) -> bool:
    added = made.sole(name, "Add")
    found = made.with_number(added) if added else None
    if found is None or found[1] != 1.0:
        return False
    error = made.sole(found[0], "Erf")
    if error is None:
        return False
    for op, factor in (("Div", math.sqrt(2)), ("Mul", math.sqrt(0.5))):
        scaled = made.sole(error.inputs[0], op)
        operand = made.with_number(scaled) if scaled else None
        if operand is not None:
            # Half precision keeps three digits of the root.
            return operand[0] == x and math.isclose(operand[1], factor, rel_tol=1e-3)
    return False
