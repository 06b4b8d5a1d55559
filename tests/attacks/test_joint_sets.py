"""Features that change together: attacks climb what a step comes to inside the set, and reach its optimum."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from attack_cases import BY_NORM, CASES
from models import FakeFile, Linear, attack_all, samples_for
from problems import problem
from pydantic.dataclasses import dataclass

from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.engine.units import Sample
from robaudit.threat.arrays import TOLERANCE
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.sets.base import PerturbationSet

PAIRS = 6
WHITE_BOX = [
    (name, norm) for name, norm in BY_NORM if attack_classes()[name].access is Access.WHITE_BOX and norm is not Norm.L0
]


@dataclass(frozen=True)
class Pairs(PerturbationSet):
    """The two halves of the features change alike."""

    id = "pairs"

    def project(self, point, origin):
        change = (point - origin).reshape(len(point), 2, -1)
        start = origin.reshape(change.shape)
        middle = np.clip(change.mean(1), -start.min(1), 1 - start.max(1))
        return origin + np.concatenate([middle, middle], 1)

    def contains(self, point, origin, witness=None):
        change = (point - origin).reshape(len(point), 2, -1)
        return np.abs(change[:, 0] - change[:, 1]).max(1) <= TOLERANCE


def boundary(classes: int) -> FakeFile:
    """One boundary; each half pulls a feature its own way, the first the harder in every other pair."""
    first = torch.linspace(1, 2, PAIRS, dtype=torch.float64) * torch.tensor([1.0, -1.0] * (PAIRS // 2))
    weights = torch.cat([first, -first * torch.tensor([0.4, 2.5] * (PAIRS // 2))])
    weight, bias = torch.zeros(classes, 2 * PAIRS, dtype=torch.float64), torch.full((classes,), -60.0)
    weight[0], weight[1] = weights, -weights
    bias[0], bias[1] = -weights.sum() / 2, weights.sum() / 2
    return FakeFile(Linear(weight, bias), classes, (2 * PAIRS,))


def near(target: FakeFile, norm: Norm) -> list[tuple[Sample, float]]:
    """Samples whose nearest boundary point in the set lies in the box, and its distance."""
    slope = target.module.weight[0].reshape(2, PAIRS).sum(0)
    best = {
        Norm.LINF: slope.abs().sum(),
        Norm.L2: slope.norm() / math.sqrt(2),
        Norm.L1: slope.abs().max() / 2,
    }[norm]
    found = []
    for sample in samples_for(target, 200):
        u = torch.from_numpy(sample.u)
        clean = target.scores(u[None])[0]
        optimum = float((clean[0] - clean[1]).abs() / 2 / best)
        if 0.02 < optimum < 0.12 and bool(((u > 0.15) & (u < 0.85)).all()):
            found.append((sample, optimum))
    assert len(found) >= 3
    return found[:3]


@pytest.mark.parametrize(("name", "norm"), WHITE_BOX)
def test_the_optimum_in_the_set_is_reached_and_not_passed(name: str, norm: Norm) -> None:
    case = CASES[name]
    target = boundary(2 if case.two_classes else 4)
    attack = make_attack(name, case.parameters | case.optimum_parameters)
    samples = near(target, norm)

    def falls(factor: float) -> list[bool]:
        own = [replace(sample, eps=optimum * factor) for sample, optimum in samples]
        found = attack_all(target, attack, ThreatModel(norm, 0.5, sets=(Pairs(),)), own)
        return [found[sample.index].success for sample in own]

    assert not any(falls(0.98)), "nearer than the boundary"
    if case.optimum is not None:
        assert all(falls(case.optimum))


def test_slopes_are_what_a_step_comes_to_in_the_set() -> None:
    slots = problem(Norm.L2, 0.5, 2, (2 * PAIRS,), middle=True)
    x = slots.x.clone()
    x[1, 0] = 1.0  # at the end of the domain, where neither of the pair can grow
    slots = replace(slots, x=x, joint=(Pairs(),))
    slope = torch.arange(24, dtype=torch.float64).reshape(2, -1) + 1
    left = slots.free(slope, x, torch.arange(2)).reshape(2, 2, PAIRS)
    expected = slope.reshape(2, 2, PAIRS).mean(1, keepdim=True).expand(2, 2, PAIRS).clone()
    expected[1, :, 0] = 0
    torch.testing.assert_close(left, expected, rtol=1e-6, atol=0)
    assert torch.equal(slots.free(torch.zeros_like(x), x, torch.arange(2)), torch.zeros_like(x))
