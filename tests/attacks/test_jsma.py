from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from models import FakeFile, Linear, attack_all, linear, network, samples_for

from robaudit.attacks.registry import make_attack
from robaudit.attacks.whitebox.jsma import CANDIDATES, best_pair
from robaudit.engine.units import Sample
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm


def every_pair(gain: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
    gains, losses = gain[:, :, None] + gain[:, None], loss[:, :, None] + loss[:, None]
    values = torch.where((gains > 0) & (losses > 0), gains * losses, 0.0)
    diagonal = torch.eye(gain.shape[1], dtype=torch.bool)
    return values.masked_fill(diagonal, 0.0).flatten(1).amax(1)


@pytest.mark.parametrize("count", [2, 9, CANDIDATES, 900])
@pytest.mark.parametrize("correlation", [-0.95, -0.5, 0.0, 0.8])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_the_best_pair_is_found_without_looking_at_all(count: int, correlation: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(count)
    gain, other = torch.randn(2, 24, count, generator=generator, dtype=torch.float64)
    loss = (correlation * gain + (1 - correlation**2) ** 0.5 * other) * scale
    closed = torch.rand(gain.shape, generator=generator) < 0.2
    gain, loss = gain.masked_fill(closed, float("-inf")), loss.masked_fill(closed, float("-inf"))
    pair, value = best_pair(gain, loss)
    torch.testing.assert_close(value, every_pair(gain, loss))
    gains, losses = gain.gather(1, pair).sum(1), loss.gather(1, pair).sum(1)
    found = value > 0
    torch.testing.assert_close((gains * losses)[found], value[found])
    assert bool((pair[:, 0] != pair[:, 1])[found].all())


def test_no_pair_where_nothing_helps() -> None:
    _, value = best_pair(-torch.ones(3, 5), torch.ones(3, 5))
    assert value.tolist() == [0.0] * 3


def greedy_optimum(target: FakeFile, sample) -> int:
    """Fewest features that change a two-class linear model's answer."""
    weight, u = target.module.weight, torch.from_numpy(sample.u).flatten()
    slope = weight[1 - sample.label] - weight[sample.label]
    gains = (slope.clamp_min(0) * (1 - u) - slope.clamp_max(0) * u).sort(descending=True).values.cumsum(0)
    return int((gains <= float(sample.clean[sample.label] - sample.clean[1 - sample.label])).sum()) + 1


def fewest_features(target: FakeFile, sample: Sample) -> int:
    """Of a linear model, to the sample's goal or to any other class, where a lead over the label is enough."""
    weight, u = target.module.weight, torch.from_numpy(sample.u).flatten()
    found = []
    for k in range(len(weight)) if sample.goal < 0 else [sample.goal]:
        if k != sample.label:
            slope = weight[k] - weight[sample.label]
            gains = (slope.clamp_min(0) * (1 - u) - slope.clamp_max(0) * u).sort(descending=True).values.cumsum(0)
            found.append(int((gains <= float(sample.clean[sample.label] - sample.clean[k])).sum()) + 1)
    return min(found)


@pytest.mark.parametrize("slots", [1, 3, 8, 64])
def test_linear_models_fall_to_few_features(slots: int) -> None:
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(64, generator=generator, dtype=torch.float64)
    weight = torch.stack([w, -w])
    target = FakeFile(Linear(weight, -weight.sum(1) / 2), 2, (1, 8, 8))
    samples = samples_for(target, 12)
    threat = ThreatModel(Norm.L0, 64, minimal=True)
    results = attack_all(target, make_attack("jsma", {"gamma": 1.0}), threat, samples, slots=slots)
    excess = [results[s.index].distance / greedy_optimum(target, s) for s in samples]
    assert min(excess) >= 1
    assert np.median(excess) <= 2  # logits that mirror each other: the steepest features, whatever their room


def test_directions_and_the_limit_of_features() -> None:
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 8)
    for direction, sign in (("up", 1), ("down", -1)):
        found = attack_all(
            target, make_attack("jsma", {"direction": direction, "gamma": 1.0}), ThreatModel(Norm.L0, 36), samples
        )
        assert any(r.success for r in found.values())
        for sample in samples:
            if found[sample.index].success:
                change = found[sample.index].point - sample.u
                assert (change * sign >= 0).all()
                assert set(np.round(found[sample.index].point[change != 0], 9)) <= {0.0, 1.0}
    limited = attack_all(target, make_attack("jsma", {"gamma": 0.12}), ThreatModel(Norm.L0, 36), samples)
    assert all(r.distance is None or r.distance <= 4 for r in limited.values())
    assert all(r.forwards <= 4 * 4 for r in limited.values())


def test_small_steps_add_up() -> None:
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 6)
    whole = attack_all(target, make_attack("jsma", {}), ThreatModel(Norm.L0, 36), samples)
    small = attack_all(target, make_attack("jsma", {"theta": 0.1}), ThreatModel(Norm.L0, 36), samples)
    assert sum(r.success for r in small.values()) >= sum(r.success for r in whole.values()) - 1
    assert sum(r.forwards for r in small.values()) > sum(r.forwards for r in whole.values())


