"""Coarse perturbations whose resolution grows during a search, each slot's at its own step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.attacks.score.coarse import coarse_shape, enlarged

__all__ = ["Hierarchy"]

GROWTH = ((0.0, 1), (0.1, 2), (0.5, 4))
"""Shares of the search from which the side is a multiple of the first (2,000 and 10,000 of 20,000 steps of the source's
code)."""
POOLS = 8
"""Blocks a side that are equally important (the source's code)."""


@dataclass(frozen=True)
class Hierarchy:
    """Levels of one image, all kept in the upper left corner of a canvas of the last level's size.

    Args:
        shape: of a sample; one that is no C x H x W image has a single level, itself.
        side: of the first level, in pixels; an image that is no larger has a single level too.
    """

    shape: tuple[int, ...]
    side: int

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of each level, the coarsest first."""
        return list(dict.fromkeys(coarse_shape(self.shape, self.side * times) for _, times in GROWTH))

    @property
    def canvas(self) -> tuple[int, ...]:
        """What all levels fit in."""
        return self.shapes[-1]

    @property
    def single(self) -> bool:
        """The perturbation is as large as the sample from the beginning."""
        return self.shapes[0] == self.shape

    def level(self, step: Tensor, steps: int) -> Tensor:
        """[S] int64 of the slots after so many [S] of all steps."""
        begun = torch.tensor([share * steps for share, _ in GROWTH], device=step.device, dtype=torch.float64)
        return ((step[:, None] >= begun).sum(1) - 1).clamp_max(len(self.shapes) - 1)

    def valid(self, level: Tensor) -> Tensor | None:
        """[S, *canvas] bool: what the slots' level uses; None: all."""
        if len(self.shapes) == 1:
            return None
        found = torch.zeros(len(self.shapes), *self.canvas, dtype=torch.bool, device=level.device)
        for place, shape in enumerate(self.shapes):
            found[place, :, : shape[1], : shape[2]] = True
        return found[level]

    def shown(self, canvas: Tensor, level: Tensor) -> Tensor:
        """[N, *shape] the perturbations that canvases [N, *canvas] at a level [N] stand for, enlarged bilinearly."""
        if self.single:
            return canvas
        out = canvas.new_zeros(len(canvas), *self.shape)
        for place, shape in enumerate(self.shapes):
            rows = (level == place).nonzero()[:, 0]
            if len(rows):
                out = out.index_copy(0, rows, enlarged(self._part(canvas[rows], shape), self.shape, "bilinear"))
        return out

    def grown(self, canvas: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """[S, *canvas] with those slots enlarged whose level [S] has risen."""
        for place, shape in enumerate(self.shapes[1:], 1):
            rows = ((before < place) & (after >= place)).nonzero()[:, 0]
            if len(rows):
                part = enlarged(self._part(canvas[rows], self.shapes[place - 1]), shape, "bilinear")
                spare = (0, self.canvas[2] - shape[2], 0, self.canvas[1] - shape[1])
                canvas = canvas.index_copy(0, rows, F.pad(part, spare))
        return canvas

    def weights(self, canvas: Tensor, level: Tensor) -> Tensor:
        """[S, *canvas] how important each coordinate is: the largest perturbation in its block of an eighth of a side.

        All are equally important at the first level, where the whole of it is searched, and where nothing is perturbed.
        """
        found = torch.ones_like(canvas)
        for place, shape in enumerate(self.shapes[1:], 1):
            rows = (level == place).nonzero()[:, 0]
            if not len(rows):
                continue
            size = max(shape[1] // POOLS, 1), max(shape[2] // POOLS, 1)
            pooled = F.max_pool2d(self._part(canvas[rows], shape).abs(), size, ceil_mode=True)
            block = pooled.repeat_interleave(size[0], 2).repeat_interleave(size[1], 3)
            largest = pooled.amax((1, 2, 3), keepdim=True)
            block = torch.where(largest > 0, block[:, :, : shape[1], : shape[2]], 1.0)
            part = torch.ones_like(canvas[rows])
            part[:, :, : shape[1], : shape[2]] = block
            found = found.index_copy(0, rows, part)
        return found

    def _part(self, canvas: Tensor, shape: tuple[int, ...]) -> Tensor:
        return canvas if len(shape) != 3 else canvas[:, :, : shape[1], : shape[2]]
