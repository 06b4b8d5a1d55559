"""Where the last linear layer of a TorchScript module begins: what it is given are the features of an input."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from robaudit.target.files.torchscript.peel import end_of, ending_at

__all__ = ["before_last_layer"]

PASSES = {
    "aten::flatten", "aten::squeeze", "aten::unsqueeze", "aten::view", "aten::reshape", "aten::to", "aten::contiguous",
    "aten::dropout", "aten::float", "aten::type_as", "aten::clone", "aten::t", "aten::transpose", "aten::permute",
    "aten::mean", "aten::sum", "aten::avg_pool2d", "aten::adaptive_avg_pool2d",
}  # fmt: skip
"""Operators that move numbers or average them."""
SCALES = {"aten::add", "aten::sub", "aten::mul", "aten::div", "aten::add_", "aten::sub_", "aten::mul_", "aten::div_"}
LAYERS = {"aten::linear": 0, "aten::matmul": 0, "aten::mm": 0, "aten::addmm": 1, "aten::conv2d": 0, "aten::conv1d": 0,
          "aten::_convolution": 0}  # fmt: skip
"""Layers, with the place of what they are given."""


def before_last_layer(
    module: torch.jit.ScriptModule, name: str, place: int | None, *, peeled: bool
) -> Callable[..., Any] | None:
    """The module as a function that ends before its last linear layer; None where none is found.

    Args:
        module: in evaluation mode.
        name: of the output; ``place``: see :func:`find_script_tail`.
        place: of the output.
        peeled: what is differentiated ends before a softmax or the like.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            frozen = torch.jit.freeze(module)
        graph: Any = frozen.graph.copy()
        value = _features(end_of(graph, name, place, peeled=peeled))
        return None if value is None else ending_at(graph, value, "features")
    except Exception:  # odd graphs break these internals in many ways; then the layer is not found
        return None


def _features(value: Any) -> Any | None:
    while True:
        node = value.node()
        kind, given = node.kind(), list(node.inputs())
        if kind in LAYERS:
            moving = given[LAYERS[kind]]
            others = [one for one in given if one.debugName() != moving.debugName()]
            return moving if not _written(moving) and all(map(_written, others)) else None
        if kind in SCALES:
            moved = [one for one in given if not _written(one)]
            if len(moved) != 1 or (kind.startswith("aten::div") and moved[0].debugName() != given[0].debugName()):
                return None
            value = moved[0]
        elif kind in PASSES:
            value = given[0]
        else:
            return None


def _written(value: Any) -> bool:
    """Whether a value is a constant of the frozen graph, or made of such alone."""
    node = value.node()
    return node.kind() == "prim::Constant" or (
        node.kind() in ("prim::ListConstruct", "aten::t", "aten::transpose") and all(map(_written, node.inputs()))
    )
