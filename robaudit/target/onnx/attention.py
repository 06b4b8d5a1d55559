"""Attention over heads, and the rotation of positions that comes before it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import constant, is_known
from robaudit.target.onnx.element_types import DTYPES
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, Value, operator
from robaudit.target.onnx.tracing import run_nodes

_SINGLE = (torch.float32, torch.float64)


@operator("Attention")
def _attention(
    node: Node,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_k: Tensor | None = None,
    past_v: Tensor | None = None,
    filled: Tensor | None = None,
) -> Result:
    flat = q.dim() == 3
    if flat:
        q = split_heads(q, node.integer("q_num_heads", 1))
        k = split_heads(k, node.integer("kv_num_heads", 1))
        v = split_heads(v, node.integer("kv_num_heads", 1))
    before = 0
    if past_k is not None and past_v is not None:
        before = past_k.shape[2]
        k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
    bias = _bias(node, q, k, mask, filled, before)
    groups = q.shape[1] // k.shape[1]
    y, scores = _attend(node, q, repeat_heads(k, groups), repeat_heads(v, groups), bias)
    return (join_heads(y) if flat else y), k, v, scores


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[batch, length, heads * size] -> [batch, heads, length, size]."""
    batch, length, width = x.shape
    return torch.reshape(x, [batch, length, heads, width // heads]).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """The inverse of :func:`split_heads`."""
    batch, heads, length, size = x.shape
    return torch.reshape(x.transpose(1, 2), [batch, length, heads * size])


def repeat_heads(x: Tensor, times: int) -> Tensor:
    """Let each head of [batch, heads, ...] serve as many consecutive query heads."""
    if times == 1:
        return x
    batch, heads, *rest = x.shape
    wide = torch.unsqueeze(x, 2).expand([batch, heads, times, *rest])
    return torch.reshape(wide, [batch, heads * times, *rest])


def _bias(node: Node, q: Tensor, k: Tensor, mask: Tensor | None, filled: Tensor | None, before: int) -> Tensor | None:
    """What is added to the scores: the mask, and minus infinity where nothing may be seen.

    Without a mask from the data it is known, and costs nothing at run time.
    """
    queries, keys = q.shape[2], k.shape[2]
    if filled is not None:
        filled = torch.reshape(filled, [-1, 1, 1, 1])
    seen = _window(node, queries, keys, before, filled)
    if mask is not None:
        missing = keys - mask.shape[-1]
        if missing > 0:
            hidden = False if mask.dtype == torch.bool else -math.inf
            mask = F.pad(mask, [0, missing], value=hidden)
        if mask.dtype == torch.bool:
            seen, mask = (mask if seen is None else torch.logical_and(seen, mask)), None
    if seen is None:
        return mask
    shut = torch.zeros((), dtype=q.dtype).masked_fill(torch.tensor(True), -math.inf)
    hidden_part = torch.where(seen, torch.zeros((), dtype=q.dtype), shut)
    return hidden_part if mask is None else mask + hidden_part


def _window(node: Node, queries: int, keys: int, before: int, filled: Tensor | None) -> Tensor | None:
    """Which keys each query sees by position, or None when all."""
    at, key = torch.arange(queries).reshape(-1, 1), torch.arange(keys).reshape(1, -1)
    position = at + before if filled is None else at + (filled - queries)
    left, right = node.integer("left_window_size", -1), node.integer("right_window_size", -1)
    parts = []
    if node.integer("is_causal", 0):
        parts.append(key <= position)
    if left >= 0:
        parts.append(key >= position - left)
    if right >= 0:
        parts.append(key <= position + right)
    if filled is not None:
        parts.append(key < filled)
    seen = parts[0] if parts else None
    for part in parts[1:]:
        seen = part if seen is None else torch.logical_and(seen, part)
    return seen


def _attend(node: Node, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The attended values, and the scores in the state that ``qk_matmul_output_mode`` names."""
    scale = node.number("scale", 0.0) or 1.0 / math.sqrt(q.shape[3])
    cap = node.number("softcap", 0.0)
    precision = DTYPES.get(node.integer("softmax_precision", 0))
    if cap == 0.0 and precision in (None, q.dtype) and not node.wants(3) and _fused(q, v, bias):
        y = F.scaled_dot_product_attention(q, k, v, None if bias is None else bias.to(q.dtype), scale=scale)
        return y, y
    root = math.sqrt(scale)
    raw = torch.matmul(q * root, k.transpose(2, 3) * root)
    capped = torch.tanh(raw / cap) * cap if cap > 0.0 else raw
    biased = capped if bias is None else capped + bias
    logits = biased if precision is None else biased.to(precision)
    if bias is None:
        weights = torch.softmax(logits, -1)
    else:
        # A query that sees no key attends to nothing. Chosen before the softmax too: NaN there would pass
        # into the gradient.
        blind = torch.amax(bias.detach(), -1, keepdim=True) == -math.inf
        weights = torch.softmax(torch.masked_fill(logits, blind, 0.0), -1)
        weights = torch.masked_fill(weights, blind, 0.0)
    weights = weights.to(q.dtype)
    shown = (raw, capped, biased, weights)[node.integer("qk_matmul_output_mode", 0)]
    return torch.matmul(weights, v), shown


def _fused(q: Tensor, v: Tensor, bias: Tensor | None) -> bool:
    """Whether torch's own attention is sure to give the same: no query that sees nothing, and no half precision
    (whose intermediate roundings it leaves out)."""
    if q.dtype not in _SINGLE or v.dtype != q.dtype:
        return False
    if bias is None:
        return True
    return is_known(bias) and not bool(torch.isneginf(torch.amax(bias, -1)).any())


@operator("FlexAttention", domain="ai.onnx.preview")
def _flex_attention(node: Node, q: Tensor, k: Tensor, v: Tensor, *captured: Value) -> Tensor:
    groups = q.shape[1] // k.shape[1]
    precision = DTYPES.get(node.integer("softmax_precision", 0))
    wide = precision or (torch.float64 if q.dtype == torch.float64 else torch.float32)
    scale = node.number("scale", 0.0) or 1.0 / math.sqrt(q.shape[3])
    scores = torch.matmul(q, repeat_heads(k, groups).transpose(2, 3)).to(wide) * scale
    weights = torch.softmax(_modified(node, "score_mod", scores, captured), -1)
    weights = _modified(node, "prob_mod", weights, captured).to(q.dtype)
    return torch.matmul(weights, repeat_heads(v, groups))


def _modified(node: Node, name: str, x: Tensor, captured: tuple[Value, ...]) -> Tensor:
    """x as the nested graph of this name changes it, if there is one."""
    if name not in node.attributes:
        return x
    body = node.graph(name)
    values: dict[str, Value] = {**dict(zip(node.captured, captured, strict=True)), body.inputs[0]: x}
    run_nodes(body.nodes, values)
    changed: Tensor = values[body.outputs[0]]
    return changed


@operator("RotaryEmbedding")
def _rotary(node: Node, x: Tensor, cosine: Tensor, sine: Tensor, position: Tensor | None = None) -> Tensor:
    flat = x.dim() == 3
    if flat:
        x = split_heads(x, node.integer("num_heads", 1))
    y = rotate(
        x,
        cosine,
        sine,
        position,
        node.integer("rotary_embedding_dim", 0),
        interleaved=bool(node.integer("interleaved", 0)),
    )
    return join_heads(y) if flat else y


def rotate(
    x: Tensor, cosine: Tensor, sine: Tensor, position: Tensor | None, width: int, *, interleaved: bool
) -> Tensor:
    """Rotate pairs of the first ``width`` (0: all) numbers of each head of [batch, heads, length, size].

    With positions [batch, length] the caches are tables [positions, width / 2], without they are
    [batch, length, width / 2].
    """
    width = width or x.shape[3]
    if position is not None:
        shape = [*position.shape, cosine.shape[-1]]
        index = torch.reshape(position, [position.numel()])
        cosine = torch.reshape(torch.index_select(cosine, 0, index), shape)
        sine = torch.reshape(torch.index_select(sine, 0, index), shape)
    cosine, sine = torch.unsqueeze(cosine, 1), torch.unsqueeze(sine, 1)
    turned = x[..., :width]
    if interleaved:
        first, second = turned[..., 0::2], turned[..., 1::2]
    else:
        first, second = turned[..., : width // 2], turned[..., width // 2 :]
    real, imaginary = cosine * first - sine * second, sine * first + cosine * second
    y = torch.flatten(torch.stack([real, imaginary], -1), -2) if interleaved else torch.cat([real, imaginary], -1)
    return y if width == x.shape[3] else torch.cat([y, x[..., width:]], -1)


@operator("LinearAttention")
def _linear_attention(
    node: Node,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past: Tensor | None = None,
    decay: Tensor | None = None,
    beta: Tensor | None = None,
) -> Result:
    q_heads, kv_heads = node.integer("q_num_heads", 1), node.integer("kv_num_heads", 1)
    rule = node.text("update_rule", "gated_delta")
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    q, k, v = (split_heads(x, h).to(wide) for x, h in ((query, q_heads), (key, kv_heads), (value, kv_heads)))
    batch, length, size = query.shape[0], query.shape[1], q.shape[3]
    scale = node.number("scale", 0.0) or 1.0 / math.sqrt(size)
    state = constant([batch, kv_heads, size, v.shape[3]], 0.0, wide) if past is None else past.to(wide)
    keep = None if decay is None else torch.exp(split_heads(decay, kv_heads).to(wide))
    rate = None if beta is None else split_heads(beta, beta.shape[2]).to(wide)
    outputs = []
    for t in range(length):
        k_t, v_t = k[:, :, t, :], v[:, :, t, :]
        if rule.startswith("gated") and keep is not None:
            state = state * torch.unsqueeze(keep[:, :, t, :], -1)
        if rule.endswith("delta") and rate is not None:
            known = torch.squeeze(torch.matmul(torch.unsqueeze(k_t, 2), state), 2)
            v_t = rate[:, :, t, :] * (v_t - known)
        state = state + torch.unsqueeze(k_t, 3) * torch.unsqueeze(v_t, 2)
        read = repeat_heads(state, q_heads // kv_heads)
        outputs.append(torch.matmul(q[:, :, t : t + 1, :], read) * scale)
    y = join_heads(torch.cat(outputs, 2)).to(query.dtype)
    return y, state.to(query.dtype if past is None else past.dtype)
