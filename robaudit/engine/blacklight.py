"""Whether a stateful detector would notice a search: Blacklight, on the first queries of a unit.

Source: Li, Shan, Wenger, Zhang, Zheng, Zhao 2022, "Blacklight: Scalable Defense for Neural Networks against Query-Based
Black-Box Attacks": a secret salt of each pixel is added, modulo 255, the sum is quantised, each window of the flattened
image (rows, columns, channels) is hashed, the highest hashes are the query's fingerprint, and a query that shares more
of them than the threshold with an earlier one is flagged. The order and the salt are those of public code after its
authors'; the windows are theirs for MNIST and ImageNet (50) and for CIFAR-10 (20), as reported, since neither their
text nor their repository was at hand. Where else an image counts as one or the other is ours: 20 for small ones of
several channels. In place of SHA-256 the windows have a polynomial hash modulo 2**32: of a few hundred pairs of large
images one shares a hash by chance, of the more than 25 that are needed. The salt is the same in every audit, as no
attacker of an audit looks for it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.threat.random import mixed

__all__ = ["WATCHED", "Detector", "fingerprint", "salt", "watches"]

WATCHED = 50
"""Queries of a unit that the detector looks at, the first ones: it flags most searches within these."""
STEP = 50.0
"""Quantisation of pixels from 0 to 255."""
HASHES = 50
"""Hashes of a fingerprint."""
THRESHOLD = 25
"""A query is flagged that shares more hashes than this with an earlier one."""
WINDOW, WIDE_WINDOW = 20, 50
"""Pixel values in a window: of small images in colour, and of all others."""
LARGE = 128 * 128 * 3
"""Features from which on an image counts as large."""
CHANNELS = (1, 3, 4)
BASE = 0x42EFEF95
SALT = -7046029254386353131
"""Odd: 0x9E3779B97F4A7C15 as a signed number, which spreads the places of pixels."""
MIX = 0x2C1B3C6D
WORDS = 2**32
ENOUGH = 8 * HASHES
"""Windows among which the highest hashes are looked for first; all are, where these hold too few different ones."""
PART = 2**15
"""Windows that are hashed at once, which the cache holds."""


def watches(shape: tuple[int, ...]) -> bool:
    """Whether samples of a shape are images with windows enough to be told apart."""
    image = len(shape) == 3 and shape[0] in CHANNELS
    return image and math.prod(shape) >= _window(shape) + 2 * HASHES


def fingerprint(image: NDArray[Any]) -> NDArray[np.uint32]:
    """The highest :data:`HASHES` different hashes of an image [C, H, W] in u-space, fewer where it has fewer."""
    levels = _levels(image)
    window = _window(image.shape)
    count = len(levels) - window + 1
    cut = WORDS - WORDS // max(1, count // ENOUGH)
    highest = _highest(levels, window, cut)
    if len(highest) < HASHES:  # a plain image repeats its windows
        highest = _highest(levels, window, 0)
    return highest[-HASHES:]


@dataclass
class Detector:
    """What the detector holds of one unit's queries."""

    _kept: list[frozenset[int]] = field(default_factory=list)

    def flags(self, image: NDArray[Any]) -> bool:
        """Whether a query [C, H, W] is flagged for its likeness to an earlier one; it is kept in any case."""
        mine = frozenset(fingerprint(image).tolist())
        found = any(len(mine & earlier) > THRESHOLD for earlier in reversed(self._kept))  # the last is the likest
        self._kept.append(mine)
        return found


def _window(shape: tuple[int, ...]) -> int:
    return WINDOW if shape[0] > 1 and math.prod(shape) < LARGE else WIDE_WINDOW


@functools.lru_cache(maxsize=4)
def salt(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """[C, H, W] what is added to the pixels of images of a shape, as a share of 255."""
    channels, height, width = shape
    words = mixed(torch.arange(1, math.prod(shape) + 1, dtype=torch.int64) * SALT)
    shares = (words >> 40 & 0xFFFFFF).numpy().astype(np.float32) / np.float32(2**24)
    return np.ascontiguousarray(shares.reshape(height, width, channels).transpose(2, 0, 1))


def _levels(image: NDArray[Any]) -> NDArray[np.uint8]:
    """[H * W * C] quantised pixels of an image [C, H, W]."""
    salted = image + salt(image.shape)
    salted -= np.floor(salted)  # far faster than a division's remainder
    salted *= image.dtype.type(255 / STEP)
    salted += image.dtype.type(0.5)  # so that cutting the fraction off rounds
    planes = salted.astype(np.uint8)
    levels = np.empty((*planes.shape[1:], len(planes)), np.uint8)
    for channel, plane in enumerate(planes):  # twice as fast as all of them transposed
        levels[..., channel] = plane
    return levels.reshape(-1)


def _highest(levels: NDArray[np.uint8], window: int, cut: int) -> NDArray[np.uint32]:
    """The different hashes of at least ``cut``, in ascending order."""
    found = []
    for begin in range(0, len(levels) - window + 1, PART):
        hashes = _hashes(levels[begin : begin + PART + window - 1], window)
        found.append(hashes[hashes >= np.uint32(cut)])
    highest = np.concatenate(found)
    highest.sort()
    return highest[np.concatenate(([True], highest[1:] != highest[:-1]))[: len(highest)]]


def _hashes(levels: NDArray[np.uint8], window: int) -> NDArray[np.uint32]:
    """The hash of each window: the sum of its levels times powers of the base, mixed.

    Sums of twice as many come from two neighbouring ones, so that a window takes the logarithm of its length.
    """
    powers, inverse = _powers(BASE)[: len(levels)], _powers(pow(BASE, -1, WORDS))
    sums, length = levels * powers, 1
    total, done = sums[: len(sums) - window + 1] * np.uint32(0), 0
    while True:
        if window & length:
            total += sums[done : done + len(total)]
            done += length
        if 2 * length > window:
            break
        sums, length = sums[:-length] + sums[length:], 2 * length
    total *= inverse[: len(total)]
    total ^= total >> np.uint32(15)
    total *= np.uint32(MIX)
    return total


@functools.lru_cache(maxsize=2)
def _powers(base: int) -> NDArray[np.uint32]:
    """Powers of a number modulo 2**32, as many as a part has."""
    steps = np.full(PART + WIDE_WINDOW, base, np.uint32)
    steps[0] = 1
    return np.cumprod(steps, dtype=np.uint32)
