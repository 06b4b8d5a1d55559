"""Sparse-RS: random search over which features change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.images import plane
from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import leads, objective, share_left
from robaudit.attacks.score.sparse_moves import Moves, Scattered, Shape
from robaudit.attacks.score.sparse_places import Frame, Patch
from robaudit.attacks.trial import given_up
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, select

__all__ = ["SparseRS"]

SHARES: dict[Shape, float] = {"features": 0.3, "pixels": 0.3, "patch": 0.4, "frame": 0.5}
"""Of the first step (the authors' commands for untargeted attacks)."""


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        best: [S, *shape] the best point, at the loss ``value`` [S]; ``region`` [S, *shape] bool, where it may differ.
        proposal, proposed: the point asked about, and its region.
        left: [S] the least share of the clean margin that was met.
        step: [S] answers so far.
    """

    best: Tensor
    region: Tensor
    proposal: Tensor
    proposed: Tensor
    value: Tensor
    left: Tensor
    step: Tensor


@attack_parameters
class SparseRS(SlotAttack[State]):
    """Change what may change of some features, each to an end of its range; keep what improves the loss.

    Scattered features, or whole pixels, are swapped for others; as many change as the radius allows, and one that lies
    at an end of its range is moved to the other. A patch is the largest square, a frame the widest border, whose
    features are no more than the radius: smaller squares of it are painted in one colour, and the patch moves. The loss
    is the margin; in a targeted audit the goal's cross-entropy.

    Source: Croce, Andriushchenko, Singh, Flammarion, Hein 2022, "Sparse-RS: a versatile framework for query-efficient
    sparse black-box adversarial attacks", algorithm 1 with its sampling for L0, and for image-specific patches and
    frames; schedules and shares are those of its authors' code. The threat model counts features, and so does
    ``shape: features``; the authors count pixels, of which each costs its channels here. Patches and frames are of
    C x H x W images. ``trial`` is ours. L0; untargeted and targeted. Cost: up to ``queries`` queries of the scores.

    Args:
        queries: most queries a sample.
        shape: what changes: single features anywhere, whole pixels anywhere, a square patch, or a frame.
        share: of the changed features, or of the patch, that the first step changes, of a frame the square of its
            width; default 0.3, for a patch 0.4, for a frame 0.5.
        schedule: iterations over which the share falls; default ``queries``.
        trial: queries for every sample; beyond them only one that is near to falling goes on. None: all do.
        within: largest share of the clean margin with which a sample goes on after its trial; it falls with the cube
            root of the queries.
    """

    id = "sparse-rs"
    access = Access.SCORES
    norms = frozenset({Norm.L0})

    queries: Count = 10_000
    shape: Shape = "features"
    share: Fraction | None = None
    schedule: Count | None = None
    trial: Count | None = None
    within: Fraction = 0.55

    @property
    def _moves(self) -> Moves:
        share = SHARES[self.shape] if self.share is None else self.share
        if self.shape == "patch":
            return Patch(share)
        return Frame(share) if self.shape == "frame" else Scattered(share, whole=self.shape == "pixels")

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """Patches and frames are parts of images."""
        placed = self.shape in ("patch", "frame") and len(shape) != 3
        return f"a {self.shape} is a part of an image of C x H x W" if placed else None

    def no_room(self, shape: tuple[int, ...], eps: float) -> str | None:
        """Where the radius is less than a pixel, or the narrowest frame."""
        channels, height, width = plane(shape)
        least = {"features": 1, "pixels": channels, "patch": channels}.get(self.shape)
        if least is None:
            least = channels * (height * width - max(height - 2, 0) * max(width - 2, 0))
        if eps >= least:
            return None
        what = "frame of one pixel" if self.shape == "frame" else "pixel"
        return f"a {what} is {least:,} features, and the radius is {eps:,.0f}"

    def init(self, problem: Problem) -> State:
        """What the shape begins with."""
        point, region = self._moves.first(problem)
        none, step = torch.zeros_like(region), problem.full(0).long()
        worst = problem.full(float("-inf"), torch.float64)
        return State(problem.x, none, problem.clip(point), region, worst, -worst, step)

    def query(self, problem: Problem, state: State) -> Request:
        return Scores(state.proposal)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Keep the proposal if it is better, and make the next one."""
        assert answer.logits is not None
        lead, clean = leads(problem.clean, answer.logits, problem.label, problem.goal)
        value = torch.where(problem.goal >= 0, objective("ce", problem, answer.logits), lead.double())
        better = value > state.value
        best, region = select(better, answer.points, state.best), select(better, state.proposed, state.region)
        step = state.step + 1
        progress = step * 10_000 // (self.schedule or self.queries)
        proposal, proposed = self._moves.after(problem, best, region, step, progress)
        return State(
            best=best,
            region=region,
            proposal=problem.clip(proposal),
            proposed=proposed,
            value=torch.where(better, value, state.value),
            left=torch.minimum(state.left, share_left(lead, clean).double()),
            step=step,
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        """After ``queries`` answers, where the trial shows that more would hardly help, or where nothing may change."""
        over = (state.step >= self.queries) | given_up(self.trial, self.within, state.step, state.left)
        return over | ~state.proposed.flatten(1).any(1)
