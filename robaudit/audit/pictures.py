"""Samples as pictures of 8 bits. Images in u-space are C x H x W in RGB, whatever the file takes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["eight_bit_pair", "is_picture", "png"]

CHANNELS = (1, 3, 4)


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether a sample of this shape can be shown: grey, RGB or RGBA."""
    return len(shape) == 3 and shape[0] in CHANNELS and shape[1] > 0 and shape[2] > 0


def eight_bit_pair(origin: NDArray[Any], point: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An original and its adversarial example, [C, H, W] in [0, 1], as [H, W, C] whole levels.

    The original is rounded to the nearest level; the adversarial example towards the original, and never past that
    level, so that no pixel moves farther than it did.
    """
    start = np.rint(origin.astype(np.float64) * 255)
    levels = point.astype(np.float64) * 255
    up = np.maximum(np.floor(levels + 1e-4), start)
    down = np.minimum(np.ceil(levels - 1e-4), start)
    moved = np.where(point > origin, up, np.where(point < origin, down, start))
    first, second = (np.ascontiguousarray(np.moveaxis(np.clip(x, 0, 255), 0, -1)) for x in (start, moved))
    return first.astype(np.uint8), second.astype(np.uint8)


def png(levels: NDArray[np.uint8]) -> bytes:
    """[H, W, C] levels as a PNG file without metadata."""
    from PIL import Image

    image = Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels)
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=9)
    return file.getvalue()
