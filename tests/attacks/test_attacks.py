from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from attack_cases import BY_NORM, CASES, EPS
from hypothesis import given, settings
from hypothesis import strategies as st
from models import (
    FakeFile,
    Rounded,
    attack_all,
    boundary_model,
    closed_form,
    network,
    rectified,
    samples_for,
)

from robaudit.attacks.base import SlotAttack
from robaudit.attacks.fitted import FittedSearch
from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.errors import UsageError
from robaudit.threat.arrays import TOLERANCE
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm


def test_every_attack_is_in_the_cases() -> None:
    known = {name: cls for name, cls in attack_classes().items() if not name.startswith("test-")}
    fitted = {name for name, cls in known.items() if issubclass(cls, FittedSearch)}
    assert fitted == {"sgd-uap", "fd-pca", "autozoom-ae"}  # test_fitted.py, test_fitted_searches.py
    assert known.keys() - fitted == set(CASES)


def small(name: str, **more) -> SlotAttack:
    return make_attack(name, CASES[name].parameters | more)


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 5, 9), (7,)])
def test_known_optimum_of_a_two_class_linear_model(name: str, norm: Norm, shape: tuple[int, ...]) -> None:
    """Broken a little above the closed-form distance, never below it."""
    target, case = boundary_model(shape), CASES[name]
    if not case.two_classes:
        assert small(name).unsuited(2, shape)
        return
    # In one sample's box the nearest boundary point of these lies inside; L1 moves one feature.
    reach = {Norm.LINF: 0.04, Norm.L2: 0.04, Norm.L1: 0.04, Norm.L0: 3}[norm]
    count = 400 if norm is Norm.L1 else 40  # few samples are a small step of one feature away
    samples = [s for s in samples_for(target, count) if closed_form(target, s, norm) < reach][:8]
    assert len(samples) >= 4
    attack = small(name, **case.optimum_parameters)
    optima = [closed_form(target, sample, norm) for sample in samples]

    def found(radii: list[float]) -> list[bool]:
        """Which samples fall within radii of their own."""
        own = [dataclasses.replace(sample, eps=eps) for sample, eps in zip(samples, radii, strict=True)]
        results = attack_all(target, attack, ThreatModel(norm, max(radii)), own, surrogates=target)
        return [results[sample.index].success for sample in samples]

    assert not any(found([optimum - 1 if norm is Norm.L0 else optimum * 0.98 for optimum in optima]))
    if case.optimum is not None:
        factor = case.optimum
        assert all(found([optimum + 1 if norm is Norm.L0 else optimum * factor for optimum in optima]))


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_a_success_lies_in_ball_and_box_and_fools(name: str, norm: Norm) -> None:
    target = network((2, 6, 5), 6)
    samples = samples_for(target, 12)
    eps = math.ceil(EPS[norm] * 2.5) if norm is Norm.L0 else EPS[norm] * 2.5
    threat = ThreatModel(norm, eps)
    results = attack_all(target, small(name), threat, samples, surrogates=target)
    broken = [s for s in samples if results[s.index].success]
    assert broken
    for sample in broken:
        result = results[sample.index]
        point = torch.from_numpy(result.point)
        inside, size = threat.admissible(torch.from_numpy(sample.u)[None], point[None])
        assert bool(inside[0])
        assert float(size[0]) == pytest.approx(result.distance)
        assert float(size[0]) <= eps + TOLERANCE
        assert int(target.scores(point[None])[0].argmax()) == result.prediction != sample.label


def outcome(results) -> dict:
    return {
        i: (r.success, r.queries, r.forwards, None if r.distance is None else round(r.distance, 5))
        for i, r in results.items()
    }


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_outcome_does_not_depend_on_batch_size_or_order(name: str, norm: Norm) -> None:
    target = network((1, 6, 6), 5)
    attack = small(name)
    threat = ThreatModel(norm, EPS[norm])
    samples = samples_for(target, 16)
    reference = outcome(attack_all(target, attack, threat, samples, slots=64, surrogates=target))
    for slots, micro_batch, order in [
        (1, 1, range(16 if attack.cohort_size else 5)),  # one by one is slow
        (7, 3, range(15, -1, -1)),
        (64, 64, range(15, -1, -1)),
    ]:
        reordered = [samples[i] for i in order]
        found = attack_all(target, attack, threat, reordered, slots=slots, micro_batch=micro_batch, surrogates=target)
        assert outcome(found) == {i: reference[i] for i in order}
    assert outcome(attack_all(target, attack, threat, samples, seed=5, surrogates=target)).keys() == (reference.keys())


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_outcome_does_not_hang_on_the_last_bit_of_an_answer(name: str, norm: Norm) -> None:
    """Processors, batch sizes and numbers of threads round otherwise."""
    attack, threat = small(name), ThreatModel(norm, EPS[norm])
    for target in (network((2, 5, 5), 4, seed=2), rectified((1, 6, 6), 5, seed=4)):
        samples = samples_for(target, 8) + [
            dataclasses.replace(s, index=8 + s.index) for s in samples_for(target, 8, seed=5, spread=0.6)
        ]
        reference = attack_all(target, attack, threat, samples, slots=64, surrogates=target)
        other = FakeFile(Rounded(target.module, 0), target.num_classes, target.shape)
        found = attack_all(other, attack, threat, samples, slots=64, surrogates=other)
        for index, expected in reference.items():
            assert (found[index].success, found[index].queries) == (expected.success, expected.queries)
            assert found[index].distance == pytest.approx(expected.distance, abs=1e-5)


