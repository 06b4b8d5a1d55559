"""Support vector machines, linear ones and those with a kernel."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.graph import ML, Node
from robaudit.target.onnx.ml.common import (
    first_largest,
    float_type,
    label_codes,
    once,
    one_score,
    rows,
    transformed,
    two_columns,
    weights,
)
from robaudit.target.onnx.ml.coupling import couple, pair_probabilities
from robaudit.target.onnx.registry import operator


@operator("SVMClassifier", domain=ML, flat=(0,))
def _svm_classifier(node: Node, x: Tensor) -> tuple[Tensor, Tensor]:
    """The label [N], and scores: a column a class, or a pair of classes where there are no probabilities."""
    x = rows(node, x).to(float_type(node))
    labels = label_codes(node, "classlabels_ints")
    kind = node.text("post_transform", "NONE")
    counts = node.integers("vectors_per_class") or []
    if not sum(counts):
        scores = _linear_scores(node, x, labels.numel())
        return _linear_label(node, scores, labels), transformed(node, scores, kind)
    scores = _pair_scores(node, x, counts)
    label = labels[first_largest(_votes(scores, len(counts)))]
    slopes, offsets = weights(node, "prob_a"), weights(node, "prob_b")
    if slopes.numel():
        probabilities = couple(pair_probabilities(scores, slopes, offsets), len(counts))
        return label, transformed(node, probabilities, kind)
    if len(counts) > 2:
        return label, transformed(node, scores, kind)
    if kind == "NONE":
        return label, two_columns(-scores, scores)
    return label, one_score(node, scores, kind)


@operator("SVMRegressor", domain=ML)
def _svm_regressor(node: Node, x: Tensor) -> Tensor:
    x = rows(node, x).to(float_type(node))
    count = node.integer("n_supports", 0)
    coefficients = torch.reshape(weights(node, "coefficients"), [1, -1])
    bias = weights(node, "rho")[:1]
    y = F.linear(_kernel(node, x, count) if count else x, coefficients, bias)
    return torch.where(y > 0, 1.0, -1.0).to(y.dtype) if node.integer("one_class", 0) else y


def _linear_scores(node: Node, x: Tensor, classes: int) -> Tensor:
    """One row of weights a class; all share the first offset."""
    matrix = torch.reshape(weights(node, "coefficients"), [classes, -1])
    return F.linear(x, matrix) + weights(node, "rho")[:1]


def _linear_label(node: Node, scores: Tensor, labels: Tensor) -> Tensor:
    best = first_largest(scores)
    if labels.numel() == 2 and not weights(node, "prob_a").numel():
        positive = bool((weights(node, "coefficients") >= 0).all())
        largest = torch.amax(scores, -1)
        best = torch.where(largest >= 0.5 if positive else largest > 0, 1, best)
    return labels[best]


def _pair_scores(node: Node, x: Tensor, counts: list[int]) -> Tensor:
    """[N, pairs], the pairs of classes in order. The runtime adds up in double precision, as done here."""
    matrix = once(node, "pairs", lambda: _pair_weights(weights(node, "coefficients"), counts))
    offsets = weights(node, "rho")[: matrix.shape[0]].to(torch.float64)
    kernel = _kernel(node, x, sum(counts))
    return F.linear(kernel.to(torch.float64), matrix, offsets).to(kernel.dtype)


def _pair_weights(coefficients: Tensor, counts: list[int]) -> Tensor:
    """One row a pair (i, j): the weights of i's vectors against j, and of j's against i; all others are 0.

    ``coefficients`` is [classes - 1, vectors]: a vector of class i keeps its weight against class j in row j,
    or j - 1 when j comes after i.
    """
    starts = [0, *itertools.accumulate(counts)]
    table = torch.reshape(coefficients, [len(counts) - 1, -1]).to(torch.float64)
    pairs = list(itertools.combinations(range(len(counts)), 2))
    result = torch.zeros(len(pairs), starts[-1], dtype=torch.float64)
    for row, (i, j) in enumerate(pairs):
        for own, other in ((i, j - 1), (j, i)):
            span = slice(starts[own], starts[own + 1])
            result[row, span] = table[other, span]
    return result


def _votes(scores: Tensor, classes: int) -> Tensor:
    """[N, classes]: how many pairs each class wins."""
    pairs = torch.tensor(list(itertools.combinations(range(classes), 2)))
    wins = F.one_hot(pairs, classes)
    first = (scores > 0).to(torch.int64)
    return torch.sum(torch.unsqueeze(first, 2) * (wins[:, 0] - wins[:, 1]) + wins[:, 1], 1)


def _kernel(node: Node, x: Tensor, count: int) -> Tensor:
    """[N, vectors]."""
    vectors = torch.reshape(weights(node, "support_vectors"), [count, -1])
    kind = node.text("kernel_type", "LINEAR")
    if kind == "LINEAR":
        return F.linear(x, vectors)
    gamma, offset, degree = (float(v) for v in weights(node, "kernel_params")[:3])
    if kind == "RBF":
        # Differences, not products: those cancel where the data is far from the origin.
        distance = torch.cdist(x, vectors, compute_mode="donot_use_mm_for_euclid_dist")
        return torch.exp(-gamma * torch.square(distance))
    product = gamma * F.linear(x, vectors) + offset
    if kind == "POLY":
        return torch.pow(product, degree)
    if kind == "SIGMOID":
        return torch.tanh(product)
    raise node.unsupported(f"kernel {kind}")
