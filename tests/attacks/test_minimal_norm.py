"""ddn, fmn, pdpgd, sigma-zero: known optima at every batch size, targets, and inputs where nothing can be done."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from attack_cases import CASES
from models import FakeFile, Linear, attack_all, closed_form, linear, network, samples_for

from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

NAMES = ("ddn", "fmn", "pdpgd", "sigma-zero")
BY_NORM = [(name, norm) for name in NAMES for norm in sorted(attack_classes()[name].norms)]


def attack(name: str, **more):
    return make_attack(name, CASES[name].parameters | CASES[name].optimum_parameters | more)


def smallest(norm: Norm, **more) -> ThreatModel:
    return ThreatModel(norm, 1e6, minimal=True, **more)


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
@pytest.mark.parametrize("slots", [1, 3, 8, 64])
def test_optimum_of_a_linear_model_of_many_classes(name: str, norm: Norm, slots: int) -> None:
    """At most 1.05 of the distance to the boundary of the class reached, and in the median to the nearest one."""
    target = linear((1, 5, 6), 6, seed=3)
    reach = {Norm.L0: 4, Norm.L1: 0.3}.get(norm, 0.1)
    samples = [s for s in samples_for(target, 60) if closed_form(target, s, norm) < reach][: 3 if slots == 1 else 10]
    assert len(samples) >= 3
    results = attack_all(target, attack(name), smallest(norm), samples, slots=slots)
    over = []
    for sample in samples:
        result = results[sample.index]
        two = dataclasses.replace(sample, clean=np.where(np.isin(range(6), [sample.label, result.prediction]), 1, -1e9))
        two.clean[[sample.label, result.prediction]] = sample.clean[[sample.label, result.prediction]]
        own, nearest = closed_form(target, two, norm), closed_form(target, sample, norm)
        if norm is Norm.L0:
            assert own <= result.distance <= own + 1
            over.append(result.distance <= nearest + 1)
        else:
            assert own * 0.9999 <= result.distance <= own * 1.05
            over.append(result.distance <= nearest * 1.05)
    assert np.mean(over) > 0.5


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_a_target_is_reached_and_nothing_else_counts(name: str, norm: Norm) -> None:
    target = network((1, 4, 5), 4)
    samples = [dataclasses.replace(s, goal=(s.label + 1) % 4) for s in samples_for(target, 8)]
    results = attack_all(target, attack(name), smallest(norm, goal=Goal.TARGETED), samples)
    reached = [s for s in samples if results[s.index].success]
    assert len(reached) >= 6
    assert all(results[s.index].prediction == s.goal for s in reached)


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_a_flat_model_gives_no_success_and_no_error(name: str, norm: Norm) -> None:
    """Zero gradients everywhere: each of the 20 evaluations, and those beside it, looks for a rival with a slope."""
    flat = FakeFile(Linear(torch.zeros(3, 6), torch.tensor([1.0, 0.0, 0.0])), 3, (6,))
    results = attack_all(flat, attack(name, steps=20), smallest(norm), samples_for(flat, 2))
    assert all(
        not r.success and r.error is None and 1.5 * r.forwards == r.backwards >= 20 * 3 for r in results.values()
    )


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_a_sample_next_to_the_boundary_in_a_corner_of_the_box(name: str, norm: Norm) -> None:
    """Half of the features can only move one way; one class is a hair better at the sample."""
    generator = torch.Generator().manual_seed(4)
    w = torch.randn(12, generator=generator, dtype=torch.float64)
    corner = (torch.arange(12) % 2).double()
    model = FakeFile(Linear(torch.stack([w, -w]), torch.tensor([-(w @ corner) + 1e-6, w @ corner])), 2, (12,))
    sample = dataclasses.replace(
        samples_for(model, 1)[0], u=corner.numpy(), label=0, clean=model.scores(corner[None])[0].numpy()
    )
    (result,) = attack_all(model, attack(name), smallest(norm), [sample]).values()
    assert result.success
    assert result.prediction == 1
    assert result.distance <= (1 if norm is Norm.L0 else 1e-4)
    assert result.point.min() >= 0
    assert result.point.max() <= 1


@pytest.mark.parametrize("name", ["ddn", "fmn", "pdpgd"])
def test_polishing_spends_no_more_and_ends_nearer(name: str) -> None:
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 12)
    steps = 200 if name == "pdpgd" else 60
    found = {}
    for polish in (0, 10):
        results = attack_all(target, make_attack(name, {"steps": steps, "polish": polish}), smallest(Norm.L2), samples)
        assert all(r.backwards == steps for r in results.values())
        found[polish] = np.array([results[s.index].distance for s in samples])
    assert found[10].sum() < found[0].sum()


@pytest.mark.parametrize("name", NAMES)
def test_ends_at_a_success_in_the_ball_unless_smallest_distances_are_sought(name: str) -> None:
    target = network((1, 5, 5), 3)
    samples = samples_for(target, 6)
    norm = Norm.L0 if name == "sigma-zero" else Norm.L2
    eps = 25.0 if norm is Norm.L0 else 2.0
    early = attack_all(target, make_attack(name, {"steps": 40}), ThreatModel(norm, eps), samples)
    late = attack_all(target, make_attack(name, {"steps": 40}), ThreatModel(norm, eps, minimal=True), samples)
    assert all(r.success and r.backwards < 40 for r in early.values())
    assert all(r.success and r.backwards == 40 for r in late.values())
    assert all(late[i].distance <= early[i].distance for i in late)
