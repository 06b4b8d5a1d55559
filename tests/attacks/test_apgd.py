"""What Auto-PGD does beyond the general tests: L1, the wide start, the DLR loss in targeted audits."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from models import FakeFile, Linear, attack_all, linear, network, samples_for

from robaudit.attacks.registry import make_attack
from robaudit.attacks.whitebox.apgd_l1 import Schedule
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm


def test_the_wide_schedule_is_the_authors() -> None:
    """100 iterations: 30 at 3 ε, 30 at 2 ε, 40 at ε, each phase with an evaluation of its start."""
    schedule = Schedule.of(100, wide=True)
    assert (schedule.factors, schedule.steps) == ((3.0, 2.0, 1.0), (30, 30, 40))
    assert schedule.ends == (30, 61, 102)
    assert schedule.windows == (1, 1, 1)
    assert Schedule.of(100, wide=False).windows == (4,)
    for steps in range(1, 12):
        few = Schedule.of(steps, wide=True)
        assert sum(few.steps) == steps
        assert min(few.steps) >= 0
        assert few.answers == steps + 3


@pytest.mark.parametrize("wide", [False, True])
def test_l1_points_outside_of_the_ball_are_never_judged_and_steps_are_counted(wide: bool) -> None:
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 10)
    attack = make_attack("apgd-ce", {"steps": 20, "wide_start": wide})
    results = attack_all(target, attack, ThreatModel(Norm.L1, 0.4), samples)
    standing = [r for r in results.values() if not r.success]
    assert standing
    assert len(standing) < 10
    assert all(r.forwards == r.backwards == (23 if wide else 21) for r in standing)
    assert all(r.refused == 0 and r.judged == int(r.success) for r in results.values())


@pytest.mark.parametrize("slots", [1, 3, 8, 64])
@pytest.mark.parametrize("wide", [False, True])
def test_many_class_linear_models_break_near_the_closed_form_in_l1(wide: bool, slots: int) -> None:
    target = linear((3, 5, 5), 6, seed=4)
    weight = target.module.weight
    near = []
    for sample in samples_for(target, 400):
        gaps = torch.from_numpy(sample.clean[sample.label] - sample.clean)
        slopes = (weight - weight[sample.label]).abs().amax(1)
        slopes[sample.label] = 1
        gaps[sample.label] = float("inf")
        if float((gaps / slopes).min()) < 0.05:  # one feature moves that far within the box
            near.append((sample, float((gaps / slopes).min())))
    assert len(near) >= 6
    attack = make_attack("apgd-t", {"steps": 40, "wide_start": wide, "targets": 5})
    radius = max(optimum for _, optimum in near[:6])
    found = attack_all(target, attack, ThreatModel(Norm.L1, radius * 1.05), [s for s, _ in near[:6]], slots=slots)
    assert all(r.success for r in found.values())
    for sample, optimum in near[:2]:
        below = attack_all(target, attack, ThreatModel(Norm.L1, optimum * 0.98), [sample], slots=slots)
        assert not below[sample.index].success


def test_a_targeted_audit_reaches_its_goal_by_every_loss() -> None:
    for classes, names in ((3, ("apgd-ce", "apgd-dlr")), (6, ("apgd-ce", "apgd-dlr", "apgd-t"))):
        target = network((2, 4, 4), classes)
        samples = [dataclasses.replace(s, goal=(s.label + 1) % classes) for s in samples_for(target, 5)]
        for name in names:
            for norm, eps in ((Norm.LINF, 0.3), (Norm.L2, 1.5), (Norm.L1, 6.0)):
                attack = make_attack(name, {"steps": 25})
                results = attack_all(target, attack, ThreatModel(norm, eps, Goal.TARGETED), samples, pool=False)
                assert {i: r.prediction for i, r in results.items()} == {s.index: s.goal for s in samples}


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2, Norm.L1])
@pytest.mark.parametrize("name", ["apgd-ce", "apgd-dlr", "apgd-t"])
def test_a_flat_model_ends_without_a_success(name: str, norm: Norm) -> None:
    flat = FakeFile(Linear(torch.zeros(5, 9), torch.arange(5.0)), 5, (9,))
    found = attack_all(flat, make_attack(name, {"steps": 12}), ThreatModel(norm, 0.5), samples_for(flat, 3))
    assert not any(r.success or r.error for r in found.values())
