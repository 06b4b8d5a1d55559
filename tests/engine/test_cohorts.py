"""Cohorts: samples that share a search, in fixed company from the first step to the last."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from models import FakeFile, attack_all, network, samples_for

from robaudit.attacks.base import StartingPool
from robaudit.attacks.registry import make_attack
from robaudit.engine.engine import Engine
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Unit, UnitResult, in_cohorts, plan_units
from robaudit.errors import UnreadableSampleError
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

THREAT = ThreatModel(Norm.LINF, 0.015)


def daa(**parameters):
    return make_attack("daa", {"steps": 8, "step_size": 0.3, "cohort": 4, "restarts": 2, "weight": 5.0} | parameters)


class Session:
    """One engine, its results, and a stop after so many rows of gradients."""

    def __init__(self, target: FakeFile, samples, attack) -> None:
        self.target, self.attack = target, attack
        self.by_index = {s.index: s for s in samples}
        pool = StartingPool(torch.zeros(0, *target.shape), torch.zeros(0, dtype=torch.int64))
        self.engine = Engine(Oracle(target), 3, 0, pool, micro_batch=64)
        units = tuple(plan_units(attack, Goal.UNTARGETED, [s.index for s in samples], target.num_classes))
        self.job = Job(attack, THREAT, units, attack.id)

    def run(self, rows: float = float("inf"), earlier: list[UnitResult] | None = None) -> tuple[bool, list[UnitResult]]:
        found: list[UnitResult] = []
        start = self.target.forward_rows
        won = {r.unit.sample: r.unit for r in reversed(earlier or []) if r.success}
        job = dataclasses.replace(self.job, won=won, finished={r.unit for r in earlier or []})
        complete = self.engine.run(
            job, self.by_index.__getitem__, found.append, lambda: self.target.forward_rows - start >= rows
        )
        return complete, found


def same(a: list[UnitResult], b: list[UnitResult]) -> bool:
    first, second = ({r.unit: r for r in results} for results in (a, b))
    return first == second and all(
        (r.point is None) == (second[u].point is None) and (r.point is None or np.array_equal(r.point, second[u].point))
        for u, r in first.items()
    )


def test_members_follow_from_content_alone() -> None:
    digests = {Unit(0, 0, i): f"{(i * 7) % 11:02}" for i in range(11)}
    cohorts = in_cohorts(digests, 4)
    assert [len(c) for c in cohorts] == [3, 4, 4]
    assert cohorts == in_cohorts(dict(reversed(digests.items())), 4)
    assert sorted(u for c in cohorts for u in c) == sorted(digests)
    assert [digests[u] for c in cohorts for u in c] == sorted(digests.values())
    assert in_cohorts({}, 4) == []


@pytest.mark.parametrize("stop_after", [1, 30, 60, 90, 120])
def test_an_interrupted_run_resumes_to_the_same_results(stop_after: int) -> None:
    target = network((1, 6, 6), 5)
    session = Session(target, samples_for(target, 10), daa())
    complete, whole = session.run()
    assert complete
    assert {r.unit.restart for r in whole} == {0, 1}
    stopped, first = session.run(rows=stop_after)
    assert not stopped
    assert len(first) < len(whole)
    complete, rest = session.run(earlier=first)
    assert complete
    assert same(first + rest, whole)
    assert len(first) + len(rest) == len(whole)


def test_a_cohort_written_in_part_runs_again_whole() -> None:
    target = network((1, 6, 6), 5)
    session = Session(target, samples_for(target, 10), daa())
    _, whole = session.run()
    for cut in (1, 6, 13):
        _, rest = session.run(earlier=whole[:cut])
        assert same(whole[:cut] + rest, whole)
        assert len(rest) == len(whole) - cut


def test_later_restarts_take_those_that_stand() -> None:
    target = network((1, 6, 6), 5)
    _, results = Session(target, samples_for(target, 10), daa()).run()
    fallen = {r.unit.sample for r in results if r.success and r.unit.restart == 0}
    assert 0 < len(fallen) < 10
    assert {r.unit.sample for r in results if r.unit.restart == 1} == set(range(10)) - fallen


def test_cohorts_know_nothing_of_each_other() -> None:
    target = network((1, 6, 6), 5)
    samples = sorted(samples_for(target, 8), key=lambda s: s.digest)
    whole = attack_all(target, daa(), THREAT, samples)
    for part in (samples[:4], samples[4:]):
        for index, result in attack_all(target, daa(restarts=1), THREAT, part).items():
            first = whole[index]
            if first.unit.restart == 0:
                assert (result.success, result.forwards) == (first.success, first.forwards)


def test_samples_share_their_search() -> None:
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 10)
    attack = daa(cohort=10, restarts=1, method="dgf", weight=2.0)
    together = attack_all(target, attack, THREAT, samples)
    alone = {s.index: attack_all(target, attack, THREAT, [s])[s.index] for s in samples}
    assert {i: r.forwards for i, r in together.items()} != {i: r.forwards for i, r in alone.items()}


def test_each_member_is_billed_up_to_its_own_end() -> None:
    target = network((1, 6, 6), 5)
    attack = daa(cohort=10, restarts=1, step_size=0.1)
    results = attack_all(target, attack, ThreatModel(Norm.LINF, 0.03), samples_for(target, 10))
    assert len({r.forwards for r in results.values() if r.success}) > 1
    assert max(r.forwards for r in results.values()) == attack.steps + 1
    assert sum(r.forwards for r in results.values()) == target.forward_rows
    assert all(r.judged == r.success for r in results.values())


def test_a_member_without_a_finite_answer_or_a_sample_costs_itself_alone() -> None:
    inner = network((1, 6, 6), 5)
    samples = samples_for(inner, 6)
    low = sorted(samples, key=lambda s: float(s.u.flat[0]))[:2]

    class NanLow(torch.nn.Module):
        def forward(self, u: torch.Tensor) -> torch.Tensor:
            scores = inner.module(u)
            bad = u.flatten(1)[:, :1] < float(low[0].u.flat[0]) + 0.01
            return torch.where(bad, torch.nan, scores)

    assert float(low[1].u.flat[0]) - float(low[0].u.flat[0]) > 0.03
    target = FakeFile(NanLow(), 5, inner.shape)
    session = Session(target, samples, daa(cohort=6, restarts=1))
    gone = next(s.index for s in samples if s.index != low[0].index)
    load = session.by_index.__getitem__

    def unreadable(index: int):
        if index == gone:
            raise UnreadableSampleError(f"sample {index} is gone")
        return load(index)

    found: list[UnitResult] = []
    session.engine.run(session.job, unreadable, found.append)
    errors = {r.unit.sample: r.error for r in found}
    assert len(found) == 6
    assert errors.pop(gone) == f"sample {gone} is gone"
    assert "not finite" in str(errors.pop(low[0].index))
    assert set(errors.values()) == {None}
