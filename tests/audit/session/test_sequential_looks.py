"""The looks of an audit, with an engine that is simulated: broken samples finish long before those that stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from journal_kit import clean, ended, plan, unit
from run_kit import changed
from scipy.stats import binom

from robaudit.audit.config.gatespecs import GateSpec, IgnoreSpec
from robaudit.audit.config.profile import Profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.causes import Cause
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.looks import completed, recorded, settled
from robaudit.audit.journal.records.attacks import AttackEnded
from robaudit.audit.journal.records.findings import LookTaken, OutcomeAtLook
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.records.session import DataFacts
from robaudit.audit.journal.records.units import FinishedUnit
from robaudit.audit.journal.tally import Tally
from robaudit.audit.outcome.stopping import section
from robaudit.audit.plan.deciding_gates import sequential_gates, validate_sequential
from robaudit.audit.result.sections.target import Data
from robaudit.audit.session.chunks import Chunk, chunks
from robaudit.audit.session.looks import run_looks
from robaudit.data.source import keyed_draw, keyed_order
from robaudit.errors import UsageError
from robaudit.stats.looks import decide, design

STEPS = 60
"""Steps of the attack on a sample that stands; the others fall in the first few."""
SLOTS = 128


class Indices:
    """A draw of samples that are all distinct."""

    repeats = contradictions = 0

    def __init__(self, drawn: list[int], seed: int) -> None:
        self._order = keyed_order(drawn, seed)

    def first(self, count: int) -> list[int]:
        return self._order[:count]

    def notes(self, asked: int) -> list[str]:
        del asked
        return []


def request(*gates: GateSpec, **changes: object) -> AuditRequest:
    profile = Profile(name="p", gates=gates or (GateSpec(metric="robust_accuracy", min=0.5),))
    return changed(AuditRequest(Path("m.onnx"), profile), **({"until_decided": True} | changes))


def finishing(indices: list[int], falls: np.ndarray) -> Iterator[int]:
    """An engine with slots that are refilled: the samples in the order in which they finish.

    Args:
        indices: samples in the order in which they enter.
        falls: step of the attack at which each falls; STEPS and above: it stands.
    """
    waiting = list(indices)
    running: dict[int, int] = {}
    while waiting or running:
        while waiting and len(running) < SLOTS:
            index = waiting.pop(0)
            running[index] = min(int(falls[index]), STEPS)
        running = {index: left - 1 for index, left in running.items()}
        for index in [index for index, left in running.items() if left <= 0]:
            del running[index]
            yield index


class Audit:
    """A simulated audit.

    Args:
        falls: see :func:`finishing`.
        asked: the request.
        journal: of an earlier session.
        units: after so many units it is interrupted.
        failing: looks at which the attack fails.
    """

    def __init__(
        self,
        falls: np.ndarray,
        asked: AuditRequest | None = None,
        journal: Journal | None = None,
        units: int | None = None,
        failing: tuple[int, ...] = (),
    ) -> None:
        self.falls, self.left, self.failing = falls, units, failing
        self.request = asked or request()
        self.journal = journal or Journal(None)
        self.done = {record.sample for record in self.journal.of(FinishedUnit)}
        drawn = list(range(len(falls)))
        self.chunks = list(chunks(Indices(drawn, self.request.settings.seed), len(drawn)))
        if journal is None:
            section = Data(source="", kind="array", sha256="", count=len(drawn), drawn=len(drawn), reference="labels")
            ids = tuple(map(str, drawn))
            self.journal.append(DataFacts(section=section, ids=ids, indices=tuple(drawn), copies={}))
            self.journal.append(plan("a"))

    def run(self) -> Audit:
        run_looks(self.request, self.chunks, self.journal, self.attack, lambda _: None, lambda: self.left == 0)
        return self

    def attack(self, chunk: Chunk) -> None:
        for index in chunk.indices:
            self.journal.append(clean(index))
        for index in finishing([i for i in chunk.indices if i not in self.done], self.falls):
            if self.left == 0:
                return
            fell = bool(self.falls[index] < STEPS)
            self.journal.append(unit("a", index, success=fell))
            self.left = None if self.left is None else self.left - 1
        status = "failed" if chunk.number in self.failing else "done"
        self.journal.append(ended("a", status=status))

    @property
    def decision(self) -> str:
        looks = recorded(self.journal)
        return looks[-1].gates[0].decision


def population(p: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """When each sample falls; a share p stands."""
    return np.where(rng.random(count) < p, STEPS, rng.integers(1, 6, count))


def decided_by_finished(falls: np.ndarray) -> str:
    """The same bounds at the same counts, over whatever samples are finished."""
    order = list(range(len(falls)))
    plan = design(len(order))
    stood = [falls[index] >= STEPS for index in finishing(order, falls)]
    for size, share in zip(plan.sizes, plan.shares, strict=True):
        found = decide(sum(stood[:size]), size, share, least=0.5)
        if found != "open":
            return found
    return "open"


def test_updating_on_what_is_finished_is_biased_and_updating_on_a_completed_chunk_is_not() -> None:
    rng = np.random.default_rng(11)
    runs = 150
    models = [population(0.6, 300, rng) for _ in range(runs)]  # they keep the gate, at 0.5
    naive = sum(decided_by_finished(falls) == "fail" for falls in models)
    ours = sum(Audit(falls).run().decision == "fail" for falls in models)
    stated = binom.ppf(1 - 1e-6, runs, 0.05)
    assert ours <= stated
    assert naive > 5 * stated  # nearly every sound model fails


@pytest.mark.parametrize(("p", "wrong"), [(0.5, ("pass", "fail")), (0.4, ("pass",)), (0.6, ("fail",))])
def test_error_rates_of_whole_audits(p: float, wrong: tuple[str, ...], record_property: object) -> None:
    rng = np.random.default_rng(round(100 * p))
    runs = 150
    audits = [Audit(population(p, 200, rng)).run() for _ in range(runs)]
    for error in wrong:
        assert sum(audit.decision == error for audit in audits) <= binom.ppf(1 - 1e-6, runs, 0.05)
    sizes = [section(audit.journal).samples for audit in audits]
    record_property("mean samples", float(np.mean(sizes)))  # type: ignore[operator]
    assert np.mean(sizes) < 200
    assert {audit.journal.last(LookTaken).stopped for audit in audits} <= {"decided", "exhausted"}


def test_the_order_is_that_of_smaller_draws_and_looks_at_no_outcome() -> None:
    for size, seed in ((40, 0), (300, 7), (1000, 1)):
        drawn = keyed_draw(5000, size, seed)
        parts = list(chunks(Indices(drawn, seed), size))
        seen: list[int] = []
        for part in parts:
            seen += part.indices
            assert sorted(seen) == keyed_draw(5000, part.size, seed)
        assert sorted(seen) == drawn
        assert [part.size for part in parts] == list(design(size).sizes)
    assert [part.indices for part in chunks(Indices([], 0), 0)] == [[]]


@pytest.mark.parametrize("units", [1, 31, 32, 40, 47, 48, 60, 100])
def test_an_interrupted_audit_counts_whole_looks_and_ends_as_an_unbroken_one(units: int) -> None:
    falls = population(0.55, 200, np.random.default_rng(3))
    whole = Audit(falls).run()
    assert len(recorded(whole.journal)) > 3
    broken = Audit(falls, units=units).run()
    looks = recorded(broken.journal)
    done = looks[-1].samples if looks else 0
    assert done <= units
    kept = completed(broken.journal)
    told = section(broken.journal)
    assert told.stopped == "interrupted"
    if looks:
        assert told.samples == len(kept.keyed(CleanSample, "index")) == len(list(kept.of(FinishedUnit))) == done
        assert kept.last(DataFacts).section.drawn == done
        tally = Tally(kept, kept.keyed(CleanSample, "index"))
        assert (tally.standing, tally.audited) == (looks[-1].gates[0].k, done)
    else:
        assert told.samples == 32
    again = Audit(falls, journal=broken.journal).run()
    assert [replace(look, attacks={}) for look in recorded(again.journal)] == [
        replace(look, attacks={}) for look in recorded(whole.journal)
    ]
    assert section(again.journal) == section(whole.journal)
    assert len(list(again.journal.of(FinishedUnit))) == len(
        list(whole.journal.of(FinishedUnit))
    )  # nothing was done twice


def test_a_finished_audit_takes_no_look_again() -> None:
    audit = Audit(population(0.95, 200, np.random.default_rng(0))).run()
    before = len(audit.journal.records)
    assert audit.decision == "pass"
    assert section(audit.journal).reason == "decided at look 1, 32 of at most 200 samples: robust_accuracy ≥ 0.5 kept"
    assert len(Audit(audit.falls, journal=audit.journal).run().journal.records) == before


def test_a_look_with_a_failed_attack_is_told_and_taken_again() -> None:
    falls = population(0.55, 200, np.random.default_rng(3))
    audit = Audit(falls, failing=(2,)).run()
    assert len(recorded(audit.journal)) > 3
    assert len(settled(audit.journal)) == 1
    assert completed(audit.journal).last(AttackEnded, id="a").status == "failed"  # though later looks were done
    again = Audit(falls, journal=audit.journal).run()
    assert [look.number for look in recorded(again.journal)] == list(range(1, len(recorded(audit.journal)) + 1))
    assert completed(again.journal).last(AttackEnded, id="a").status == "done"


def test_an_attack_is_not_failed_for_a_look_that_left_it_a_few_hopeless_samples() -> None:
    audit = Audit(population(0.9, 60, np.random.default_rng(3))).run()
    first = next(audit.journal.of(LookTaken))

    def outcome(reason: str, cause: Cause | None) -> str:
        failed = OutcomeAtLook(status="failed", reason=reason, cause=cause)
        other = replace(first, attacks={"a": failed})
        records = [other if record is first else record for record in audit.journal.records]
        return completed(Journal(None, records=records)).last(AttackEnded, id="a").status

    assert outcome("it could not be carried out on any sample: its size", Cause.UNTRIED) == "done"
    assert outcome("out of memory", None) == "failed"


def test_all_gates_are_waited_for_and_one_that_fails_ends_it() -> None:
    clear = population(0.75, 400, np.random.default_rng(1))
    low, high = GateSpec(metric="robust_accuracy", min=0.3), GateSpec(metric="robust_accuracy", max=0.85)
    both = Audit(clear, request(low, high)).run()
    alone = Audit(clear, request(low)).run()
    assert alone.journal.last(LookTaken).number == 1
    assert both.journal.last(LookTaken).number > 1
    assert [gate.decision for gate in both.journal.last(LookTaken).gates] == ["pass", "pass"]
    near = GateSpec(metric="robust_accuracy.linf", min=0.75)
    failing = GateSpec(metric="clean_accuracy", max=0.5)
    ended = Audit(clear, request(near, failing)).run()
    assert [gate.decision for gate in ended.journal.last(LookTaken).gates] == ["open", "fail"]
    warned = Audit(clear, request(near, failing.model_copy(update={"level": "warn"}))).run()
    assert warned.journal.last(LookTaken).samples > ended.journal.last(LookTaken).samples


def test_which_gates_decide() -> None:
    gates = [
        GateSpec(metric="robust_accuracy", min=0.5),
        GateSpec(metric="robust_accuracy.l2", min=0.5),
        GateSpec(metric="stability", min=0.5),
        GateSpec(metric="clean_accuracy", min=0.5),
        GateSpec(metric="coverage", min=1),
        GateSpec(metric="validity"),
        GateSpec(metric="attacks.a.rate_alone", min=0.5),
        GateSpec(metric="class.1.robust_accuracy", min=0.5),
        GateSpec(metric="robust_accuracy@0.1", min=0.5),
        GateSpec(metric="robust_accuracy.l1", min=0.5, ignore={"reason": "not yet", "until": "2999-12-31"}),
    ]
    labelled = [gate.metric for gate in sequential_gates(request(*gates))]
    assert labelled == ["robust_accuracy", "robust_accuracy.l2", "clean_accuracy"]
    over = gates[-1].model_copy(update={"ignore": IgnoreSpec(reason="not yet", until=date(2020, 1, 1))})
    assert sequential_gates(request(over)) == [over]
    assert [gate.metric for gate in sequential_gates(request(*gates, reference="model"))] == ["stability"]
    validate_sequential(request(*gates))
    validate_sequential(request(gates[4], until_decided=False))
    with pytest.raises(UsageError, match="--min-robust"):
        validate_sequential(request(*gates[4:]))
    with pytest.raises(UsageError, match="a gate on stability"):
        validate_sequential(request(gates[0], reference="model"))
