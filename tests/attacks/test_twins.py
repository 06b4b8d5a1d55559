"""Attacks on models whose likeliest rival moves with the label's class, so that the margin to it has no slope."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from attack_cases import CASES
from models import FakeFile, Linear, attack_all
from twins import NEAR, farthest_needed, near_twins, reachable, twins

from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.engine.escape import TIE
from robaudit.threat.model import Access, Goal, ThreatModel
from robaudit.threat.norms import Norm

RADIUS = {Norm.LINF: 0.1, Norm.L2: 0.4, Norm.L1: 1.5, Norm.L0: 1}
"""At which every sample of the models falls: in L0 by exhaustive search, elsewhere in closed form."""
LONGER = {
    "cw-l0": {"steps": 400, "rounds": 20},
    "pdpgd": {"steps": 300, "primal_rate": 0.3},
    "lbfgs": {"steps": 20, "searches": 4, "memory": 3},
    "jsma": {},
}
ONE_STEP = {"r-fgsm"}
"""Half of its step is random."""
WHITE = sorted(name for name, cls in attack_classes().items() if cls.access is Access.WHITE_BOX and name in CASES)
CASES_BY_NORM = [(name, norm) for name in WHITE for norm in sorted(attack_classes()[name].norms)]


def broken(target: FakeFile, samples: list, name: str, norm: Norm, **threat) -> int:
    attack = make_attack(name, LONGER.get(name, CASES[name].parameters))
    results = attack_all(target, attack, ThreatModel(norm, RADIUS[norm], **threat), samples, surrogates=target)
    return sum(r.success for r in results.values())


@pytest.mark.parametrize(("name", "norm"), [case for case in CASES_BY_NORM if case[0] not in ONE_STEP])
def test_a_twin_of_every_class_hides_nothing(name: str, norm: Norm) -> None:
    target, samples = twins("twin")
    if norm is Norm.L0:
        samples = [s for s in samples if reachable(target, s)]
    else:
        dual = {Norm.LINF: 1, Norm.L2: 2, Norm.L1: float("inf")}[norm]
        assert max(farthest_needed(target, s, dual) for s in samples) < RADIUS[norm]
    plain, same = twins("none")
    expected = len(samples)
    if not make_attack(name, {}).unsuited(3, plain.shape):
        expected = broken(plain, [same[s.index] for s in samples], name, norm)
    assert expected >= len(samples) - (name == "ilcm") >= 5  # which looks away from the nearest class
    assert broken(target, samples, name, norm) == expected


@pytest.mark.parametrize("kind", ["triple", "lower", "stairs", "crowd"])
@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("fmn", Norm.LINF),
        ("fmn", Norm.L0),
        ("cw-linf", Norm.LINF),
        ("cw-l2", Norm.L2),
        ("ead", Norm.L1),
        ("pdpgd", Norm.L1),
        ("sigma-zero", Norm.L0),
        ("deepfool", Norm.LINF),
        ("fab-t", Norm.L2),
        ("apgd-ce", Norm.L1),
        ("apgd-t", Norm.L2),
        ("apgd-dlr", Norm.LINF),
        ("ensemble", Norm.LINF),
    ],
)
def test_nor_do_groups_of_them_or_lower_ones(name: str, norm: Norm, kind: str) -> None:
    target, samples = twins(kind)
    assert broken(target, samples, name, norm) == len(samples)


@pytest.mark.parametrize("kind", list(NEAR))
@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("fmn", Norm.LINF),
        ("fmn", Norm.L2),
        ("fmn", Norm.L0),
        ("cw-linf", Norm.LINF),
        ("cw-l0", Norm.L0),
        ("cw-l2", Norm.L2),
        ("ead", Norm.L1),
        ("pdpgd", Norm.L0),
        ("pdpgd", Norm.L2),
        ("sigma-zero", Norm.L0),
        ("lbfgs", Norm.L2),
        ("apgd-dlr", Norm.LINF),
        ("apgd-dlr", Norm.L1),
        ("ensemble", Norm.LINF),
    ],
)
def test_nor_does_a_copy_with_nearly_the_same_weights(name: str, norm: Norm, kind: str) -> None:
    """Its lead has a slope, but a slight one: no step meets it, or only after the class's own logit was lowered."""
    target, samples = near_twins(kind)
    assert broken(target, samples, name, norm) == len(samples)


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("kind", ["none", "twin", "scaled", "pruned"])
def test_the_others_of_a_cohort_do_not_outweigh_a_slight_slope(kind: str, loss: str) -> None:
    for scale in (0.01, 1.0, 30.0):
        target, samples = near_twins(kind, 12, scale) if kind in NEAR else twins(kind, 12, scale=scale)
        attack = make_attack("daa", CASES["daa"].parameters | {"loss": loss})
        results = attack_all(target, attack, ThreatModel(Norm.LINF, RADIUS[Norm.LINF]), samples)
        assert sum(r.success for r in results.values()) >= len(samples) - 3 * (kind == "scaled" and scale > 1), scale


def test_looking_for_a_nearer_rival_in_vain_is_rare() -> None:
    """Both rivals are far away: a model that is robust, as its slopes say."""
    plain, samples = twins("none")
    bias = plain.module.inner.bias.detach().clone()
    bias[0] += 20
    target = FakeFile(Linear(plain.module.inner.weight, bias), 3, plain.shape, torch.float32)
    samples = [
        dataclasses.replace(s, clean=target.scores(torch.from_numpy(s.u)[None])[0].numpy(), label=0) for s in samples
    ]
    attack = make_attack("bim", {"steps": 100, "loss": "margin"})
    results = attack_all(target, attack, ThreatModel(Norm.LINF, 1e-3), samples)
    for r in results.values():
        assert not r.success
        assert 101 < r.forwards <= 105
        assert r.forwards == r.backwards
    assert target.forward_rows == sum(r.forwards for r in results.values())


