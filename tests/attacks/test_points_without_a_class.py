"""Points amid a search at which the model names no class: the search goes on, and the file still judges."""

from __future__ import annotations

import pytest
import torch
from attack_cases import BY_NORM, CASES
from models import FakeFile, attack_all, linear, samples_for
from torch import Tensor

from robaudit.attacks.registry import make_attack
from robaudit.engine.units import Sample, UnitResult
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm

SHAPE, CLASSES = (1, 4, 4), 4
EPS = {Norm.LINF: 0.09, Norm.L2: 0.45, Norm.L1: 1.8, Norm.L0: 2.0}
MOVE = {Norm.LINF: 0.09, Norm.L2: 0.05, Norm.L1: 0.05, Norm.L0: 0.3}
"""How far the first feature goes, about."""


class Band(torch.nn.Module):
    """A model that is 0/0, or infinite, where the first feature has moved between two distances from a sample."""

    def __init__(self, inner: torch.nn.Module, sample: Sample, low: float, high: float, *, infinite: bool) -> None:
        super().__init__()
        self.inner, self.low, self.high, self.infinite = inner, low, high, infinite
        self.first = float(sample.u.flat[0])

    def forward(self, u: Tensor) -> Tensor:
        moved = (u.flatten(1)[:, :1] - self.first).abs()
        outside = ((moved <= self.low) | (moved >= self.high)).to(u.dtype)
        return self.inner(u) / outside if self.infinite else self.inner(u) * (outside / outside)


def attacked(
    name: str, norm: Norm, sample: Sample, band: tuple[float, float] | None, *, infinite: bool = False
) -> UnitResult:
    plain = linear(SHAPE, CLASSES)
    share = MOVE[norm]
    module = plain.module
    if band is not None:
        module = Band(module, sample, band[0] * share, band[1] * share, infinite=infinite)
    target = FakeFile(module, CLASSES, SHAPE)
    # a random walk loses probes to the band, and may need more of them
    more = {"queries": 1500} if name == "hopskipjump" else {}
    attack = make_attack(name, CASES[name].parameters | more)
    (result,) = attack_all(target, attack, ThreatModel(norm, EPS[norm]), [sample], surrogates=target).values()
    return result


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_what_lies_between_the_sample_and_the_boundary_is_passed(name: str, norm: Norm) -> None:
    samples = samples_for(linear(SHAPE, CLASSES), 12)[-4:]
    plain = [attacked(name, norm, sample, None).success for sample in samples]
    found = [attacked(name, norm, s, (0.4, 0.6), infinite=i % 2 == 0) for i, s in enumerate(samples)]
    assert [result.error for result in found] == [None] * 4
    assert [result.success for result in found] == plain


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "apgd-ce", "ensemble"])
def test_where_the_corner_of_the_ball_has_no_class_the_point_beside_it_is_judged(name: str) -> None:
    for sample in samples_for(linear(SHAPE, CLASSES), 3):
        assert attacked(name, Norm.LINF, sample, None).success
        found = attacked(name, Norm.LINF, sample, (0.97, 1.03))
        assert found.success
        assert found.point is not None
        assert not 0.97 < abs(found.point.flat[0] - sample.u.flat[0]) / EPS[Norm.LINF] < 1.03
        assert found.distance is not None
        assert found.distance <= EPS[Norm.LINF] + 1e-6


@pytest.mark.parametrize("name", ["bim", "pgd", "fab", "ddn", "square", "hopskipjump"])
def test_a_search_that_learns_nothing_of_most_points_is_no_sign_of_robustness(name: str) -> None:
    """Finite on the sample alone: nothing is broken, and nothing is shown to stand."""
    plain = linear(SHAPE, CLASSES)
    samples = samples_for(plain, 3)
    known = torch.stack([torch.from_numpy(s.u) for s in samples]).flatten(1)

    class Alone(torch.nn.Module):
        def forward(self, u: Tensor) -> Tensor:
            near = torch.cdist(u.flatten(1), known).amin(1, keepdim=True) < 1e-9
            return torch.where(near, plain.module(u), torch.nan)

    target = FakeFile(Alone(), CLASSES, SHAPE)
    norm = Norm.L2 if name == "ddn" else Norm.LINF
    attack = make_attack(name, CASES[name].parameters)
    results = attack_all(target, attack, ThreatModel(norm, EPS[norm]), samples, pool=False)
    assert not any(result.success for result in results.values())
    assert all("not finite at most of the points" in str(result.error) for result in results.values())


@pytest.mark.parametrize("queries", [1, 2, 3, 4, 8, 9])
def test_stand_ins_are_billed_and_keep_to_the_budget(queries: int) -> None:
    plain = linear(SHAPE, CLASSES)
    (sample,) = samples_for(plain, 1)
    target = FakeFile(Band(plain.module, sample, 1e-9, 0.08, infinite=False), CLASSES, SHAPE)
    attack = make_attack("square", {"queries": queries})
    (result,) = attack_all(target, attack, ThreatModel(Norm.LINF, 0.01), [sample]).values()
    assert result.queries == queries
    assert not result.success
