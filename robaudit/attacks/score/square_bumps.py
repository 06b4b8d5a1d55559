"""Windows of the square attack, and the bumps that fill them in L2 and L1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.images import plane
from robaudit.threat.norms import Norm

__all__ = ["HALVINGS", "Room", "Windows", "bumps", "halvings", "plane", "tiles"]

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 iterations, those after which a window's share of the pixels is halved (section 4.1 of the source)."""
TILES = 5
"""Windows a side in the first grid."""


def halvings(progress: Tensor) -> Tensor:
    """[S] int64: how often the share was halved after so many [S] of 10,000 iterations."""
    passed = torch.zeros_like(progress)
    for iteration in HALVINGS:  # a tensor of them would have to be brought to a GPU at every step
        passed += progress > iteration
    return passed


@dataclass(frozen=True)
class Room:
    """The part of an image that windows lie in: all of it, or the rectangle around the pixels that may change.

    Args:
        top, left, height, width: [S] int64.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    @classmethod
    def of(cls, problem: Problem) -> Room:
        """That of each slot. A row of features has no places, so that it is taken whole."""
        _, height, width = plane(problem.shape)
        if problem.fixed is None or len(problem.shape) != 3:
            whole = torch.zeros_like(problem.label)
            return cls(whole, whole, whole + height, whole + width)
        free = (~problem.fixed).any(1)
        (top, bottom), (left, right) = _ends(free.any(2)), _ends(free.any(1))
        return cls(top, left, bottom - top, right - left)

    def placed(self, rows: Tensor, columns: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """[S] top and left of windows of this size [S] at a share [S, 2] on [0, 1) of the way down and to the right."""
        free = torch.stack([self.height - rows, self.width - columns], 1)
        top, left = torch.minimum((place.double() * (free + 1)).long(), free).unbind(1)
        return top + self.top, left + self.left


def _ends(marked: Tensor) -> tuple[Tensor, Tensor]:
    """[S] the first marked place of [S, N], and the one after the last; 0 and N where none is marked."""
    some = marked.any(1)
    first, last = marked.long().argmax(1), marked.flip(1).long().argmax(1)
    return torch.where(some, first, 0), torch.where(some, marked.shape[1] - last, marked.shape[1])


@dataclass(frozen=True)
class Windows:
    """A window of each slot.

    Args:
        i: [S, H, 1] row of each pixel within its slot's window; outside of it below 0 or not below ``rows``.
        j: [S, 1, W] its column.
        rows, columns: [S] int64 size.
    """

    i: Tensor
    j: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, problem: Problem, side: Tensor, place: Tensor) -> Windows:
        """Windows of about ``side`` [S] pixels a side; a narrow image keeps their area.

        Args:
            problem: the slots.
            side: [S] int64.
            place: [S, 2] uniform on [0, 1): how far down and to the right.
        """
        room = Room.of(problem)
        rows = torch.minimum(side, room.height)
        columns = torch.minimum((side * side + rows - 1) // rows, room.width)
        return cls.at(problem, *room.placed(rows, columns, place), rows, columns)

    @classmethod
    def at(cls, problem: Problem, top: Tensor, left: Tensor, rows: Tensor, columns: Tensor) -> Windows:
        """Windows of a size [S] each at a place [S]."""
        _, height, width = plane(problem.shape)
        i = torch.arange(height, device=top.device)[None, :, None] - top[:, None, None]
        j = torch.arange(width, device=top.device)[None, None, :] - left[:, None, None]
        return cls(i, j, rows, columns)

    def slices(self) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of each window, within the image."""
        height, width = self.i.shape[1], self.j.shape[2]
        top, left = -self.i[:, 0, 0], -self.j[:, 0, 0]
        ends = (top, top + self.rows, left, left + self.columns)
        for up, down, first, last in zip(*(end.tolist() for end in ends), strict=True):
            yield slice(max(up, 0), min(down, height)), slice(max(first, 0), min(last, width))

    @property
    def mask(self) -> Tensor:
        """[S, 1, H, W] bool."""
        in_rows = (self.i >= 0) & (self.i < self.rows[:, None, None])
        in_columns = (self.j >= 0) & (self.j < self.columns[:, None, None])
        return (in_rows & in_columns)[:, None]


