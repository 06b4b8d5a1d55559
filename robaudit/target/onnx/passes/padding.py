"""Padding by a node of its own."""

from __future__ import annotations

from dataclasses import replace

from robaudit.target.onnx.arguments import axes_of, ints
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.passes.workspace import Workspace, is_default


def absorb_pad(work: Workspace, node: Node) -> Node | None:
    """Zeros padded around an image by a node of their own are the convolution's padding."""
    if not is_default(node, "Conv") or node.text("auto_pad", "NOTSET") != "NOTSET":
        return None
    pad = work.sole_producer(node.inputs[0])
    weight = work.constant(node, 1)
    if pad is None or weight is None or not is_default(pad, "Pad") or pad.text("mode", "constant") != "constant":
        return None
    rank = weight.dim()
    amounts = _pad_amounts(work, pad, rank)
    if amounts is None or min(amounts) < 0 or any(amounts[:2]) or any(amounts[rank : rank + 2]):
        return None
    own = node.integers("pads") or [0] * (2 * (rank - 2))
    added = amounts[2:rank] + amounts[rank + 2 :]
    attributes = {**node.attributes, "pads": [a + b for a, b in zip(own, added, strict=True)]}
    return replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attributes=attributes)


def _pad_amounts(work: Workspace, pad: Node, rank: int) -> list[int] | None:
    """The pads of a Pad node that fills with zero, for every axis; None when they are not all known."""
    if pad.version < 11:
        amounts, fill = pad.integers("pads"), pad.number("value", 0.0)
        return amounts if fill == 0.0 and amounts is not None and len(amounts) == 2 * rank else None
    given = [name for name in pad.inputs[1:] if name]
    if any(name not in work.constants for name in given):
        return None
    value = work.constant(pad, 2)
    if value is not None and value.numel() and value.item() != 0:
        return None
    short = ints(work.constants[pad.inputs[1]])
    axes = axes_of(pad, work.constant(pad, 3)) or list(range(len(short) // 2))
    full = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        full[axis % rank] = short[i]
        full[axis % rank + rank] = short[i + len(axes)]
    return full
