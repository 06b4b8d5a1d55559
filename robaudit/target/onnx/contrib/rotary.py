"""Rotary embeddings and the grouped attention built on them."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.target.onnx.attention import join_heads, repeat_heads, rotate, split_heads
from robaudit.target.onnx.contrib.attention import causal_mask, scale_of
from robaudit.target.onnx.contrib.common import MICROSOFT
from robaudit.target.onnx.contrib.normalisation import rms_norm
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator


@operator("RotaryEmbedding", domain=MICROSOFT)
def _rotary_embedding(node: Node, x: Tensor, positions: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    if node.integer("is_packed_batching", 0):
        raise node.unsupported("packed batches")
    count = node.integer("num_heads", 0) if node.integer("rotary_embedding_dim", 0) else 0
    flat = x.dim() == 3
    if flat:
        x = split_heads(x, count or x.shape[-1] // (2 * cosines.shape[-1]))
    if positions.dim() == 1:
        # The place of the first token.
        positions = (positions + torch.arange(x.shape[2])).reshape([1, x.shape[2]])
    y = rotate(x, cosines, sines, positions, 2 * cosines.shape[-1], interleaved=bool(node.integer("interleaved", 0)))
    return join_heads(y) if flat else y


@operator("GroupQueryAttention", domain=MICROSOFT)
def _group_query_attention(
    node: Node,
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    past_key: Tensor | None,
    past_value: Tensor | None,
    lengths: Tensor,
    total: Tensor,
    cosines: Tensor | None = None,
    sines: Tensor | None = None,
    positions: Tensor | None = None,
    bias: Tensor | None = None,
    sink: Tensor | None = None,
    key_scale: Tensor | None = None,
    value_scale: Tensor | None = None,
    query_norm: Tensor | None = None,
    key_norm: Tensor | None = None,
) -> Result:
    """The first pass over a sequence, as a classifier makes it; nothing cached before."""
    if past_key is not None and past_key.shape[2]:
        raise node.unsupported("a cache of earlier tokens")
    if key_scale is not None or value_scale is not None or node.wants(3):
        raise node.unsupported("a quantised cache, or the scores as an output")
    own, groups = node.integer("num_heads", 1), node.integer("kv_num_heads", 1)
    q, k, v = _grouped(query, key, value, own, groups)
    if query_norm is not None and key_norm is not None:
        epsilon = node.number("qk_norm_epsilon", 1e-6)
        q, k = rms_norm(q, query_norm, epsilon, [-1]), rms_norm(k, key_norm, epsilon, [-1])
    if node.integer("do_rotary", 0) and cosines is not None and sines is not None:
        places = torch.arange(q.shape[2]).reshape([1, q.shape[2]])
        if positions is not None:
            # Counted on from the very first.
            places = places + positions.reshape([-1])[:1]
        width, interleaved = 2 * cosines.shape[-1], bool(node.integer("rotary_interleaved", 0))
        q, k = (rotate(part, cosines, sines, places, width, interleaved=interleaved) for part in (q, k))
    share = own // groups
    weights = _weights(node, q, repeat_heads(k, share), lengths, bias, sink)
    y = join_heads(torch.matmul(weights, repeat_heads(v, share)))
    return (y, k, v) if len(node.outputs) > 1 else y


def _grouped(
    query: Tensor, key: Tensor | None, value: Tensor | None, own: int, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    if key is not None and value is not None:
        return split_heads(query, own), split_heads(key, groups), split_heads(value, groups)
    q, k, v = torch.split(split_heads(query, own + 2 * groups), [own, groups, groups], 1)
    return q, k, v


def _weights(node: Node, q: Tensor, k: Tensor, lengths: Tensor, bias: Tensor | None, sink: Tensor | None) -> Tensor:
    size = q.shape[2]
    scores = torch.matmul(q, k.transpose(-1, -2)) * scale_of(node, q)
    cap = node.number("softcap", 0.0)
    if cap > 0:
        scores = torch.tanh(scores / cap) * cap
    scores = scores if bias is None else scores + bias
    if node.integer("causal", 1):
        scores = scores + causal_mask(size, size, q.dtype)
        window = node.integer("local_window_size", -1)
        if window > 0:
            far = torch.ones([size, size], dtype=torch.bool).tril(-window)
            scores = torch.masked_fill(scores, far, torch.finfo(q.dtype).min)
    else:
        outside = torch.arange(size).reshape([1, 1, 1, size]) > lengths.reshape([-1, 1, 1, 1])
        scores = torch.masked_fill(scores, outside, torch.finfo(q.dtype).min)
    if sink is None and node.integer("smooth_softmax", -1) != 1:
        return torch.softmax(scores, -1)
    # One more column, with weight but without a value.
    level = torch.zeros([1], dtype=q.dtype) if sink is None else sink.to(q.dtype)
    column = torch.zeros_like(torch.narrow(scores, -1, 0, 1)) + level.reshape([1, -1, 1, 1])
    return torch.narrow(torch.softmax(torch.cat([scores, column], -1), -1), -1, 0, size)
