"""Steps: operators whose derivative is zero, or zero but for jumps."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator
from robaudit.target.onnx.straight_through import BOUNDED_STEP, EXACT, SOFTMAX, STEP, rule_of, through

_STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "Round": torch.round,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Sign": torch.sign,
}


@operator("Round", "Floor", "Ceil", backward=STEP)
@operator("Sign", backward=BOUNDED_STEP)
def _step(node: Node, x: Tensor) -> Tensor:
    if not x.is_floating_point():
        return _STEPS[node.op](x)
    # Where Sign is clipped, its range is that of its values.
    return through(_STEPS[node.op](x.detach()), x, rule_of(node), -1.0, 1.0)


@operator("Hardmax", backward=(SOFTMAX, EXACT))
def _hardmax(node: Node, x: Tensor) -> Tensor:
    shape = list(x.shape)
    axis = node.integer("axis", -1 if node.version >= 13 else 1) % len(shape)
    rows = x if node.version >= 13 else x.reshape([*shape[:axis], math.prod(shape[axis:])])
    largest = torch.argmax(rows, axis, keepdim=True)
    chosen = torch.zeros_like(rows).scatter(axis, largest, 1.0)
    return through(chosen, torch.softmax(rows, axis), rule_of(node)).reshape(shape)
