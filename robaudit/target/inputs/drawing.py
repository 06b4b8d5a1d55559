"""What random defenses draw: keys for each row, and the defenses as a target sees them. Needs no torch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["DrawingWrapper", "apart", "keys_at", "of_place"]


@runtime_checkable
class DrawingWrapper(Protocol):
    """A random defense in front of a file; see :class:`robaudit.defenses.base.RandomDefense`."""

    def drawn(self, u: NDArray[Any], keys: NDArray[np.uint64]) -> NDArray[Any]:
        """What the file is shown of [N, *shape] at the draws of keys [N]."""
        ...

    def drawn_forward(self, u: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """The same of a tensor."""
        ...

    def drawn_path(self, u: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """A differentiable stand-in for it."""
        ...


def keys_at(u: NDArray[Any], draw: int) -> NDArray[np.uint64]:
    """[N] keys of the draw of a number, for points [N, *shape]: a pure function of a point's content and the number."""
    rows = np.ascontiguousarray(u).reshape(len(u), -1)
    salt = draw.to_bytes(8, "little", signed=True)
    digests = (hashlib.blake2b(row.tobytes(), digest_size=8, salt=salt).digest() for row in rows)
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)


def of_place(keys: NDArray[np.uint64], place: int) -> NDArray[np.uint64]:
    """[N] keys of the defense in a place of the chain, so that two of a kind do not draw alike."""
    with np.errstate(over="ignore"):
        return keys + np.uint64(place) * np.uint64(0x9E3779B97F4A7C15)


def apart(keys: NDArray[np.uint64], copies: int) -> NDArray[np.uint64]:
    """[N * copies] keys of the copies of points with keys [N], so that no two draw alike."""
    if copies == 1:
        return keys
    with np.errstate(over="ignore"):
        return (keys[:, None] + np.arange(copies, dtype=np.uint64) * np.uint64(0xD1342543DE82EF95)).reshape(-1)
