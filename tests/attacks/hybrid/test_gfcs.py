"""Attacks by queries that a surrogate shows the way."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from models import FakeFile, Linear, attack_all, closed_form, linear, network, samples_for

from robaudit.attacks.registry import make_attack
from robaudit.audit.config.profile import Profile
from robaudit.audit.plan.attacks import TargetTraits, needs_surrogate, plan_attacks
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

GFCS = make_attack("gfcs", {"queries": 200})


def negated(target: FakeFile) -> FakeFile:
    """A surrogate whose gradients point the other way."""
    module = target.module
    return FakeFile(Linear(-module.weight.detach(), -module.bias.detach()), target.num_classes, target.shape)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("shape", [(12,), (1, 5, 3)])
def test_with_the_target_for_a_surrogate_a_linear_model_falls_in_a_few_queries(norm, classes, shape) -> None:
    target = linear(shape, classes)
    samples = samples_for(target, 8)
    for sample in samples:
        eps = 1.3 * closed_form(target, sample, norm)
        if eps > 0.4:
            continue
        [found] = attack_all(target, GFCS, ThreatModel(norm, eps), [sample], surrogates=target).values()
        assert found.success
        assert found.queries <= 3  # the walk ends where the margin is highest, but for features at the box's end
        assert found.distance <= eps + 1e-6
        assert found.forwards == found.backwards >= 10 * 8


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_a_surrogate_that_points_the_wrong_way_costs_queries_alone(norm: Norm) -> None:
    target = linear((12,), 3)
    samples = samples_for(target, 8)
    threat = ThreatModel(norm, {Norm.LINF: 0.3, Norm.L2: 0.9}[norm])
    right = attack_all(target, GFCS, threat, samples, surrogates=target)
    wrong = attack_all(target, GFCS, threat, samples, surrogates=negated(target))
    fell = [i for i in right if right[i].success]
    assert len(fell) >= 4
    assert sum(wrong[i].success for i in fell) >= len(fell) - 1
    assert sum(wrong[i].queries for i in fell) > sum(right[i].queries for i in fell)


def test_an_unrelated_surrogate_leaves_its_random_directions() -> None:
    """Slopes of random weights of the logits lead somewhere where the margin's own does not."""
    target, surrogate = network((1, 6, 6), 4), network((1, 6, 6), 4, seed=3)
    samples = samples_for(target, 10)
    attack = make_attack("gfcs", {"queries": 200, "patience": None, "ahead": 0, "copies": 1, "gain": 0, "part": 1})
    found = attack_all(target, attack, ThreatModel(Norm.LINF, 0.2), samples, surrogates=surrogate)
    assert any(result.success and result.forwards > 2 for result in found.values())


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_where_the_surrogates_lead_nowhere_square_goes_on(norm: Norm) -> None:
    """A flat surrogate costs the walk's end and two steps; from there it is square's search, start and all."""
    target = network((1, 6, 6), 4)
    flat = FakeFile(Linear(torch.zeros(4, 36), torch.tensor([1.0, 0.0, 0.0, 0.0])), 4, (1, 6, 6))
    samples, threat = samples_for(target, 12), ThreatModel(norm, {Norm.LINF: 0.06, Norm.L2: 0.25}[norm])
    found = attack_all(target, GFCS, threat, samples, surrogates=flat)
    plain = attack_all(target, make_attack("square", {"queries": 200}), threat, samples)
    fell = {i for i in plain if plain[i].success}
    assert len(fell) >= 4
    assert len(fell & {i for i in found if found[i].success}) >= len(fell) - 1
    assert len({result.backwards for result in found.values()}) == 1, (
        "however long the search, they are not asked again"
    )


def test_steps_that_gain_next_to_nothing_do_not_go_on() -> None:
    """Along one direction on the L2 ball gains shrink geometrically, and never end by rounding alone."""
    target, surrogate = network((1, 6, 6), 5), network((1, 6, 6), 5)
    samples, threat = samples_for(target, 12), ThreatModel(Norm.L2, 0.02)
    spent = {}
    for gain in (0.0, 0.01):
        attack = make_attack("gfcs", {"queries": 100, "patience": 1, "ahead": 0, "copies": 1, "gain": gain})
        found = attack_all(target, attack, threat, samples, surrogates=surrogate)
        spent[gain] = sum(result.backwards for result in found.values() if not result.success)
    assert 0 < spent[0.01] < spent[0.0] / 3


@pytest.mark.parametrize("goal", [Goal.UNTARGETED, Goal.TARGETED])
def test_outcomes_do_not_depend_on_what_else_is_in_the_batch(goal: Goal) -> None:
    target, surrogate = network((1, 6, 6), 4), network((1, 6, 6), 4, seed=1)
    samples = samples_for(target, 9)
    if goal is Goal.TARGETED:
        samples = [dataclasses.replace(s, goal=(s.label + 1) % 4) for s in samples]
    threat = ThreatModel(Norm.LINF, 0.08 if goal is Goal.TARGETED else 0.03, goal)
    attack = make_attack("gfcs", {"queries": 60})
    runs = [
        attack_all(target, attack, threat, part, surrogates=surrogate, slots=slots, micro_batch=rows)
        for part, slots, rows in ((samples, 1, 1), (samples[::-1], 4, 3), (samples, 16, 64))
    ]
    for other in runs[1:]:
        for index, result in runs[0].items():
            same = other[index]
            assert (result.success, result.queries, result.forwards) == (same.success, same.queries, same.forwards)
    assert {result.queries <= 60 for result in runs[0].values()} == {True}
    assert any(not result.success and result.queries == 60 for result in runs[0].values())


def test_a_query_budget_of_the_threat_model_is_never_exceeded() -> None:
    target, surrogate = network((1, 6, 6), 4), network((1, 6, 6), 4, seed=1)
    threat = ThreatModel(Norm.LINF, 0.01, queries=7)
    found = attack_all(target, GFCS, threat, samples_for(target, 5), surrogates=surrogate)
    assert {result.queries for result in found.values() if not result.success} == {7}


def test_without_a_surrogate_it_is_skipped_with_its_reason() -> None:
    profile = Profile.model_validate({"name": "p", "attacks": ["gfcs"]})
    assert needs_surrogate(GFCS)
    [without] = plan_attacks(profile, TargetTraits(4, (1, 6, 6)))
    assert (without.status, "--surrogate" in str(without.reason)) == ("skipped", True)
    [there] = plan_attacks(profile, TargetTraits(4, (1, 6, 6), surrogates=("a",), files=("a",)))
    assert there.status == "ready"
