"""Activations."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx import exact
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator

_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Mish": F.mish,
    "HardSwish": F.hardswish,
}


@operator(*_PLAIN)
def _plain(node: Node, x: Tensor) -> Tensor:
    if exact.matters(node, x):
        return exact.sigmoid(x) if node.op == "Sigmoid" else exact.hard_swish(x)
    return _PLAIN[node.op](x)


@operator("LeakyRelu")
def _leaky_relu(node: Node, x: Tensor) -> Tensor:
    return F.leaky_relu(x, node.number("alpha", 0.01))


@operator("Elu")
def _elu(node: Node, x: Tensor) -> Tensor:
    return F.elu(x, node.number("alpha", 1.0))


@operator("Celu")
def _celu(node: Node, x: Tensor) -> Tensor:
    return F.celu(x, node.number("alpha", 1.0))


@operator("Selu")
def _selu(node: Node, x: Tensor) -> Tensor:
    alpha = node.number("alpha", 1.67326319217681884765625)
    return node.number("gamma", 1.05070102214813232421875) * F.elu(x, alpha)


@operator("ThresholdedRelu")
def _thresholded_relu(node: Node, x: Tensor) -> Tensor:
    return F.threshold(x, node.number("alpha", 1.0), 0.0)


@operator("Shrink")
def _shrink(node: Node, x: Tensor) -> Tensor:
    edge, bias = node.number("lambd", 0.5), node.number("bias", 0.0)
    return torch.where(x < -edge, x + bias, torch.where(x > edge, x - bias, torch.zeros_like(x)))


@operator("PRelu")
def _prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    # torch's slope is one a channel, as ONNX's before opset 7; since, it broadcasts as any operand does.
    if node.version < 7:
        return F.prelu(x, slope)
    shape = [1] * (x.dim() - slope.dim()) + list(slope.shape)
    if slope.numel() == 1 or (x.dim() > 1 and shape[1] == x.shape[1] == slope.numel()):
        return F.prelu(x, torch.reshape(slope, [slope.numel()]))
    return torch.where(x >= 0, x, x * slope)


@operator("HardSigmoid")
def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    if exact.matters(node, x):
        return exact.hard_sigmoid(x, alpha, beta)
    return torch.clamp(x * alpha + beta, 0.0, 1.0)


@operator("Gelu")
def _gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=node.text("approximate", "none"))


@operator("Swish")
def _swish(node: Node, x: Tensor) -> Tensor:
    return x * torch.sigmoid(node.number("alpha", 1.0) * x)


@operator("SwiGLU")
def _swiglu(node: Node, gate: Tensor, value: Tensor) -> Tensor:
    return gate * torch.sigmoid(node.number("alpha", 1.0) * gate) * value


@operator("Softmax", "LogSoftmax")
def _softmax(node: Node, x: Tensor) -> Tensor:
    function: Callable[[Tensor, int], Tensor] = torch.softmax if node.op == "Softmax" else torch.log_softmax
    if exact.matters(node, x):
        function = exact.softmax
    if node.version >= 13:
        return function(x, node.integer("axis", -1))
    # Older: everything from the axis on is one row.
    shape = list(x.shape)
    axis = node.integer("axis", 1) % len(shape)
    if axis == len(shape) - 1:
        return function(x, axis)
    return function(x.reshape([*shape[:axis], math.prod(shape[axis:])]), -1).reshape(shape)
