"""Normalisations."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx import exact
from robaudit.target.onnx.arguments import along, is_known
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator


@operator("BatchNormalization")
def _batch_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Result:
    epsilon = node.number("epsilon", 1e-5)
    training = bool(node.integer("training_mode", 0)) if node.version >= 14 else False
    if node.version < 7:
        training = not node.integer("is_test", 0)
    if not training:
        plain = node.version >= 9 or bool(node.integer("spatial", 1))
        if plain and exact.matters(node, x):
            factor = 1.0 / exact.sqrt(var + epsilon) * scale
            shift = bias - mean * factor
            return x * along(factor, x.dim(), 1) + along(shift, x.dim(), 1)
        if plain and is_known(mean) and is_known(var):
            return F.batch_norm(x, mean, var, scale, bias, False, 0.0, epsilon)
        # torch's operator has no gradient for statistics that come from the data, and only one of each a channel.
        if plain:
            mean, var, scale, bias = (along(value, x.dim(), 1) for value in (mean, var, scale, bias))
        return (x - mean) * (torch.rsqrt(var + epsilon) * scale) + bias
    # Statistics of the batch itself (population variance): such a file is not batch invariant, and says so
    # when run.
    rest = [axis for axis in range(x.dim()) if axis != 1]
    rank = x.dim()
    batch_mean = torch.mean(x, rest)
    batch_var = torch.mean(torch.square(x - along(batch_mean, rank, 1)), rest)
    factor = torch.rsqrt(batch_var + epsilon) * scale
    y = (x - along(batch_mean, rank, 1)) * along(factor, rank, 1) + along(bias, rank, 1)
    keep = node.number("momentum", 0.9)
    return y, mean * keep + batch_mean * (1 - keep), var * keep + batch_var * (1 - keep)


@operator("LayerNormalization")
def _layer_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Result:
    axis = node.integer("axis", -1) % x.dim()
    shape = list(x.shape[axis:])
    epsilon = node.number("epsilon", 1e-5)
    if list(scale.shape) == shape and (bias is None or list(bias.shape) == shape):
        y = F.layer_norm(x, shape, scale, bias, epsilon)
        if len(shape) == 1 and shape[0] % 8 == 0 and exact.matters(node, x):
            y = exact.layer_norm(x, scale, bias, epsilon, y)
    else:
        # Scale and bias may also broadcast, which torch's own operator refuses.
        y = F.layer_norm(x, shape, None, None, epsilon) * scale
        y = y if bias is None else y + bias
    if not (node.wants(1) or node.wants(2)):
        return y
    over = list(range(axis, x.dim()))
    mean = torch.mean(x, over, keepdim=True)
    return y, mean, torch.rsqrt(torch.mean(torch.square(x - mean), over, keepdim=True) + epsilon)


@operator("RMSNormalization")
def _rms_norm(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    over = list(range(node.integer("axis", -1) % x.dim(), x.dim()))
    # Squares overflow in half precision: the first stage runs in the type that stash_type names.
    half = x.dtype in (torch.float16, torch.bfloat16) and node.integer("stash_type", 1) == 1
    wide = x.to(torch.float32) if half else x
    mean_square = torch.mean(torch.square(wide), over, keepdim=True)
    return (wide * torch.rsqrt(mean_square + node.number("epsilon", 1e-5))).to(x.dtype) * scale


@operator("InstanceNormalization")
def _instance_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    # As a layer norm over space: torch's instance_norm refuses a single spatial element.
    shape = list(x.shape[2:])
    y = F.layer_norm(x, shape, None, None, node.number("epsilon", 1e-5))
    y = y * along(scale, x.dim(), 1) + along(bias, x.dim(), 1)
    if not exact.matters(node, x):
        return y
    return exact.instance_norm(x, scale.reshape([-1, 1]), bias.reshape([-1, 1]), node.number("epsilon", 1e-5), y)


@operator("GroupNormalization")
def _group_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = node.integer("num_groups", 1)
    if node.version < 21:
        # Opset 18 gives one scale a group, opset 21 one a channel.
        scale = torch.repeat_interleave(scale, x.shape[1] // groups)
        bias = torch.repeat_interleave(bias, x.shape[1] // groups)
    return F.group_norm(x, groups, scale, bias, node.number("epsilon", 1e-5))


@operator("LRN")
def _lrn(node: Node, x: Tensor) -> Tensor:
    size = node.integer("size", 1)
    before = (size - 1) // 2
    rows = torch.square(x).reshape([x.shape[0], 1, x.shape[1], math.prod(x.shape[2:])])
    rows = F.pad(rows, [0, 0, before, size - 1 - before])
    mean = F.avg_pool2d(rows, [size, 1], 1).reshape(list(x.shape))
    return x / torch.pow(node.number("bias", 1.0) + node.number("alpha", 1e-4) * mean, node.number("beta", 0.75))


@operator("LpNormalization")
def _lp_norm(node: Node, x: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(x, node.integer("p", 2), node.integer("axis", -1), keepdim=True)
    # A null vector stays one; dividing by zero and choosing later would leave NaN in the gradient.
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


@operator("MeanVarianceNormalization")
def _mean_variance(node: Node, x: Tensor) -> Tensor:
    axes = node.integers("axes") or [0, 2, 3]
    centred = x - torch.mean(x, axes, keepdim=True)
    variance = torch.mean(torch.square(centred), axes, keepdim=True)
    # The root has no derivative where all values are equal; there the result is zero anyway.
    flat = variance == 0
    deviation = torch.where(flat, 0.0, torch.sqrt(torch.where(flat, 1.0, variance)))
    return centred / (deviation + 1e-9)
