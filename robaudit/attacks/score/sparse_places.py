"""Patches and frames of a sparse random search: all changes lie in a square that moves, or along the border."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.images import plane
from robaudit.attacks.score.objective import chosen
from robaudit.attacks.score.sparse_moves import Moves, planes, repainted, restored
from robaudit.attacks.score.square_bumps import HALVINGS, Room, Windows, halvings
from robaudit.threat.norms import select

__all__ = ["Frame", "Patch"]

WHOLE = 10_000
"""Iterations of the schedules."""
FIRST_SQUARES = 1000
"""Most squares that the first patch is painted of."""
ROUNDING = 1e-9
"""Of a root that may be a whole number."""
REACH = 0.75
"""Of the image, the farthest that a patch moves at first."""


@dataclass(frozen=True)
class Patch(Moves):
    """A square at any place: a step paints a smaller square in it, and from time to time moves it.

    Args:
        share: of the patch that the first step paints.
    """

    share: float

    def first(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """At a random place, painted with random squares."""
        room, rows, columns = _sizes(problem)
        lot = problem.draws.uniform("place", 0, (2,))
        window = Windows.at(problem, *room.placed(rows, columns, lot), rows, columns)
        canvas = _squares(problem, rows, columns)
        height, width = canvas.shape[2:]
        index = window.i.clamp(0, height - 1) * width + window.j.clamp(0, width - 1)
        index = index.flatten(1)[:, None].expand(-1, canvas.shape[1], -1)
        paint = canvas.flatten(2).gather(2, index).reshape(planes(problem, problem.x).shape)
        return _covered(problem, paint, window.mask)

    def after(
        self, problem: Problem, best: Tensor, region: Tensor, step: Tensor, progress: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Every fourth step moves the patch, in a targeted search every tenth."""
        room, rows, columns = _sizes(problem)
        top, left = _corner(problem, region)
        period = torch.where(problem.goal >= 0, 10, 4)
        reach = REACH * (1 - progress / WHOLE)
        moves = (step % period == 0) & (reach * torch.maximum(room.height, room.width) >= 1)
        moved, there = self._moved(problem, best, (top, left), step, reach)
        side = torch.minimum(rows, columns)
        size = ((self.share / 2.0 ** halvings(progress)).sqrt() * side).long().clamp_min(1)
        size = torch.minimum(size, side)
        place = problem.draws.uniform("square", step, (2,))
        inner = Room(top, left, rows, columns)
        square = Windows.at(problem, *inner.placed(size, size, place), size, size).mask
        square &= planes(problem, region).any(1, keepdim=True)
        painted = repainted(problem, best, square, step, progress >= self._single(side))
        return select(moves, moved, painted), select(moves, there, region)

    def _single(self, side: Tensor) -> Tensor:
        """[S] progress from which a step changes one channel: half way from the first step of a single pixel."""
        begin = torch.full_like(side, WHOLE)
        for count, bound in reversed(list(enumerate((-1, *HALVINGS)))):
            begin = torch.where(math.sqrt(self.share / 2**count) * side < 2, bound + 1, begin)
        return (begin + WHOLE) // 2

    def _moved(
        self, problem: Problem, best: Tensor, corner: tuple[Tensor, Tensor], step: Tensor, reach: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The patch elsewhere, and its region."""
        room, rows, columns = _sizes(problem)
        lot = problem.draws.uniform("shift", step, (2,)).double()
        shift = ((2 * lot - 1) * (reach[:, None] * torch.stack([room.height, room.width], 1) + 1)).long()
        top, left = corner
        above = torch.clamp(top + shift[:, 0], room.top, room.top + room.height - rows)
        before = torch.clamp(left + shift[:, 1], room.left, room.left + room.width - columns)
        window = Windows.at(problem, above, before, rows, columns)
        image = planes(problem, best)
        height, width = image.shape[2:]
        row = (window.i + top[:, None, None]).clamp(0, height - 1)
        column = (window.j + left[:, None, None]).clamp(0, width - 1)
        index = (row * width + column).flatten(1)[:, None].expand(-1, image.shape[1], -1)
        return _covered(problem, image.flatten(2).gather(2, index).reshape(image.shape), window.mask)


def _sizes(problem: Problem) -> tuple[Room, Tensor, Tensor]:
    """Where a patch may lie, and [S] its rows and columns: the largest square within the radius."""
    channels = plane(problem.shape)[0]
    room = Room.of(problem)
    pixels = (problem.eps.double().floor() / channels).floor()
    side = pixels.sqrt().floor().long()
    rows = torch.minimum(side, room.height)
    # a strip of a low image is longer than high
    columns = torch.where(rows < side, pixels.long() // rows.clamp_min(1), side)
    return room, rows, torch.minimum(columns, room.width)


def _corner(problem: Problem, region: Tensor) -> tuple[Tensor, Tensor]:
    """[S] first row and column of each region."""
    marked = planes(problem, region).any(1)
    return marked.any(2).long().argmax(1), marked.any(1).long().argmax(1)


def _covered(problem: Problem, paint: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """[S, *shape] the samples with ``paint`` [S, C, H, W] in a mask [S, 1, H, W], and the mask of the features."""
    region = mask.expand(paint.shape)
    return restored(problem, torch.where(region, paint, planes(problem, problem.x))), restored(problem, region)


def _squares(problem: Problem, rows: Tensor, columns: Tensor) -> Tensor:
    """[S, C, R, K] patches of black with random squares of 0 and 1, one over the other."""
    channels = plane(problem.shape)[0]
    height, width = int(rows.max().clamp_min(1)), int(columns.max().clamp_min(1))
    canvas = torch.zeros(len(problem), channels, height, width, dtype=problem.x.dtype, device=rows.device)
    side = torch.minimum(rows, columns)
    count = (4 * rows * columns).clamp_max(FIRST_SQUARES)
    largest = (side.double().sqrt().ceil().long() - 1).clamp_min(1)
    i = torch.arange(height, device=rows.device)[None, :, None]
    j = torch.arange(width, device=rows.device)[None, None, :]
    for number in range(int(count.max())):
        lot = problem.draws.uniform("first", number, (3 + channels,))
        size = 1 + (lot[:, 0].double() * largest).long().clamp_max(largest - 1)
        top = (lot[:, 1].double() * (rows - size + 1)).long()[:, None, None]
        left = (lot[:, 2].double() * (columns - size + 1)).long()[:, None, None]
        end = size[:, None, None]
        inside = (i >= top) & (i < top + end) & (j >= left) & (j < left + end) & (number < count)[:, None, None]
        colour = (lot[:, 3:, None, None] < 0.5).to(canvas.dtype)
        canvas = torch.where(inside[:, None], colour, canvas)
    return canvas


@dataclass(frozen=True)
class Frame(Moves):
    """The border of the image: a step paints a square of it.

    Args:
        share: of the square of the width, the pixels of the first step.
    """

    share: float

    def first(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Random colours."""
        room = Room.of(problem)
        width = _widths(problem, room)[:, None, None]
        whole = Windows.at(problem, room.top, room.left, room.height, room.width)
        edge = (whole.i < width) | (whole.i >= room.height[:, None, None] - width)
        edge = edge | (whole.j < width) | (whole.j >= room.width[:, None, None] - width)
        paint = (planes(problem, problem.draws.uniform("first", 0, problem.shape)) < 0.5).to(problem.x.dtype)
        return _covered(problem, paint, edge[:, None] & whole.mask & (width[:, None] > 0))

    def after(
        self, problem: Problem, best: Tensor, region: Tensor, step: Tensor, progress: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A square away from a pixel of the frame, which covers what of the frame lies in it."""
        mask = planes(problem, region).any(1, keepdim=True)
        width = _widths(problem, Room.of(problem)).double()
        share = (0.5 - progress / WHOLE).clamp_min(0) * self.share * width.square()
        size = torch.where(share > 0, 3 * share.ceil().long(), 1)
        pixel = chosen(problem, "pixel", step, torch.ones_like(step), mask)
        top, left = _corner(problem, pixel.expand(-1, plane(problem.shape)[0], -1, -1))
        turned = problem.draws.uniform("way", step, (2,)) < 0.5
        top, left = (torch.where(turned[:, k], at - size + 1, at) for k, at in enumerate((top, left)))
        square = Windows.at(problem, top, left, size, size).mask & mask
        return repainted(problem, best, square, step, progress >= WHOLE * 3 // 4), region


def _widths(problem: Problem, room: Room) -> Tensor:
    """[S] pixels in depth of the widest frame within the radius; 0: none is."""
    pixels = (problem.eps.double().floor() / plane(problem.shape)[0]).floor()
    around = (room.height + room.width).double()
    # height x width - (height - 2 d) (width - 2 d) <= pixels
    depth = ((around - (around.square() - 4 * pixels).clamp_min(0).sqrt()) / 4 + ROUNDING).long()
    most = (torch.minimum(room.height, room.width) + 1) // 2
    return torch.where(pixels >= (room.height * room.width), most, torch.minimum(depth, most))
