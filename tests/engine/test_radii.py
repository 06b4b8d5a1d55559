"""Radii of single samples, and searches for the smallest distance, in the engine."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from models import FakeFile, Linear, attack_all, linear, samples_for

from robaudit.attacks.base import StartingPool
from robaudit.attacks.registry import make_attack
from robaudit.engine.engine import Engine
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample, Unit, UnitResult, best_of, plan_units
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm


def _boundary(target: object, sample: Sample) -> float:
    """Distance of a sample's nearest boundary in L-infinity, by bisection along the sign of a logit difference."""
    module = target.module  # type: ignore[attr-defined]
    x = torch.from_numpy(sample.u)[None]
    x.requires_grad_()
    z = module(x)[0]
    (gradient,) = torch.autograd.grad(z[1 - sample.label] - z[sample.label], x)
    return float((z[sample.label] - z[1 - sample.label]).detach() / gradient.abs().sum())


def test_each_sample_is_searched_and_judged_at_its_own_radius() -> None:
    target = linear((9,), 2)
    samples = samples_for(target, 6)
    exact = {s.index: _boundary(target, s) for s in samples}
    inside = {s.index for s in samples[::2]}
    own = [dataclasses.replace(s, eps=exact[s.index] * (1.05 if s.index in inside else 0.95)) for s in samples]
    results = attack_all(target, make_attack("pgd", {"steps": 20}), ThreatModel(Norm.LINF, 0.9), own)
    assert {i for i, r in results.items() if r.success} == inside
    assert all(r.distance <= exact[i] * 1.05 + 1e-6 for i, r in results.items() if r.success)


def _likelier_is_farther() -> tuple[FakeFile, Sample]:
    """Label 0; the clean scores rank class 1 first, class 2 lies nearer (in every norm), and class 3 far away."""
    weight = torch.zeros(4, 12, dtype=torch.float64)
    weight[1, :8], weight[2, 6:], weight[3, 0] = 0.5, 3.0, 1.0
    u = np.full(12, 0.4)
    bias = torch.tensor([0.0, -0.8, -1.0, -3.0], dtype=torch.float64) - weight @ torch.from_numpy(u)
    target = FakeFile(Linear(weight, bias), 4, (12,))
    clean = target.scores(torch.from_numpy(u)[None])[0].numpy()
    return target, Sample(0, u, 0, clean, hashlib.sha256(u.tobytes()).hexdigest())


SEVERAL_TARGETS = [  # the last: smallest distance of any class; JSMA changes pairs
    ("lbfgs", {"targets": 3, "steps": 30, "searches": 6}, Norm.L2, 1 / 3 / 6**0.5),
    ("fab-t", {"targets": 3, "steps": 10}, Norm.LINF, 1 / 18),
    ("jsma", {"targets": 3, "gamma": 1.0}, Norm.L0, 2),
    ("apgd-t", {"targets": 3, "steps": 10}, Norm.LINF, None),
]


@pytest.mark.parametrize(("name", "parameters", "norm", "optimum"), SEVERAL_TARGETS)
@pytest.mark.parametrize("slots", [1, 2, 8])
def test_a_search_for_the_smallest_distance_releases_no_unit(
    name: str, parameters: dict, norm: Norm, optimum: float | None, slots: int
) -> None:
    target, sample = _likelier_is_farther()
    engine = Engine(Oracle(target), slots, 0, StartingPool(torch.zeros(0, 12), torch.zeros(0)), micro_batch=8)
    attack = make_attack(name, parameters)
    units = list(plan_units(attack, Goal.UNTARGETED, [0], 4))
    found: list[UnitResult] = []
    threat = ThreatModel(norm, 12.0 if norm is Norm.L0 else 0.8, minimal=True)
    job = Job(attack, threat, tuple(units), name, won={0: Unit(0, 0, 0)})
    assert engine.run(job, lambda _: sample, found.append)
    assert sorted(r.unit for r in found) == units
    assert sum(r.success for r in found) >= 2
    best = best_of(found, minimal=True)
    assert best.success
    assert best.distance == min(r.distance for r in found if r.success)
    assert best.forwards == sum(r.forwards for r in found)
    if optimum is not None:
        assert best.distance == pytest.approx(optimum, rel=0.05)
        assert best.unit.aim == 1
        assert best_of(found).distance > best.distance * 1.5


def test_elsewhere_a_success_of_an_earlier_session_releases_the_later_units() -> None:
    target, sample = _likelier_is_farther()
    attack = make_attack("fab-t", {"targets": 3, "steps": 10})
    engine = Engine(Oracle(target), 4, 0, StartingPool(torch.zeros(0, 12), torch.zeros(0)), micro_batch=8)
    found: list[UnitResult] = []
    units = (Unit(0, 1, 0), Unit(0, 2, 0))
    job = Job(attack, ThreatModel(Norm.LINF, 0.5), units, "fab-t", won={0: Unit(0, 0, 0)})
    assert engine.run(job, lambda _: sample, found.append)
    assert found == []


def test_of_equal_distances_the_lowest_unit_is_the_samples() -> None:
    def result(aim: int, success: bool, distance: float | None) -> UnitResult:
        return UnitResult(Unit(0, aim, 7), success, 1, distance, 5)

    results = [result(3, True, 0.2), result(1, True, 0.2), result(0, True, 0.3), result(2, False, 0.1)]
    assert best_of(results, minimal=True).unit.aim == 1
    assert best_of(results).unit.aim == 0
    assert best_of([result(0, False, None), result(1, False, 0.4)], minimal=True).unit.aim == 1
