"""Counting n-grams of tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.target.onnx.arguments import constant
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator


@operator("TfIdfVectorizer", flat=(0,))
def _tf_idf(node: Node, tokens: Tensor) -> Tensor:
    pool = node.integers("pool_int64s")
    if pool is None:
        raise node.unsupported("over strings")
    columns = node.integers("ngram_indexes") or []
    weights = node.attributes.get("weights")
    rows = torch.unsqueeze(tokens, 0) if tokens.dim() == 1 else tokens
    counts: list[Tensor] = [constant([rows.shape[0]], 0.0, torch.float32)] * (max(columns) + 1)
    for gram, column in zip(_grams(node, pool), columns, strict=True):
        found = _occurrences(node, rows, gram)
        if found is not None:
            counts[column] = counts[column] + found
    mode = node.text("mode", "TF")
    values = torch.stack(counts, 1)
    if mode != "TF":
        if mode == "IDF":
            values = torch.clamp(values, max=1.0)
        if weights is not None and len(weights):
            values = values * torch.as_tensor(weights, dtype=torch.float32)
    return torch.squeeze(values, 0) if tokens.dim() == 1 else values


def _grams(node: Node, pool: list[int]) -> list[list[int]]:
    """The n-grams in the pool, in order: first those of one token, then those of two, ..."""
    starts = [*(node.integers("ngram_counts") or []), len(pool)]
    parts = [(size, pool[starts[size - 1] : starts[size]]) for size in range(1, len(starts))]
    return [part[i : i + size] for size, part in parts for i in range(0, len(part), size)]


def _occurrences(node: Node, rows: Tensor, gram: list[int]) -> Tensor | None:
    """How often each row of [rows, tokens] holds the n-gram, its tokens up to ``max_skip_count`` apart."""
    size, length = len(gram), rows.shape[1]
    if not node.integer("min_gram_length", 1) <= size <= node.integer("max_gram_length", 1):
        return None
    total: Tensor | None = None
    for skip in range(node.integer("max_skip_count", 0) + 1 if size > 1 else 1):
        count = length - (size - 1) * (skip + 1)
        if count <= 0:
            break
        hits = [rows[:, i * (skip + 1) : i * (skip + 1) + count] == token for i, token in enumerate(gram)]
        found = torch.sum(torch.all(torch.stack(hits), 0), 1).to(torch.float32)
        total = found if total is None else total + found
    return total
