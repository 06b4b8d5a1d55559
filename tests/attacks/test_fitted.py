"""Fitted attacks: the fit, apart from whatever applies it; and the universal perturbation on models where the best one
is known."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from models import FakeFile, Linear, Rounded, attack_all, boundary_model, network, samples_for

from robaudit.attacks.base import Problem, StartingPool
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.fitted import Artefact, FitSet, FittedAttack
from robaudit.attacks.registry import make_attack
from robaudit.attacks.requests import TRUE, How
from robaudit.attacks.transforms.base import Copies, Transform
from robaudit.engine.engine import Engine
from robaudit.engine.fitting import FitJob, Fitted
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample
from robaudit.threat.arrays import TOLERANCE
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.sets.features import FixedFeatures

SHAPE, CLASSES = (1, 6, 6), 5
THREAT = ThreatModel(Norm.LINF, 0.1)


def uap(**parameters: Any) -> FittedAttack:
    attack = make_attack("sgd-uap", {"epochs": 4, "minibatch": 10} | parameters)
    assert isinstance(attack, FittedAttack)
    return attack


def fit(
    target: FakeFile,
    attack: FittedAttack,
    samples: list[Sample],
    threat: ThreatModel = THREAT,
    *,
    micro_batch: int = 64,
    seed: int = 0,
    before: Fitted | None = None,
    sink: Callable[[Fitted], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    how: How = TRUE,
) -> Fitted | None:
    ordered = sorted(samples, key=lambda s: s.digest)
    empty = StartingPool(torch.zeros(0, *target.shape), torch.zeros(0, dtype=torch.int64))
    engine = Engine(Oracle(target), 8, seed, empty, micro_batch=micro_batch)
    places, digests = tuple(s.index for s in ordered), tuple(s.digest for s in ordered)
    job = pickle.loads(pickle.dumps(FitJob(attack, threat, places, digests, "sgd-uap", how)))
    return engine.fit(job, {s.index: s for s in samples}.__getitem__, before, sink, stop)


class Watched(Transform):
    """Nothing changes; notes whose draws were at which step."""

    id = "watched"
    seen: ClassVar[list[tuple[int, int]]] = []

    def apply(self, points: torch.Tensor, copies: Copies) -> torch.Tensor:
        self.seen.extend(zip(copies.draws.keys.tolist(), copies.step.tolist(), strict=True))
        return points


def test_a_transform_draws_anew_at_each_evaluation_of_a_fit_and_after_a_resume() -> None:
    target, attack, how = network(SHAPE, CLASSES), uap(), How((Watched(),), 2)
    samples, rounds = samples_for(target, 20), list[Fitted]()
    Watched.seen.clear()
    whole = fit(target, attack, samples, sink=rounds.append, how=how)
    seen = list(Watched.seen)
    assert len(seen) == len(set(seen)) == 20 * 4 * 2  # samples, epochs, copies
    assert whole is not None
    assert whole.cost == Cost(20 * 4 * 3, 20 * 4 * 2)  # and a look at the point itself
    Watched.seen.clear()
    resumed = fit(target, attack, samples, before=rounds[1], how=how)
    assert seen[-len(Watched.seen) :] == Watched.seen
    np.testing.assert_array_equal(perturbation(resumed), perturbation(whole))


def perturbation(found: Fitted | None) -> np.ndarray:
    assert found is not None
    return found.artefact["perturbation"].numpy()


def rate(
    target: FakeFile, attack: FittedAttack, artefact: Artefact, samples: list[Sample], threat: ThreatModel
) -> float:
    results = attack_all(target, attack, threat, samples, artefact=artefact)
    return sum(result.success for result in results.values()) / len(samples)


@pytest.mark.parametrize("classes", [2, 4])
def test_on_a_linear_model_it_fools_about_as_many_as_the_best_perturbation(classes: int) -> None:
    """Of two classes the best direction for each is the sign of the weights' difference; with more, a pair's."""
    target = linear_with_rare_classes(classes)
    samples = samples_for(target, 160)
    held, fitted_on = samples[:80], samples[80:]
    weight, eps = target.module.weight, 0.06
    threat = ThreatModel(Norm.LINF, eps)
    attack = uap(epochs=20, minibatch=20)
    found = fit(target, attack, fitted_on, threat)
    assert found is not None
    best = 0.0
    for a in range(classes):
        for b in range(classes):
            delta = (weight[a] - weight[b]).sign().reshape(target.shape) * eps
            best = max(best, rate(target, attack, {"perturbation": delta}, held, threat))
    own = rate(target, attack, found.artefact, held, threat)
    assert 0.2 < best < 1.0
    assert own >= best - 0.05
    if classes == 2:  # the majority's direction, feature by feature
        majority = max(range(2), key=[s.label for s in fitted_on].count)
        direction = (weight[1 - majority] - weight[majority]).sign().reshape(target.shape)
        assert perturbation(found) == pytest.approx((direction * eps).numpy())


def linear_with_rare_classes(classes: int) -> FakeFile:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(classes, 36, generator=generator, dtype=torch.float64)
    bias = -weight.sum(1) / 2
    bias[0] += 1.0
    return FakeFile(Linear(weight, bias), classes, SHAPE)


def test_it_stays_in_the_ball_and_what_it_is_applied_to_in_the_box() -> None:
    target = network(SHAPE, CLASSES)
    samples = samples_for(target, 40, spread=0.6)
    found = fit(target, uap(step_size=3.0), samples[20:])
    delta = perturbation(found)
    assert np.abs(delta).max() == pytest.approx(THREAT.eps)
    assert found is not None
    results = attack_all(target, uap(), THREAT, samples[:20], artefact=found.artefact)
    broken = [s for s in samples[:20] if results[s.index].success]
    assert broken
    for sample in broken:
        point = results[sample.index].point
        assert point == pytest.approx(np.clip(sample.u + delta, 0, 1))
        assert np.abs(point - sample.u).max() <= THREAT.eps + TOLERANCE


def test_fixed_features_stay() -> None:
    target = network(SHAPE, CLASSES)
    samples = samples_for(target, 40)
    threat = dataclasses.replace(THREAT, eps=0.3, sets=(FixedFeatures((0, 7, 35)),))
    found = fit(target, uap(), samples[20:], threat)
    assert found is not None
    moved = perturbation(found).flatten() != 0
    assert not moved[[0, 7, 35]].any()
    assert moved.sum() == 33
    results = attack_all(target, uap(), threat, samples[:20], artefact=found.artefact)
    broken = [i for i, result in results.items() if result.success]
    assert broken
    for i in broken:
        assert (results[i].point.flatten() == samples[i].u.flatten())[[0, 7, 35]].all()


def test_the_fit_does_not_depend_on_batch_or_order_and_does_on_the_seed() -> None:
    target = network(SHAPE, CLASSES)
    samples = samples_for(target, 30)
    whole = perturbation(fit(target, uap(), samples))
    for micro_batch, order in ((1, samples), (7, samples[::-1])):
        assert (perturbation(fit(target, uap(), order, micro_batch=micro_batch)) == whole).all()
    assert (perturbation(fit(target, uap(), samples, seed=1)) != whole).any()
    assert (perturbation(fit(target, uap(minibatch=15), samples)) != whole).any()  # a parameter, unlike the batch


def test_the_last_bits_of_gradients_decide_nothing() -> None:
    target = network(SHAPE, CLASSES)
    samples = samples_for(target, 30)
    whole = fit(target, uap(), samples)
    other = FakeFile(Rounded(target.module, 0), CLASSES, SHAPE)
    assert perturbation(fit(other, uap(), samples)) == pytest.approx(perturbation(whole), abs=1e-9)


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_fit_goes_on_after_any_round(rounds: int) -> None:
    target = network(SHAPE, CLASSES)
    samples = samples_for(target, 30)
    kept: list[Fitted] = []
    whole = fit(target, uap(), samples, sink=kept.append)
    assert [found.rounds for found in kept] == [1, 2, 3, 4]
    again = fit(target, uap(), samples, before=kept[rounds - 1])
    assert again is not None
    assert whole is not None
    assert (perturbation(again) == perturbation(whole)).all()
    assert (again.rounds, again.cost) == (4, whole.cost)
    assert set(whole.artefact) == {"perturbation"}  # and nothing that only the fit needs


def test_what_a_fit_asks_is_counted_and_no_more_than_it_declares() -> None:
    target = network(SHAPE, CLASSES)
    attack, samples = uap(), samples_for(target, 33)
    target.forward_rows = 0
    found = fit(target, attack, samples)
    assert found is not None
    assert found.cost == Cost.gradients(4 * 33) == attack.most_of_fit(Task(Norm.LINF, 0.1, CLASSES, 36), 33)
    assert target.forward_rows == 4 * 33
    results = attack_all(target, attack, THREAT, samples[:5], artefact=found.artefact)
    assert {(r.forwards, r.backwards, r.queries) for r in results.values()} == {(1, 0, 0)}


def test_a_fit_that_is_stopped_says_so_and_keeps_its_rounds() -> None:
    target = network(SHAPE, CLASSES)
    kept: list[Fitted] = []
    assert fit(target, uap(), samples_for(target, 30), sink=kept.append, stop=lambda: len(kept) == 2) is None
    assert [found.rounds for found in kept] == [1, 2]


def test_samples_that_are_fooled_beyond_the_clamp_do_not_pull() -> None:
    """Two classes, one sample far on the wrong side: without a clamp its direction would be no other's, either."""
    target = boundary_model(SHAPE)
    samples = samples_for(target, 12)
    target.module.weight.data *= 40
    target.module.bias.data *= 40
    wrong = [dataclasses.replace(s, label=1 - s.label) for s in samples if s.label == 0]
    right = [s for s in samples if s.label == 1]
    alone = fit(target, uap(clamp=0.5, epochs=2), right)
    both = fit(target, uap(clamp=0.5, epochs=2), right + wrong)
    slope = (target.module.weight[0] - target.module.weight[1]).sign().reshape(SHAPE).numpy()
    assert (np.sign(perturbation(alone)) == slope).all()
    assert (np.sign(perturbation(both)) == slope).all()
    beyond = fit(target, uap(clamp=1e-9, epochs=2), wrong)
    assert (perturbation(beyond) == 0).all()


