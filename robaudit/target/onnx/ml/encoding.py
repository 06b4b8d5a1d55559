"""Encoders, extractors and containers of features. Text is refused where a result depends on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.graph import ML, Node
from robaudit.target.onnx.ml.common import float_type, once, rows
from robaudit.target.onnx.registry import operator


@operator("ZipMap", domain=ML)
def _zip_map(node: Node, x: Tensor) -> Tensor:
    """The numbers that the maps hold, [N, C], columns in the order of the node's class labels."""
    return rows(node, x)


@operator("ArrayFeatureExtractor", domain=ML)
def _array_feature_extractor(node: Node, x: Tensor, index: Tensor) -> Tensor:
    """Picks along the last axis; a vector gives one row."""
    picked = torch.index_select(x, -1, torch.reshape(index, [-1]).to(torch.int64))
    return torch.unsqueeze(picked, 0) if x.dim() == 1 else picked


@operator("FeatureVectorizer", domain=ML)
def _feature_vectorizer(node: Node, *inputs: Tensor) -> Tensor:
    """All inputs side by side, each cut or filled with zeros to its declared width."""
    widths = node.integers("inputdimensions") or []
    dtype = float_type(node)
    parts = []
    for x, width in zip(inputs, widths, strict=True):
        flat = torch.unsqueeze(x, 0) if x.dim() == 1 else torch.flatten(x, 1)
        parts.append(F.pad(flat[:, :width].to(dtype), (0, max(width - flat.shape[1], 0))))
    return torch.cat(parts, 1)


@operator("OneHotEncoder", domain=ML, flat=(0,))
def _one_hot_encoder(node: Node, x: Tensor) -> Tensor:
    """A new last axis, one position a category; a value of no category gives zeros (or the runtime fails)."""
    categories = node.integers("cats_int64s")
    if not categories:
        raise node.unsupported("categories are text")
    hits = torch.unsqueeze(x.to(torch.int64), -1) == torch.tensor(categories, dtype=torch.int64)
    return hits.to(float_type(node))


@operator("LabelEncoder", domain=ML, flat=(0,))
def _label_encoder(node: Node, x: Tensor) -> Tensor:
    table = once(node, "table", lambda: _table(node))
    position = torch.searchsorted(table.keys, x.to(table.keys.dtype).contiguous())
    position = torch.clamp(position, max=table.keys.numel() - 1)
    coded = torch.where(torch.take(table.keys, position) == x, torch.take(table.values, position), table.default)
    return coded if table.of_nan is None else torch.where(torch.isnan(x), table.of_nan, coded)


@dataclass(frozen=True)
class _Table:
    """Keys, sorted and at least one, and their values; the value of all else; that of NaN where it is a key."""

    keys: Tensor
    values: Tensor
    default: Tensor
    of_nan: Tensor | None


def _table(node: Node) -> _Table:
    keys, values = _listed(node, "keys"), _listed(node, "values")
    default = node.attributes.get("default_tensor")
    if default is None:
        number = node.number("default_float", -0.0) if values.is_floating_point() else node.integer("default_int64", -1)
        default = torch.tensor(number)
    default = default.reshape(()).to(values.dtype)
    nan = torch.isnan(keys)
    # In opset 2 a NaN equals no key, itself included.
    of_nan = values[nan][0] if node.version >= 4 and bool(nan.any()) else None
    keys, values = keys[~nan], values[~nan]
    if not keys.numel():
        keys, values = torch.zeros(1, dtype=keys.dtype), default.reshape(1)
    order = torch.argsort(keys, stable=True)
    keys, values = keys[order], values[order]
    first = torch.ones_like(keys, dtype=torch.bool)  # of equal keys the first counts
    first[1:] = keys[1:] != keys[:-1]
    return _Table(keys[first], values[first], default, of_nan)


def _listed(node: Node, what: str) -> Tensor:
    """The keys or values, in whichever attribute they are."""
    for name in (f"{what}_floats", f"{what}_tensor"):
        value = node.attributes.get(name)
        if isinstance(value, Tensor):
            return value.reshape(-1)
    numbers = node.integers(f"{what}_int64s")
    if numbers is None:
        raise node.unsupported(f"its {what} are text")
    return torch.tensor(numbers, dtype=torch.int64)


@operator("CategoryMapper", "CastMap", "DictVectorizer", domain=ML, flat=(0,))
def _of_text(node: Node, x: Tensor) -> Tensor:
    raise node.unsupported("it maps text" if node.op == "CategoryMapper" else "it reads a map")
