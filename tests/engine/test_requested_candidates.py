"""Points that are asked on the way, and do not count where they fool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from models import attack_all, linear, samples_for
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm


@dataclass
class Steps(Slots):
    step: Tensor


class Two(SlotAttack[Steps]):
    """Asks two points a slot, of which ``counting`` says which count; both fool."""

    id = "test-two"
    access = Access.SCORES
    norms = frozenset(Norm)

    def __init__(self, counting: Any) -> None:
        self.counting = counting

    def init(self, problem: Problem) -> Steps:
        return Steps(problem.full(0).long())

    def query(self, problem: Problem, state: Steps) -> Request:
        away = 1 - problem.x
        return Scores(torch.stack([away, 0.99 * away], 1), candidates=self.counting(problem))

    def update(self, problem: Problem, state: Steps, answer: Answer) -> Steps:
        assert answer.fooled.shape == (len(problem), 2)
        return Steps(state.step + 1)

    def done(self, problem: Problem, state: Steps) -> Tensor:
        return state.step >= 1


def even(problem: Problem) -> Tensor:
    """[S]: by the sample, whatever its slot is."""
    return problem.keys % 2 == 0


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_candidates_are_slots_or_their_points(slots: int) -> None:
    target = linear((1, 4, 4), 2, seed=3)
    samples = samples_for(target, 9)
    threat = ThreatModel(Norm.LINF, 1.0)

    def run(counting: Any) -> dict[int, Any]:
        found = attack_all(target, Two(counting), threat, samples, slots=slots)
        return {i: found[i].point for i in sorted(found)}

    every = run(lambda problem: None)
    assert all(point is not None for point in every.values())
    keys: dict[int, bool] = {}

    def some(problem: Problem) -> Tensor:
        flags = even(problem)
        for x, flag in zip(problem.x, flags.tolist(), strict=True):
            keys.update({s.index: flag for s in samples if bool((torch.from_numpy(s.u) == x).all())})
        return flags

    by_slot = run(some)
    assert {i: point is not None for i, point in by_slot.items()} == keys
    assert len(set(keys.values())) == 2
    second = run(lambda problem: torch.tensor([False, True]).expand(len(problem), 2))
    for sample in samples:  # the first point fools too, and is passed over
        torch.testing.assert_close(torch.from_numpy(second[sample.index]), torch.from_numpy(0.99 * (1 - sample.u)))
    none = run(lambda problem: torch.zeros(len(problem), 2, dtype=torch.bool))
    assert all(point is None for point in none.values())
