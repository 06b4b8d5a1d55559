"""Linear models."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.graph import ML, Node
from robaudit.target.onnx.ml.common import (
    first_largest,
    float_type,
    label_codes,
    one_score,
    rows,
    transformed,
    weights,
)
from robaudit.target.onnx.registry import operator


@operator("LinearClassifier", domain=ML, flat=(0,))
def _linear_classifier(node: Node, x: Tensor) -> tuple[Tensor, Tensor]:
    """The label [N], and scores: a column a class. One row of weights decides between two labels."""
    bias = weights(node, "intercepts")
    if not bias.numel():
        raise node.unsupported("no intercepts")
    scores = _product(node, x, bias)
    labels = label_codes(node, "classlabels_ints")
    kind = node.text("post_transform", "NONE")
    if bias.numel() > 1:
        return labels[first_largest(scores)], transformed(node, scores, kind)
    if labels.numel() != 2:
        raise node.unsupported("one row of weights for other than two labels")
    label = torch.where(torch.reshape(scores, [-1]) > 0, labels[1], labels[0])
    return label, one_score(node, scores, kind)


@operator("LinearRegressor", domain=ML)
def _linear_regressor(node: Node, x: Tensor) -> Tensor:
    targets = node.integer("targets", 1)
    bias = weights(node, "intercepts")
    y = _product(node, x, bias if bias.numel() == targets else None, targets)
    return transformed(node, y, node.text("post_transform", "NONE"))


def _product(node: Node, x: Tensor, bias: Tensor | None, count: int | None = None) -> Tensor:
    x = rows(node, x).to(float_type(node))
    size = [bias.numel() if bias is not None else count or 1, x.shape[1]]
    # There are files with more weights than features; the runtime reads as many as it needs.
    return F.linear(x, torch.reshape(weights(node, "coefficients")[: size[0] * size[1]], size), bias)
