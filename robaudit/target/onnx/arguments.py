"""What handlers of several families need to read their inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.tracing import Traced


def is_known(value: Tensor | None) -> bool:
    """Whether the value is available now, on the host."""
    return value is not None and not isinstance(value, Traced)


def ints(value: Tensor) -> list[int]:
    """The integers of a known tensor of any shape."""
    return [int(v) for v in value.reshape(-1).tolist()]


def axes_of(node: Node, value: Tensor | None) -> list[int] | None:
    """Axes given as an attribute (older opsets) or as an input."""
    return node.integers("axes") if value is None else ints(value)


def scalar_or_tensor(value: Tensor, other: Tensor) -> Tensor | float:
    """A known single number as a Python number (no memory is read, one fewer broadcast), else the tensor.

    Only where ``other`` carries the data and the number's shape cannot change the result's. Complex or
    boolean numbers keep their tensor.
    """
    if is_known(value) and value.numel() == 1 and value.dim() <= other.dim() and isinstance(other, Traced):
        number = value.item()
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            return number
    return value


def along(vector: Tensor, rank: int, axis: int) -> Tensor:
    """Shape a vector to broadcast along one axis of a tensor of this rank; a scalar stays one."""
    if vector.numel() == 1:
        return vector.reshape(())
    return vector.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def torch_pads(pads: Sequence[int]) -> list[int]:
    """ONNX pads (all begins, then all ends) in torch's order (last axis first, begin and end together)."""
    rank = len(pads) // 2
    return [pad for i in reversed(range(rank)) for pad in (pads[i], pads[i + rank])]


def constant(shape: Sequence[int], value: float, dtype: torch.dtype) -> Tensor:
    """A known tensor of one repeated number, stored once: its shape may follow the batch."""
    return torch.full((1,) * len(shape), value, dtype=dtype).expand(list(shape))
