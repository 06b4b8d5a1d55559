"""Weights of surrogates, searched by what the target answers."""

from __future__ import annotations

import pytest
import torch
from models import FakeFile, Linear, attack_all, linear, network, samples_for

from robaudit.attacks.registry import make_attack
from robaudit.audit.config.profile import Profile
from robaudit.audit.plan.attacks import TargetTraits, plan_attacks
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm


def scaled(target: FakeFile, factor: float) -> FakeFile:
    """A surrogate whose slopes are those of the target, times a factor."""
    module = target.module
    return FakeFile(Linear(factor * module.weight.detach(), factor * module.bias.detach()), 2, target.shape)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_a_good_surrogate_among_others_is_enough_for_one_query(norm: Norm) -> None:
    target, other = linear((12,), 2), linear((12,), 2, seed=5)
    samples, threat = samples_for(target, 8), ThreatModel(norm, {Norm.LINF: 0.25, Norm.L2: 0.8}[norm])
    good = scaled(target, 30.0)
    found = attack_all(target, make_attack("bases", {}), threat, samples, surrogates={"a": other, "b": good})
    alone = attack_all(target, make_attack("pgd", {"steps": 30}), threat, samples)
    fell = {i for i in alone if alone[i].success}
    assert len(fell) >= 4
    assert {i for i in found if found[i].success} == fell
    assert {found[i].queries for i in fell} == {1}


def test_weights_turn_to_the_surrogate_that_leads_somewhere() -> None:
    """Equal weights lead away from the target's boundary, and large steps of the weights undo that."""
    target = linear((12,), 2)
    surrogates = {"away": scaled(target, -1.2), "there": scaled(target, 1.0)}
    samples, threat = samples_for(target, 8), ThreatModel(Norm.LINF, 0.25)
    attack = make_attack("bases", {"rate": 0.2, "queries": 12})
    found = attack_all(target, attack, threat, samples, surrogates=surrogates)
    fell = [result for result in found.values() if result.success]
    assert len(fell) >= 4
    assert all(1 < result.queries <= 6 for result in fell)
    still = attack_all(
        target, make_attack("bases", {"rate": 1e-9, "queries": 12}), threat, samples, surrogates=surrogates
    )
    assert not any(result.success for result in still.values())


def test_each_query_is_billed_the_gradients_behind_it() -> None:
    target = network((1, 6, 6), 4)
    surrogates = {"a": network((1, 6, 6), 4, seed=1), "b": network((1, 6, 6), 4, seed=2)}
    attack = make_attack("bases", {"queries": 5, "steps": 4, "copies": 3})
    found = attack_all(target, attack, ThreatModel(Norm.L2, 0.01), samples_for(target, 4), surrogates=surrogates)
    for result in found.values():
        assert not result.success
        assert (result.queries, result.backwards) == (5, 5 * 4 * 3)


def test_with_one_surrogate_it_is_skipped_with_its_reason() -> None:
    profile = Profile.model_validate({"name": "p", "attacks": ["bases"]})
    [one] = plan_attacks(profile, TargetTraits(4, (1, 6, 6), surrogates=("a",), files=("a",)))
    assert (one.status, one.reason) == ("skipped", "it needs 2 surrogates, and there is a alone")
    [two] = plan_attacks(profile, TargetTraits(4, (1, 6, 6), surrogates=("a", "b"), files=("a", "b")))
    assert two.status == "ready"


def test_shares_weigh_losses_as_a_sum_of_gradients() -> None:
    """Of two linear surrogates, the first one with weight 0 counts for nothing."""
    target, other = linear((12,), 2), scaled(linear((12,), 2), -5.0)
    samples, threat = samples_for(target, 6), ThreatModel(Norm.LINF, 0.3)
    attack = make_attack("bases", {"rate": 0.5, "queries": 4})  # raised and lowered from 1/2: 1 and 0
    found = attack_all(target, attack, threat, samples, surrogates={"a": other, "b": target})
    fell = {result.queries for result in found.values() if result.success}
    assert fell
    assert min(fell) == 3  # equal weights and the first raised lead away; lowered to 0 it leaves the other alone
    assert torch.tensor(sorted(fell)).le(4).all()
