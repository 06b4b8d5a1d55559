"""Nearest neighbours among the features of clean samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.detectors.base import Arrays

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["directions", "kept", "listed", "nearest", "squared", "squared_of", "stored"]

TINY = 1e-12


def listed(text: str) -> tuple[str, ...]:
    """Names of nodes as a parameter has them, with semicolons between; none: the last linear layer's input."""
    return tuple(name.strip() for name in text.split(";") if name.strip())


def stored(features: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Features of several nodes as arrays of a fit."""
    return {f"features-{place}": one.astype(np.float32) for place, one in enumerate(features)}


def kept(fitted: Arrays) -> list[NDArray[np.float64]]:
    """The same read back."""
    names = sorted((name for name in fitted if name.startswith("features-")), key=lambda name: int(name[9:]))
    return [fitted[name].astype(np.float64) for name in names]


def directions(features: NDArray[Any]) -> NDArray[np.float64]:
    """[N, D] of length 1."""
    exact = features.astype(np.float64)
    found: NDArray[np.float64] = exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), TINY)
    return found


def squared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, M] squared distances between rows; each row of ``a`` by itself, so that no batch changes it."""
    found: NDArray[np.float64] = np.stack([((row - b) ** 2).sum(1) for row in a])
    return found


def nearest(distances: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """[N, count] places of the smallest of each row [N, M], in their order; of equal ones the first."""
    found: NDArray[np.int64] = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return found


def squared_of(a: Tensor, b: NDArray[np.float64]) -> Tensor:
    """[N, M] as :func:`squared`, differentiable."""
    import torch

    other = torch.from_numpy(b).to(a)
    return (a[:, None] - other[None]).square().sum(2)
