"""What is special in the fast gradient and iterative families."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import FakeFile, Linear, attack_all, linear, network, samples_for
from problems import problem

from robaudit.attacks.registry import make_attack
from robaudit.attacks.target_classes import least_likely
from robaudit.engine.units import plan_units
from robaudit.errors import UsageError
from robaudit.threat.losses import LOSSES
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

FAMILY = {
    "fgsm": {},
    "fgsm-ll": {},
    "r-fgsm": {},
    "bim": {"steps": 8},
    "ilcm": {"steps": 8},
    "mi-fgsm": {},
    "pgd": {"steps": 8},
}


def points(target, name: str, parameters: dict, threat: ThreatModel, sample):
    """Every point at which the target was asked for a gradient."""
    asked = []
    original = target.logits
    target.logits = lambda u: (asked.append(u.detach().clone()), original(u))[1]
    try:
        attack_all(target, make_attack(name, parameters), threat, [sample])
    finally:
        target.logits = original
    return torch.cat(asked) - torch.from_numpy(sample.u)


def test_least_likely_class_is_never_the_label_and_a_goal_goes_first() -> None:
    slots = problem(Norm.LINF, 0.1, count=4, shape=(3,))
    slots.clean = torch.tensor([[3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [5.0, 5.0, 5.0], [1.0, 9.0, 0.5]])
    slots.label = torch.tensor([0, 0, 0, 1])
    assert least_likely(slots).tolist() == [1, 1, 1, 2]
    slots.goal = torch.tensor([2, -1, -1, 0])
    assert least_likely(slots).tolist() == [2, 1, 1, 0]


@pytest.mark.parametrize("name", ["fgsm-ll", "ilcm"])
def test_least_likely_attacks_raise_that_class(name: str) -> None:
    """Three classes in the plane: towards the least likely one leads the other way than to the nearest."""
    weight = torch.tensor([[0.0, 0.0], [1.0, 0.2], [-1.0, 0.2]], dtype=torch.float64)
    target = FakeFile(Linear(weight, torch.tensor([1.0, 0.0, -1.0])), 3, (2,))
    sample = next(s for s in samples_for(target, 20) if s.label == 0 and s.clean[1] > s.clean[2])
    moved = points(target, name, {}, ThreatModel(Norm.LINF, 0.02), sample)[-1]
    assert moved.tolist() == pytest.approx([-0.02, 0.02])
    plain = points(target, "fgsm", {"loss": "margin"}, ThreatModel(Norm.LINF, 0.02), sample)[-1]
    assert plain.tolist() == pytest.approx([0.02, 0.02])


def test_r_fgsm_takes_a_random_step_first() -> None:
    target = network((1, 6, 6), 5)
    sample = samples_for(target, 1)[0]
    first, last = points(target, "r-fgsm", {"alpha": 0.25}, ThreatModel(Norm.LINF, 0.001), sample)
    assert torch.allclose(first.abs(), torch.full_like(first, 0.00025))
    steps = {round(v, 6) for v in (last - first).abs().flatten().tolist()}
    assert steps == {0.00075}
    start = points(target, "r-fgsm", {"alpha": 0.0}, ThreatModel(Norm.LINF, 0.001), sample)[0]
    assert float(start.abs().max()) == 0


@pytest.mark.parametrize(("levels", "steps"), [(0.5, 1), (1, 2), (4, 5), (8, 10), (16, 20), (32, 36)])
def test_bim_steps_follow_kurakins_rule(levels: float, steps: int) -> None:
    weight = torch.tensor([[1.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
    far = FakeFile(Linear(weight, torch.tensor([9.0, 0.0])), 2, (3,))  # no step of any size reaches the other class
    sample = samples_for(far, 1)[0]
    found = attack_all(far, make_attack("bim", {}), ThreatModel(Norm.LINF, levels / 255), [sample])[0]
    assert found.forwards == steps + 1
    target = linear((3,), 2)
    sample = max(samples_for(target, 20), key=lambda s: abs(s.clean[0] - s.clean[1]))
    moved = points(target, "bim", {}, ThreatModel(Norm.LINF, 8 / 255), sample).abs().amax(1)
    assert moved.tolist() == pytest.approx([i / 255 for i in range(9)] + [8 / 255] * 2)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_mi_fgsm_is_its_formula(norm: Norm) -> None:
    target = network((1, 3, 4), 4)
    sample = samples_for(target, 1)[0]
    eps = 1e-4  # too small to fall
    moved = points(target, "mi-fgsm", {"steps": 5, "decay": 0.7}, ThreatModel(norm, eps), sample)
    x = torch.from_numpy(sample.u)[None]
    point, momentum = x, torch.zeros_like(x)
    for step in range(6):
        assert torch.allclose(moved[step], (point - x)[0], atol=1e-12)
        asked = point.clone().requires_grad_()
        value = torch.nn.functional.cross_entropy(target.module(asked), torch.tensor([sample.label]))
        (gradient,) = torch.autograd.grad(value, asked)
        momentum = 0.7 * momentum + gradient / gradient.abs().sum()
        direction = momentum.sign() if norm is Norm.LINF else momentum / momentum.norm()
        shift = point + eps / 5 * direction - x
        shift = shift.clamp(-eps, eps) if norm is Norm.LINF else shift * min(1.0, eps / float(shift.norm()))
        point = x + shift


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2, Norm.L1])
@pytest.mark.parametrize("slots", [1, 3, 8, 64])
def test_pgd_reaches_the_optimum_of_linear_models_of_many_classes(norm: Norm, slots: int) -> None:
    """Aimed at each class in turn it breaks at 1.05 of the distance to the nearest boundary, and never below."""
    target = linear((20,), 4, seed=3)
    weight = target.module.weight
    chosen, optimum = [], {}
    for sample in samples_for(target, 200):
        gaps = []
        for j in set(range(4)) - {sample.label}:
            slope = weight[j] - weight[sample.label]
            dual = torch.linalg.vector_norm(slope, ord={Norm.LINF: 1, Norm.L2: 2, Norm.L1: float("inf")}[norm])
            gaps.append((sample.clean[sample.label] - sample.clean[j]) / float(dual))
        if 0.005 < min(gaps) < 0.045:
            chosen.append(sample)
            optimum[sample.index] = min(gaps)
    attack = make_attack("pgd", {"steps": 30, "loss": "margin", "targets": 3})
    assert len(chosen) >= 5
    for sample in chosen[:2]:
        for factor, falls in ((0.98, False), (1.05, True)):
            threat = ThreatModel(norm, optimum[sample.index] * factor)
            near = [s for s in chosen[:5] if s.index != sample.index]
            found = attack_all(target, attack, threat, [sample, *near], slots=slots)
            assert found[sample.index].success == falls


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("name", ["pgd", "bim", "apgd-ce", "mi-fgsm"])
def test_every_loss_drives_the_iterative_attacks(name: str, loss: str) -> None:
    if loss == "dlr-targeted" and name != "pgd":  # it needs a class; theirs is "dlr" in a targeted audit
        with pytest.raises(UsageError, match="loss"):
            make_attack(name, {"loss": loss})
        return
    target = network((1, 6, 6), 6)
    samples = samples_for(target, 12)
    results = attack_all(target, make_attack(name, {"loss": loss, "steps": 20}), ThreatModel(Norm.LINF, 0.06), samples)
    assert sum(r.success for r in results.values()) >= 10


def test_targets_of_pgd() -> None:
    def units(goal: Goal = Goal.UNTARGETED, **parameters) -> int:
        return len({u.aim for u in plan_units(make_attack("pgd", parameters), goal, [0], 6)})

    assert units() == 1
    assert units(targets=3) == 3
    assert units(loss="dlr-targeted") == 5
    assert units(loss="dlr-targeted", targets=2) == 2
    assert units(Goal.TARGETED, loss="dlr-targeted") == 1
    assert "four classes" in str(make_attack("pgd", {"loss": "dlr-targeted"}).unsuited(3, (4,)))
    for name in FAMILY:
        assert "three classes" in str(make_attack(name, {"loss": "dlr"}).unsuited(2, (4,)))
        assert make_attack(name, {}).unsuited(2, (4,)) is None


@pytest.mark.parametrize("name", FAMILY)
def test_a_targeted_audit_reaches_the_class_that_is_asked_for(name: str) -> None:
    from dataclasses import replace

    target = linear((12,), 4, seed=1)
    samples = [replace(s, goal=(s.label + 1) % 4) for s in samples_for(target, 12)]
    threat = ThreatModel(Norm.LINF, 0.6, goal=Goal.TARGETED)
    results = attack_all(
        target, make_attack(name, FAMILY[name] | ({"steps": 200} if "steps" in FAMILY[name] else {})), threat, samples
    )
    hit = [s for s in samples if results[s.index].success]
    assert len(hit) >= 4
    assert all(results[s.index].prediction == s.goal for s in hit)


@pytest.mark.parametrize("name", [*FAMILY, "daa"])
def test_a_model_without_gradient_is_no_trouble(name: str) -> None:
    constant = FakeFile(Linear(torch.zeros(3, 4), torch.tensor([1.0, 0.0, 0.0])), 3, (4,))
    attack = make_attack(name, FAMILY.get(name, {"steps": 4}))
    for norm in attack.norms:
        results = attack_all(constant, attack, ThreatModel(norm, 0.5), samples_for(constant, 2))
        assert [(r.success, r.error) for r in results.values()] == [(False, None)] * 2


@pytest.mark.parametrize("name", FAMILY)
def test_float32_single_features_and_corners_of_the_box(name: str) -> None:
    """A sample of one feature, and samples at the box's bounds, whose step has nowhere to go on one side."""
    weight = torch.tensor([[1.0], [-1.0]])
    target = FakeFile(Linear(weight, torch.tensor([-0.5, 0.5])), 2, (1,), dtype=torch.float32)
    samples = samples_for(target, 8)
    attack = make_attack(name, {})
    for norm in attack.norms:
        for sample in samples:
            sample.u[:] = np.float32(sample.label == 0)
        results = attack_all(target, attack, ThreatModel(norm, 0.6), samples)
        assert all(r.success for r in results.values()) or name == "r-fgsm"
        assert all(r.error is None for r in results.values())
