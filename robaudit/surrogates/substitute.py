"""A substitute trained on the target's labels, its data grown along its own Jacobian."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robaudit.attacks.base import Problem
from robaudit.attacks.fitted import Artefact, FitSet
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.surrogates.base import Surrogate, weights_of
from robaudit.surrogates.growing import Grown, asked, split
from robaudit.surrogates.networks import Fixed, network_for
from robaudit.surrogates.training import train
from robaudit.threat.model import Access
from robaudit.threat.random import key_of

__all__ = ["Substitute"]


@attack_parameters
class Substitute(Grown):
    """Jacobian-based dataset augmentation: the labels of a few seeds, then of points along the signs of its slopes.

    Each round trains the network anew on all points, then moves points by ``step`` along the sign of the slope of the
    label's logit and asks the target about the new ones. Source: Papernot, McDaniel, Goodfellow, Jha, Celik, Swami
    2017, "Practical Black-Box Attacks against Machine Learning", algorithm 1; the step whose sign alternates is the
    periodical step size of its section 6.2, and from round ``full`` on a random ``reservoir`` of points grows in place
    of all (reservoir sampling, there too).

    Args:
        queries: asked of the target at most, those of the held-out samples among them.
        seeds: samples of the data at most, held-out ones among them.
        rounds: substitute training epochs of the source: each doubles the points, as far as queries reach.
        step: λ, as a fraction of the domain's width.
        turn: τ, rounds after which the step changes its sign.
        full: σ, rounds in which all points grow.
        reservoir: κ, points that grow in each later round.
        epochs: of training in each round at most.
        width: channels of the network's first layers.
    """

    id = "substitute"
    access = Access.LABELS

    queries: Annotated[int, Field(ge=20)] = 2000
    seeds: Count = 150
    rounds: Count = 6
    step: Positive = 0.1
    turn: Count = 3
    full: Count = 3
    reservoir: Count = 400
    epochs: Count = 30
    width: Annotated[int, Field(ge=16, le=256, multiple_of=16)] = 16

    @property
    def fit_samples(self) -> int:
        return max(2, min(self.seeds, self.queries))

    @property
    def fit_needs(self) -> int:
        return min(10, self.fit_samples)

    def fit_start(self, fit: FitSet) -> Artefact:
        """Ask about the seeds, and the held-out samples."""
        parts = split(fit)
        held, seeds = fit.problem(parts.held), fit.problem(parts.train)
        return {"held": asked(fit, held, held.x, self.access), "labels/0": asked(fit, seeds, seeds.x, self.access)}

    def fit_round(self, fit: FitSet, number: int, artefact: Artefact) -> Artefact:
        """Train on all points so far, then ask about new ones, but in the last round."""
        parts = split(fit)
        problem = fit.problem(parts.train)
        kept = dict(artefact)
        points, origin = self._points(fit, problem, number, kept)
        labels = torch.cat([kept[f"labels/{place}"] for place in range(number + 1)])
        answered = labels >= 0
        network = self._fresh(fit)
        seed = key_of(int(fit.draws.keys[0]), "training", number) % 2**31
        train(network, points[answered].float(), labels[answered], F.cross_entropy, self.epochs, seed, fit.go_on)
        kept |= self.after(fit, parts, number, network, kept["held"])
        if number + 1 < self.rounds:
            chosen = self._chosen(fit, number, len(points), len(parts.held))
            if not len(chosen):  # the queries are spent
                return kept | {f"labels/{number + 1}": labels[:0]}
            new = self._moved(problem.take(origin[chosen]), points[chosen], labels[chosen], network, number)
            found = [
                asked(fit, problem.take(origin[one]), u, self.access) for one, u in _blocks(chosen, new, len(problem))
            ]
            kept[f"labels/{number + 1}"] = torch.cat([*found, labels[:0]])
        return kept

    def model(self, artefact: Artefact, classes: int, shape: tuple[int, ...]) -> Surrogate:
        return Fixed(network_for(classes, shape, 0, self.width), weights_of(artefact))

    def _points(self, fit: FitSet, problem: Problem, number: int, known: Artefact) -> tuple[Tensor, Tensor]:
        """All points before a round's training, made again from what was trained before, and the seed of each."""
        points = problem.x
        origin = torch.arange(len(problem), device=points.device)
        held = len(known["held"])
        for place in range(number):
            labels = torch.cat([known[f"labels/{earlier}"] for earlier in range(place + 1)])
            chosen = self._chosen(fit, place, len(points), held)
            if not len(chosen):
                continue
            network = self._fresh(fit)
            network.load_state_dict(self.trained(known, place))
            network.eval()
            new = self._moved(problem.take(origin[chosen]), points[chosen], labels[chosen], network, place)
            points, origin = torch.cat([points, new]), torch.cat([origin, origin[chosen]])
        return points, origin

    def _chosen(self, fit: FitSet, number: int, points: int, held: int) -> Tensor:
        """The points that grow after a round: all, later a reservoir, as many as the queries that are left."""
        left = max(0, self.queries - held - points)
        most = min(left, points if number < self.full else min(points, self.reservoir))
        if most == points:
            return torch.arange(points, device=fit.zeros().device)
        drawn = fit.draws.uniform("reservoir", number, (points,))[0]
        return drawn.argsort()[:most].sort().values

    def _moved(self, seeds: Problem, points: Tensor, labels: Tensor, network: nn.Module, number: int) -> Tensor:
        """Points moved along the sign of the slope of their labels' logits."""
        length = self.step * (-1) ** (number // self.turn)
        found = []
        for place in range(0, len(points), 256):
            part = slice(place, place + 256)
            u = points[part].float().requires_grad_()
            with torch.enable_grad():
                rows = network(u).gather(1, labels[part].clamp_min(0)[:, None])
                (slope,) = torch.autograd.grad(rows.sum(), u)
            found.append(points[part] + length * slope.sign().to(points))
        return seeds.clip(torch.cat([*found, points[:0]]))

    def _fresh(self, fit: FitSet) -> nn.Module:
        seed = key_of(int(fit.draws.keys[0]), "weights") % 2**31
        return network_for(fit.classes, fit.shape, seed, self.width).to(fit.zeros().device)


def _blocks(chosen: Tensor, new: Tensor, most: int) -> list[tuple[Tensor, Tensor]]:
    """Places and points in blocks of at most ``most``."""
    return list(zip(torch.split(chosen, most), torch.split(new, most), strict=True))
