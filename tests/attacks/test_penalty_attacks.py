"""Carlini & Wagner's attacks, the elastic net and L-BFGS: known optima, batch sizes, ladder, targets, edges."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from attack_cases import CASES
from models import FakeFile, Linear, attack_all, closed_form, linear, network, samples_for
from scipy.optimize import minimize

from robaudit.attacks.base import Problem, StartingPool
from robaudit.attacks.registry import make_attack
from robaudit.attacks.requests import Answer
from robaudit.attacks.whitebox.descent import Constant
from robaudit.errors import UsageError
from robaudit.threat.losses import margin
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

NORMS = {"cw-l0": Norm.L0, "cw-l2": Norm.L2, "cw-linf": Norm.LINF, "ead": Norm.L1, "lbfgs": Norm.L2}
FAR = {Norm.LINF: 1.0, Norm.L2: 10.0, Norm.L1: 100.0, Norm.L0: 1000.0}


def small(name: str, **more):
    return make_attack(name, CASES[name].parameters | more)


def smallest(target, attack, norm: Norm, samples, slots: int = 8):
    return attack_all(target, attack, ThreatModel(norm, FAR[norm], minimal=True), samples, slots=slots)


@pytest.mark.parametrize("slots", [1, 3, 8, 64])
def test_cw_l2_reaches_the_optimum_of_many_classes_at_every_batch_size(slots: int) -> None:
    target = linear((2, 5, 5), 6)
    samples = [s for s in samples_for(target, 20) if closed_form(target, s, Norm.L2) < 0.15][:4]
    assert len(samples) == 4
    attack = make_attack("cw-l2", {"steps": 80, "searches": 6, "first_c": 0.003})
    found = smallest(target, attack, Norm.L2, samples, slots)
    ratios = [found[s.index].distance / closed_form(target, s, Norm.L2) for s in samples]
    assert min(ratios) >= 1 - 1e-6
    assert max(ratios) <= 1.05


@pytest.mark.parametrize(
    ("name", "parameters", "bound"),
    [
        ("cw-linf", {"steps": 100, "rounds": 20}, 1.15),
        ("ead", {"steps": 100, "searches": 6, "first_c": 0.03}, 3.0),
        ("cw-l0", {"steps": 100, "rounds": 12}, 4.0),
        ("lbfgs", {"steps": 40, "searches": 8, "targets": 1}, 1.1),
    ],
)
def test_the_others_come_near_the_optimum_of_a_linear_model(name: str, parameters: dict, bound: float) -> None:
    target = linear((2, 5, 5), 2, seed=4)
    samples = [s for s in samples_for(target, 30) if 0.05 < closed_form(target, s, Norm.L2) < 0.5][:6]
    assert len(samples) == 6
    found = smallest(target, make_attack(name, parameters), NORMS[name], samples)
    ratios = [found[s.index].distance / closed_form(target, s, NORMS[name]) for s in samples]
    assert min(ratios) >= 1 - 1e-6
    assert np.median(ratios) <= bound


@pytest.mark.parametrize("name", NORMS)
def test_a_targeted_audit_reaches_the_class(name: str) -> None:
    target = network((1, 5, 5), 4, seed=2)
    samples = [dataclasses.replace(s, goal=(s.label + 1) % 4) for s in samples_for(target, 4)]
    norm = NORMS[name]
    attack = small(name, steps=150)
    found = attack_all(target, attack, ThreatModel(norm, FAR[norm], goal=Goal.TARGETED), samples)
    assert sum(found[s.index].success for s in samples) >= 3
    assert all(found[s.index].prediction == s.goal for s in samples if found[s.index].success)


@pytest.mark.parametrize("name", NORMS)
def test_flat_models_and_samples_on_the_boundary_end(name: str) -> None:
    norm = NORMS[name]
    flat = FakeFile(Linear(torch.zeros(2, 4), torch.tensor([1.0, 0.0])), 2, (4,))
    found = smallest(flat, small(name), norm, samples_for(flat, 2))
    assert all(not r.success and r.error is None for r in found.values())
    even = FakeFile(Linear(torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]), torch.zeros(2)), 2, (4,))
    sample = samples_for(even, 1)[0]
    at = np.full(4, 0.5)
    sample = dataclasses.replace(sample, u=at, label=0, clean=np.array([0.5, 0.5]))
    result = smallest(even, small(name, steps=100), norm, [sample])[0]
    assert result.success
    assert result.distance <= (2 if norm is Norm.L0 else 0.1)


@pytest.mark.parametrize("name", ["cw-l0", "cw-l2", "cw-linf", "ead"])
def test_the_ladder_returns_the_most_confident_point_in_the_ball(name: str) -> None:
    target = network((1, 5, 5), 4, seed=2)
    samples = samples_for(target, 6)
    threat = ThreatModel(NORMS[name], {Norm.L0: 20, Norm.L1: 6.0, Norm.L2: 1.5, Norm.LINF: 0.3}[NORMS[name]])

    def lead(confidence) -> dict[int, float]:
        found = attack_all(target, small(name, steps=100, confidence=confidence), threat, samples)
        won = {s.index: found[s.index] for s in samples if found[s.index].success}
        scores = {i: torch.from_numpy(r.point)[None] for i, r in won.items()}
        labels = {s.index: torch.tensor([s.label]) for s in samples}
        none = torch.tensor([-1])
        return {i: float(margin(target.scores(p), labels[i], none)) for i, p in scores.items()}

    plain, ladder = lead(0), lead([1.0, 0.0, 50.0])
    assert plain.keys() == ladder.keys()
    assert len(plain) >= 3
    assert sum(ladder[i] >= 1 for i in ladder) >= len(ladder) // 2 > sum(v >= 1 for v in plain.values())


def test_both_rules_of_the_elastic_net_keep_what_they_promise() -> None:
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 8)

    def sizes(rule: str) -> tuple[float, float]:
        found = smallest(target, small("ead", rule=rule, beta=0.01, steps=60), Norm.L1, samples)
        delta = [found[s.index].point - s.u for s in samples]
        return sum(np.abs(d).sum() for d in delta), sum((d**2).sum() + 0.01 * np.abs(d).sum() for d in delta)

    (l1, elastic_l1), (l1_en, elastic) = sizes("l1"), sizes("en")
    assert l1 < l1_en
    assert elastic < elastic_l1


def test_the_elastic_net_judges_the_point_before_the_extrapolation() -> None:
    target, steps, c, rate, beta = network((1, 4, 4), 4), 30, 5.0, 0.05, 0.005
    parameters = {"steps": steps, "searches": 1, "first_c": c, "halvings": 0, "learning_rate": rate, "beta": beta}
    sample = samples_for(target, 1)[0]
    found = smallest(target, make_attack("ead", parameters), Norm.L1, [sample])[sample.index]
    x, label = torch.from_numpy(sample.u)[None], torch.tensor([sample.label])
    point = slack = x
    best = float("inf")
    for k in range(steps):
        u = slack.clone().requires_grad_()
        behind = (-margin(target.module(u), label, torch.tensor([-1]))).clamp_min(0)
        (slope,) = torch.autograd.grad((u - x).square().sum() + c * behind.sum(), u)
        moved = slack - x - rate * (1 - k / steps) ** 0.5 * slope
        old, point = point, (x + torch.nn.functional.softshrink(moved, beta)).clamp(0, 1)
        slack = (point + k / (k + 3) * (point - old)).clamp(0, 1)
        if int(target.module(point).argmax()) != sample.label:
            best = min(best, float((point - x).abs().sum()))
    assert found.distance == pytest.approx(best, rel=1e-4)
    assert (found.forwards, found.backwards) == (2 * (steps + 1), steps + 1)


def test_ending_stalled_descents_of_the_elastic_net_early_costs_no_distance() -> None:
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 8)

    def outcome(abort_early: bool) -> tuple[float, int]:
        attack = make_attack("ead", {"steps": 60, "searches": 5, "first_c": 0.01, "abort_early": abort_early})
        found = smallest(target, attack, Norm.L1, samples).values()
        return float(np.log([r.distance for r in found]).mean()), sum(r.backwards for r in found)

    (early, fewer), (late, more) = outcome(True), outcome(False)
    assert early == pytest.approx(late, abs=0.01)
    assert fewer < 0.8 * more


def test_c_is_bracketed_by_tens_then_bisected() -> None:
    target = linear((3,), 2)
    problem = problem_of(target)
    c = Constant.fresh(problem, 1.0)
    yes, no = torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.bool)
    seen = [float(c.value)]
    for ended, won in [(yes, no), (no, yes), (yes, no), (yes, yes), (yes, yes), (yes, no)]:
        c = c.after(ended, won)
        seen.append(float(c.value))
    assert seen == pytest.approx([1, 10, 10, 100, 1000**0.5, 10**1.25, 10**1.375])
    assert float(Constant.fresh(problem, 1.0).after(yes, yes).value) == pytest.approx(0.1)


def problem_of(target: FakeFile) -> Problem:
    x = torch.full((1, *target.shape), 0.4, dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.int64)
    pool = StartingPool(x[:0], zero[:0])
    eps = torch.ones(1, dtype=torch.float64)
    return Problem(
        x,
        zero,
        zero - 1,
        zero + 1,
        eps,
        zero,
        zero,
        target.logits(x),
        Norm.L2,
        target.num_classes,
        1,
        pool,
        minimal=True,
    )


def test_lbfgs_finds_the_minimum_of_its_objective_in_the_box() -> None:
    """At a fixed c the descent ends where SciPy's box-constrained L-BFGS does."""
    target = network((1, 6, 6), 3, seed=1)
    problem = problem_of(target)
    attack = make_attack("lbfgs", {"steps": 300, "searches": 1, "first_c": 2.0})

    def objective(point: torch.Tensor) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(target.logits(point), problem.target_class, reduction="none")
        return (point - problem.x).square().flatten(1).sum(1) + 2.0 * loss

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.from_numpy(flat).reshape(problem.x.shape).requires_grad_()
        total = objective(point)
        return float(total.detach()), torch.autograd.grad(total.sum(), point)[0].flatten().numpy()

    state, lowest, used = attack.init(problem), float("inf"), 0
    for _ in range(300):
        if bool(attack.over(problem, state.search)[0]):
            break
        used += 1
        request = attack.query(problem, state)
        point = request.points.detach().requires_grad_()
        logits = target.logits(point)
        loss = request.loss(logits, problem.label, problem.target_class)
        (gradient,) = torch.autograd.grad(loss.sum(), point)
        lowest = min(lowest, float(objective(point.detach())))
        point, logits, loss, labels = point.detach(), logits.detach(), loss.detach(), logits.argmax(1)
        answered = torch.ones_like(labels, dtype=torch.bool)
        state = attack.update(
            problem, state, Answer(point, answered, labels != 0, ~answered, labels, logits, loss, gradient)
        )
    reference = minimize(value, problem.x.flatten().numpy(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * 36)
    assert lowest == pytest.approx(reference.fun, rel=2e-3)
    assert used < 4 * reference.nfev


@pytest.mark.parametrize("confidence", [-1, [], [float("inf")], "much"])
def test_a_margin_that_is_none_is_refused(confidence: object) -> None:
    with pytest.raises(UsageError, match="confidence"):
        make_attack("cw-l2", {"confidence": confidence})


def test_cw_linf_goes_on_where_its_first_round_reached_nothing() -> None:
    target = linear((1, 4, 4), 3)
    steps, rate = 10, 0.01
    reach = steps * rate / 2  # the box moves by at most half of the free variables
    samples = [s for s in samples_for(target, 12) if closed_form(target, s, Norm.LINF) > reach]
    assert len(samples) > 2
    found = smallest(target, make_attack("cw-linf", {"steps": steps, "learning_rate": rate}), Norm.LINF, samples)
    for sample in samples:
        assert found[sample.index].distance <= 1.2 * closed_form(target, sample, Norm.LINF)
