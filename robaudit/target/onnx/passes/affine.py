"""Factors and sums with constants, multiplied into the weights that come before or after."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.linear import INTERNAL
from robaudit.target.onnx.passes.workspace import Workspace, is_default

_EXACT = (torch.float32, torch.float64)


def absorb_factor(work: Workspace, node: Node) -> Node | None:
    """A product with one number a channel (a layer scale) scales the weights before it. Computed in float64."""
    if not is_default(node, "Mul", "Div"):
        return None
    for position in (1,) if node.op == "Div" else (0, 1):
        before, factor = work.sole_producer(node.inputs[1 - position]), work.constant(node, position)
        vector = None if before is None or factor is None else _per_channel(work, before, factor)
        if before is None or vector is None:
            continue
        if node.op == "Div":
            vector = 1.0 / vector
        if not bool(torch.isfinite(vector).all()):
            return None
        weight, bias = work.constants[before.inputs[1]], work.constant(before, 2)
        scaled = weight.double() * vector.reshape([-1] + [1] * (weight.dim() - 1))
        inputs = [before.inputs[0], work.add(f"{before.name}.scaled_weight", scaled.to(weight.dtype))]
        if bias is not None:
            inputs.append(work.add(f"{before.name}.scaled_bias", (bias.double() * vector).to(weight.dtype)))
        return replace(before, inputs=tuple(inputs), outputs=node.outputs)
    return None


def absorb_shift(work: Workspace, node: Node) -> Node | None:
    """A sum with one number a channel is the bias of the weights before it."""
    if not is_default(node, "Add", "Sub"):
        return None
    for position in (1,) if node.op == "Sub" else (0, 1):
        before, shift = work.sole_producer(node.inputs[1 - position]), work.constant(node, position)
        vector = None if before is None or shift is None else _per_channel(work, before, shift)
        if before is None or vector is None:
            continue
        bias, dtype = work.constant(before, 2), work.constants[before.inputs[1]].dtype
        total = (-vector if node.op == "Sub" else vector) + (0.0 if bias is None else bias.double())
        name = work.add(f"{before.name}.shifted_bias", total.to(dtype))
        return replace(before, inputs=(*before.inputs[:2], name), outputs=node.outputs)
    return None


def absorb_batch_norm(work: Workspace, node: Node) -> Node | None:
    """A batch norm before a convolution without padding scales its weights (padded zeros would be shifted too)."""
    if not is_default(node, "Conv") or any(node.integers("pads") or []):
        return None
    before, weight = work.sole_producer(node.inputs[0]), work.constant(node, 1)
    if before is None or weight is None or node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    affine = inference_affine(work, before)
    biased = len(node.inputs) > 2 and bool(node.inputs[2])
    if affine is None or weight.dtype not in _EXACT or (biased and work.constant(node, 2) is None):
        return None
    groups, wide = node.integer("group", 1), weight.double()
    factor, shift = (
        part.reshape(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1).reshape(weight.shape[:2])
        for part in affine
    )
    ones = [1] * (weight.dim() - 2)
    moved = (wide.flatten(2).sum(-1) * shift).sum(1)
    total = moved + (work.constants[node.inputs[2]].double() if biased else 0.0)
    names = (
        work.add(f"{node.name}.folded_weight", (wide * factor.reshape(*factor.shape, *ones)).to(weight.dtype)),
        work.add(f"{node.name}.folded_bias", total.to(weight.dtype)),
    )
    return replace(node, inputs=(before.inputs[0], *names))


def inference_affine(work: Workspace, node: Node) -> tuple[Tensor, Tensor] | None:
    """What a batch norm multiplies and adds, in float64; None for other nodes and unknown statistics."""
    if not is_default(node, "BatchNormalization") or node.integer("training_mode", 0) or node.version < 9:
        return None
    stats = [work.constant(node, i) for i in range(1, 5)]
    known = [s.double() for s in stats if s is not None]
    if len(known) != 4:
        return None
    scale, bias, mean, var = known
    factor = scale / torch.sqrt(var + node.number("epsilon", 1e-5))
    return factor, bias - mean * factor


def _per_channel(work: Workspace, before: Node, value: Tensor) -> Tensor | None:
    """A constant as one float64 number for each output of a convolution or linear, if it is that."""
    weight = work.constant(before, 1)
    linear = (before.op, before.domain) == ("Linear", INTERNAL)
    if weight is None or not (linear or is_default(before, "Conv")) or value.dtype != weight.dtype:
        return None
    if weight.dtype not in _EXACT or (len(before.inputs) > 2 and before.inputs[2] and work.constant(before, 2) is None):
        return None
    channels = weight.shape[0]
    if linear:
        # The rank of a linear's output is unknown here: a constant of more axes might add one.
        fits = value.dim() <= 1 and value.numel() in (1, channels)
    else:
        shape = [1] * (weight.dim() - value.dim()) + list(value.shape)
        fits = value.dim() <= weight.dim() and shape in (
            [1, channels] + [1] * (weight.dim() - 2),
            [1] * weight.dim(),
        )
    return value.double().reshape(-1).expand(channels) if fits else None
