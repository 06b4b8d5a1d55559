"""Expectation over transformation and stand-ins for a gradient that is missing."""

from __future__ import annotations

import pytest
import torch
from models import FakeFile, attack_all, boundary_model, samples_for
from torch import Tensor, nn

from robaudit.attacks.registry import make_attack
from robaudit.engine.models import StandIn
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm


class Stairs(nn.Module):
    """Rounds its input to a grid: right answers, no gradient."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, u: Tensor) -> Tensor:
        return self.inner((u * 64).round() / 64)


class Noisy(nn.Module):
    """Multiplies each gradient's features with random signs, most of them right; the value stays."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.rng = torch.Generator().manual_seed(0)

    def forward(self, u: Tensor) -> Tensor:
        flip = torch.where(torch.rand(u.shape, generator=self.rng) < 0.45, -1.0, 1.0).to(u)
        return self.inner(u.detach() + (u - u.detach()) * flip)


def test_a_stand_in_gives_the_values_of_the_target_and_its_own_gradient() -> None:
    plain = boundary_model((6,))
    stairs = Stairs(plain.module)
    u = torch.rand(3, 6, dtype=torch.float64, requires_grad=True)
    logits = StandIn(stairs, plain).logits(u)
    assert torch.equal(logits, stairs(u))
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), u)
    assert torch.equal(gradient, plain.module.weight[0].expand(3, 6))


def test_a_stand_in_breaks_what_has_no_gradient() -> None:
    plain = boundary_model((1, 6, 6))
    stairs = FakeFile(Stairs(plain.module), 2, plain.shape)
    samples = samples_for(stairs, 8)
    attack, threat = make_attack("pgd", {"steps": 10}), ThreatModel(Norm.LINF, 0.2)
    alone = attack_all(stairs, attack, threat, samples)
    helped = attack_all(stairs, attack, threat, samples, differentiable=StandIn(stairs.module, plain))
    assert sum(r.success for r in alone.values()) < 8
    assert all(r.success for r in helped.values())


@pytest.mark.parametrize(("name", "fields"), [("pgd", {"steps": 1, "random_start": False}), ("deepfool", {})])
def test_draws_are_averaged_and_billed(name: str, fields: dict) -> None:
    plain = boundary_model((1, 8, 8))
    noisy = FakeFile(Noisy(plain.module), 2, plain.shape)
    samples = samples_for(noisy, 12)
    attack, threat = make_attack(name, fields), ThreatModel(Norm.L2, 1e-3)
    one = attack_all(noisy, attack, threat, samples)
    before = noisy.forward_rows
    many = attack_all(noisy, attack, threat, samples, draws=16)
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
    found = {n: sum(r.success for r in attack_all(noisy, attack, threat, samples, draws=n).values()) for n in (1, 200)}
    assert found[200] > found[1]
