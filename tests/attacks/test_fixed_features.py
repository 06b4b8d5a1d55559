"""Features that an attacker cannot change: no attack moves them, none spends its radius on them, the judge refuses."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from attack_cases import BY_NORM, CASES
from models import FakeFile, Linear, attack_all, network, samples_for

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.registry import make_attack
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.engine.judge import Judge
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.sets.features import FixedFeatures

FEATURES = 12
FIXED = (0, 3, 4, 9)
HOLD = (FixedFeatures(FIXED),)
FREE = [i for i in range(FEATURES) if i not in FIXED]
HELD = torch.tensor([0.3, 0.62, 0.45, 0.7], dtype=torch.float64)
"""Values of the fixed features in samples of the two-class model."""


class Watched(FakeFile):
    """Notes whether all points that it is asked have their fixed features as in one of the samples."""

    held: torch.Tensor | None = None
    moved = False

    def _watch(self, u: torch.Tensor) -> None:
        if self.held is not None:
            same = (u.detach()[:, None, list(FIXED)] == self.held).all(2).any(1)
            self.moved |= not bool(same.all())

    def logits(self, u: torch.Tensor) -> torch.Tensor:
        self._watch(u)
        return super().logits(u)

    def scores(self, u: torch.Tensor, *, alone: bool = False) -> torch.Tensor:
        self._watch(u)
        return super().scores(u, alone=alone)


def boundary(classes: int) -> Watched:
    """One boundary, other classes out of reach; fixed features weigh the most, so that an attack is drawn to them."""
    weights = torch.randn(FEATURES, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    weights[list(FIXED)] *= 8
    middle = torch.full((FEATURES,), 0.5, dtype=torch.float64)
    middle[list(FIXED)] = HELD
    weight, bias = torch.zeros(classes, FEATURES, dtype=torch.float64), torch.full((classes,), -60.0)
    weight[0], weight[1] = weights, -weights
    bias[0], bias[1] = -weights @ middle, weights @ middle
    return Watched(Linear(weight, bias), classes, (FEATURES,))


def near(target: Watched, norm: Norm, count: int = 3) -> list[tuple[Sample, float]]:
    """Samples whose nearest boundary point over the free features lies in the box, and its distance."""
    weight = target.module.weight[0, FREE]
    found = []
    for sample in samples_for(target, 200):
        u = torch.from_numpy(sample.u).clone()
        u[list(FIXED)] = HELD
        clean = target.scores(u[None])[0]
        label = int(clean.argmax())
        gap, slope = float(clean[label] - clean[1 - label]) / 2, -weight if label == 0 else weight
        room = torch.where(slope > 0, 1 - u[FREE], u[FREE])
        if norm is Norm.L0:
            gains = (slope.abs() * room).sort(descending=True).values.cumsum(0)
            optimum = float((gains <= gap).sum() + 1)
            fits = 2 <= optimum <= 4
        else:
            order = {Norm.LINF: 1, Norm.L2: 2, Norm.L1: float("inf")}[norm]
            optimum = gap / float(torch.linalg.vector_norm(slope, ord=order))
            move = {
                Norm.LINF: torch.ones_like(slope),
                Norm.L2: slope.abs() / slope.norm(),
                Norm.L1: (slope.abs() == slope.abs().max()).double(),
            }[norm]
            fits = 0.02 < optimum < 0.1 and bool((room > 1.1 * optimum * move).all())
        if fits:
            digest = hashlib.sha256(u.numpy().tobytes()).hexdigest()
            found.append((Sample(sample.index, u.numpy(), label, clean.numpy(), digest), optimum))
    assert len(found) >= count
    return found[:count]


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_the_optimum_over_the_free_features_is_reached_and_not_passed(name: str, norm: Norm) -> None:
    case = CASES[name]
    target = boundary(2 if case.two_classes else 4)
    attack = make_attack(name, case.parameters | case.optimum_parameters)
    samples = near(target, norm)
    target.held = HELD[None]

    def falls(factor: float, more: float) -> list[bool]:
        own = [replace(s, eps=optimum + more if norm is Norm.L0 else optimum * factor) for s, optimum in samples]
        found = attack_all(
            target,
            attack,
            ThreatModel(norm, 0.5, sets=HOLD),
            own,
            surrogates=FakeFile(target.module, target.num_classes, target.shape, target.dtype),
        )
        return [found[s.index].success for s in own]

    assert not any(falls(0.98, -1)), "nearer than the boundary"
    if case.optimum is not None:
        assert all(falls(case.optimum, 1))
    else:
        assert any(any(falls(factor, more)) for factor, more in ((1.1, 1), (1.5, 2), (3.0, 4)))
    if attack.stop is Stop.RUN_ON and attack.access is Access.WHITE_BOX:
        threat = ThreatModel(norm, 8.0, sets=HOLD, minimal=True)
        found = attack_all(target, attack, threat, [s for s, _ in samples])
        for sample, optimum in samples:
            distance = found[sample.index].distance
            assert distance >= optimum * (1 - 1e-9)
            if case.optimum is not None:
                assert distance <= (optimum + 1 if norm is Norm.L0 else optimum * case.optimum)
    assert not target.moved, "not even asked about"


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_of_several_classes_and_other_starts_they_stay_too(name: str, norm: Norm) -> None:
    target = Watched(network((FEATURES,), 4).module, 4, (FEATURES,), torch.float32)
    samples = samples_for(target, 8)
    target.held = torch.stack([torch.from_numpy(s.u)[list(FIXED)] for s in samples])
    eps = {Norm.LINF: 0.5, Norm.L2: 2.0, Norm.L1: 4.0, Norm.L0: 8.0}[norm]
    threat = ThreatModel(norm, eps, sets=HOLD)
    results = attack_all(
        target,
        make_attack(name, CASES[name].parameters),
        threat,
        samples,
        surrogates=FakeFile(target.module, target.num_classes, target.shape, target.dtype),
    )
    assert any(r.success for r in results.values())
    for sample in samples:
        point = results[sample.index].point
        assert point is None or np.array_equal(point[list(FIXED)], sample.u[list(FIXED)])
    assert not target.moved, "not even asked about"


def test_the_judge_refuses_a_point_that_moves_one() -> None:
    target = network((FEATURES,), 4)
    sample = samples_for(target, 1)[0]
    origin = torch.from_numpy(sample.u)[None].repeat(2, 1)
    away = origin.clone()
    away[0, FREE[0]] += 0.001
    away[1, FIXED[2]] += 0.001
    label = torch.full((2,), (sample.label + 1) % 4)  # so that the file's own answer counts as fooled
    goal, eps = torch.full((2,), -1), torch.full((2,), 0.1)
    for sets, accepted in ((HOLD, [True, False]), ((), [True, True])):
        verdicts = Judge(Oracle(target))(ThreatModel(Norm.LINF, 0.1, sets=sets), origin, away, label, goal, eps)
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
    bound = attack_all(target, Careless(), ThreatModel(Norm.LINF, 1.0, sets=HOLD), samples)
    assert sum(r.success for r in free.values()) > 0
    assert sum(r.success for r in bound.values()) == 0
    assert sum(r.refused for r in bound.values()) > 0


def test_images_may_have_fixed_places_too() -> None:
    target = network((2, 3, 4), 4)
    sample = samples_for(target, 1)[0]
    x = torch.from_numpy(sample.u)[None]
    threat = ThreatModel(Norm.L2, 1.0, sets=(FixedFeatures((0, 23)),))
    mask = threat.mask(x)
    assert mask is not None
    assert mask.shape == x.shape
    assert mask.flatten().nonzero()[:, 0].tolist() == [0, 23]
    assert ThreatModel(Norm.L2, 1.0).mask(x) is None
