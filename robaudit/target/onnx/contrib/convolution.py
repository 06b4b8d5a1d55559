"""Fused convolutions, and those whose channels come last.

The weight is always (outputs, inputs a group, space); with channels last only the data is N, space, C.
"""

from __future__ import annotations

from torch import Tensor

from robaudit.target.onnx.arguments import ints
from robaudit.target.onnx.contrib.common import MICROSOFT, activate, apply_one, channels_first, channels_last
from robaudit.target.onnx.convolution import convolve
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator


def _fused(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None, added: Tensor | None) -> Tensor:
    y = convolve(node, x, weight, bias)
    y = y if added is None else y + added
    return activate(node, y, node.text("activation", ""), node.attributes.get("activation_params") or ())


@operator("FusedConv", domain=MICROSOFT)
def _fused_conv(
    node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None, added: Tensor | None = None
) -> Tensor:
    return _fused(node, x, weight, bias, added)


@operator("NhwcConv", domain=MICROSOFT)
def _nhwc_conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return channels_last(convolve(node, channels_first(x), weight, bias))


@operator("NhwcFusedConv", domain=MICROSOFT)
def _nhwc_fused_conv(
    node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None, added: Tensor | None = None
) -> Tensor:
    residual = None if added is None else channels_first(added)
    return channels_last(_fused(node, channels_first(x), weight, bias, residual))


@operator("ConvTransposeWithDynamicPads", domain=MICROSOFT, host=(2,))
def _conv_transpose_with_pads(
    node: Node, x: Tensor, weight: Tensor, pads: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    attributes = dict(node.attributes)
    if pads is not None:
        attributes["pads"] = ints(pads)
    return apply_one(node, "ConvTranspose", 11, x, weight, bias, **attributes)


@operator("NhwcMaxPool", domain=MICROSOFT)
def _nhwc_max_pool(node: Node, x: Tensor) -> Tensor:
    return channels_last(apply_one(node, "MaxPool", 12, channels_first(x), **node.attributes))
