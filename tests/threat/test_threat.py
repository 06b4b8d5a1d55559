from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.threat.arrays import TOLERANCE
from robaudit.threat.losses import LOSSES, SLOPES, Loss, loss_unsuited
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm, distance
from robaudit.threat.projections import project
from robaudit.threat.random import Draws, key_of


def keys(count: int) -> torch.Tensor:
    return torch.tensor([key_of("test", i) for i in range(count)])


def test_draws_depend_on_key_step_and_purpose_alone() -> None:
    all_keys = keys(6)
    whole = Draws(all_keys).normal("a", 3, (2, 5))
    assert torch.equal(whole[2:4], Draws(all_keys[2:4]).normal("a", 3, (2, 5)))
    steps = torch.tensor([3, 4, 3, 3, 3, 3])
    mixed = Draws(all_keys).normal("a", steps, (2, 5))
    assert torch.equal(mixed[0], whole[0])
    assert not torch.equal(mixed[1], whole[1])
    assert not torch.equal(Draws(all_keys).normal("b", 3, (2, 5)), whole)
    assert torch.equal(Draws(all_keys).normal("a", 3, (1, 5))[:, 0], whole[:, 0])  # a shorter draw is a prefix
    longer = Draws(all_keys).normal("a", 3, (6, 3))
    assert torch.equal(Draws(all_keys).normal("a", 3, (2, 3), skip=6), longer[:, 2:4])


def test_coarse_noise_is_keyed_even_and_independent() -> None:
    keys = torch.tensor([3, 2**40 + 1])
    drawn = Draws(keys).coarse("c", torch.tensor([1, 5]), (9, 3, 5))
    assert torch.equal(Draws(keys[1:]).coarse("c", 5, (2, 3, 5), skip=4)[0], drawn[1, 4:6])
    assert not torch.equal(drawn[0], drawn[1])
    many = Draws(keys[:1]).coarse("c", 0, (400, 250)).double().flatten()
    assert bool((many.remainder(2) == 1).all())
    assert many.abs().max() <= 32767
    assert abs(many.mean()) < 5 * 32768 / (3 * len(many)) ** 0.5
    assert many.square().mean() == pytest.approx(32768**2 / 3, rel=0.01)
    for lag in (1, 2, 3, 4, 250):
        assert abs((many[lag:] * many[:-lag]).mean()) < 5 * 32768**2 / 3 / len(many) ** 0.5


def test_draws_have_the_right_distribution() -> None:
    draws = Draws(keys(4))
    uniform = draws.uniform("u", 0, (100_000,)).double()
    normal = draws.normal("n", 0, (100_000,)).double()
    assert uniform.mean().item() == pytest.approx(0.5, abs=3e-3)
    assert uniform.var().item() == pytest.approx(1 / 12, abs=2e-3)
    assert normal.mean().item() == pytest.approx(0, abs=8e-3)
    assert normal.std().item() == pytest.approx(1, abs=8e-3)
    assert abs(np.corrcoef(uniform.numpy()) - np.eye(4)).max() < 0.02
    integers = draws.integers("i", torch.arange(4), torch.tensor([1, 2, 7, 100]))
    assert (integers < torch.tensor([1, 2, 7, 100])).all()
    assert (integers >= 0).all()


