"""A class that the model rules out with -inf changes nothing: no loss, no attack, no judgement."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from attack_cases import BY_NORM, CASES, EPS
from models import FakeFile, attack_all, network, samples_for

from robaudit.attacks.registry import make_attack
from robaudit.threat.losses import LOSSES, loss_unsuited
from robaudit.threat.masked import floored
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm


class Masked(torch.nn.Module):
    """Two more classes, copies of those of the model, masked off as a file does: by adding -inf."""

    def __init__(self, inner: torch.nn.Module, mask: float = -math.inf) -> None:
        super().__init__()
        self.inner, self.mask = inner, mask

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        logits = self.inner(u)
        return torch.cat([logits, logits[:, :2] + self.mask], 1)


def with_masked(name: str, norm: Norm) -> tuple[set[int], set[int]]:
    """Samples broken without, and with the masked classes."""
    plain = network((1, 4, 4), 5)
    masked = FakeFile(Masked(plain.module), 7, plain.shape)
    attack = make_attack(name, CASES[name].parameters)
    threat = ThreatModel(norm, EPS[norm] * (1 if norm is Norm.L0 else 2))
    found = []
    for target in (plain, masked):
        results = attack_all(target, attack, threat, samples_for(target, 10), surrogates=target)
        assert [r.error for r in results.values()] == [None] * 10
        found.append({i for i, r in results.items() if r.success})
    return found[0], found[1]


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_masked_classes_change_nothing_that_an_attack_breaks(name: str, norm: Norm) -> None:
    plain, masked = with_masked(name, norm)
    assert masked == plain


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("left", [5, 4, 3, 2])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_and_slopes_are_those_without_the_masked_classes(name: str, left: int, targeted: bool) -> None:
    if name == "dlr-targeted" and not targeted:
        return
    logits = torch.randn(30, left, generator=torch.Generator().manual_seed(left), dtype=torch.float64)
    label = torch.arange(30) % left
    target_class = (label + 1) % left if targeted else torch.full_like(label, -1)
    whole = torch.cat([logits, torch.full((30, 2), -math.inf, dtype=torch.float64)], 1).requires_grad_()
    value = LOSSES[name](whole, label, target_class)
    (slope,) = torch.autograd.grad(value.sum(), whole)
    assert bool(value.isfinite().all())
    assert bool(slope.isfinite().all())
    assert not bool(slope[:, left:].any())
    if loss_unsuited(name, left):
        # of two classes the ratio is nothing; its numerator is the margin
        name = "margin" if name == "dlr" else "dlr"
        if loss_unsuited(name, left):
            name = "margin"
    alone = logits.clone().requires_grad_()
    expected = LOSSES[name](alone, label, target_class)
    (expected_slope,) = torch.autograd.grad(expected.sum(), alone)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope[:, :left], expected_slope)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_nothing_but_the_label_left_is_finite_too(name: str) -> None:
    logits = torch.full((3, 5), -math.inf)
    logits[:, 2] = 4.0
    logits.requires_grad_()
    label, target_class = torch.tensor([2, 2, 0]), torch.tensor([3, 0, 2])
    value = LOSSES[name](logits, label, target_class)
    (slope,) = torch.autograd.grad(value.sum(), logits)
    assert bool(value.isfinite().all())
    assert bool(slope.isfinite().all())


def test_the_floor_lies_below_all_and_leaves_the_rest() -> None:
    logits = torch.tensor([[1.0, -math.inf, -50.0], [math.nan, -math.inf, 0.0], [-math.inf, 3e38, -math.inf]])
    found = floored(logits)
    assert found[0].tolist() == [1.0, -1e4 * 51, -50.0]
    assert found[2, 1] == logits[2, 1]
    assert bool(found[2].isfinite().all())
    assert bool(found[1, 0].isnan())


@pytest.mark.parametrize("mask", [-math.inf, -1e9, -1e4, torch.finfo(torch.float32).min])
@pytest.mark.parametrize("name", ["ensemble", "apgd-t", "apgd-dlr", "fab", "square"])
def test_large_negative_masks_are_no_obstacle(name: str, mask: float) -> None:
    plain = network((1, 4, 4), 5)
    masked = FakeFile(Masked(plain.module, mask), 7, plain.shape, torch.float32)
    attack = make_attack(name, CASES[name].parameters)
    results = attack_all(masked, attack, ThreatModel(Norm.LINF, 0.2), samples_for(masked, 10))
    assert sum(r.success for r in results.values()) == 10


@pytest.mark.parametrize("name", ["fmn", "pgd", "deepfool"])
def test_twins_of_classes_beside_masked_ones_are_seen_through(name: str) -> None:
    inner = network((1, 4, 4), 3)

    class Twins(torch.nn.Module):
        def __init__(self, mask: float | None) -> None:
            super().__init__()
            self.inner, self.mask = inner.module, mask

        def forward(self, u: torch.Tensor) -> torch.Tensor:
            logits = self.inner(u)
            logits = torch.cat([logits, logits * (1 + 2**-20) - 0.01], 1)
            more = [] if self.mask is None else [logits[:, :4] + self.mask]
            return torch.cat([logits, *more], 1)

    attack = make_attack(name, {"loss": "margin"} if name == "pgd" else {})
    broken = []
    for mask, classes in ((None, 6), (-math.inf, 10)):
        target = FakeFile(Twins(mask), classes, inner.shape, torch.float32)
        target.module.inner.to(torch.float32)
        results = attack_all(target, attack, ThreatModel(Norm.LINF, 0.2), samples_for(target, 8))
        broken.append(sum(r.success for r in results.values()))
    assert broken[0] == broken[1] == 8


def test_the_least_likely_class_can_be_reached() -> None:
    from problems import problem_of

    from robaudit.attacks.boundaries import rivals
    from robaudit.attacks.target_classes import least_likely

    plain = network((1, 4, 4), 4)
    problem = problem_of(FakeFile(Masked(plain.module), 6, plain.shape), 9)
    assert bool((least_likely(problem) < 4).all())
    found = rivals(problem, 5)
    assert not bool((found == problem.label[:, None]).any())
    assert set(found[:, 3:].flatten().tolist()) == {4, 5}
    none = dataclasses.replace(problem, clean=torch.full_like(problem.clean, -math.inf))
    assert not bool((least_likely(none) == none.label).any())