def bumps(windows: Windows, turned: Tensor, norm: Norm) -> Tensor:
    """Two bumps of opposite sign, one in each half of a window (Andriushchenko et al. 2020, eq. 2 and fig. 3).

    A bump falls with the Chebyshev distance d from its centre as the sum of 1 / k² over k > d (L1: 1 / k⁴).

    Args:
        windows: one a slot.
        turned: [S] bool, halves beside each other, not above (forced in a single row, forbidden in one column).
        norm: L2 or L1, in which each half has the same length and the whole has length 1.

    Returns:
        [S, 1, H, W] float64, 0 outside of the windows.
    """
    turned = ((turned & (windows.columns > 1)) | (windows.rows == 1))[:, None, None]
    i, j = windows.i.expand(-1, -1, windows.j.shape[2]), windows.j.expand(-1, windows.i.shape[1], -1)
    along, across = torch.where(turned, j, i), torch.where(turned, i, j)
    length = torch.where(turned, windows.columns[:, None, None], windows.rows[:, None, None])
    breadth = torch.where(turned, windows.rows[:, None, None], windows.columns[:, None, None])
    half = length // 2
    first = along < half
    extent = torch.where(first, half, length - half)
    along = torch.where(first, along, along - half)
    distance = torch.maximum((along - extent // 2).abs(), (across - breadth // 2).abs())
    last = torch.maximum(extent // 2, breadth // 2)
    decay, power = (2, 2.0) if norm is Norm.L2 else (4, 1.0)
    terms = torch.arange(1, max(i.shape[1:]) + 2, device=i.device, dtype=torch.float64) ** -decay
    sums = torch.cat([terms.new_zeros(1), terms.cumsum(0)])
    height = sums[last + 1] - sums[distance.clamp(max=sums.shape[0] - 1)]
    height = torch.where(windows.mask[:, 0], height, 0.0)
    out = torch.zeros_like(height)
    for part, sign in ((first, 1.0), (~first, -1.0)):
        bump = torch.where(part, height, 0.0)
        size = bump.pow(power).sum((1, 2), keepdim=True) ** (1 / power)
        out = out + sign * bump / size.clamp_min(1e-300)
    size = out.abs().pow(power).sum((1, 2), keepdim=True) ** (1 / power)
    return (out / size.clamp_min(1e-300))[:, None]


def tiles(problem: Problem) -> Tensor:
    """[S, C, H, W]: a centred grid of windows filled with bumps, turned and signed at random."""
    x = problem.x
    channels, height, width = plane(problem.shape)
    across, down = min(TILES, width), min(TILES, height)
    rows, columns = height // down, width // across

    def tile(*, turned: bool) -> Tensor:
        i, j = torch.arange(rows, device=x.device), torch.arange(columns, device=x.device)
        one = torch.ones(1, dtype=torch.int64, device=x.device)
        window = Windows(i[None, :, None], j[None, None, :], one * rows, one * columns)
        return bumps(window, one * turned > 0, problem.norm)[0, 0].to(x.dtype)

    turned = problem.draws.uniform("turn", 0, (1, down, 1, across, 1)) < 0.5
    sign = problem.draws.sign("sign", 0, (channels, down, 1, across, 1)).to(x.dtype)
    filled = torch.where(
        turned, tile(turned=True)[None, None, None, :, None, :], tile(turned=False)[None, None, None, :, None, :]
    )
    grid = (sign * filled).reshape(-1, channels, down * rows, across * columns)
    above, before = (height - down * rows) // 2, (width - across * columns) // 2
    out = x.new_zeros(x.shape[0], channels, height, width)
    out[:, :, above : above + down * rows, before : before + across * columns] = grid
    return out
