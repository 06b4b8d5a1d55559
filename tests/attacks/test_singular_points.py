"""Samples at which the model answers but has no gradient, or one of zero: every attack leaves the point and goes on."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from attack_cases import BY_NORM, CASES
from models import FakeFile, attack_all, samples_for

from robaudit.attacks.registry import make_attack
from robaudit.engine.units import Sample
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm

SHAPE = (1, 4, 4)
EPS = {Norm.LINF: 0.3, Norm.L2: 0.8, Norm.L1: 3.0, Norm.L0: 8.0}


class Prototypes(torch.nn.Module):
    """Minus the distance to each prototype; ``cusp``: its root, whose slope at a prototype is 0 times infinite."""

    def __init__(self, *, cusp: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.centres = torch.nn.Parameter(0.2 + 0.6 * torch.rand(4, 16, generator=generator, dtype=torch.float64))
        self.cusp = cusp

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        squares = (u.flatten(1)[:, None] - self.centres).square().sum(2)
        return -squares.sqrt() if self.cusp else -squares


def target_of(cusp: bool) -> FakeFile:
    return FakeFile(Prototypes(cusp=cusp), 4, SHAPE)


def at_prototypes(target: FakeFile) -> list[Sample]:
    """Samples in the very places of the prototypes."""
    found = []
    for place, sample in enumerate(samples_for(target, 4)):
        u = target.module.centres[place].reshape(SHAPE)
        scores = target.scores(u[None])[0].numpy()
        found.append(dataclasses.replace(sample, u=u.detach().numpy(), label=place, clean=scores))
    return found


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_an_attack_that_begins_where_there_is_no_gradient_goes_on(name: str, norm: Norm) -> None:
    broken = []
    for cusp in (False, True):
        target = target_of(cusp)
        attack = make_attack(name, CASES[name].parameters)
        results = attack_all(target, attack, ThreatModel(norm, EPS[norm]), at_prototypes(target), surrogates=target)
        assert [r.error for r in results.values()] == [None] * 4
        broken.append(sum(r.success for r in results.values()))
    assert broken[1] >= broken[0]
    assert broken[1] > 0


def test_where_no_gradient_is_anywhere_the_unit_alone_ends_with_the_reason() -> None:
    class Nowhere(torch.nn.Module):
        """Finite, with a slope of 0 times infinite below a bound."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = Prototypes(cusp=False)

        def forward(self, u: torch.Tensor) -> torch.Tensor:
            flat = u.flatten(1)
            lost = (flat[:, :1] - flat[:, :1]).sqrt()
            return self.inner(u) + torch.where(flat[:, :1] < 0.4, lost, 0.0) * torch.arange(4)

    target = FakeFile(Nowhere(), 4, SHAPE)
    samples = [s for s in samples_for(target, 20) if not 0.35 < s.u.flat[0] < 0.5]
    lost = {s.index for s in samples if s.u.flat[0] < 0.4}
    assert 0 < len(lost) < len(samples)
    results = attack_all(target, make_attack("bim", {}), ThreatModel(Norm.LINF, 0.05), samples)
    assert {i for i, r in results.items() if r.error} == lost
    assert all("not finite" in results[i].error for i in lost)
