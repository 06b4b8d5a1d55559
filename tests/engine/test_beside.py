"""The gradient of a point beside, where the one asked about has none."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from models import FakeFile
from problems import problem_of

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer, Gradient, Jacobian
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.oracle import Oracle
from robaudit.engine.rows import Account
from robaudit.threat.losses import LOSSES
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm


class Rooted(torch.nn.Module):
    """Linear logits, of which the first loses the distance from the middle of the box."""

    def __init__(self, inner: torch.nn.Module, power: float) -> None:
        super().__init__()
        self.inner, self.power = inner, power

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        logits = self.inner(u.flatten(1))
        size = (u - 0.5).flatten(1).square().sum(1).pow(self.power)
        return torch.cat([logits[:, :1] - size[:, None], logits[:, 1:]], 1)


def rooted(power: float = 0.5) -> FakeFile:
    torch.manual_seed(0)
    inner = torch.nn.Linear(6, 4)
    with torch.no_grad():
        inner.bias.copy_(torch.tensor([0.3, 0.1, 0.0, 0.0]) - inner(torch.full((6,), 0.5)) + inner.bias)
    return FakeFile(Rooted(inner, power), 4, (2, 3))


def at_middle(target: FakeFile, count: int, norm: Norm = Norm.L2, **changes) -> Problem:
    """The first two samples lie at the root, the others do not."""
    problem = problem_of(target, count)
    x = problem.x.clone()
    x[:2] = 0.5
    return dataclasses.replace(
        problem,
        x=x,
        clean=target.scores(x),
        label=target.scores(x).argmax(1),
        norm=norm,
        low=None,
        high=None,
        **changes,
    )


def ask(target: FakeFile, problem: Problem, request, micro_batch: int = 64) -> tuple[Answer, Account]:
    account = Account.empty(len(problem), target.device)
    answer = Evaluator(Oracle(target), micro_batch).answer(request, problem, Access.WHITE_BOX, account, None)
    return answer, account


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("name", ["ce", "margin", "dlr", "log-odds", "probability-margin", "houdini"])
def test_a_root_of_nothing_has_the_slope_that_a_search_meets(name: str, norm: Norm) -> None:
    target = rooted()
    problem = at_middle(target, 5, norm)
    answer, account = ask(target, problem, Gradient(problem.x, loss=LOSSES[name]))
    assert bool(answer.gradient.isfinite().all())
    assert bool((answer.gradient.flatten(1).abs().amax(1) > 0).all())
    looks = (1, 2) if name == "dlr" else (0, 0)  # at the slopes of the label and of the likeliest rival
    assert (account.forwards - looks[0]).tolist() == [5, 5, 1, 1, 1]
    assert (account.backwards - looks[1]).tolist() == [5, 5, 1, 1, 1]
    assert torch.equal(answer.logits, target.scores(problem.x))
    assert torch.equal(answer.points, problem.x)


def test_the_slope_is_that_on_the_way_out() -> None:
    """Against the linear part's slope, the root's own adds length 1 along it: ahead, not to some random side."""
    target = rooted()
    problem = at_middle(target, 2)
    answer, _ = ask(target, problem, Gradient(problem.x, loss=LOSSES["margin"]))
    weight = target.module.inner.weight
    rival = target.scores(problem.x).topk(2).indices[0, 1]
    away = weight[rival] - weight[0]
    expected = away * (1 + 1 / away.norm())
    torch.testing.assert_close(answer.gradient[0].flatten(), expected, rtol=0.05, atol=0.02)


def test_rows_of_several_classes_have_slopes_there_too() -> None:
    target = rooted()
    problem = at_middle(target, 4)
    classes = torch.tensor([[1, 2, 3]] * 4)
    request = Jacobian(
        problem.x, classes=classes, base=problem.label * 0, slopes=torch.tensor([True, False, True, True])
    )
    answer, account = ask(target, problem, request)
    assert bool(answer.gradient.isfinite().all())
    assert not bool(answer.gradient[1].any())
    assert bool((answer.gradient[[0, 2, 3]].flatten(2).abs().amax(2) > 0).all())
    assert account.forwards.tolist() == [5, 1, 1, 1]
    assert account.backwards.tolist() == [15, 0, 3, 3]


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_what_is_lent_depends_on_the_slot_alone(micro_batch: int) -> None:
    target = rooted()
    problem = at_middle(target, 5)
    whole, _ = ask(target, problem, Gradient(problem.x, loss=LOSSES["ce"]))
    index = torch.tensor([3, 1])
    part, _ = ask(target, problem.take(index), Gradient(problem.x[index], loss=LOSSES["ce"]), micro_batch)
    torch.testing.assert_close(part.gradient, whole.gradient[index], rtol=1e-12, atol=1e-12)
    assert not torch.equal(whole.gradient[0], whole.gradient[1])  # keys of their own


def test_several_points_of_a_slot_are_mended_one_by_one() -> None:
    target = rooted()
    problem = at_middle(target, 3)
    points = torch.stack([problem.x, problem.x * 0.9, problem.x], 1)
    answer, account = ask(target, problem, Gradient(points, loss=LOSSES["ce"]))
    assert bool(answer.gradient.isfinite().all())
    alone, _ = ask(target, problem, Gradient(points[:, 1], loss=LOSSES["ce"]))
    torch.testing.assert_close(answer.gradient[:, 1], alone.gradient)
    assert account.forwards.tolist() == [11, 11, 3]


def test_points_beside_stay_in_box_and_ball_with_what_is_fixed() -> None:
    for norm, eps in ((Norm.LINF, 0.03), (Norm.L2, 0.05), (Norm.L1, 0.2)):
        target = rooted()
        fixed = torch.zeros(2, 2, 3, dtype=torch.bool)
        fixed[:, 0, 0] = True
        problem = at_middle(target, 2, norm, fixed=fixed, eps=torch.full((2,), eps, dtype=torch.float64))
        seen = []
        inner = target.logits
        target.logits = lambda u, seen=seen, inner=inner: [seen.append(u.detach()), inner(u)][1]
        answer, _ = ask(target, problem, Gradient(problem.x, loss=LOSSES["ce"]))
        assert bool(answer.gradient.isfinite().all())
        assert not bool(answer.gradient[fixed].any())
        points = torch.cat(seen)
        away = (points - 0.5).flatten(1)
        assert bool((away != 0).any(1).sum() >= 6)
        assert not bool(away[:, 0].any())
        size = torch.linalg.vector_norm(away, ord={"linf": torch.inf, "l2": 2, "l1": 1}[norm], dim=1)
        assert float(size.max()) <= eps * (1 + 1e-9)


def test_a_gradient_of_zero_is_left_at_the_sample_and_nowhere_else() -> None:
    """The square of the distance: flat in its middle alone."""

    class Bowl(torch.nn.Module):
        def forward(self, u: torch.Tensor) -> torch.Tensor:
            size = (u - 0.5).flatten(1).square().sum(1)
            return torch.stack([1 - size, size, 0 * size], 1)

    target = FakeFile(Bowl(), 3, (2, 3))
    problem = problem_of(target, 3)
    x = torch.full_like(problem.x, 0.5)
    problem = dataclasses.replace(problem, x=x, label=torch.zeros(3, dtype=torch.int64))
    answer, _ = ask(target, problem, Gradient(x, loss=LOSSES["margin"]))
    assert bool((answer.gradient.flatten(1).abs().amax(1) > 0).all())
    elsewhere = dataclasses.replace(problem, x=x + 0.1)
    answer, _ = ask(target, elsewhere, Gradient(x, loss=LOSSES["margin"]))
    assert not bool(answer.gradient.any())


def test_what_a_loss_does_not_look_at_sends_back_nothing() -> None:
    """A third class at a distance of 0, of which neither the label's nor its rival's logit knows."""

    class Third(torch.nn.Module):
        def forward(self, u: torch.Tensor) -> torch.Tensor:
            flat = u.flatten(1)
            size = (flat - 0.5).square().sum(1).sqrt()
            return torch.stack([1.1 + flat[:, 0], 1 + flat[:, 1], -size], 1)

    target = FakeFile(Third(), 3, (2, 3))
    problem = problem_of(target, 2)
    problem = dataclasses.replace(problem, x=torch.full_like(problem.x, 0.5), label=torch.zeros(2, dtype=torch.int64))
    answer, account = ask(target, problem, Gradient(problem.x, loss=LOSSES["margin"]))
    assert answer.gradient[0].flatten().tolist() == [-1, 1, 0, 0, 0, 0]
    assert account.forwards.tolist() == [2, 2]


class Underflowing(torch.nn.Module):
    """A softmax spelled out, whose smallest parts round to 0 before the logarithm."""

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        z = 1000 * u.flatten(1)[:, :3]
        return torch.log(torch.softmax(z, 1)) * 2.0


@pytest.mark.parametrize("how", ["module", "scripted", "traced"])
def test_a_logarithm_of_nothing_beside_the_two_that_matter(how: str, tmp_path) -> None:
    module = Underflowing()
    if how != "module":
        made = torch.jit.script(module) if how == "scripted" else torch.jit.trace(module, torch.rand(2, 2, 3))
        torch.jit.save(made, tmp_path / "m.pt")
        module = torch.jit.load(tmp_path / "m.pt")
    target = FakeFile(module, 3, (2, 3), torch.float32)
    x = torch.tensor([[0.5, 0.48, 0.1, 0.3, 0.3, 0.3]]).reshape(1, 2, 3)
    for _ in range(3):  # TorchScript optimises from the second call on
        problem = dataclasses.replace(
            problem_of(target, 1), x=x, label=torch.tensor([0]), eps=torch.tensor([0.1]), clean=target.scores(x)
        )
        answer, _ = ask(target, problem, Gradient(x, loss=LOSSES["margin"]))
        assert torch.isneginf(target.scores(x)[0, 2])
        assert answer.gradient.flatten()[:3].tolist() == pytest.approx([-2000, 2000, 0], rel=1e-3, abs=1)
