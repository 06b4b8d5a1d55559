"""Attention and MultiHeadAttention.

Letters for sizes: B batch, S query length, T key length, N heads, H head size.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.attention import join_heads, split_heads
from robaudit.target.onnx.contrib.common import MICROSOFT
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator


def padding_mask(node: Node, mask: Tensor, batch: int, length: int, dtype: torch.dtype) -> Tensor | None:
    """What to add to the scores, broadcast to (B, N, S, T): 0, or ``mask_filter_value`` where keys are masked.

    The mask is (B, T) or (B, S, T) with 0 for masked; or (B) exclusive ends; or (2 B) ends, then starts.
    """
    if mask.dim() == 1:
        place = torch.arange(length).reshape([1, length])
        if mask.shape[0] == 2 * batch:
            ends, starts = mask[:batch], mask[batch:]
            kept = (place < ends.reshape([-1, 1])) & (place >= starts.reshape([-1, 1]))
        elif mask.shape[0] == batch:
            kept = place < mask.reshape([-1, 1])
        elif mask.shape[0] == 3 * batch + 2:
            raise node.unsupported("a mask of cumulated lengths")
        else:
            raise ValueError(f"a mask for {mask.shape[0]} samples does not fit a batch of {batch}")
    elif mask.dim() <= 3:
        if mask.dim() == 2 and mask.shape[1] == 1 and length != 1:
            return None  # a dummy: it stands for no mask
        kept = mask > 0
    else:
        raise node.unsupported(f"a mask of rank {mask.dim()}")
    while kept.dim() < 4:
        kept = torch.unsqueeze(kept, 1)
    return (~kept).to(dtype) * node.number("mask_filter_value", -10000.0)


def causal_mask(queries: int, keys: int, dtype: torch.dtype) -> Tensor:
    """The last query sees every key, each earlier one a key less; (S, T)."""
    later = torch.ones([queries, keys], dtype=torch.bool).triu(keys - queries + 1)
    return torch.zeros([queries, keys], dtype=dtype).masked_fill(later, torch.finfo(dtype).min)


def attend(node: Node, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
    """Softmax(scale q k' + bias) v, heads merged; ``mask`` is in one of the forms of :func:`padding_mask`."""
    batch, length = q.shape[0], k.shape[2]
    added = bias
    if mask is not None:
        padding = padding_mask(node, mask, batch, length, q.dtype)
        added = _sum(added, padding)
    if node.integer("unidirectional", 0) and q.shape[2] > 1:
        added = _sum(added, causal_mask(q.shape[2], length, q.dtype))
    return join_heads(F.scaled_dot_product_attention(q, k, v, added, scale=scale_of(node, q)))


def scale_of(node: Node, q: Tensor) -> float:
    """The factor of the scores: given, or 1 / sqrt(H); a given 0 means the default too."""
    return node.number("scale", 0.0) or 1.0 / math.sqrt(q.shape[-1])


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def self_attention(
    node: Node, projected: Tensor, mask: Tensor | None, past: Tensor | None, bias: Tensor | None
) -> Result:
    """Attention over (B, S, queries + keys + values); ``past`` is (2, B, N, P, H), keys then values."""
    count = node.integer("num_heads", 1)
    if node.integer("past_present_share_buffer", 0) or node.integer("do_rotary", 0):
        raise node.unsupported("a shared cache or rotary embedding")
    third = projected.shape[-1] // 3
    sizes = node.integers("qkv_hidden_sizes") or [third] * 3
    q, k, v = (split_heads(part, count) for part in torch.split(projected, sizes, -1))
    if past is not None:
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    y = attend(node, q, k, v, mask, bias)
    return (y, torch.stack([k, v])) if node.wants(1) else y


@operator("Attention", domain=MICROSOFT)
def _attention(
    node: Node,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    past: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_length: Tensor | None = None,
) -> Result:
    projected = torch.matmul(x, weight)
    return self_attention(node, projected if bias is None else projected + bias, mask, past, attention_bias)


@operator("MultiHeadAttention", domain=MICROSOFT)
def _multi_head_attention(
    node: Node,
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    past_length: Tensor | None = None,
    indirection: Tensor | None = None,
) -> Result:
    if past_length is not None or indirection is not None:
        raise node.unsupported("a shared cache")
    if node.wants(3):
        raise node.unsupported("the scores as an output")
    count = node.integer("num_heads", 1)
    q, k, v = _separate(node, query, key, value)
    if bias is not None:
        own = q.shape[-1]
        q = q + bias[:own]
        if k.dim() == 3:
            k, v = k + bias[own : own + k.shape[-1]], v + bias[own + k.shape[-1] :]
    q = split_heads(q, count)
    # Keys and values of rank 4 come with their heads apart.
    k, v = (part if part.dim() == 4 else split_heads(part, count) for part in (k, v))
    if past_key is not None and past_value is not None:
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    y = attend(node, q, k, v, mask, attention_bias)
    return (y, k, v) if node.wants(1) or node.wants(2) else y


def _separate(node: Node, query: Tensor, key: Tensor | None, value: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, (B, S, N x H) each, from any packing."""
    if query.dim() == 5:  # (B, S, N, 3, H)
        q, k, v = (torch.select(query, 3, i) for i in range(3))
        return q.flatten(2), k.flatten(2), v.flatten(2)
    if key is None:
        raise node.unsupported("keys that are absent")
    if key.dim() == 5:  # (B, T, N, 2, H)
        return query, torch.select(key, 3, 0).flatten(2), torch.select(key, 3, 1).flatten(2)
    if value is None:
        raise node.unsupported("values that are absent")
    return query, key, value
