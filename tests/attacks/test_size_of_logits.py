"""Attacks on a model whose logits are multiplied or shifted: its answers stay the same."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch
from attack_cases import BY_NORM, CASES
from models import FakeFile, attack_all, linear, network, samples_for
from torch import Tensor

from robaudit.attacks.registry import make_attack
from robaudit.attacks.requests import How
from robaudit.attacks.units import unit_of
from robaudit.engine.units import Sample
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm

RADIUS = {Norm.LINF: 0.05, Norm.L2: 0.25, Norm.L1: 1.0, Norm.L0: 3.0}
SOFT = {"apgd-ce", "bim", "daa", "mi-fgsm", "pgd", "r-fgsm", "fgsm", "cw-l0"}
SOFT |= {f"transfer-{name}" for name in ("mi-fgsm", "ni-fgsm", "vmi-fgsm", "vni-fgsm", "mef")}
SOFT |= {"bandits", "nes", "one-pixel", "signhunter", "simba", "curls-whey"}
"""Climb the cross-entropy of several rivals, which it weighs by the size of the logits; cw-l0 freezes by small gaps."""
AWAY = {"fgsm-ll", "ilcm"}
"""Aim at the least likely class: small logits keep all rivals in the way, large ones the likeliest alone."""


class Resized(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module, factor: float, shift: float) -> None:
        super().__init__()
        self.inner, self.factor, self.shift = inner, factor, shift

    def forward(self, u: Tensor) -> Tensor:
        return self.inner(u) * self.factor + self.shift


def resized(factor: float, shift: float, dtype: torch.dtype) -> tuple[FakeFile, list[Sample]]:
    plain = network((1, 6, 6), 5)
    target = FakeFile(Resized(plain.module, factor, shift), 5, plain.shape, dtype)
    once = FakeFile(Resized(plain.module, 1.0, 0.0), 5, plain.shape, dtype)
    samples = samples_for(once, 10)
    clean = target.scores(torch.stack([torch.from_numpy(s.u) for s in samples]))
    return target, [dataclasses.replace(s, clean=z.numpy()) for s, z in zip(samples, clean, strict=True)]


@functools.lru_cache
def fallen(name: str, norm: Norm, factor: float, shift: float, dtype: torch.dtype) -> frozenset[int]:
    target, samples = resized(factor, shift, dtype)
    attack = make_attack(name, CASES[name].parameters)
    results = attack_all(target, attack, ThreatModel(norm, RADIUS[norm]), samples, surrogates=target)
    return frozenset(i for i, r in results.items() if r.success)


@pytest.mark.parametrize(("factor", "shift"), [(1e4, 0.0), (1e-6, 0.0), (1.0, 1e4)])
@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_the_size_of_the_logits_decides_nothing(name: str, norm: Norm, factor: float, shift: float) -> None:
    dtype = torch.float64 if shift else torch.float32  # at 1e4 float32 tells no logits apart below 0.001
    plain = fallen(name, norm, 1.0, 0.0, dtype)
    found = fallen(name, norm, factor, shift, dtype)
    if name in SOFT:
        assert len(plain - found) <= 1
    elif name in AWAY and not shift:
        assert factor < 1 or len(found) >= len(plain)
    else:
        assert found == plain


@pytest.mark.parametrize("loss", ["ce", "log-odds", "margin", "dlr", "houdini", "probability-margin"])
@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "mi-fgsm", "apgd-ce"])
def test_every_loss_sees_a_linear_model_however_sure_it_is(name: str, loss: str) -> None:
    found = []
    for factor in (1.0, 1e4):
        plain = linear((1, 4, 4), 3, seed=4)
        target = FakeFile(Resized(plain.module, factor, 0.0), 3, plain.shape, torch.float32)
        samples = samples_for(target, 10)
        threat = ThreatModel(Norm.LINF, 0.15)
        results = attack_all(target, make_attack(name, CASES[name].parameters | {"loss": loss}), threat, samples)
        found.append(sum(r.success for r in results.values()))
    assert found[0] >= 6
    assert found[1] >= found[0] - (loss == "probability-margin")


def test_an_average_over_draws_does_not_vanish() -> None:
    plain = linear((1, 4, 4), 3, seed=4)
    target = FakeFile(Resized(plain.module, 1e4, 0.0), 3, plain.shape, torch.float32)
    samples = samples_for(target, 10)
    attack, threat = make_attack("pgd", {"steps": 10}), ThreatModel(Norm.LINF, 0.15)
    one, many = (attack_all(target, attack, threat, samples, how=How(copies=count)) for count in (1, 4))
    assert sum(r.success for r in one.values()) >= 6
    assert [r.success for _, r in sorted(many.items())] == [r.success for _, r in sorted(one.items())]


def test_the_usual_size_is_left_as_it_is() -> None:
    logits, none = torch.randn(20, 10) * 5, torch.zeros(20, 4)
    assert unit_of(logits, none).tolist() == [1.0] * 20
    for factor in (1e-6, 1e4):
        unit = unit_of(logits * factor, none + factor)
        assert torch.equal(unit.log2(), unit.log2().round())
        spread = (logits * factor * unit[:, None]).amax(1) - (logits * factor * unit[:, None]).kthvalue(3, 1).values
        assert bool(((spread > 8) & (spread < 32)).all())
    masked = logits.clone()
    masked[:, 3] = -1e9
    assert unit_of(masked, none).tolist() == [1.0] * 20
    assert bool(unit_of(torch.zeros(2, 10), none[:2]).isfinite().all())


def test_a_sample_beside_a_boundary_does_not_make_its_logits_small() -> None:
    near = torch.tensor([[1e-6, -1e-6], [3.0, -3.0]])
    assert unit_of(near, torch.ones(2, 3)).tolist() == [1.0, 1.0]
    assert unit_of(near, torch.full((2, 3), 1e-6))[0] > 1e5
