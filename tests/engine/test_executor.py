"""Jobs, and the executor of one process."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Sequence

import torch
from models import FakeFile, linear, samples_for

from robaudit.attacks.base import StartingPool
from robaudit.attacks.registry import make_attack
from robaudit.engine.care import Care
from robaudit.engine.engine import Engine
from robaudit.engine.executor import LocalExecutor
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample, UnitResult
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

PGD = {"steps": 5}
THREAT = ThreatModel(Norm.LINF, 0.9)


def executor(target: FakeFile, *, care: Care | None = None, slots: int = 4, stop: bool = False) -> LocalExecutor:
    pool = StartingPool(torch.zeros(0, *target.shape), torch.zeros(0, dtype=torch.int64))
    engine = Engine(Oracle(target), slots, 7, pool, micro_batch=8)
    return LocalExecutor(engine, lambda: stop, care or Care())


def run(local: LocalExecutor, job: Job, samples: Sequence[Sample]) -> tuple[bool, dict[int, UnitResult]]:
    found: dict[int, UnitResult] = {}
    whole = local.run(job, {s.index: s for s in samples}.__getitem__, lambda r: found.update({r.unit.sample: r}))
    return whole, found


def job_on(local: LocalExecutor, cases: Sequence[int], **more: object) -> Job:
    attack = make_attack("pgd", PGD)
    return Job(attack, THREAT, local.units(attack, THREAT, cases), "pgd", **more)  # type: ignore[arg-type]


def test_what_it_tells_of_the_target() -> None:
    local = executor(linear((3, 2), 5))
    assert (local.seed, local.classes, local.shape) == (7, 5, (3, 2))


def test_a_job_that_was_pickled_comes_to_the_same() -> None:
    target = linear((6,), 3)
    samples, local = samples_for(target, 4), executor(target)
    job = job_on(local, range(4), radii={2: 1e-4})
    whole, first = run(local, job, samples)
    again, second = run(executor(target), pickle.loads(pickle.dumps(job)), samples)
    assert (whole, again) == (True, True)
    assert {i: (r.success, r.distance, r.forwards) for i, r in first.items()} == {
        i: (r.success, r.distance, r.forwards) for i, r in second.items()
    }


def test_a_radius_of_its_own_is_kept() -> None:
    target = linear((6,), 3)
    samples, local = samples_for(target, 4), executor(target)
    _, found = run(local, job_on(local, range(4), radii={2: 1e-6}), samples)
    assert [found[i].success for i in range(4)] == [True, True, False, True]


def test_goals_are_forgotten_where_any_wrong_class_counts() -> None:
    target = linear((6,), 3)
    [sample] = samples_for(target, 1)
    aimed = dataclasses.replace(sample, goal=(sample.label + 1) % 3)
    local, attack = executor(target), make_attack("pgd", PGD)
    job = Job(attack, dataclasses.replace(THREAT, goal=Goal.UNTARGETED), local.units(attack, THREAT, [0]), "pgd")
    assert job.sample(aimed).goal == aimed.goal
    assert dataclasses.replace(job, any_wrong=True).sample(aimed).goal == -1


def test_lost_samples_are_reported_and_never_asked() -> None:
    target = linear((6,), 3)
    samples, asked = samples_for(target, 4), []
    local = executor(target, care=Care(lost={1: "it hangs"}))
    by_index = {s.index: s for s in samples}

    def load(case: int) -> Sample:
        asked.append(case)
        return by_index[case]

    found: dict[int, UnitResult] = {}
    assert local.run(job_on(local, range(4)), load, lambda r: found.update({r.unit.sample: r}))
    assert sorted(asked) == [0, 2, 3]
    assert (found[1].success, found[1].error) == (False, "it hangs")
    assert {i for i, r in found.items() if r.success} == {0, 2, 3}


def test_suspects_are_asked_alone_and_come_to_the_same() -> None:
    target = linear((6,), 3)
    samples = samples_for(target, 4)
    rows: list[int] = []
    scores = target.logits
    target.logits = lambda u: rows.append(len(u)) or scores(u)  # type: ignore[method-assign, func-returns-value]
    local = executor(target, care=Care(suspects=frozenset({0, 3})))
    whole, found = run(local, job_on(local, range(4)), samples)
    alone = rows.index(2) if 2 in rows else len(rows)
    assert whole
    assert set(rows[:alone]) == {1}  # the two suspects, one after the other, before the others together
    assert max(rows) == 2
    _, usual = run(executor(linear((6,), 3)), job_on(local, range(4)), samples)
    assert {i: r.distance for i, r in found.items()} == {i: r.distance for i, r in usual.items()}


def test_a_stop_is_told() -> None:
    target = linear((6,), 3)
    local = executor(target, stop=True)
    assert run(local, job_on(local, range(4)), samples_for(target, 4)) == (False, {})
