"""What attacks declare to need at most, against what they were counted for."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from attack_cases import BY_NORM, CASES, EPS
from models import FakeFile, Linear, attack_all, network, samples_for

from robaudit.attacks.base import SlotAttack, Stop
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.audit.config.profile import AttackSpec
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.plan.attacks import TargetTraits, plan_attacks
from robaudit.audit.plan.costs import most_of_sample
from robaudit.audit.plan.fronts import plan_fronts
from robaudit.engine.escape import PATIENCE
from robaudit.engine.units import plan_units
from robaudit.threat.model import Access, Goal, ThreatModel
from robaudit.threat.norms import Norm

SHAPE, CLASSES = (1, 4, 4), 5


def steady() -> FakeFile:
    """A linear model whose first class wins everywhere in the box, though every class has a slope."""
    torch.manual_seed(0)
    bias = torch.tensor([300.0] + [0.0] * (CLASSES - 1), dtype=torch.float64)
    return FakeFile(Linear(torch.randn(CLASSES, 16, dtype=torch.float64), bias), CLASSES, SHAPE)


def declared(attack: SlotAttack, threat: ThreatModel) -> Cost:
    """Of one sample."""
    task = Task(threat.norm, threat.eps, CLASSES, 16, threat.goal is Goal.TARGETED, threat.minimal)
    cost = attack.most(task)
    assert cost is not None
    return cost * units_of(attack, threat)


def units_of(attack: SlotAttack, threat: ThreatModel) -> int:
    return sum(1 for _ in plan_units(attack, threat.goal, [0], CLASSES))


def looks(most: Cost, units: int) -> int:
    """Most evaluations with which the engine looks in vain for a nearer rival, each time after four times as many."""
    return 2 * units * (1 + math.ceil(math.log(max(most.backwards, 1), PATIENCE))) if most.backwards else 0


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_no_attack_takes_more_than_it_declares(name: str, norm: Norm) -> None:
    attack = make_attack(name, CASES[name].parameters)
    near = 1.0 if norm is Norm.L0 else EPS[norm] / 100
    threats = [ThreatModel(norm, near), ThreatModel(norm, EPS[norm])]
    if Goal.TARGETED in attack.goals:
        threats.append(ThreatModel(norm, near, Goal.TARGETED))
    if attack.stop is Stop.RUN_ON and attack.access is not Access.TRANSFER:
        threats.append(ThreatModel(norm, EPS[norm], minimal=True))
    highest = Cost()
    for target in (steady(), network(SHAPE, CLASSES)):
        for threat in threats:
            samples = samples_for(target, 4)
            if threat.goal is Goal.TARGETED:
                samples = [dataclasses.replace(s, goal=(s.label + 1) % CLASSES) for s in samples]
            most = declared(attack, threat)
            for result in attack_all(target, attack, threat, samples, surrogates=target).values():
                found = Cost(result.forwards, result.backwards, result.queries)
                for kind in ("forwards", "backwards", "queries"):
                    allowed = getattr(most, kind) + looks(most, units_of(attack, threat))
                    assert getattr(found, kind) <= allowed, (kind, threat, found, most)
                if threat is threats[0]:
                    highest = max(highest, found, key=lambda cost: cost.forwards + cost.queries)
    # it is no number out of the air: where nothing falls, attacks come to it
    most = declared(attack, threats[0])
    if name in LOOSE:
        return
    assert highest.forwards + highest.queries >= 0.95 * (most.forwards + most.queries), (highest, most)


LOOSE = {
    "orthogonal-pgd",  # half of it is what a detector takes
    "cw-l0",
    "cw-l2",
    "cw-linf",
    "ead",
    "curls-whey",
    "gfcs",
    "lbfgs",
    "p-rgf",
    "jsma",
    "deepfool",
    "superdeepfool",
    "fab",
    "fab-t",
    "ensemble",
    "pointwise",
}
"""Attacks that end early where nothing comes of them."""


def test_the_ladder_of_the_ensemble_counts_in_full() -> None:
    """9 + 21 + 9 x 6 + 5 x 21 + 3 x 31 + 5 x 51."""
    attack = make_attack("ensemble", {})
    assert attack.most(Task(Norm.LINF, 0.1, 10, 784)) == Cost.gradients(537)
    assert attack.most(Task(Norm.LINF, 0.1, 10, 784, targeted=True)) == Cost.gradients(201)


@pytest.mark.parametrize(("eps", "count"), [(1 / 255, 2), (4 / 255, 5), (8 / 255, 10), (16 / 255, 20), (64 / 255, 68)])
def test_the_steps_of_bim_follow_the_radius(eps: float, count: int) -> None:
    for name in ("bim", "ilcm"):
        assert make_attack(name, {}).most(Task(Norm.LINF, eps, 10, 784)) == Cost.gradients(count + 1)


def test_a_map_of_jsma_counts_for_each_feature() -> None:
    attack = make_attack("jsma", {})
    for eps in (1, 20, 1000):
        most = attack.most(Task(Norm.L0, eps, 10, 784))
        assert most is not None
        assert most.forwards == min(eps, math.floor(0.145 * 784)) + 3


def test_every_attack_of_every_profile_declares_what_it_needs() -> None:
    silent = [name for name in CASES if attack_classes()[name].most is SlotAttack.most]
    black_box = {name for name in CASES if attack_classes()[name].access in (Access.SCORES, Access.LABELS)}
    hybrids = {name for name in black_box if attack_classes()[name].prior}
    assert set(silent) == black_box - hybrids  # which declare their queries
    assert hybrids == {"bases", "curls-whey", "gfcs", "p-rgf", "prior-rays"}
    fronts = plan_fronts(load_profile("union"), TargetTraits(10, (3, 32, 32)))
    costs = {p.key: most_of_sample(f, p, 10, (3, 32, 32)) for f in fronts for p in f.attacks() if p.status == "ready"}
    assert None not in costs.values()
    assert {key.partition("/")[0] for key in costs} == {"linf", "l2", "l1", "l0"}


def test_one_that_cannot_say_is_unknown_and_a_budget_of_the_threat_model_counts() -> None:
    attack = make_attack("pgd", {"steps": 3})
    assert SlotAttack.most(attack, Task(Norm.LINF, 0.1, 10, 784)) is None
    profile = load_profile("standard")
    threat = profile.threat.model_copy(update={"queries": 50})
    [front] = plan_fronts(profile.model_copy(update={"threat": threat}), TargetTraits(10, (3, 8, 8)))
    square = next(p for p in front.plan if p.attack.id == "square")
    cost = most_of_sample(front, square, 10, (3, 8, 8))
    assert cost is not None
    assert cost.queries <= 50
    eot = profile.model_copy(update={"attacks": (AttackSpec.model_validate({"id": "pgd", "steps": 3, "eot": 5}),)})
    [planned] = plan_attacks(eot, TargetTraits(10, (3, 8, 8)))
    assert most_of_sample(dataclasses.replace(front, plan=[planned]), planned, 10, (3, 8, 8)) == Cost.gradients(20)
