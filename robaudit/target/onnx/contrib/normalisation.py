"""Normalisations fused with what comes before or after them.

LayerNormalization itself lives in the default domain: ONNX Runtime writes it there at any opset.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.contrib.common import MICROSOFT, channels_first, channels_last
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator

_HALVES = (torch.float16, torch.bfloat16)


def rms_norm(x: Tensor, scale: Tensor | None, epsilon: float, over: list[int]) -> Tensor:
    """x over its root mean square; half precision is computed in float32, as ONNX Runtime does."""
    wide = x.to(torch.float32) if x.dtype in _HALVES else x
    y = wide * torch.rsqrt(torch.mean(torch.square(wide), over, keepdim=True) + epsilon)
    return (y if scale is None else y * scale).to(x.dtype)


def _with_statistics(node: Node, y: Tensor, total: Tensor, *, centred: bool) -> Result:
    """The outputs of a skip normalisation: y, mean, 1 / deviation, the sum that was normalised."""
    if len(node.outputs) == 1:
        return y
    mean = torch.mean(total, -1, keepdim=True) if centred else torch.zeros_like(torch.narrow(total, -1, 0, 1))
    spread = torch.mean(torch.square(total - mean), -1, keepdim=True)
    return y, mean, torch.rsqrt(spread + node.number("epsilon", 1e-12)), total


@operator("SkipLayerNormalization", domain=MICROSOFT)
def _skip_layer_norm(
    node: Node, x: Tensor, skip: Tensor, scale: Tensor, shift: Tensor | None = None, bias: Tensor | None = None
) -> Result:
    total = x + skip
    total = total if bias is None else total + bias
    y = F.layer_norm(total, [total.shape[-1]], scale, shift, node.number("epsilon", 1e-12))
    return _with_statistics(node, y, total, centred=True)


@operator("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def _skip_rms_norm(node: Node, x: Tensor, skip: Tensor, scale: Tensor, bias: Tensor | None = None) -> Result:
    total = x + skip
    total = total if bias is None else total + bias
    y = rms_norm(total, scale, node.number("epsilon", 1e-12), [-1])
    return _with_statistics(node, y, total, centred=False)


@operator("SimplifiedLayerNormalization")
def _simplified_layer_norm(node: Node, x: Tensor, scale: Tensor) -> Result:
    over = list(range(node.integer("axis", -1) % x.dim(), x.dim()))
    epsilon = node.number("epsilon", 1e-5)
    y = rms_norm(x, scale, epsilon, over)
    if not node.wants(1):
        return y
    return y, torch.rsqrt(torch.mean(torch.square(x), over, keepdim=True) + epsilon)


@operator("BranchwiseRMSNorm", domain=MICROSOFT)
def _branchwise_rms_norm(node: Node, x: Tensor, scale: Tensor | None = None) -> Tensor:
    branches = node.integer("num_branches", 0)
    split = [branches, x.shape[-1] // branches] if branches else list(x.shape[-2:])
    grouped = x.reshape([*x.shape[:-1], *split]) if branches else x
    if scale is not None and scale.dim() == 1 and scale.shape[0] != split[1]:
        scale = scale.reshape(split)
    return rms_norm(grouped, scale, node.number("epsilon", 1e-5), [-1]).reshape(list(x.shape))


@operator("GatedRMSNorm", domain=MICROSOFT)
def _gated_rms_norm(node: Node, x: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
    size = scale.shape[0]
    grouped = x.reshape([*x.shape[:-1], x.shape[-1] // size, size])
    y = rms_norm(grouped, scale, node.number("epsilon", 1e-5), [-1]).reshape(list(x.shape))
    kind = node.text("activation", "silu")
    if kind not in ("silu", "swish", "sigmoid"):
        raise node.unsupported(f"activation {kind}")
    return y * (torch.sigmoid(gate) if kind == "sigmoid" else F.silu(gate))


@operator("GroupNorm", domain=MICROSOFT)
def _group_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Data N, space, C unless ``channels_last`` is 0; then SiLU when ``activation`` is 1."""
    last = bool(node.integer("channels_last", 1))
    y = channels_first(x) if last else x
    groups, epsilon = node.integer("groups", 1), node.number("epsilon", 1e-5)
    y = F.group_norm(y.to(scale.dtype), groups, scale, shift, epsilon).to(x.dtype)
    if node.integer("activation", 0):
        y = F.silu(y)
    return channels_last(y) if last else y


@operator("SkipGroupNorm", domain=MICROSOFT)
def _skip_group_norm(
    node: Node, x: Tensor, scale: Tensor, shift: Tensor, skip: Tensor, bias: Tensor | None = None
) -> Result:
    last = bool(node.integer("channels_last", 1))
    if skip.dim() == 2:
        n, c = skip.shape
        skip = skip.reshape([n, 1, 1, c])
    if not last:
        skip = skip if skip.shape[1:] == x.shape[1:] else channels_first(skip)
        bias = None if bias is None else bias.reshape([-1, 1, 1])
    total = x + skip
    total = total if bias is None else total + bias
    y = _group_norm(node, total, scale, shift)
    return (y, total) if node.wants(1) else y


@operator("EmbedLayerNormalization", domain=MICROSOFT)
def _embed_layer_norm(
    node: Node,
    tokens: Tensor,
    segments: Tensor | None,
    words: Tensor,
    positions: Tensor,
    segment_table: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    mask: Tensor | None = None,
    position_ids: Tensor | None = None,
) -> Result:
    if position_ids is None:
        places = torch.narrow(positions, 0, 0, tokens.shape[1])
    else:
        places = F.embedding(position_ids, positions)
    total = F.embedding(tokens, words) + places
    if segments is not None and segment_table is not None:
        total = total + F.embedding(segments, segment_table)
    y = F.layer_norm(total, [total.shape[-1]], scale, shift, node.number("epsilon", 1e-12))
    return (y, mask_lengths(tokens, mask), total) if len(node.outputs) > 1 else y


def mask_lengths(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """How many words of each row count; 0 without a mask."""
    if mask is None:
        return torch.sum(torch.zeros_like(tokens), 1, dtype=torch.int32)
    return torch.sum(mask == 1, 1, dtype=torch.int32)
