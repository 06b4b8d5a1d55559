"""Tree ensembles as tables: whichever operator and opset describes them, the same arrays result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.target.onnx.graph import Node

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
LEAF = len(MODES)
# Each level of the deepest tree, and each tree, is a step of the program.
_DEEPEST = 5_000
_MOST_TREES = 50_000
_LARGEST = 1 << 28
Array = NDArray[Any]


@dataclass(frozen=True)
class Ensemble:
    """All trees' nodes in one table of R rows, leaves included.

    A branch goes to row ``children[r, 1]`` where its comparison holds, else to ``children[r, 0]``; a leaf's
    children are itself. ``mode`` indexes MODES. Leaf ``leaf[k]`` adds ``value[k]`` to target ``target[k]``.
    """

    roots: Array
    feature: Array
    threshold: Array
    mode: Array
    children: Array
    missing: Array
    leaf: Array
    target: Array
    value: Array
    members: list[Array] = field(default_factory=list)
    """The sets of the BRANCH_MEMBER nodes, in the order of their rows."""

    def trees(self, node: Node) -> Array:
        """The tree of each row, or -1 for a row that no root leads to."""
        tree = np.full(len(self.mode), -1, dtype=np.int64)
        rows = self.roots
        tree[rows] = np.arange(len(rows))
        while rows.size:
            rows = rows[self.mode[rows] != LEAF]
            below = self.children[rows]
            fresh = tree[below] < 0
            tree[below[fresh]] = np.repeat(tree[rows][:, None], 2, 1)[fresh]
            rows = np.unique(below[fresh])
        reached = np.flatnonzero(tree >= 0)
        shared = (tree[self.children[reached]] != tree[reached][:, None]).any()
        if shared or len(np.unique(self.roots)) != len(self.roots):
            raise node.unsupported("trees that share nodes")
        return tree

    def check(self, node: Node, features: int, targets: int) -> None:
        """Refuse what no runtime accepts: positions outside the tables; and what is too large."""
        rows = len(self.mode)
        ranges = ((self.feature, features), (self.children, rows), (self.roots, rows), (self.target, targets))
        if any(values.size and (values.min() < 0 or values.max() >= limit) for values, limit in ranges):
            raise node.unsupported("a tree that points outside its tables")
        if len(self.roots) > _MOST_TREES or rows * targets > _LARGEST or not len(self.roots):
            raise node.unsupported(f"{len(self.roots)} trees of {rows} nodes with {targets} targets")

    def depth(self, node: Node) -> int:
        """How many comparisons the longest path makes."""
        rows, depth = np.unique(self.roots), 0
        while True:
            rows = np.unique(self.children[rows[self.mode[rows] != LEAF]])
            if not rows.size:
                return depth
            depth += 1
            if depth > min(len(self.mode), _DEEPEST):
                raise node.unsupported("a tree that leads back to itself, or very deep")


def read_classic(node: Node, prefix: str) -> Ensemble:
    """TreeEnsembleClassifier (prefix "class") and TreeEnsembleRegressor ("target")."""
    tree, number = _ints(node, "nodes_treeids"), _ints(node, "nodes_nodeids")
    rows = _Rows(tree, number)
    mode = np.array([_mode(node, name) for name in node.attributes.get("nodes_modes", [])], dtype=np.int64)
    children = np.repeat(np.arange(len(tree))[:, None], 2, 1)
    branch = mode != LEAF
    for side, name in enumerate(("nodes_falsenodeids", "nodes_truenodeids")):
        children[branch, side] = rows.find(node, tree[branch], _ints(node, name)[branch])
    missing = _ints(node, "nodes_missing_value_tracks_true")
    # A tree begins where the list of nodes passes on to it.
    begins = np.concatenate([[True], tree[1:] != tree[:-1]]) if len(tree) else np.zeros(0, dtype=bool)
    return Ensemble(
        roots=np.flatnonzero(begins),
        feature=np.where(branch, _ints(node, "nodes_featureids"), 0),
        threshold=_floats(node, "nodes_values"),
        mode=mode,
        children=children,
        missing=(missing if missing.size else np.zeros_like(mode)) == 1,
        leaf=rows.find(node, _ints(node, f"{prefix}_treeids"), _ints(node, f"{prefix}_nodeids")),
        target=_ints(node, f"{prefix}_ids"),
        value=_floats(node, f"{prefix}_weights"),
    )


def read_unified(node: Node) -> Ensemble:
    """TreeEnsemble, whose leaves are numbered apart from the branches: here they follow them."""
    mode = _ints(node, "nodes_modes")
    branches, leaves = len(mode), len(_ints(node, "leaf_targetids"))
    sides = []
    for side in ("false", "true"):
        child, is_leaf = _ints(node, f"nodes_{side}nodeids"), _ints(node, f"nodes_{side}leafs") != 0
        sides.append(np.where(is_leaf, child + branches, child))
    roots = _ints(node, "tree_roots")
    # A branch with one leaf on both sides stands for a tree that is nothing but that leaf.
    lone = (sides[0][roots] == sides[1][roots]) & (sides[0][roots] >= branches)
    missing = _ints(node, "nodes_missing_value_tracks_true")
    own = np.repeat(np.arange(branches, branches + leaves)[:, None], 2, 1)
    return Ensemble(
        roots=np.where(lone, sides[0][roots], roots),
        feature=_padded(_ints(node, "nodes_featureids"), leaves, 0),
        threshold=_padded(_floats(node, "nodes_splits"), leaves, 0),
        mode=_padded(mode, leaves, LEAF),
        children=np.concatenate([np.stack(sides, 1), own]),
        missing=_padded(missing == 1 if missing.size else np.zeros(branches, dtype=bool), leaves, False),
        leaf=np.arange(branches, branches + leaves),
        target=_ints(node, "leaf_targetids"),
        value=_floats(node, "leaf_weights"),
        members=_sets(_floats(node, "membership_values"), int((mode == MODES.index("BRANCH_MEMBER")).sum())),
    )


class _Rows:
    """Finds the row of a node by its tree and its number there."""

    def __init__(self, tree: Array, number: Array) -> None:
        self._span = int(number.max(initial=0)) + 1
        keys = tree * self._span + number
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def find(self, node: Node, tree: Array, number: Array) -> Array:
        wanted = tree * self._span + number
        at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        if wanted.size and not (self._keys[at] == wanted).all():
            raise node.unsupported("it names a tree node that is not there")
        return self._order[at]


def _mode(node: Node, name: str) -> int:
    if name != "LEAF" and name not in MODES[:-1]:
        raise node.unsupported(f"tree nodes of mode {name}")
    return LEAF if name == "LEAF" else MODES.index(name)


def _ints(node: Node, name: str) -> Array:
    value = node.attributes.get(name)
    if isinstance(value, torch.Tensor):
        return value.numpy().astype(np.int64)
    return np.array(value if value is not None else [], dtype=np.int64)


def _floats(node: Node, name: str) -> Array:
    """Numbers given as a list, or as a tensor (of double precision, mostly)."""
    for key in (name, f"{name}_as_tensor"):
        value = node.attributes.get(key)
        if isinstance(value, torch.Tensor):
            return value.reshape(-1).numpy()
    return np.zeros(0, dtype=np.float32)


def _padded(values: Array, count: int, fill: float) -> Array:
    return np.concatenate([values, np.full(count, fill, dtype=values.dtype)])


def _sets(values: Array, count: int) -> list[Array]:
    """Sets listed one after the other, a NaN after each."""
    ends = np.flatnonzero(np.isnan(values))
    parts = np.split(values, ends)
    return [part[~np.isnan(part)] for part in parts[:count]]
