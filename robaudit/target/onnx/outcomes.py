"""What calls return, as far as shapes and types go.

Torch computes both of a meta tensor in Python, some milliseconds for one clamp; networks repeat their layers, so that
most calls of a program have been seen before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from robaudit.target.onnx.meta import spare_compiler


@dataclass(frozen=True)
class Unchanged:
    """The call returns its argument at this place among the leaves: a conversion to the type it already has."""

    position: int


class Outcomes:
    """The results of calls by function, by shape, stride and type of tensors, and by the value of all else."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def of(self, func: Callable[..., Any], leaves: Sequence[Any], form: pytree.TreeSpec) -> Any:
        """What a call returns: meta tensors that nobody else holds, ``Unchanged``, or what is no tensor at all.

        Args:
            func: any torch function of plain arguments.
            leaves: its arguments, flattened; tensors on any device.
            form: how the leaves make ``(args, kwargs)``.
        """
        key: Any = (func, form, tuple(_key(leaf) for leaf in leaves))
        try:
            found = self._known.get(key)
        except TypeError:  # a slice cannot be looked up
            return _run(func, leaves, form)
        if found is None:
            found = _run(func, leaves, form)
            if not isinstance(found, Unchanged) and not _all_tensors(found):
                return found
            self._known[key] = found
        return pytree.tree_map_only(Tensor, torch.Tensor.detach, found)


def _run(func: Callable[..., Any], leaves: Sequence[Any], form: pytree.TreeSpec) -> Any:
    spare_compiler()
    metas = [leaf.to("meta") if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    args, kwargs = pytree.tree_unflatten(metas, form)
    result = func(*args, **kwargs)
    for position, meta in enumerate(metas):
        if isinstance(meta, Tensor) and meta is result:
            return Unchanged(position)
    return result


def _key(leaf: Any) -> Any:
    return (leaf.shape, leaf.stride(), leaf.dtype) if isinstance(leaf, Tensor) else (type(leaf), leaf)


def _all_tensors(result: Any) -> bool:
    leaves = pytree.tree_leaves(result)
    return bool(leaves) and all(isinstance(leaf, Tensor) for leaf in leaves)
