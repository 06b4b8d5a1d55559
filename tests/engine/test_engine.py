from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from models import FakeFile, attack_all, linear, network, samples_for
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.parameters import attack_parameters
from robaudit.attacks.registry import make_attack
from robaudit.attacks.requests import Answer, Gradient, Request, Scores
from robaudit.engine.units import Unit, UnitResult, best_of
from robaudit.errors import AuditError, UnreadableSampleError
from robaudit.threat.losses import cross_entropy
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm


@dataclass
class Steps(Slots):
    step: Tensor


@attack_parameters
class Sneaky(SlotAttack[Steps]):
    """Declares labels, asks for gradients."""

    id = "test-sneaky"
    access = Access.LABELS
    norms = frozenset(Norm)

    def init(self, problem: Problem) -> Steps:
        return Steps(problem.full(0).long())

    def query(self, problem: Problem, state: Steps) -> Request:
        return Gradient(problem.x, loss=cross_entropy)

    def update(self, problem: Problem, state: Steps, answer: Answer) -> Steps:
        return Steps(state.step + 1)

    def done(self, problem: Problem, state: Steps) -> Tensor:
        return state.step >= 1


@attack_parameters
class Outside(Sneaky):
    """Proposes points outside of the ball, and sees that the judge refuses."""

    id = "test-outside"
    access = Access.SCORES

    def query(self, problem: Problem, state: Steps) -> Request:
        return Scores(1 - problem.x)

    def update(self, problem: Problem, state: Steps, answer: Answer) -> Steps:
        assert bool(answer.refused.any())
        assert not bool(answer.fooled.any())
        return Steps(state.step + 1)

    def done(self, problem: Problem, state: Steps) -> Tensor:
        return state.step >= 3


def test_a_request_outside_the_declared_access_is_refused() -> None:
    target = linear((4,), 3)
    with pytest.raises(AuditError, match="outside labels access"):
        attack_all(target, Sneaky(), ThreatModel(Norm.L2, 0.1), samples_for(target, 2))


def test_the_judge_refuses_what_lies_outside_the_ball() -> None:
    target = linear((9,), 2)
    results = attack_all(target, Outside(), ThreatModel(Norm.L2, 0.01), samples_for(target, 3))
    assert all(not r.success and r.refused >= 1 and r.queries == 3 for r in results.values())


class NanBelow(torch.nn.Module):
    """NaN wherever the first feature is below a bound."""

    def __init__(self, inner: torch.nn.Module, bound: float) -> None:
        super().__init__()
        self.inner, self.bound = inner, bound

    def forward(self, u: Tensor) -> Tensor:
        odd = u.flatten(1)[:, :1] < self.bound
        return torch.where(odd, torch.nan, self.inner(u))


@pytest.mark.parametrize("name", ["pgd", "square", "hopskipjump", "apgd-t"])
def test_a_nan_costs_that_sample_alone(name: str) -> None:
    inner = network((1, 4, 4), 5)
    clean = samples_for(inner, 12)
    lowest = min(clean, key=lambda s: s.u.flat[0])
    bound = float(lowest.u.flat[0]) + 1e-3
    others = [s for s in clean if s.u.flat[0] > bound + 0.05]
    target = FakeFile(NanBelow(inner.module, bound), 5, inner.shape)
    attack = make_attack(name, {"queries": 60} if name in ("square", "hopskipjump") else {"steps": 10})
    results = attack_all(target, attack, ThreatModel(Norm.LINF, 0.02), [lowest, *others], pool=False)
    if name != "hopskipjump":  # its points near the sample come late
        assert "not finite" in results[lowest.index].error
        assert all(r.error is None for i, r in results.items() if i != lowest.index)
    assert not results[lowest.index].success
    assert len(results) == 1 + len(others)


def test_labels_alone_pass_by_what_has_no_class() -> None:
    class NanNear(torch.nn.Module):
        def forward(self, u: Tensor) -> Tensor:
            size = (u - origin).flatten(1).abs().amax(1)
            odd = (size > 0) & (size < 0.3)
            return torch.where(odd[:, None], torch.nan, inner.module(u))

    inner = network((1, 4, 4), 5)
    (sample,) = samples_for(inner, 1)
    origin = torch.from_numpy(sample.u)
    target = FakeFile(NanNear(), 5, inner.shape)
    attack = make_attack("hopskipjump", {"queries": 400})
    (near,) = attack_all(target, attack, ThreatModel(Norm.LINF, 0.1), [sample]).values()
    assert not near.success
    assert near.error is None
    assert near.distance is not None
    assert 0.3 <= near.distance < 0.31
    (found,) = attack_all(target, attack, ThreatModel(Norm.LINF, 0.9), [sample]).values()
    assert found.success
    assert found.error is None