def test_flat_models_and_single_features_end() -> None:
    flat = FakeFile(Linear(torch.zeros(3, 4), torch.tensor([1.0, 0.0, 0.0])), 3, (4,))
    results = attack_all(flat, make_attack("jsma", {}), ThreatModel(Norm.L0, 4), samples_for(flat, 3))
    # each of the four evaluations, and three beside the sample for its flat gradient
    assert all(not r.success and r.error is None and r.forwards == 16 for r in results.values())
    single = linear((1,), 2)
    samples = samples_for(single, 6)
    results = attack_all(single, make_attack("jsma", {}), ThreatModel(Norm.L0, 1), samples)
    assert all(r.success for r in results.values())


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("budget", [1, 3])
def test_an_odd_budget_is_used_to_the_last_feature(budget: int, targeted: bool) -> None:
    """A linear model whose greedy optimum is the budget falls to it."""
    target = linear((1, 12, 12), 2, seed=3)
    samples = samples_for(target, 60, seed=5)
    if targeted:
        samples = [dataclasses.replace(s, goal=1 - s.label) for s in samples]
    goal = Goal.TARGETED if targeted else Goal.UNTARGETED
    fewest = {s.index: fewest_features(target, s) for s in samples}
    falls = [s for s in samples if fewest[s.index] == budget]
    assert len(falls) >= 3
    attack = make_attack("jsma", {"gamma": 1.0})
    within = attack_all(target, attack, ThreatModel(Norm.L0, budget, goal=goal), samples)
    assert all(within[s.index].distance is None or within[s.index].distance <= budget for s in samples)
    assert not any(within[s.index].success for s in samples if fewest[s.index] > budget)
    if budget == 1:
        assert all(within[s.index].success for s in falls)
        assert all(r.forwards <= 2 for r in within.values())
    else:
        assert any(within[s.index].distance == budget for s in samples)


def test_small_steps_go_on_with_the_one_feature_that_may_change() -> None:
    target = linear((1, 4, 4), 2, seed=3)
    samples = [s for s in samples_for(target, 60, seed=5) if fewest_features(target, s) == 1]
    threat = ThreatModel(Norm.L0, 1)
    results = attack_all(target, make_attack("jsma", {"theta": 0.1}), threat, samples)
    assert sum(r.success for r in results.values()) >= len(samples) // 2
    assert all(r.distance is None or r.distance == 1 for r in results.values())


@pytest.mark.parametrize("saliency", ["label", "target", "others"])
def test_every_saliency_map_leads_across(saliency: str) -> None:
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 6)
    attack = make_attack("jsma", {"saliency": saliency, "gamma": 1.0})
    results = attack_all(target, attack, ThreatModel(Norm.L0, 36), samples)
    assert sum(r.success for r in results.values()) >= 5
    rows = 2 if saliency == "others" else 1
    assert all(r.backwards == rows * r.forwards for r in results.values())
