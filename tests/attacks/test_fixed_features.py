"""Features that an attacker cannot change: no attack moves them, none spends its radius on them, the judge refuses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from models import FakeFile, Linear, attack_all, network, samples_for

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.engine.judge import Judge
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm

FEATURES = 12
FIXED = (0, 3, 4, 9)
FREE = [i for i in range(FEATURES) if i not in FIXED]
SMALL = {
    "fgsm": {},
    "pgd": {"steps": 20},
    "apgd-ce": {"steps": 30},
    "square": {"queries": 400},
    "hopskipjump": {"queries": 3000},
    "mi-fgsm": {"steps": 10},
    "bim": {},
    "daa": {"steps": 20, "step_size": 0.15},
    "transfer-mi-fgsm": {"steps": 10},
}
CASES = [(name, norm) for name, cls in attack_classes().items() for norm in sorted(cls.norms) if name in SMALL]


class Watched(FakeFile):
    """Notes the largest move of a fixed feature among all points that it is asked."""

    origin: torch.Tensor
    moved = 0.0

    def _watch(self, u: torch.Tensor) -> None:
        places = list(FIXED)
        away = (u.detach().flatten(1)[:, places] - self.origin.flatten()[places]).abs()
        self.moved = max(self.moved, float(away.max()))

    def logits(self, u: torch.Tensor) -> torch.Tensor:
        self._watch(u)
        return super().logits(u)

    def scores(self, u: torch.Tensor, *, alone: bool = False) -> torch.Tensor:
        if hasattr(self, "origin"):
            self._watch(u)
        return super().scores(u, alone=alone)


def two_classes(weights: torch.Tensor) -> Watched:
    """One boundary; fixed features weigh the most, so that an attack is drawn to them."""
    weight = torch.stack([weights, -weights])
    return Watched(Linear(weight, -weight.sum(1) / 2), 2, (FEATURES,))


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_the_optimum_over_the_free_features_is_reached_and_not_passed(name: str, norm: Norm) -> None:
    weights = torch.randn(FEATURES, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    weights[list(FIXED)] *= 8
    order = {Norm.LINF: 1, Norm.L2: 2, Norm.L1: float("inf")}[norm]
    dual = torch.linalg.vector_norm(weights[FREE], ord=order)
    tried = 0
    for sample in samples_for(two_classes(weights), 200):
        optimum = float(abs(sample.clean[0] - sample.clean[1]) / 2 / dual)
        if not 0.01 < optimum < (0.05 if norm is Norm.LINF else 0.15):
            continue
        slack = 1.35 if name == "hopskipjump" else 1.05
        tries = [(optimum * slack, True), (optimum * 0.98, False)]
        # windows reach the corners of the L-infinity ball alone
        for radius, falls in tries[1:] if name == "square" and norm is not Norm.LINF else tries:
            target = two_classes(weights)
            target.origin = torch.from_numpy(sample.u)
            threat = ThreatModel(norm, radius, fixed=FIXED)
            found = attack_all(target, make_attack(name, SMALL[name]), threat, [sample], surrogates=target)
            assert found[sample.index].success == falls
            assert target.moved == 0.0, "not even asked about"
        tried += 1
        if tried == 2:
            return
    raise AssertionError("no sample lies near the boundary")


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_starts_from_other_samples_leave_them_alone_too(name: str, norm: Norm) -> None:
    target = network((FEATURES,), 4)
    samples = samples_for(target, 8)
    threat = ThreatModel(norm, 0.5 if norm is Norm.LINF else 2.0, fixed=FIXED)
    results = attack_all(target, make_attack(name, SMALL[name]), threat, samples, surrogates=target)
    points = [(s.u, results[s.index].point) for s in samples if results[s.index].point is not None]
    assert points
    for origin, point in points:
        assert np.array_equal(point[list(FIXED)], origin[list(FIXED)])


def test_the_judge_refuses_a_point_that_moves_one() -> None:
    target = network((FEATURES,), 4)
    sample = samples_for(target, 1)[0]
    origin = torch.from_numpy(sample.u)[None].repeat(2, 1)
    away = origin.clone()
    away[0, FREE[0]] += 0.001
    away[1, FIXED[2]] += 0.001
    label = torch.full((2,), (sample.label + 1) % 4)  # so that the file's own answer counts as fooled
    goal, eps = torch.full((2,), -1), torch.full((2,), 0.1)
    for fixed, accepted in ((FIXED, [True, False]), ((), [True, True])):
        verdicts = Judge(target)(ThreatModel(Norm.LINF, 0.1, fixed=fixed), origin, away, label, goal, eps)
        assert verdicts.fooled.tolist() == [True, True]
        assert verdicts.success.tolist() == accepted


@dataclass
class State(Slots):
    step: torch.Tensor


class Careless(SlotAttack[State]):
    """Knows nothing of fixed features."""

    id = "careless"
    access = Access.SCORES
    norms = frozenset({Norm.LINF})

    def init(self, problem: Problem) -> State:
        return State(problem.full(0).long())

    def query(self, problem: Problem, state: State) -> Request:
        return Scores(1 - problem.x)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        return State(state.step + 1)

    def done(self, problem: Problem, state: State) -> torch.Tensor:
        return state.step > 0


def test_an_attack_that_moves_them_breaks_nothing() -> None:
    target = network((FEATURES,), 4)
    samples = samples_for(target, 12)
    free = attack_all(target, Careless(), ThreatModel(Norm.LINF, 1.0), samples)
    bound = attack_all(target, Careless(), ThreatModel(Norm.LINF, 1.0, fixed=FIXED), samples)
    assert sum(r.success for r in free.values()) > 0
    assert sum(r.success for r in bound.values()) == 0
    assert sum(r.refused for r in bound.values()) > 0


def test_images_may_have_fixed_places_too() -> None:
    target = network((2, 3, 4), 4)
    sample = samples_for(target, 1)[0]
    x = torch.from_numpy(sample.u)[None]
    threat = ThreatModel(Norm.L2, 1.0, fixed=(0, 23))
    mask = threat.mask(x)
    assert mask is not None
    assert mask.shape == x.shape
    assert mask.flatten().nonzero()[:, 0].tolist() == [0, 23]
    assert ThreatModel(Norm.L2, 1.0).mask(x) is None
