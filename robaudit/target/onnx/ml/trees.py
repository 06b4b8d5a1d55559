"""Tree ensembles: all trees of all samples step down one level at a time. Exact, and without a gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import is_known
from robaudit.target.onnx.graph import ML, Node
from robaudit.target.onnx.ml.common import (
    first_largest,
    float_type,
    label_codes,
    once,
    rows,
    transformed,
    two_columns,
    weights,
)
from robaudit.target.onnx.ml.ensemble_tables import LEAF, MODES, Array, Ensemble, read_classic, read_unified
from robaudit.target.onnx.registry import operator

_COMPARISONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "BRANCH_LEQ": torch.le,
    "BRANCH_LT": torch.lt,
    "BRANCH_GTE": torch.ge,
    "BRANCH_GT": torch.gt,
    "BRANCH_EQ": torch.eq,
    "BRANCH_NEQ": torch.ne,
}
_SET_LIMIT = 30
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
# As the runtime numbers them; the standard has SOFTMAX for 1 and LOGISTIC for 2.
_TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")


@dataclass(frozen=True)
class _Forest:
    """An ensemble as tensors of the type in which samples are compared and leaves added up.

    Where every tree adds to one target only, ``values`` is [R] and ``order`` [rounds, K] says which tree is the
    next to add to each target (T, one past the last, when there is none); else ``values`` is [R, K]. A leaf
    that says nothing of a target holds 0. ``told``: for each leaf, the targets that it speaks of.
    """

    trees: int
    depth: int
    start: Tensor
    feature: Tensor
    threshold: Tensor
    children: Tensor
    modes: dict[str, Tensor]
    missing: Tensor | None
    members: Tensor | None
    values: Tensor
    order: Tensor | None
    told: Tensor
    always: Tensor
    never: Tensor


@operator("TreeEnsembleRegressor", domain=ML, flat=(0,))
def _tree_ensemble_regressor(node: Node, x: Tensor) -> Tensor:
    """[N, targets]."""
    targets, aggregate = node.integer("n_targets", 1), node.text("aggregate_function", "SUM")
    kind = node.text("post_transform", "NONE")
    y = _regression(node, x, lambda: read_classic(node, "target"), targets, aggregate, kind)
    return y.to(float_type(node))


@operator("TreeEnsemble", domain=ML, flat=(0,))
def _tree_ensemble(node: Node, x: Tensor) -> Tensor:
    """[N, targets], of the input's type."""
    aggregate = _AGGREGATES[node.integer("aggregate_function", 1)]
    kind = _TRANSFORMS[node.integer("post_transform", 0)]
    return _regression(node, x, lambda: read_unified(node), node.integer("n_targets", 1), aggregate, kind)


@operator("TreeEnsembleClassifier", domain=ML, flat=(0, 1))
def _tree_ensemble_classifier(node: Node, x: Tensor) -> tuple[Tensor, Tensor]:
    """The label [N], and scores: a column a class."""
    x = _compared(node, x)
    labels = label_codes(node, "classlabels_int64s")
    if labels.numel() < 2:
        raise node.unsupported("fewer than two classes")
    forest = _forest(node, x, labels.numel(), lambda: read_classic(node, "class"))
    leaves = _leaves(forest, x)
    scores, told = _sum(forest, leaves), _told(forest, leaves)
    base = _base(node, x.dtype)
    if labels.numel() == 2:
        label, scores = _two_classes(node, scores, told, base, labels)
        return label, scores.to(float_type(node))
    if base.numel():
        scores, told = scores + base, torch.ones_like(told)
    best = first_largest(torch.where(told, scores, -torch.inf))
    return labels[best], transformed(node, scores, node.text("post_transform", "NONE")).to(float_type(node))


