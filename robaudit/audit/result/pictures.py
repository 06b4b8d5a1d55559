"""Samples as pictures of 8 bits. Images in u-space are C x H x W in RGB, whatever the file takes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOLDER", "MOST", "SIDES", "clear_pictures", "eight_bit_pair", "is_picture", "picture_path", "png"]

CHANNELS = (1, 3, 4)
FOLDER = "evidence"
MOST = 16
"""Rows of the archive that are kept as pictures too."""
SIDES = ("original", "adversarial")


def picture_path(folder: Path, row: int, side: str) -> Path:
    """Where a row of a run's archive is kept as a picture."""
    return folder / FOLDER / f"{row:04d}-{side}.png"


def clear_pictures(folder: Path) -> None:
    """Remove the pictures that an earlier session wrote; nothing else in their folder."""
    for row in range(MOST):
        for side in SIDES:
            picture_path(folder, row, side).unlink(missing_ok=True)


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
