"""Adaptive allocation: every sample gets a trial, and goes on only where that tells that more may help."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from models import attack_all, network, samples_for

from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.attacks.trial import given_up
from robaudit.threat.model import Access, Goal, ThreatModel
from robaudit.threat.norms import Norm

SCORES = [
    ("square", {}, Norm.LINF, 0.04),
    ("signhunter", {}, Norm.LINF, 0.04),
    ("signhunter", {}, Norm.L2, 0.15),
    ("sparse-rs", {}, Norm.L0, 1.0),
    ("sparse-rs", {"shape": "patch"}, Norm.L0, 1.0),
]
LABELS = [
    ("rays", Norm.LINF, 0.02, 60),
    ("prior-rays", Norm.LINF, 0.02, 60),
    ("surfree", Norm.L2, 0.15, 100),
    ("cgba", Norm.L2, 0.2, 20),
    ("geoda", Norm.L2, 0.15, 60),
    ("geoda", Norm.LINF, 0.04, 100),
]


def test_what_may_be_left_falls_with_the_cube_root_of_the_queries() -> None:
    asked = torch.tensor([0, 99, 100, 100, 800, 800])
    left = torch.tensor([9.0, 9.0, 0.59, 0.61, 0.29, 0.31])
    assert given_up(100, 0.6, asked, left).tolist() == [False, False, False, True, False, True]
    assert given_up(100, 3.0, asked, left * 5, reached=1.0).tolist() == [False, False, False, True, False, False]
    assert given_up(100, 3.0, asked, torch.full((6,), float("inf")), reached=1.0).tolist() == [False] * 2 + [True] * 4
    assert not given_up(None, 0.6, asked, left).any()


def test_the_attacks_with_a_trial_are_those_tested_here() -> None:
    named = {name for name, cls in attack_classes().items() if "trial" in cls.__dataclass_fields__}
    assert named == {name for name, *_ in (*SCORES, *LABELS)}
    assert all(make_attack(name, {}).trial is None for name in named)


@pytest.mark.parametrize("goal", [Goal.UNTARGETED, Goal.TARGETED])
@pytest.mark.parametrize(("name", "parameters", "norm", "eps"), SCORES)
def test_scores_go_where_a_trial_shows_that_they_tell(
    name: str, parameters: dict, norm: Norm, eps: float, goal: Goal
) -> None:
    compare(name, parameters, ThreatModel(norm, eps, goal), trial=40)


@pytest.mark.parametrize(("name", "norm", "eps", "trial"), LABELS)
def test_labels_go_where_the_boundary_is_near(name: str, norm: Norm, eps: float, trial: int) -> None:
    compare(name, {}, ThreatModel(norm, eps), trial)


def compare(name: str, parameters: dict, threat: ThreatModel, trial: int) -> None:
    target = network((1, 6, 6), 3)
    samples = samples_for(target, 40)
    if threat.goal is Goal.TARGETED:
        samples = [dataclasses.replace(s, goal=(s.label + 1) % 3) for s in samples]
    pool = attack_classes()[name].access is Access.LABELS
    without, tried = (
        attack_all(
            target,
            make_attack(name, {"queries": 300} | parameters | more),
            threat,
            samples,
            pool=pool,
            surrogates=network((1, 6, 6), 3, seed=1),
        )
        for more in ({}, {"trial": trial})
    )
    assert all(r.success or trial <= r.queries <= 300 for r in tried.values())
    assert any(not r.success and r.queries < 200 for r in tried.values()), "far from falling"
    assert any(r.success and r.queries > trial for r in tried.values()), "near to it"
    for i, found in tried.items():
        if found.success:
            assert without[i].queries == found.queries, "the same search"
    assert sum(r.queries for r in tried.values()) < 0.85 * sum(r.queries for r in without.values())
    assert sum(r.success for r in tried.values()) >= 0.8 * sum(r.success for r in without.values())


@pytest.mark.parametrize(("name", "norm", "eps"), [case[:3] for case in LABELS])
def test_no_search_for_distances_is_given_up(name: str, norm: Norm, eps: float) -> None:
    target = network((1, 6, 6), 3)
    attack = make_attack(name, {"queries": 150, "trial": 20})
    threat = ThreatModel(norm, eps, minimal=True)
    assert {
        r.queries for r in attack_all(target, attack, threat, samples_for(target, 6), surrogates=target).values()
    } == {150}