def test_an_unreadable_sample_costs_itself_alone() -> None:
    target = network((1, 4, 4), 5)
    samples = samples_for(target, 6)
    by_index = {s.index: s for s in samples}

    def load(index: int):
        if index == 2:
            raise UnreadableSampleError("sample 2 is gone")
        return by_index[index]

    from robaudit.attacks.base import StartingPool
    from robaudit.engine.engine import Engine
    from robaudit.engine.job import Job
    from robaudit.engine.oracle import Oracle

    pool = StartingPool(torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64))
    engine = Engine(Oracle(target), 4, 0, pool)
    found: list[UnitResult] = []
    units = tuple(Unit(0, 0, i) for i in range(6))
    engine.run(Job(make_attack("fgsm", {}), ThreatModel(Norm.LINF, 0.01), units, "fgsm"), load, found.append)
    assert len(found) == 6
    assert [r.error for r in found if r.unit.sample == 2] == ["sample 2 is gone"]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("simulated"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_halves_the_micro_batch_and_goes_on(error: RuntimeError) -> None:
    target = network((1, 4, 4), 5)
    original = target.logits

    def limited(u: Tensor) -> Tensor:
        if u.shape[0] > 3:
            raise error
        return original(u)

    target.logits = limited  # type: ignore[method-assign]
    samples = samples_for(target, 10)
    results = attack_all(target, make_attack("pgd", {"steps": 3}), ThreatModel(Norm.LINF, 0.02), samples)
    assert len(results) == 10


def test_the_lowest_unit_wins_and_later_work_is_not_billed() -> None:
    def result(restart: int, success: bool, forwards: int) -> UnitResult:
        return UnitResult(Unit(restart, 0, 7), success, 1, 0.1, forwards)

    best = best_of([result(2, True, 5), result(0, False, 10), result(1, True, 3)])
    assert best.unit.restart == 1
    assert best.forwards == 13


def test_a_success_releases_later_units() -> None:
    target = network((1, 4, 4), 5)
    samples = samples_for(target, 8)
    attack = make_attack("pgd", {"steps": 5, "restarts": 50})
    results = attack_all(target, attack, ThreatModel(Norm.LINF, 0.5), samples, slots=4)
    assert all(r.success for r in results.values())
    assert target.forward_rows < 8 * 5 * 50 / 4


def test_freed_slots_are_filled_at_once() -> None:
    """Samples fall at different steps; while others wait, every model call is full."""
    target = network((1, 4, 4), 5)
    rows: list[int] = []
    answer = target.logits

    def counting(u: Tensor) -> Tensor:
        rows.append(len(u))
        return answer(u)

    target.logits = counting  # type: ignore[method-assign]
    samples = samples_for(target, 24)
    results = attack_all(target, make_attack("pgd", {"steps": 12}), ThreatModel(Norm.LINF, 0.05), samples, slots=4)
    lengths = sorted(result.forwards for result in results.values())
    assert lengths[0] < lengths[-1]
    assert rows == sorted(rows, reverse=True)
    assert sum(rows) == sum(lengths)
    assert len(rows) - rows.count(4) <= lengths[-1]


class SwaysInCompany(FakeFile):
    """Answers otherwise, by much, when inputs are asked together."""

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        honest = super().scores(u)
        return honest if alone else honest.roll(1, 1)


@pytest.mark.parametrize("name", ["square", "hopskipjump"])
def test_the_judge_asks_one_input_at_a_time(name: str) -> None:
    inner = network((1, 4, 4), 5)
    samples = samples_for(inner, 3)
    target = SwaysInCompany(inner.module, 5, inner.shape)
    threat = ThreatModel(Norm.LINF, 0.001)
    results = attack_all(target, make_attack(name, {"queries": 30}), threat, samples)
    assert all(not r.success and r.refused >= 1 for r in results.values())


@attack_parameters
class Restarted(Sneaky):
    """Two restarts that never fool, each with more queries than allowed."""

    id = "test-restarted"
    access = Access.SCORES
    restarts: int = 2

    def query(self, problem: Problem, state: Steps) -> Request:
        return Scores(problem.x)

    def done(self, problem: Problem, state: Steps) -> Tensor:
        return state.step >= 50


def test_the_units_of_a_sample_share_the_threat_models_queries() -> None:
    target = linear((9,), 3)
    results = attack_all(target, Restarted(), ThreatModel(Norm.L2, 0.1, queries=20), samples_for(target, 3))
    assert [r.queries for r in results.values()] == [20, 20, 20]
