"""Curls & Whey: two ways up the surrogates' loss, and then the noise squeezed that the model does not miss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.hybrid.turns import around, gradient_or
from robaudit.attacks.parameters import Count, Natural, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Labels, Request
from robaudit.attacks.smallest import Smallest, farthest, onto_sphere
from robaudit.threat.losses import Loss, cross_entropy
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, normalise, per_slot, select

__all__ = ["CurlsWhey"]

LOOK, CURL, HALVE, WHEY, OVER = range(5)
"""What a slot asks next: the surrogates' gradients, the model about both ways, about the point between, about noise
squeezed, or nothing."""
STEP, FARTHER = 1 / 6, 1.5
"""Length of a step as a share of the radius, and by how much a radius grows that was too small."""
LEVELS = 255
"""Of the noise of a feature, the domain's width."""


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        ways: [S, 2, *shape] the point that climbed from the start, and the one that went down first.
        falling: [S] bool, the second one still goes down; ``loss`` [S] of the surrogates where it was last.
        radius: [S] float64 of the present round, after ``walked`` [S] steps.
        phase: [S] int64.
        low, high: [S] bracket of the shares of the way to ``far`` [S, *shape], ``halved`` [S] times.
        level: [S] int64 levels of noise from this one on have been tried.
        smallest: the nearest fooling point.
    """

    ways: Tensor
    falling: Tensor
    loss: Tensor
    radius: Tensor
    walked: Tensor
    phase: Tensor
    far: Tensor
    low: Tensor
    high: Tensor
    halved: Tensor
    level: Tensor
    smallest: Smallest


@attack_parameters
class CurlsWhey(SlotAttack[State]):
    """Climb the surrogates' loss straight and by a detour downhill, ask about both, and halve what noise is not needed.

    A round takes a few steps within a radius, the first one ε; where none fools, the next radius is larger. What fools
    is brought nearer along the line to the sample, and then, from the largest noise down, all features whose noise has
    the same level and sign are halved, which is kept if the point still fools. Source: Shi, Wang, Han 2019, "Curls &
    Whey: Boosting Black-Box Adversarial Attacks"; figures of the authors' code. Ours: the detour turns where the
    surrogates' loss stops falling, not the target's, so that labels are enough; their gradients are smoothed; a radius
    that fools is not searched anew; and steps are not drawn towards the mean of earlier successes. L2. Cost: up to
    ``queries`` label queries, ``copies`` gradients of the surrogates for each of the first ones.

    Args:
        queries: most queries a sample.
        steps: of each of the two ways in a round.
        halvings: of the line to the sample.
        copies: noisy copies of a point that the surrogates' gradients are averaged over.
        noise: their standard deviation, as a share of the domain's width.
    """

    id = "curls-whey"
    access = Access.LABELS
    norms = frozenset({Norm.L2})
    stop = Stop.RUN_ON
    prior = True

    queries: Count = 1000
    steps: Count = 5
    halvings: Natural = 10
    copies: Count = 8
    noise: Positive = 0.15

    def most(self, task: Task) -> Cost:
        """Two gradients of the surrogates for two queries."""
        gradients = self.copies * (self.queries + 1)
        return Cost(gradients, gradients, self.queries)

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The surrogates' loss, which says nothing of the target's gradients."""
        return {}

    def init(self, problem: Problem) -> State:
        zero, count = problem.full(0, torch.float64), problem.full(0).long()
        return State(
            ways=torch.stack([problem.x, problem.x], 1),
            falling=~count.bool(),
            loss=zero + torch.inf,
            radius=problem.eps.double(),
            walked=count,
            phase=count + LOOK,
            far=problem.x,
            low=zero,
            high=zero + 1,
            halved=count,
            level=count + 2 * LEVELS + 2,
            smallest=Smallest.none(problem),
        )

    def query(self, problem: Problem, state: State) -> Request:
        def asked(rows: Tensor) -> Request:
            middle = problem.x + (state.far - problem.x) * per_slot((state.low + state.high) / 2, state.far).to(
                problem.x
            )
            first = select(state.phase == CURL, state.ways[:, 0], problem.clip(middle))
            first = select(state.phase == WHEY, self._squeezed(problem, state)[0], first)
            points = torch.stack([first, state.ways[:, 1]], 1)
            return Labels(points, rows=torch.stack([rows, state.phase == CURL], 1))

        how = around(self.copies, self.noise)
        return gradient_or(state.ways, state.phase == LOOK, cross_entropy, asked, how=how, several=True)

    def _squeezed(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        """The nearest fooling point with its noise of the next level halved, and which level [S]; 0: there is none."""
        delta = state.smallest.point - problem.x
        size = (delta.abs() * LEVELS).round().long()
        place = torch.where(size > 0, 2 * size + (delta > 0), 0).flatten(1)
        level = torch.where(place < state.level[:, None], place, 0).amax(1)
        chosen = (place == level[:, None]).reshape(delta.shape)
        return problem.clip(problem.x + torch.where(chosen, delta / 2, delta)), level

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """A step of both ways, or what the target said."""
        if answer.gradient is not None:
            return self._stepped(problem, state, answer)
        smallest = state.smallest.seen(problem, answer.at(0)).seen(problem, answer.at(1))
        fooled = answer.fooled[:, 0]
        curl, halve, whey = (state.phase == phase for phase in (CURL, HALVE, WHEY))
        _, level = self._squeezed(problem, state)
        after = self._rounded(problem, replace(state, smallest=smallest), curl)
        middle = (state.low + state.high) / 2
        halved = state.halved + halve.long()
        after = replace(
            after,
            low=torch.where(halve & ~fooled, middle, state.low),
            high=torch.where(halve & fooled, middle, state.high),
            halved=halved,
            phase=torch.where((after.phase == HALVE) & (halved >= self.halvings), WHEY, after.phase),
            level=torch.where(whey, level, state.level),
        )
        _, following = self._squeezed(problem, after)
        return replace(after, phase=torch.where((after.phase == WHEY) & (following == 0), OVER, after.phase))

    def _stepped(self, problem: Problem, state: State, answer: Answer) -> State:
        """Both ways a step farther; the second one turns upwards where the surrogates' loss no longer falls."""
        assert answer.gradient is not None
        assert answer.loss is not None
        got = (state.phase == LOOK) & answer.answered.all(1)
        loss = answer.loss[:, 1].double().nan_to_num(torch.inf, torch.inf, -torch.inf)  # where it has none, upwards
        falling = state.falling & (loss < state.loss)
        length = per_slot((state.radius * STEP).to(problem.x.dtype), problem.x)
        ways = []
        for way, sign in enumerate((torch.ones_like(loss), torch.where(falling, -1.0, 1.0))):
            slope = normalise(Norm.L2, answer.gradient[:, way].nan_to_num(0.0, 0.0, 0.0))
            delta = state.ways[:, way] + slope * length * per_slot(sign.to(slope.dtype), slope) - problem.x
            size = torch.minimum(delta.flatten(1).norm(dim=1).double(), state.radius)
            ways.append(onto_sphere(problem, delta, size))
        return replace(
            state,
            ways=select(got, torch.stack(ways, 1), state.ways),
            falling=torch.where(got, falling, state.falling),
            loss=torch.where(got, loss, state.loss),
            walked=state.walked + got.long(),
            phase=torch.where(got, CURL, state.phase),
        )

    def _rounded(self, problem: Problem, state: State, curl: Tensor) -> State:
        """On from two queries: to the line where one fools, else another step, or a round with a larger radius."""
        found = curl & state.smallest.found
        anew = curl & ~found & (state.walked >= self.steps)
        spent = anew & (state.radius >= farthest(problem))
        radius = torch.where(anew, state.radius * FARTHER, state.radius)
        phase = torch.where(found, HALVE, torch.where(spent, OVER, torch.where(curl, LOOK, state.phase)))
        return replace(
            state,
            ways=select(anew, torch.stack([problem.x, problem.x], 1), state.ways),
            falling=state.falling | anew,
            loss=torch.where(anew, torch.inf, state.loss),
            radius=radius,
            walked=torch.where(anew, 0, state.walked),
            phase=phase,
            far=select(found, state.smallest.point, state.far),
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        """The ball is reached, or there is no noise left to squeeze; else the budget ends it."""
        return problem.settled(state.smallest.distance) | (state.phase == OVER)

    def best(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        return state.smallest.point, ~state.smallest.found
