"""What the handlers of ONNX Runtime's own operators share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, find

MICROSOFT = "com.microsoft"
"""Domain of the operators that ONNX Runtime's optimiser and its transformers tools write."""

# The names under which an activation's parameters come, in the order in which fused operators list them.
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "HardSwish": (),
    "LeakyRelu": ("alpha",),
    "ParametricSoftplus": ("alpha", "beta"),
    "Relu": (),
    "ScaledTanh": ("alpha", "beta"),
    "Selu": ("alpha", "gamma"),
    "Sigmoid": (),
    "Softplus": (),
    "Softsign": (),
    "Tanh": (),
    "ThresholdedRelu": ("alpha",),
}


def apply(node: Node, op: str, version: int, *inputs: Tensor | None, **attributes: Any) -> Result:
    """Run an operator of the default domain as part of this one."""
    found = find("", op)
    if found is None:
        raise node.unsupported(f"{op} has no translation")
    return found.run(replace(node, op=op, domain="", version=version, attributes=attributes), *inputs)


def apply_one(node: Node, op: str, version: int, *inputs: Tensor | None, **attributes: Any) -> Tensor:
    """The first output of :func:`apply`."""
    result = apply(node, op, version, *inputs, **attributes)
    if isinstance(result, (tuple, list)):
        result = result[0]
    assert isinstance(result, Tensor), f"{op} returns tensors"
    return result


def activate(node: Node, x: Tensor, name: str, parameters: Sequence[float] | None = None) -> Tensor:
    """The activation that a fused operator ends with; an empty name is none.

    Without ``parameters`` they are the node's ``activation_alpha``, ``_beta`` and ``_gamma``.
    """
    if not name:
        return x
    if name == "Clip":
        if parameters is None or len(parameters) != 2:
            raise node.unsupported("Clip without its two bounds")
        return torch.clamp(x, parameters[0], parameters[1])
    if name == "Softmax":
        return torch.softmax(x, node.integer("activation_axis", -1))
    if name not in _PARAMETERS:
        raise node.unsupported(f"activation {name}")
    names = _PARAMETERS[name]
    if parameters is None:
        given = {key: node.attributes.get(f"activation_{key}") for key in names}
        attributes = {key: float(value) for key, value in given.items() if value is not None}
    else:
        attributes = dict(zip(names, (float(p) for p in parameters), strict=False))
    return apply_one(node, name, 14, x, **attributes)


def channels_first(x: Tensor) -> Tensor:
    """From N, space, C to N, C, space."""
    return torch.movedim(x, -1, 1)


def channels_last(x: Tensor) -> Tensor:
    """From N, C, space to N, space, C."""
    return torch.movedim(x, 1, -1)