class Noted(FittedAttack):
    """Keeps what it was given."""

    id = "noted"
    access = uap().access
    norms = frozenset(Norm)
    fit_samples, fit_least, fit_rounds = 9, 4, 1
    seen: list[Any] = []  # noqa: RUF012

    def fit_start(self, fit: FitSet) -> Artefact:
        return {"first": fit.zeros()}

    def fit_round(self, fit: FitSet, number: int, artefact: Artefact) -> Artefact:
        self.seen.append((len(fit), fit.problem(range(len(fit))), fit.draws.uniform("here", 0, (2,))))
        return artefact

    def candidate(self, problem: Problem) -> torch.Tensor:
        return problem.x


def test_a_fit_set_is_without_goals_and_its_draws_follow_from_seed_and_content() -> None:
    target = network(SHAPE, CLASSES)
    samples = samples_for(target, 9)
    Noted.seen.clear()
    for seed, order in ((0, samples), (0, samples[::-1]), (1, samples)):
        fit(target, Noted(), order, seed=seed)
    (count, problem, draw), (_, other, same), (_, _, differs) = Noted.seen
    assert count == 9
    assert bool((problem.goal == -1).all())
    assert torch.equal(problem.x, other.x)
    assert torch.equal(draw, same)
    assert not torch.equal(draw, differs)
    assert len(set(problem.keys.tolist())) == 9
