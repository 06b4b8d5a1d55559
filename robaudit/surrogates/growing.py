"""What recipes share that grow their training set round by round: which samples, how many points, whose answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost
from robaudit.attacks.fitted import Artefact, FitSet
from robaudit.attacks.requests import Labels, Scores
from robaudit.attacks.steps import steepest_step
from robaudit.surrogates.base import WEIGHTS, SurrogateRecipe
from robaudit.surrogates.training import agreement
from robaudit.threat.losses import log_odds
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, per_slot

__all__ = ["Grown", "Parts", "adversarial", "asked", "sizes", "split", "varied"]

HELD = 0.2
LEAST_HELD = 20
RADIUS = 0.1
"""In L-infinity, of points on the way where the threat model counts features."""
RADII = (0.25, 1.25)
"""Of adversarial points, as shares of the radius: what lies nearer tells of slopes as well."""
SHIFT = 2
TINY = 1e-30


@dataclass(frozen=True)
class Parts:
    """Places of the samples in a fit set: those trained on, and those held out."""

    train: list[int]
    held: list[int]


def split(fit: FitSet) -> Parts:
    """A fifth is held out, and at least 20 where that leaves as many."""
    order = fit.order("held out", 0)
    held = max(int(HELD * len(order)), min(LEAST_HELD, len(order) // 2))
    return Parts(order[held:], order[:held])


def asked(fit: FitSet, problem: Problem, points: Tensor, access: Access) -> Tensor:
    """The target's answers to one point a slot: scores [S, K], NaN where it has none, or labels [S], then -1."""
    answer = fit.ask(problem, Labels(points) if access is Access.LABELS else Scores(points))
    known = answer.answered & (answer.labels >= 0)
    if access is Access.LABELS:
        return torch.where(known, answer.labels, -1)
    assert answer.logits is not None
    return torch.where(known[:, None], answer.logits, torch.nan)


class Grown(SurrogateRecipe):
    """A recipe whose artefact keeps the weights of every round, of which points are made again.

    A subclass has the parameters ``queries`` and ``rounds``.
    """

    queries: int
    rounds: int

    @property
    def fit_rounds(self) -> int:
        return self.rounds

    def most(self, samples: int) -> Cost:
        """All queries."""
        return Cost(queries=self.queries)

    def fit_end(self, artefact: Artefact) -> Artefact:
        """The last weights, and the counts."""
        last = {WEIGHTS + name: value for name, value in self.trained(artefact, self.rounds - 1).items()}
        return last | {name: artefact[name] for name in ("agreed", "held_out", "trained_on")}

    def trained(self, artefact: Artefact, number: int) -> dict[str, Tensor]:
        """The weights after a round, by their own names."""
        mine = f"{WEIGHTS}{number}/"
        return {name.removeprefix(mine): value for name, value in artefact.items() if name.startswith(mine)}

    def after(self, fit: FitSet, parts: Parts, number: int, network: nn.Module, held: Tensor) -> dict[str, Tensor]:
        """What a round adds to the artefact: its weights, and how often they agree with the answers ``held``.

        Held-out samples without an answer are not compared.
        """
        labels = held if held.dim() == 1 else torch.where(held.isfinite().all(1), held.nan_to_num().argmax(1), -1)
        known = labels >= 0
        agreed = agreement(network, fit.problem(parts.held).x.float()[known], labels[known])
        counts = {"agreed": agreed, "held_out": int(known.sum()), "trained_on": len(parts.train)}
        weights = {f"{WEIGHTS}{number}/{name}": value.detach() for name, value in network.state_dict().items()}
        return weights | {name: torch.tensor(count) for name, count in counts.items()}


def sizes(points: int, most: int) -> list[int]:
    """Blocks of at most ``most`` points each that come to so many, the last one smaller where it must be."""
    whole, rest = divmod(max(0, points), most)
    return [most] * whole + ([rest] if rest else [])


def varied(problem: Problem, partners: Tensor, number: int) -> Tensor:
    """[S, *shape] likely inputs near each sample: blended with another one, moved by a few pixels, with noise.

    Args:
        problem: the samples.
        partners: [S, *shape] others to blend with.
        number: of the variant.
    """
    draws, x = problem.draws, problem.x
    share = 0.5 * draws.uniform("blend", number, (1,)).to(x)[:, 0]
    mixed = x + per_slot(share, x) * (partners - x)
    if len(problem.shape) == 3 and min(problem.shape[1:]) > 4 * SHIFT:
        moves = draws.uniform("shift", number, (2,)).mul(2 * SHIFT + 1).floor().long() - SHIFT
        mixed = torch.stack([torch.roll(u, tuple(move), (1, 2)) for u, move in zip(mixed, moves.tolist(), strict=True)])
    spread = RADIUS * draws.uniform("spread", number, (1,)).to(x)[:, 0]
    return problem.clip(mixed + per_slot(spread, x) * draws.normal("noise", number, problem.shape).to(x))


def adversarial(problem: Problem, origin: Tensor, model: Callable[[Tensor], Tensor], number: int, steps: int) -> Tensor:
    """[S, *shape] adversarial points of a model by a momentum attack, within a quarter to five quarters of the radius.

    Source: Dong et al. 2018, "Boosting Adversarial Attacks with Momentum", algorithm 1, with decay 1.

    Args:
        problem: the samples.
        origin: [S, *shape] points in their place.
        model: differentiable, [N, *shape] to [N, K]; its own classes are to be left.
        number: of these points, another one each time.
        steps: of steepest ascent on the cross-entropy.
    """
    share = RADII[0] + (RADII[1] - RADII[0]) * problem.draws.uniform("radius", number, (1,)).to(problem.eps)[:, 0]
    counts = problem.norm is Norm.L0
    ball = dataclasses.replace(
        problem,
        x=origin,
        norm=Norm.LINF if counts else problem.norm,
        eps=share * (RADIUS if counts else problem.eps),
        low=None,
        high=None,
    )
    with torch.no_grad():
        label = model(origin).argmax(1)
    none = torch.full_like(label, -1)
    point, momentum = origin, torch.zeros_like(origin)
    for _ in range(steps):
        point = point.detach().requires_grad_()
        with torch.enable_grad():
            value = log_odds(model(point), label, none).sum()
            (slope,) = torch.autograd.grad(value, point)
        momentum = momentum + slope / per_slot(slope.flatten(1).abs().mean(1).clamp_min(TINY), slope)
        step = steepest_step(ball, momentum, point.detach())
        point = ball.project(point.detach() + per_slot(ball.eps / steps, point) * step)
    return problem.clip(point.detach())


def partners_of(fit: FitSet, places: Sequence[int], number: int) -> list[int]:
    """Other places in a random order, as many."""
    mine = set(places)
    return [place for place in fit.order("partners", number) if place in mine]


def batched(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """A network asked in float32, answering in the type of its input."""

    def ask(u: Tensor) -> Tensor:
        logits: Tensor = model(u.float())
        return logits.to(u.dtype)

    return ask