class Shifted(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module, shift: float, order: list[int]) -> None:
        super().__init__()
        self.inner, self.shift, self.order = inner, shift, order

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return self.inner(u)[:, self.order] + self.shift


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_invariant_to_logit_shift_and_class_order(name: str, norm: Norm) -> None:
    plain = network((1, 6, 6), 5)
    order = [3, 0, 4, 1, 2]
    other = FakeFile(Shifted(plain.module, 100.0, order), 5, plain.shape)
    attack = small(name)
    threat = ThreatModel(norm, EPS[norm])
    samples = samples_for(plain, 10)
    renamed = [dataclasses.replace(s, label=order.index(s.label), clean=s.clean[order] + 100.0) for s in samples]
    first = attack_all(plain, attack, threat, samples, surrogates=plain)
    second = attack_all(other, attack, threat, renamed, surrogates=other)
    assert {i: r.success for i, r in first.items()} == {i: r.success for i, r in second.items()}


BLACK_BOX = [(name, norm) for name, norm in BY_NORM if attack_classes()[name].access in (Access.SCORES, Access.LABELS)]


@pytest.mark.parametrize(("name", "norm"), BLACK_BOX)
@settings(max_examples=15, deadline=None)
@given(queries=st.integers(1, 120), limit=st.integers(1, 120))
def test_the_query_budget_is_never_exceeded(name: str, norm: Norm, queries: int, limit: int) -> None:
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 5)
    before = target.score_rows
    near = {Norm.LINF: 0.004, Norm.L2: 0.02, Norm.L1: 0.1, Norm.L0: 1.0}[norm]
    threat = ThreatModel(norm, near, queries=limit)
    results = attack_all(target, small(name, queries=queries), threat, samples, surrogates=target)
    assert all(r.queries <= min(queries, limit) for r in results.values())
    judged = sum(r.judged for r in results.values())
    asked = sum(r.queries - r.seen.repeated for r in results.values())  # a repeat is charged, and answered from memory
    assert target.score_rows - before == asked + judged


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_equal_under_a_seed_and_counted(name: str, norm: Norm) -> None:
    target = network((1, 6, 6), 5)
    attack = small(name)
    threat = ThreatModel(norm, EPS[norm])
    samples = samples_for(target, 6)
    first = attack_all(target, attack, threat, samples, surrogates=target)
    before = target.forward_rows
    second = attack_all(target, attack, threat, samples, surrogates=target)
    assert outcome(first) == outcome(second)
    if attack.access in (Access.WHITE_BOX, Access.TRANSFER) and CASES[name].counted:
        assert target.forward_rows - before == sum(r.forwards for r in second.values())


def test_apgd_t_is_at_least_as_strong_as_ce_and_fgsm() -> None:
    target = network((1, 8, 8), 10, seed=3)
    samples = samples_for(target, 60)
    threat = ThreatModel(Norm.LINF, 0.02)

    def broken(name: str, **parameters) -> set[int]:
        found = attack_all(target, make_attack(name, parameters), threat, samples, surrogates=target)
        return {i for i, r in found.items() if r.success}

    strong = broken("apgd-t", steps=50, targets=9)
    assert broken("fgsm") <= strong
    assert len(broken("apgd-ce", steps=50) - strong) == 0
    assert 5 < len(strong) < 60


def test_hopskipjump_approaches_the_boundary() -> None:
    target = boundary_model((1, 6, 6), seed=2)
    samples = samples_for(target, 8)
    results = attack_all(target, make_attack("hopskipjump", {"queries": 4000}), ThreatModel(Norm.L2, 0.001), samples)
    ratios = [results[s.index].distance / closed_form(target, s, Norm.L2) for s in samples]
    assert min(ratios) >= 1 - 1e-9
    assert np.median(ratios) < 1.1


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("fgms", {}, "did you mean 'fgsm'"),
        ("pgd", {"step": 3}, "did you mean 'steps'"),
        ("pgd", {"steps": 0}, "greater than or equal to 1"),
        ("pgd", {"loss": "nonsense"}, "loss"),
        ("square", {"p_init": math.nan}, "p_init"),
    ],
)
def test_bad_parameters_are_refused_in_one_sentence(name: str, parameters: dict, words: str) -> None:
    with pytest.raises(UsageError, match="(?s)" + words):
        make_attack(name, parameters)


def test_dlr_losses_say_when_classes_are_too_few() -> None:
    assert "three classes" in make_attack("pgd", {"loss": "dlr"}).unsuited(2, (4,))
    assert make_attack("pgd", {"loss": "dlr"}).unsuited(3, (4,)) is None
    assert "four classes" in make_attack("apgd-t", {}).unsuited(3, (4,))
