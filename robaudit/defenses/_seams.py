"""Joins overlapping patches along the cut where they differ least."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["joined"]


def joined(patches: NDArray[np.float64], overlap: int) -> NDArray[np.float64]:
    """Images, each of a grid of overlapping patches.

    Neighbours of a row are joined first, then the rows: each by the minimum error boundary cut of Efros, Freeman 2001,
    "Image Quilting for Texture Synthesis and Transfer".

    Args:
        patches: [N, rows, columns, C, S, S].
        overlap: of neighbours in pixels, at most S / 2.

    Returns:
        [N, C, height, width].
    """
    count, rows, columns = patches.shape[:3]
    lines = patches.reshape(count * rows, columns, *patches.shape[3:])
    strips = _row(np.moveaxis(lines, 1, 0), overlap)  # [N * rows, C, S, width]
    strips = strips.reshape(count, rows, *strips.shape[1:])
    turned = _row(np.moveaxis(np.swapaxes(strips, -1, -2), 1, 0), overlap)  # each strip a part on its side
    return np.swapaxes(turned, -1, -2)


def _row(parts: NDArray[np.float64], overlap: int) -> NDArray[np.float64]:
    """[n, B, C, H, W] parts from left to right, B of them at a time, to [B, C, H, n * W - (n - 1) * overlap]."""
    if not overlap or len(parts) == 1:
        return np.concatenate(list(parts), -1)
    ends, begins = parts[:-1, ..., -overlap:], parts[1:, ..., :overlap]
    error = ((ends - begins) ** 2).sum(2)  # [n - 1, B, H, overlap]
    right = np.arange(overlap) >= _cuts(error)[..., None]
    seams = np.where(right[:, :, None], begins, ends)
    pieces = [parts[0, ..., :-overlap]]
    for place, seam in enumerate(seams, 1):
        last = place == len(parts) - 1
        pieces += [seam, parts[place, ..., overlap:] if last else parts[place, ..., overlap:-overlap]]
    return np.concatenate(pieces, -1)


def _cuts(error: NDArray[np.float64]) -> NDArray[np.intp]:
    """[..., H, W] squared differences to the column [..., H] from which on the right part counts: the path from the
    first row to the last, of at most one column a row, whose sum is least; of equal ones the leftmost."""
    height, wide = error.shape[-2:]
    best = error[..., 0, :]
    back = np.zeros(error.shape, dtype=np.intp)
    places = np.arange(wide)
    for row in range(1, height):
        walled = np.pad(best, [(0, 0)] * (best.ndim - 1) + [(1, 1)], constant_values=np.inf)
        ways = np.stack([walled[..., :-2], walled[..., 1:-1], walled[..., 2:]])
        chosen = ways.argmin(0)
        back[..., row, :] = places + chosen - 1
        best = error[..., row, :] + np.take_along_axis(ways, chosen[None], 0)[0]
    found = np.zeros(error.shape[:-1], dtype=np.intp)
    found[..., -1] = best.argmin(-1)
    for row in range(height - 1, 0, -1):
        found[..., row - 1] = np.take_along_axis(back[..., row, :], found[..., row, None], -1)[..., 0]
    return found