@settings(max_examples=60, deadline=None)
@given(
    norm=st.sampled_from([Norm.LINF, Norm.L2, Norm.L1]),
    eps=st.floats(1e-4, 2.0),
    seed=st.integers(0, 10_000),
    double=st.booleans(),
)
def test_projection_is_admissible_and_idempotent(norm: Norm, eps: float, seed: int, double: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.float64 if double else torch.float32
    origin = torch.rand(4, 3, 16, 16, generator=generator, dtype=dtype)
    point = origin + torch.randn(origin.shape, generator=generator, dtype=dtype)
    radius = torch.full((4,), eps, dtype=dtype)
    found = project(norm, point, origin, radius)
    inside, size = ThreatModel(norm, eps).admissible(origin, found)
    assert bool(inside.all())
    assert (size <= eps + TOLERANCE).all()
    assert torch.allclose(project(norm, found, origin, radius), found, atol=1e-6)


@pytest.mark.parametrize("norm", list(Norm))
def test_distance_is_taken_sample_by_sample(norm: Norm) -> None:
    delta = torch.tensor([[0.0, 0.5, -0.25], [0.0, 0.0, 0.0]])
    expected = {"linf": 0.5, "l2": 0.3125**0.5, "l1": 0.75, "l0": 2.0}[norm]
    assert distance(norm, delta).tolist() == pytest.approx([expected, 0.0])


def test_admissible_refuses_outside_of_ball_and_box() -> None:
    threat = ThreatModel(Norm.LINF, 0.1)
    origin = torch.tensor([[0.05, 0.5]] * 4)
    points = origin + torch.tensor([[0.1, 0.0], [0.1001, 0.0], [-0.06, 0.0], [-0.05, 0.0]])
    assert threat.admissible(origin, points)[0].tolist() == [True, False, False, True]
    assert threat.goal is Goal.UNTARGETED


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("targeted", [False, True])
def test_losses_ignore_a_shift_of_logits(name: str, targeted: bool) -> None:
    if name == "dlr-targeted" and not targeted:
        return
    logits = torch.randn(20, 6, dtype=torch.float64)
    label = torch.arange(20) % 6
    target_class = (label + 1) % 6 if targeted else torch.full_like(label, -1)
    loss = LOSSES[name]
    assert torch.allclose(loss(logits, label, target_class), loss(logits + 50.0, label, target_class), atol=1e-8)


def test_margin_is_positive_exactly_when_fooled() -> None:
    logits = torch.randn(200, 4)
    label = torch.arange(200) % 4
    none = torch.full_like(label, -1)
    fooled = logits.argmax(1) != label
    assert torch.equal(LOSSES["margin"](logits, label, none) > 0, fooled)
    assert torch.equal(LOSSES["dlr"](logits, label, none) > 0, fooled)
    assert torch.equal(LOSSES["probability-margin"](logits, label, none) > 0, fooled)
    assert torch.equal(LOSSES["houdini"](logits, label, none).exp() > 0.5, fooled)
    target_class = (label + 1) % 4
    assert torch.equal(LOSSES["margin"](logits, label, target_class) > 0, logits.argmax(1) == target_class)


def test_log_odds_point_where_the_cross_entropy_does() -> None:
    logits = 3 * torch.randn(40, 5, dtype=torch.float64)
    label = torch.arange(40) % 5
    target_class = torch.where(torch.arange(40) < 20, -1, (label + 1) % 5)
    slopes = []
    for name in ("ce", "log-odds"):
        asked = logits.clone().requires_grad_()
        (slope,) = torch.autograd.grad(LOSSES[name](asked, label, target_class).sum(), asked)
        slopes.append(slope / slope.norm(dim=1, keepdim=True))
    assert torch.allclose(*slopes, atol=1e-9)
    sure = torch.tensor([[60.0, 0.0, 1.0]], requires_grad=True)  # a probability that rounds to 1 in float32
    value = LOSSES["log-odds"](sure, torch.tensor([0]), torch.tensor([-1]))
    assert torch.autograd.grad(value.sum(), sure)[0].abs().sum() > 1


@pytest.mark.parametrize("loss", SLOPES)
@pytest.mark.parametrize("hole", [None, float("-inf"), float("inf"), float("nan")])
def test_slopes_in_closed_form_are_those_of_autograd(loss: Loss, hole: float | None) -> None:
    for classes in (2, 7):
        logits, label, some = case(classes, scale=20.0)
        logits = logits.float()
        if hole is not None:
            logits[::3, 1] = hole
        for target_class in (None, some, torch.full_like(label, -1)):
            leaf = logits.clone().requires_grad_()
            value = loss(leaf, label, torch.full_like(label, -1) if target_class is None else target_class)
            (slope,) = torch.autograd.grad(value.sum(), leaf)
            found = SLOPES[loss](logits, label, target_class)
            torch.testing.assert_close(found[0], value.detach(), rtol=0, atol=0, equal_nan=True)
            finite = slope.isfinite().all(1)
            assert torch.equal(found[1].isfinite().all(1), finite)
            torch.testing.assert_close(found[1][finite], slope[finite], rtol=0, atol=0)


def case(classes: int, count: int = 40, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, labels, and targets of which half are set."""
    generator = torch.Generator().manual_seed(classes)
    logits = scale * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    label = torch.arange(count) % classes
    return logits, label, torch.where(torch.arange(count) < count // 2, -1, (label + 1) % classes)


def naive(name: str, logits: torch.Tensor, label: torch.Tensor, target_class: torch.Tensor) -> torch.Tensor:
    """The loss as its paper writes it, a row at a time."""
    found = []
    for z, y, t in zip(logits, label.tolist(), target_class.tolist(), strict=True):
        c = y if t < 0 else t
        p = z.softmax(0)
        others = [k for k in range(len(z)) if k != c]
        if name == "ce":
            value = -p[c].log()
        elif name == "log-odds":
            value = ((1 - p[c]) / p[c]).log()
        elif name == "margin":
            value = z[others].max() - z[c]
        elif name == "logit":
            value = z.mean() - z[c]
        elif name == "probability-margin":
            value = p[others].max() - p[c]
        elif name == "houdini":
            lead = (z[others].max() - z[c]) * (1 if t < 0 else -1)
            found.append((torch.special.erfc(-lead / 2**0.5) / 2).log())
            continue
        else:
            s = z.sort(descending=True).values
            if t >= 0:
                found.append((z[t] - z[y]) / (s[0] - (s[2] + s[min(3, len(s) - 1)]) / 2))
            else:
                found.append((z[others].max() - z[y]) / (s[0] - s[2]))
            continue
        found.append(value if t < 0 else -value)
    return torch.stack(found)


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"dlr-targeted"}))
def test_losses_are_what_their_papers_write(name: str, classes: int) -> None:
    logits, label, target_class = case(classes)
    if loss_unsuited(name, classes):
        with pytest.raises(ValueError, match="classes"):
            LOSSES[name](logits, label, target_class)
        return
    assert torch.allclose(
        LOSSES[name](logits, label, target_class), naive(name, logits, label, target_class), atol=1e-7
    )


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_have_the_gradient_of_their_value(name: str) -> None:
    logits, label, target_class = case(5, 12)
    if name == "dlr-targeted":
        target_class = torch.where(target_class < 0, (label + 2) % 5, target_class)
    asked = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z, label, target_class), (asked,))


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("lead", [0.0, 30.0, -30.0, 60.0, -60.0])
def test_losses_see_sure_answers_in_float32(name: str, lead: float) -> None:
    """Where the probability of the label, or of its rival, rounds to 0 or 1."""
    logits = torch.tensor([[lead, 0.0, -1.0, -2.0]] * 2, requires_grad=True)
    target_class = torch.tensor([1 if name == "dlr-targeted" else -1, 1])
    value = LOSSES[name](logits, torch.tensor([0, 0]), target_class)
    (slope,) = torch.autograd.grad(value.sum(), logits)
    assert bool(value.isfinite().all() and slope.isfinite().all())
    if lead >= 0:  # the attacker is behind
        assert bool((slope.abs().sum(1) > 0).all())
        assert bool((slope[:, 0] < 0).all())
        assert bool((slope[1:, 1] > 0).all())
        assert torch.allclose(slope.sum(1) / slope.abs().sum(1), torch.zeros(2), atol=1e-5)  # as a shift has none


def test_losses_say_where_they_are_undefined() -> None:
    assert "three classes" in str(loss_unsuited("dlr", 2))
    assert "four classes" in str(loss_unsuited("dlr-targeted", 3))
    assert [loss_unsuited(name, 2) for name in LOSSES if "dlr" not in name] == [None] * 6
    assert loss_unsuited("dlr-targeted", 4) is None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), eps=st.floats(0.01, 3.0), scale=st.floats(0.05, 5.0))
def test_l1_projection_is_the_nearest_admissible_point(seed: int, eps: float, scale: float) -> None:
    """The optimum's conditions: what moved freely lost the same λ, what stayed would have lost it all."""
    generator = torch.Generator().manual_seed(seed)
    origin = torch.rand(3, 12, generator=generator, dtype=torch.float64)
    point = origin + scale * torch.randn(3, 12, generator=generator, dtype=torch.float64)
    found = project(Norm.L1, point, origin, torch.full((3,), eps, dtype=torch.float64))
    size = distance(Norm.L1, found - origin)
    for row in range(3):
        clipped = point[row].clamp(0, 1)
        if float((clipped - origin[row]).abs().sum()) <= eps:
            assert torch.equal(found[row], clipped)
            continue
        assert float(size[row]) == pytest.approx(eps, rel=1e-6)
        moved = (found[row] - origin[row]).abs() > 1e-9
        free = moved & (found[row] > 1e-9) & (found[row] < 1 - 1e-9)
        lost = (point[row] - origin[row]).abs() - (found[row] - origin[row]).abs()
        if bool(free.any()):
            assert float(lost[free].max() - lost[free].min()) < 1e-6
            assert bool((lost[~moved] <= lost[free].mean() + 1e-6).all())
            bound = moved & ~free
            assert bool((lost[bound] >= lost[free].mean() - 1e-6).all())


def test_l0_projection_keeps_the_features_that_bring_the_point_nearest() -> None:
    generator = torch.Generator().manual_seed(0)
    origin = torch.rand(1, 6, generator=generator, dtype=torch.float64)
    point = origin + torch.randn(1, 6, generator=generator, dtype=torch.float64)
    for count in range(7):
        found = project(Norm.L0, point, origin, torch.tensor([float(count)]))
        assert int((found != origin).sum()) <= count
        options = []
        for bits in range(64):
            keep = torch.tensor([bool(bits >> i & 1) for i in range(6)])
            if int(keep.sum()) <= count:
                options.append(float((torch.where(keep, point.clamp(0, 1), origin) - point).square().sum()))
        assert float((found - point).square().sum()) == pytest.approx(min(options))
