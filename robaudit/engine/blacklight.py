"""Whether a stateful detector would notice a search: Blacklight, on the first queries of a unit.

Source: Li, Shan, Wenger, Zhang, Zheng, Zhao 2022, "Blacklight: Scalable Defense for Neural Networks against Query-Based
Black-Box Attacks": pixels are quantised, each window of the flattened image is hashed, the highest hashes are the
query's fingerprint, and a query that shares more of them than the threshold with an earlier one is flagged. The
parameters are those of the paper as far as we know them: its text and code were not at hand; where an image counts as
large is ours. In place of SHA-256 the windows have a polynomial hash modulo 2**64, all of which come from
one cumulative sum; the salt, which only keeps an attacker from foreseeing the hashes, is left out.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["WATCHED", "Detector", "fingerprint", "watches"]

WATCHED = 50
"""Queries of a unit that the detector looks at, the first ones: it flags most searches within these."""
STEP = 50.0
"""Quantisation of pixels from 0 to 255."""
HASHES = 50
"""Hashes of a fingerprint."""
THRESHOLD = 25
"""A query is flagged that shares more hashes than this with an earlier one."""
WINDOW, LARGE_WINDOW = 20, 50
"""Pixel values in a window: of small images, and of those of ImageNet's size."""
LARGE = 128 * 128 * 3
"""Features from which on an image counts as large."""
CHANNELS = (1, 3, 4)
BASE = 0xD1342543DE82EF95
MIX = 0x9E3779B97F4A7C15
ENOUGH = 8 * HASHES
"""Windows among which the highest hashes are looked for first; all are, where these hold too few different ones."""
WORDS = 2**64


def watches(shape: tuple[int, ...]) -> bool:
    """Whether samples of a shape are images with windows enough to be told apart."""
    image = len(shape) == 3 and shape[0] in CHANNELS
    return image and math.prod(shape) >= _window(math.prod(shape)) + 2 * HASHES


def fingerprint(image: NDArray[Any]) -> NDArray[np.uint64]:
    """The highest :data:`HASHES` different hashes of an image [C, H, W] in u-space, fewer where it has fewer."""
    levels = np.rint(image.transpose(1, 2, 0).reshape(-1) * (255 / STEP)).astype(np.uint64)
    window = _window(len(levels))
    powers, inverse = _powers(len(levels))
    sums = np.zeros(len(levels) + 1, np.uint64)
    np.cumsum(levels * powers, out=sums[1:])
    hashes = (sums[window:] - sums[:-window]) * inverse[: len(levels) - window + 1]
    hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(MIX)
    cut = WORDS - WORDS // max(1, len(hashes) // ENOUGH)
    highest = np.unique(hashes[hashes >= np.uint64(cut)])
    if len(highest) < HASHES:  # a plain image repeats its windows
        highest = np.unique(hashes)
    return highest[-HASHES:]


@dataclass
class Detector:
    """What the detector holds of one unit's queries."""

    _kept: list[NDArray[np.uint64]] = field(default_factory=list)

    def flags(self, image: NDArray[Any]) -> bool:
        """Whether a query [C, H, W] is flagged for its likeness to an earlier one; it is kept in any case."""
        mine = fingerprint(image)
        found = False
        if self._kept:
            earlier = np.concatenate(self._kept)
            places = np.searchsorted(mine, earlier).clip(max=len(mine) - 1)
            starts = np.cumsum([0, *(len(other) for other in self._kept[:-1])])
            found = bool((np.add.reduceat((mine[places] == earlier).astype(int), starts) > THRESHOLD).any())
        self._kept.append(mine)
        return found


def _window(features: int) -> int:
    return LARGE_WINDOW if features >= LARGE else WINDOW


@functools.lru_cache(maxsize=4)
def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """[count] powers of an odd base modulo 2**64, and of its inverse."""
    return tuple(_powers_of(base, count) for base in (BASE, pow(BASE, -1, WORDS)))  # type: ignore[return-value]


def _powers_of(base: int, count: int) -> NDArray[np.uint64]:
    steps = np.full(count, base, np.uint64)
    steps[0] = 1
    return np.cumprod(steps, dtype=np.uint64)