def _two_classes(node: Node, scores: Tensor, told: Tensor, base: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The runtime's conventions for two classes, of which often only one has weights."""
    first, second = scores[:, 0], scores[:, 1]
    told_first, told_second = told[..., 0], told[..., 1]
    if base.numel() == 2:
        # With weights for the second class, those of the first decide, and its base value is left out.
        replaced = first + base[1]
        first, second = torch.where(told_second, -replaced, first + base[0]), replaced
    elif base.numel() == 1:
        first = first + base
    # What no tree speaks of is 0, base value or not.
    first, second = torch.where(told_first, first, 0.0), torch.where(told_second, second, 0.0)
    one_sided = len(set(node.integers("class_ids") or [])) == 1
    positive = one_sided and bool((_weights(node, "class_weights") >= 0).all())
    decisive = torch.where(told_second, second, first)
    above = decisive > (0.5 if positive else 0.0)
    label = torch.where(above, labels[1], labels[0]) if one_sided else above.to(torch.int64)
    kind = node.text("post_transform", "NONE")
    both = transformed(node, two_columns(first, second), kind)
    if base.numel() == 2 or (is_known(told_second) and bool(told_second)):
        return label, both
    if kind == "PROBIT" or (base.numel() == 1 and not one_sided):
        raise node.unsupported("two classes and a score for one of them, with this transform and base value")
    if kind == "LOGISTIC":
        alone = torch.sigmoid(two_columns(-first, first))
    else:
        alone = two_columns(1 - first if positive else -first, first)
    return label, torch.where(torch.reshape(told_second, [-1, 1]), both, alone)


def _regression(node: Node, x: Tensor, read: Callable[[], Ensemble], targets: int, aggregate: str, kind: str) -> Tensor:
    x = _compared(node, x)
    forest = _forest(node, x, targets, read)
    leaves = _leaves(forest, x)
    if aggregate in ("SUM", "AVERAGE"):
        scores = _sum(forest, leaves)
        scores = scores / forest.trees if aggregate == "AVERAGE" else scores
    elif aggregate in ("MIN", "MAX"):
        scores = _extreme(forest, leaves, aggregate)
    else:
        raise node.unsupported(f"aggregate_function {aggregate}")
    base = _base(node, x.dtype)
    if base.numel() == targets:
        # A target of which no tree says anything remains 0.
        scores = torch.where(_told(forest, leaves), scores + base, scores)
    return transformed(node, scores, kind)


def _leaves(forest: _Forest, x: Tensor) -> Tensor:
    """The row [N, T] of the leaf that each sample reaches in each tree."""
    at = forest.start.expand(x.shape[0], forest.trees)
    for _ in range(forest.depth):
        value = torch.gather(x, 1, torch.take(forest.feature, at))
        holds = _holds(forest, value, at)
        at = torch.take(forest.children, torch.add(holds, at, alpha=2))
    return at


def _holds(forest: _Forest, value: Tensor, at: Tensor) -> Tensor:
    threshold = torch.take(forest.threshold, at)
    holds = None
    for name, rows_of_mode in forest.modes.items():
        if name == "BRANCH_MEMBER":
            assert forest.members is not None
            own = torch.take(torch.cumsum(rows_of_mode, 0) - 1, at)
            # The runtime looks up whole numbers in a set that is large, and drops the value's fraction.
            sought = torch.where(_is_large(forest.members)[own], torch.trunc(value), value)
            result = (torch.unsqueeze(sought, 2) == forest.members[own]).any(2)
        else:
            result = _COMPARISONS[name](value, threshold)
        holds = result if holds is None else torch.where(torch.take(rows_of_mode, at), result, holds)
    assert holds is not None, "a branch has a mode"
    if forest.missing is not None:
        holds = holds | (torch.isnan(value) & torch.take(forest.missing, at))
    return holds


def _is_large(sets: Tensor) -> Tensor:
    """Which of these sets, padded with NaN, the runtime does not keep as the bits of one number."""
    return ((sets < 0) | (sets > _SET_LIMIT)).any(1) | ((~torch.isnan(sets)).sum(1) > _SET_LIMIT)


def _sum(forest: _Forest, leaves: Tensor) -> Tensor:
    """[N, K]. Added up tree by tree, as the runtime does: another order rounds otherwise, and turns ties."""
    parts = torch.unbind(_by_round(forest, leaves), 1)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _by_round(forest: _Forest, leaves: Tensor) -> Tensor:
    """[N, rounds, K]: what is added to each target, one after the other."""
    if forest.order is None:
        picked = torch.index_select(forest.values, 0, torch.reshape(leaves, [-1]))
        return torch.reshape(picked, [leaves.shape[0], forest.trees, forest.values.shape[1]])
    single = F.pad(torch.take(forest.values, leaves), (0, 1))
    ordered = torch.index_select(single, 1, torch.reshape(forest.order, [-1]))
    return torch.reshape(ordered, [leaves.shape[0], *forest.order.shape])


def _extreme(forest: _Forest, leaves: Tensor, aggregate: str) -> Tensor:
    size = [leaves.shape[0], forest.trees, forest.told.shape[1]]
    told = torch.reshape(torch.index_select(forest.told, 0, torch.reshape(leaves, [-1])), size)
    if forest.order is None:
        values = _by_round(forest, leaves)
    else:
        values = torch.unsqueeze(torch.take(forest.values, leaves), 2)
    if aggregate == "MIN":
        best = torch.amin(torch.where(told, values, torch.inf), 1)
    else:
        best = torch.amax(torch.where(told, values, -torch.inf), 1)
    return torch.where(told.any(1), best, 0.0)


def _told(forest: _Forest, leaves: Tensor) -> Tensor:
    """Which targets got a value from some tree: [K] where that is the same for every sample, else [N, K]."""
    if bool((forest.always | forest.never).all()):
        return forest.always
    told = torch.index_select(forest.told, 0, torch.reshape(leaves, [-1]))
    return torch.reshape(told, [leaves.shape[0], forest.trees, forest.told.shape[1]]).any(1)


def _compared(node: Node, x: Tensor) -> Tensor:
    """Thresholds have the input's type where that is double precision; integers are compared as floats."""
    x = rows(node, x)
    return x.to(torch.promote_types(x.dtype, float_type(node)) if x.is_floating_point() else float_type(node))


def _weights(node: Node, name: str) -> Tensor:
    value = node.attributes.get(f"{name}_as_tensor")
    return value.reshape(-1) if isinstance(value, Tensor) and value.numel() else weights(node, name)


def _base(node: Node, dtype: torch.dtype) -> Tensor:
    return _weights(node, "base_values").to(dtype)


def _forest(node: Node, x: Tensor, targets: int, read: Callable[[], Ensemble]) -> _Forest:
    table = once(node, "tables", read)
    table.check(node, x.shape[1], targets)
    return once(node, f"forest of {x.dtype}", lambda: _made(node, table, x.dtype, targets))


def _made(node: Node, table: Ensemble, dtype: torch.dtype, targets: int) -> _Forest:
    size = len(table.mode)
    tree = table.trees(node)
    told = np.zeros((size, targets), dtype=bool)
    told[table.leaf, table.target] = True
    # What a tree says at all of its leaves that can be reached.
    ends = (table.mode == LEAF) & (tree >= 0)
    silent = np.zeros((len(table.roots), targets), dtype=bool)
    np.logical_or.at(silent, tree[ends], ~told[ends])
    speaks = np.zeros_like(silent)
    np.logical_or.at(speaks, tree[ends], told[ends])
    values, order = _values(table, speaks, tree)
    present = [(i, name) for i, name in enumerate(MODES) if (table.mode == i).any()]
    width = max((len(members) for members in table.members), default=0)
    padded = [np.pad(m, (0, width - len(m)), constant_values=np.nan) for m in table.members]
    return _Forest(
        trees=len(table.roots),
        depth=table.depth(node),
        start=torch.from_numpy(table.roots).reshape(1, -1),
        feature=torch.from_numpy(table.feature),
        threshold=torch.from_numpy(table.threshold).to(dtype),
        children=torch.from_numpy(table.children.reshape(-1)),
        modes={name: torch.from_numpy(table.mode == i) for i, name in present},
        missing=torch.from_numpy(table.missing) if table.missing.any() else None,
        members=torch.from_numpy(np.stack(padded)).to(dtype) if padded else None,
        values=torch.from_numpy(values).to(dtype),
        order=None if order is None else torch.from_numpy(order),
        told=torch.from_numpy(told),
        always=torch.from_numpy((~silent).any(0)),
        never=torch.from_numpy(~speaks.any(0)),
    )


def _values(table: Ensemble, speaks: Array, tree: Array) -> tuple[Array, Array | None]:
    """``values`` and ``order`` of a forest."""
    size, targets = len(table.mode), speaks.shape[1]
    if (speaks.sum(1) > 1).any():
        wide = np.zeros((size, targets), dtype=table.value.dtype)
        np.add.at(wide, (table.leaf, table.target), table.value)
        return wide, None
    values = np.zeros(size, dtype=table.value.dtype)
    np.add.at(values, table.leaf, table.value)
    rounds = max(int(speaks.sum(0).max(initial=0)), 1)
    order = np.full((rounds, targets), len(table.roots), dtype=np.int64)
    for target in range(targets):
        own = np.flatnonzero(speaks[:, target])
        order[: len(own), target] = own
    return values, order
