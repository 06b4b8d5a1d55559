"""The one-pixel attack: differential evolution of a few pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.images import plane
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import Portions, ScoreLoss, objective
from robaudit.attacks.score.square_bumps import Room
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm

__all__ = ["OnePixel"]

_MIDDLE, _SPREAD = 0.5, 127 / 255
"""Mean and standard deviation of the first colours."""


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        genes: [S, P, pixels, 3 + C] of each individual and pixel, in [0, 1]: row, column, the channel that is changed
            first, and the channels' values.
        value: [S, P] float64 objective of each, -inf of one that was not asked about yet.
        part: [S] requests of this generation so far; ``generation`` [S] 0: the individuals themselves are asked about.
        draw: [S] numbers all requests.
    """

    genes: Tensor
    value: Tensor
    part: Tensor
    generation: Tensor
    draw: Tensor


@attack_parameters
class OnePixel(SlotAttack[State]):
    """Evolve the places and colours of a few pixels; a child takes its parent's place if its loss is better.

    A child is one individual plus a multiple of the difference between two others. A pixel costs as many features as it
    has channels; of the last one only so many channels change as the radius leaves.

    Source: Su, Vargas, Sakurai 2019, "One Pixel Attack for Fooling Deep Neural Networks", section III: no crossover,
    first places uniform, first colours normal. A child replaces its parent at once. Samples that are no C x H x W
    images have one row of pixels. L0; untargeted and targeted. Cost: up to ``queries`` queries of the scores,
    ``population`` a generation.

    Args:
        queries: most queries a sample; the source has 100 generations.
        pixels: most pixels that change.
        population: individuals.
        factor: of the difference.
        loss: that is climbed.
    """

    id = "one-pixel"
    access = Access.SCORES
    norms = frozenset({Norm.L0})
    several = True

    queries: Count = 10_000
    pixels: Count = 5
    population: Annotated[int, Field(ge=4)] = 400
    factor: Positive = 0.5
    loss: ScoreLoss = "ce"

    def init(self, problem: Problem) -> State:
        """Pixels at random places with random colours."""
        channels = plane(problem.shape)[0]
        shape = (self.population, self.pixels, 3 + channels)
        genes = problem.draws.uniform("place", 0, shape).to(problem.x.dtype)
        colour = problem.draws.normal("colour", 0, (*shape[:2], channels)).to(genes.dtype)
        genes[..., 3:] = (_MIDDLE + _SPREAD * colour).clamp(0.0, 1.0)
        value = torch.full((len(problem), self.population), float("-inf"), dtype=torch.float64, device=genes.device)
        zero = problem.full(0).long()
        return State(genes, value, zero, zero, zero)

    def _portions(self, problem: Problem) -> Portions:
        return Portions(self.population, problem.max_points)

    def query(self, problem: Problem, state: State) -> Request:
        """The next individuals of the generation."""
        return Scores(_painted(problem, self._next(problem, state)[1]), rows=self._portions(problem).rows(state.part))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """The better of parent and child stays."""
        assert answer.logits is not None
        place, genes = self._next(problem, state)
        value = objective(self.loss, problem, answer.logits)
        before = state.value.gather(1, place)
        better = answer.answered & (value > before)
        wide = place[:, :, None, None].expand(genes.shape)
        # rows that were not asked stand for the last individual, which must not be written twice
        asked = self._portions(problem).rows(state.part)
        new = torch.where(better[..., None, None], genes, state.genes.gather(1, wide))
        spare = torch.cat([state.genes, new[:, :1]], 1), torch.cat([state.value, before[:, :1]], 1)
        place = torch.where(asked, place, self.population)
        wide = place[:, :, None, None].expand(genes.shape)
        part = state.part + 1
        through = part >= self._portions(problem).requests
        return State(
            genes=spare[0].scatter(1, wide, new)[:, :-1],
            value=spare[1].scatter(1, place, torch.where(better, value, before))[:, :-1],
            part=torch.where(through, 0, part),
            generation=state.generation + through.long(),
            draw=state.draw + 1,
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        """The budget ends it."""
        return torch.zeros_like(state.part, dtype=torch.bool)

    def _next(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        """[S, N] individuals whose turn it is, and [S, N, pixels, genes] what is asked of each: itself, or a child."""
        size = self._portions(problem).size
        place = state.part[:, None] * size + torch.arange(size, device=state.part.device)
        place = place.clamp_max(self.population - 1)
        lot = problem.draws.uniform("parents", state.draw, (size, 3)).double()
        count = self.population
        first = (lot[..., 0] * count).long().clamp_max(count - 1)
        second = 1 + (lot[..., 1] * (count - 1)).long().clamp_max(count - 2)
        third = 1 + (lot[..., 2] * (count - 2)).long().clamp_max(count - 3)
        third = third + (third >= second).long()
        one, two, three = (
            _taken(state.genes, (first + shift) % count) for shift in (torch.zeros_like(first), second, third)
        )
        child = (one + self.factor * (two - three)).clamp(0.0, 1.0)
        young = (state.generation == 0)[:, None, None, None]
        return place, torch.where(young, _taken(state.genes, place), child)


def _taken(genes: Tensor, place: Tensor) -> Tensor:
    """[S, N, pixels, genes] of the individuals at ``place`` [S, N]."""
    return genes.gather(1, place[:, :, None, None].expand(-1, -1, *genes.shape[2:]))


def _painted(problem: Problem, genes: Tensor) -> Tensor:
    """[S, N, *shape] the samples with the pixels of genes [S, N, pixels, 3 + C] painted on."""
    channels, height, width = plane(problem.shape)
    room = Room.of(problem)
    count = genes.shape[1]
    points = problem.x.reshape(-1, 1, channels, height * width).repeat(1, count, 1, 1)
    number = torch.arange(channels, device=points.device)
    left = problem.eps.floor()[:, None, None]
    for pixel in range(genes.shape[2]):
        gene = genes[:, :, pixel].double()
        row = room.top[:, None] + _index(gene[..., 0], room.height[:, None])
        column = room.left[:, None] + _index(gene[..., 1], room.width[:, None])
        first = _index(gene[..., 2], torch.full_like(row, channels))
        rank = (number - first[..., None]) % channels + pixel * channels
        index = (row * width + column)[..., None, None].expand(-1, -1, channels, 1)
        colour = torch.where((rank < left)[..., None], genes[:, :, pixel, 3:, None], points.gather(3, index))
        points = points.scatter(3, index, colour)
    return problem.clip(points.reshape(-1, count, *problem.shape))


def _index(share: Tensor, size: Tensor) -> Tensor:
    """Where a share in [0, 1] of so many places leads."""
    return torch.minimum((share * size).long(), size - 1)
