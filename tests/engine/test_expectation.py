"""Expectation over transformation."""

from __future__ import annotations

import pytest
import torch
from models import FakeFile, attack_all, boundary_model, samples_for
from torch import Tensor, nn

from robaudit.attacks.registry import make_attack
from robaudit.attacks.requests import How
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm


class Noisy(nn.Module):
    """Multiplies each gradient's features with random signs, most of them right; the value stays."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.rng = torch.Generator().manual_seed(0)

    def forward(self, u: Tensor) -> Tensor:
        flip = torch.where(torch.rand(u.shape, generator=self.rng) < 0.45, -1.0, 1.0).to(u)
        return self.inner(u.detach() + (u - u.detach()) * flip)


@pytest.mark.parametrize(("name", "fields"), [("pgd", {"steps": 1, "random_start": False}), ("deepfool", {})])
def test_draws_are_averaged_and_billed(name: str, fields: dict) -> None:
    plain = boundary_model((1, 8, 8))
    noisy = FakeFile(Noisy(plain.module), 2, plain.shape)
    samples = samples_for(noisy, 12)
    attack, threat = make_attack(name, fields), ThreatModel(Norm.L2, 1e-3)
    one = attack_all(noisy, attack, threat, samples)
    before = noisy.forward_rows
    many = attack_all(noisy, attack, threat, samples, how=How(copies=16))
    assert noisy.forward_rows - before == sum(r.forwards for r in many.values())
    if name == "pgd":
        assert all(many[i].forwards == 16 * one[i].forwards for i in one)
        assert all(many[i].backwards == 16 * one[i].backwards for i in one)


def test_an_average_of_draws_finds_what_one_draw_misses() -> None:
    plain = boundary_model((1, 8, 8))
    noisy = FakeFile(Noisy(plain.module), 2, plain.shape)
    samples = samples_for(noisy, 20)
    attack = make_attack("pgd", {"steps": 1, "random_start": False, "step_size": 1.0})
    gaps = [abs(float(s.clean[0] - s.clean[1])) / float((2 * plain.module.weight[0]).norm()) for s in samples]
    threat = ThreatModel(Norm.L2, 1.5 * max(gaps))
    found = {}
    for count in (1, 200):
        results = attack_all(noisy, attack, threat, samples, how=How(copies=count))
        found[count] = sum(r.success for r in results.values())
    assert found[200] > found[1]
