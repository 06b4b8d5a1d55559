"""Estimates of gradients that lean towards a surrogate's."""

from __future__ import annotations

import pytest
import torch
from models import FakeFile, Linear, attack_all, linear, network, samples_for

from robaudit.attacks.hybrid.p_rgf import leaning
from robaudit.attacks.registry import make_attack
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm

ATTACK = make_attack("p-rgf", {"queries": 300, "samples": 10})


def quality(share: float, cosine: float, features: int, samples: int) -> float:
    """Expected squared cosine of gradient and estimate, counted out, where directions lean by a share to the prior."""
    generator = torch.Generator().manual_seed(0)
    gradient, prior = torch.zeros(features, dtype=torch.float64), torch.zeros(features, dtype=torch.float64)
    prior[0] = 1.0
    gradient[0], gradient[1] = cosine, (1 - cosine**2) ** 0.5
    across = torch.randn(1500, samples, features, generator=generator, dtype=torch.float64)
    across[..., 0] = 0
    across /= across.norm(dim=2, keepdim=True)
    ways = share**0.5 * prior + (1 - share) ** 0.5 * across
    estimate = ((ways @ gradient)[..., None] * ways).sum(1)
    return float(((estimate @ gradient) / estimate.norm(dim=1)).square().mean())


def test_the_lean_is_the_one_that_points_best() -> None:
    for cosine in (0.05, 0.2, 0.25, 0.5):
        chosen = float(leaning(torch.tensor([cosine]), 40, 10))
        best = quality(chosen, cosine, 40, 10)
        assert best >= max(quality(share / 20, cosine, 40, 10) for share in range(21)) - 0.01
    assert leaning(torch.tensor([0.0, 0.01, 0.9, 1.0]), 40, 10).tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_with_the_target_for_a_surrogate_no_estimate_is_made(norm: Norm) -> None:
    """Each step costs the prior's probe and itself; ten probes tell the gradient's length at the first and fourth."""
    target = linear((12,), 2)
    threat = ThreatModel(norm, {Norm.LINF: 0.2, Norm.L2: 0.6}[norm])
    attack = make_attack("p-rgf", {"queries": 300, "norms_of": 200, "samples": 1, "loss": "margin"})
    found = attack_all(target, attack, threat, samples_for(target, 8), surrogates=target)
    fell = [result for result in found.values() if result.success]
    assert len(fell) >= 3
    # 63 of 200 probes fit into a request
    assert all(result.queries <= 2 * 10 + 2 * 63 for result in fell)


def test_a_surrogate_that_points_the_wrong_way_is_followed_backwards() -> None:
    target = linear((12,), 2)
    wrong = FakeFile(Linear(-target.module.weight.detach(), -target.module.bias.detach()), 2, (12,))
    samples, threat = samples_for(target, 8), ThreatModel(Norm.LINF, 0.3)
    right = attack_all(target, ATTACK, threat, samples, surrogates=target)
    found = attack_all(target, ATTACK, threat, samples, surrogates=wrong)
    assert sum(result.success for result in right.values()) >= 4
    assert {i for i in right if right[i].success} == {i for i in found if found[i].success}


def test_without_a_slope_to_lean_to_it_estimates_alone() -> None:
    target = network((1, 6, 6), 4)
    flat = FakeFile(Linear(torch.zeros(4, 36), torch.tensor([1.0, 0.0, 0.0, 0.0])), 4, (1, 6, 6))
    found = attack_all(target, ATTACK, ThreatModel(Norm.L2, 0.4), samples_for(target, 8), surrogates=flat)
    assert any(result.success and result.queries > 20 for result in found.values())
