"""Batch norms are multiplied into the weights around them."""

from __future__ import annotations

from dataclasses import replace

import torch

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.linear import INTERNAL
from robaudit.target.onnx.passes.workspace import Workspace, is_default


def fold_batch_norm(work: Workspace, node: Node) -> Node | None:
    """A batch norm after a convolution or linear scales its weights. Computed in float64."""
    if not is_default(node, "BatchNormalization") or node.integer("training_mode", 0) or node.version < 9:
        return None
    before = work.sole_producer(node.inputs[0])
    stats = [work.constant(node, i) for i in range(1, 5)]
    if before is None or any(s is None for s in stats):
        return None
    if not (is_default(before, "Conv") or (before.op, before.domain) == ("Linear", INTERNAL)):
        return None
    weight = work.constant(before, 1)
    biased = len(before.inputs) > 2 and bool(before.inputs[2])
    if weight is None or (biased and work.constant(before, 2) is None):
        return None
    scale, bias, mean, var = (s.double() for s in stats if s is not None)
    factor = scale / torch.sqrt(var + node.number("epsilon", 1e-5))
    old = work.constants[before.inputs[2]].double() if biased else torch.zeros_like(mean)
    scaled = weight.double() * factor.reshape([-1] + [1] * (weight.dim() - 1))
    return replace(
        before,
        inputs=(
            before.inputs[0],
            work.add(f"{before.name}.folded_weight", scaled.to(weight.dtype)),
            work.add(f"{before.name}.folded_bias", ((old - mean) * factor + bias).to(weight.dtype)),
        ),
        outputs=node.outputs[:1],
    )
