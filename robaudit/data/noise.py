"""Uniform noise, for looking at a model whose data is not at hand."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.source import Dataset

__all__ = ["noise_dataset"]

COUNT = 8


class _Noise(Dataset):
    """Samples drawn by their index alone."""

    def __init__(self, shape: tuple[int, ...], **fields: Any) -> None:
        super().__init__(**fields)
        self._shape = shape

    def read(self, index: int) -> NDArray[Any]:
        """A sample in u-space."""
        drawn: NDArray[Any] = np.random.default_rng(index).random(self._shape, dtype=np.float32)
        return drawn


def noise_dataset(shape: tuple[int, ...]) -> Dataset:
    """A few samples of uniform noise in u-space, without labels; nothing that is measured on them is robustness."""
    return _Noise(
        shape,
        source="uniform noise",
        kind="noise",
        ids=[f"noise {i}" for i in range(COUNT)],
        labels=None,
        digest=hashlib.sha256(repr(shape).encode()).hexdigest(),
        notes=["no data was given: uniform noise stands in for it"],
    )
