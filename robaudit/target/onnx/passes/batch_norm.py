"""Batch norms are multiplied into the weights before them."""

from __future__ import annotations

from dataclasses import replace

import torch

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.linear import INTERNAL
from robaudit.target.onnx.passes.affine import inference_affine
from robaudit.target.onnx.passes.workspace import Workspace, is_default


def fold_batch_norm(work: Workspace, node: Node) -> Node | None:
    """A batch norm after a convolution or linear scales its weights. Computed in float64."""
    affine = inference_affine(work, node)
    before = work.sole_producer(node.inputs[0]) if affine is not None else None
    if affine is None or before is None:
        return None
    if not (is_default(before, "Conv") or (before.op, before.domain) == ("Linear", INTERNAL)):
        return None
    weight = work.constant(before, 1)
    biased = len(before.inputs) > 2 and bool(before.inputs[2])
    if weight is None or (biased and work.constant(before, 2) is None):
        return None
    factor, shift = affine
    old = work.constants[before.inputs[2]].double() if biased else torch.zeros_like(shift)
    scaled = weight.double() * factor.reshape([-1] + [1] * (weight.dim() - 1))
    return replace(
        before,
        inputs=(
            before.inputs[0],
            work.add(f"{before.name}.folded_weight", scaled.to(weight.dtype)),
            work.add(f"{before.name}.folded_bias", (old * factor + shift).to(weight.dtype)),
        ),
        outputs=node.outputs[:1],
    )