@pytest.mark.parametrize("scale", [30.0, 1e4])
@pytest.mark.parametrize("kind", ["twin", "lower", "stairs"])
def test_sure_models_hide_nothing_behind_a_twin(kind: str, scale: float) -> None:
    """The other rivals' share of the log-odds is below a unit of rounding."""
    target, samples = twins(kind, scale=scale)
    for name, norm in (("apgd-ce", Norm.LINF), ("pgd", Norm.L2), ("ddn", Norm.L2), ("bim", Norm.LINF)):
        assert broken(target, samples, name, norm) == len(samples), name


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2, Norm.L1])
@pytest.mark.parametrize("kind", ["twin", "lower"])
def test_a_search_by_scores_is_guided_past_twins(kind: str, norm: Norm) -> None:
    target, samples = twins(kind)
    plain, same = twins("none")
    few = make_attack("square", {"queries": 60, "trial": 20})
    threat = ThreatModel(norm, RADIUS[norm])
    found = [
        attack_all(model, few, dataclasses.replace(threat, queries=60), them)
        for model, them in ((target, samples), (plain, same))
    ]
    assert [r.success for r in found[0].values()] == [r.success for r in found[1].values()]
    assert [r.queries for r in found[0].values()] == [r.queries for r in found[1].values()]


@pytest.mark.parametrize(
    ("name", "norm"), [("fmn", Norm.L2), ("cw-l2", Norm.L2), ("fab-t", Norm.L2), ("pgd", Norm.LINF), ("jsma", Norm.L0)]
)
def test_the_twin_of_a_goal_does_not_hide_it(name: str, norm: Norm) -> None:
    """The goal is the first of its group, which wins a tie."""
    target, samples = twins("twin")
    likeliest = [max((c for c in range(3) if c != s.label), key=lambda c, s=s: s.clean[c]) for s in samples]
    aimed = [dataclasses.replace(s, goal=c) for s, c in zip(samples, likeliest, strict=True)]
    plain, same = twins("none")
    there = [dataclasses.replace(s, goal=c) for s, c in zip(same, likeliest, strict=True)]
    expected = broken(plain, there, name, norm, goal=Goal.TARGETED)
    assert expected >= len(samples) // 2
    assert broken(target, aimed, name, norm, goal=Goal.TARGETED) >= expected - 1


def test_the_way_past_a_twin_is_billed() -> None:
    plain, same = twins("none")
    target, samples = twins("twin")
    attack, threat = make_attack("bim", {"steps": 1, "loss": "margin"}), ThreatModel(Norm.LINF, 1e-4)
    ordinary = attack_all(plain, attack, threat, same)
    assert all((r.forwards, r.backwards) == (2, 2) for r in ordinary.values())
    assert plain.forward_rows == sum(r.forwards for r in ordinary.values())
    twin = attack_all(target, attack, threat, samples)
    assert target.forward_rows == sum(r.forwards for r in twin.values())
    # A point: the margin; then the class itself, all rivals, the first, the first two, and the second alone.
    assert all((r.forwards, r.backwards) == (4, 12) for r in twin.values())


@pytest.mark.parametrize(("slots", "micro_batch"), [(1, 1), (3, 2), (64, 64)])
@pytest.mark.parametrize(("name", "norm"), [("fmn", Norm.L2), ("deepfool", Norm.LINF), ("apgd-ce", Norm.LINF)])
def test_past_a_twin_no_batch_matters(name: str, norm: Norm, slots: int, micro_batch: int) -> None:
    target, samples = twins("stairs", dtype=torch.float64, scale=100.0)
    attack, threat = make_attack(name, CASES[name].parameters), ThreatModel(norm, 0.05)

    def outcome(**how: int) -> list[tuple]:
        found = [r for _, r in sorted(attack_all(target, attack, threat, samples, **how).items())]
        return [(r.success, r.forwards, r.backwards, r.distance and round(r.distance, 6)) for r in found]

    assert outcome(slots=slots, micro_batch=micro_batch) == outcome(slots=8, micro_batch=5)


class Rounded(torch.nn.Module):
    """Its twins differ by a unit of rounding that the file does not have."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        z = self.inner(u)
        noise = torch.zeros_like(z)
        noise[:, 3:] = z.abs().amax(1, keepdim=True) * torch.finfo(z.dtype).eps * (TIE / 4)
        return z + noise


@pytest.mark.parametrize(("name", "norm"), [("sigma-zero", Norm.L0), ("fmn", Norm.L2), ("ead", Norm.L1)])
def test_a_lead_by_rounding_is_no_success_of_a_search_that_asks_the_file_at_its_end(name: str, norm: Norm) -> None:
    target, samples = twins("twin")
    file = dataclasses.replace(target)
    noisy = FakeFile(Rounded(target.module), target.num_classes, target.shape, target.dtype)
    noisy.scores = file.scores  # type: ignore[method-assign]
    attack = make_attack(name, LONGER.get(name, CASES[name].parameters))
    results = attack_all(noisy, attack, ThreatModel(norm, RADIUS[norm]), samples)
    assert all(r.success for r in results.values())
    assert all(r.distance > 0 for r in results.values())
