"""What checks may use, on top of a session's engine."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.attacks.base import Problem, SlotAttack
from robaudit.attacks.requests import Answer, Gradient
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.distances import nearest_records
from robaudit.audit.journal.journal import Journal, Record
from robaudit.audit.journal.tally import counts
from robaudit.audit.plan.fronts import Front
from robaudit.audit.session.cascade import Cascade
from robaudit.audit.session.loading import Loaded
from robaudit.audit.session.samples import LazySamples, SampleStore
from robaudit.checks.base import Breach
from robaudit.engine.engine import Engine
from robaudit.engine.problems import problem_at
from robaudit.engine.rows import Account
from robaudit.engine.units import Sample, UnitResult, best_of, cases, plan_units, sample_of
from robaudit.errors import AuditInterrupted
from robaudit.target.watch import Watch
from robaudit.threat.losses import Loss, dlr, margin
from robaudit.threat.model import Access, Goal, ThreatModel
from robaudit.threat.random import key_of

__all__ = ["SessionBench"]

CHUNK = 64


@dataclass(frozen=True)
class _TargetView:
    """The target as checks see it."""

    loaded: Loaded
    fresh_state: bool = False

    @property
    def head_kind(self) -> str:
        return str(self.loaded.target.head.kind)

    @property
    def opposite(self) -> str:
        return self.loaded.target.head.opposite

    @property
    def head_peeled(self) -> bool:
        return bool(self.loaded.target.head.peeled)

    @property
    def has_gradient(self) -> bool:
        return bool(self.loaded.target.gradient.available)

    @property
    def is_its_own_twin(self) -> bool:
        return bool(self.loaded.target.format != "onnx")

    @property
    def eight_bit(self) -> bool:
        return bool(self.loaded.target.spec.kind == "image")

    def repeat_deviation(self) -> float:
        return float(self.loaded.target.repeat_deviation)

    def keeps_state(self) -> bool | None:
        return self.loaded.target.keeps_state

    def batch_deviation(self) -> float | None:
        deviation = self.loaded.target.batch_deviation
        return None if deviation is None else float(deviation)

    def parity(self, points: NDArray[Any]) -> tuple[int, float, float, float | None]:
        target = self.loaded.target
        u = torch.from_numpy(points).to(target.device, target.dtype)
        found = target.parity(u, noise=True)
        return found.n, found.argmax_agreement, found.relative_difference, found.noise


class SessionBench:
    """A :class:`robaudit.checks.base.Bench` over a session."""

    def __init__(
        self,
        request: AuditRequest,
        loaded: Loaded,
        store: SampleStore,
        engine: Engine,
        fronts: Sequence[Front],
        cascades: Sequence[Cascade],
    ) -> None:
        cascade = cascades[0]
        self.target = _TargetView(loaded, request.interface.fresh_state)
        self.threat = cascade.threat
        self.classes = loaded.target.num_classes
        self.stability = loaded.reference == "model"
        self.declared_accuracy = request.declared_accuracy
        self._curve = request.profile.curve is not None
        self._loaded = loaded
        self._store = store
        self._engine = engine
        self._fronts = fronts
        self._cascades = cascades
        self._cascade = cascade

    def correct(self, most: int | None = None) -> Sequence[Sample]:
        """Samples answered correctly; with ``most`` a keyed subsample, the same in every session.

        Of a sample with several goals one is drawn; those that the goal leaves out are left out.
        """
        answers, seed = self._store.answers, self._engine.seed
        lost = self._cascade.care.lost
        found = {
            i: list(cases(i, answers[i].goals))
            for i in self._store.correct()
            if answers[i].goals != () and i not in lost
        }
        indices = list(found)
        if most is not None and len(indices) > most:
            indices = sorted(indices, key=lambda i: (key_of("check", seed, answers[i].digest), i))[:most]
        drawn = [found[i][key_of("check goal", seed, answers[i].digest) % len(found[i])] for i in indices]
        return LazySamples(self._store, drawn)

    def sample(self, index: int) -> Sample:
        """A sample by the number of its case."""
        return self._store(index)

    def clean_counts(self) -> tuple[int, int]:
        """Samples answered correctly, and all that were drawn."""
        return len(self._store.correct()), sum(map(counts, self._cascade.journal.keyed("clean", "index").values()))

    def clean_shifts(self) -> tuple[int, int]:
        """Samples whose answer is the class after their label, and the one before."""
        away = [answer - label for answer, label in zip(*self.clean_answers(), strict=True)]
        return away.count(1), away.count(-1)

    def clean_answers(self) -> tuple[list[int], list[int]]:
        """(answers, labels) of all samples that have both."""
        records = self._answered()
        return [r["prediction"] for r in records], [r["label"] for r in records]

    def clean_smallest(self) -> int:
        """Samples whose label is the class with the smallest score."""
        return sum(r.get("smallest") == r["label"] for r in self._answered())

    def clean_numbers(self) -> tuple[list[float], list[int]]:
        """(what the file says in its own numbers, labels), where it gives one number for two classes; else empty."""
        head = self._loaded.target.head
        if not head.single or head.labelled:
            return [], []
        records = self._answered()
        scores = [np.asarray(self._cascade.journal.point(record), np.float64) for record in records]
        return [head.number(row) for row in scores], [r["label"] for r in records]

    def _answered(self) -> list[Record]:
        records = self._cascade.journal.keyed("clean", "index").values()
        return [r for r in records if r["prediction"] is not None and r["label"] is not None]

    def run(self, attack: SlotAttack[Any], threat: ThreatModel, samples: Sequence[Sample]) -> dict[int, UnitResult]:
        """Run an attack outside of the cascade, unculled; results by sample index. An untargeted one forgets goals.

        Raises:
            AuditInterrupted: the audit was told to stop.
        """
        found: dict[int, list[UnitResult]] = {}
        untargeted = threat.goal is Goal.UNTARGETED
        suspects = self._cascade.care.suspects
        alone = [s.index for s in samples if sample_of(s.index) in suspects]
        together = [s.index for s in samples if sample_of(s.index) not in suspects]
        for engine, some in ((self._engine.singly(), alone), (self._engine, together)):
            complete = engine.run(
                attack,
                threat,
                plan_units(attack, threat.goal, some, self.classes),
                (lambda case: replace(self._store(case), target=-1)) if untargeted else self._store,
                lambda r: found.setdefault(r.unit.sample, []).append(r),
                stop=self._cascade.stop,
                key=f"check/{attack.id}",
            )
            if not complete:
                raise AuditInterrupted("the audit was interrupted")
        return {index: best_of(results, minimal=threat.minimal) for index, results in found.items()}

    def gradients(self, loss: Loss, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """[N] largest absolute entry of the gradient of a loss at each sample, as an attack is given it.

        0 where a ratio's numerator has no slope, so that the gradient is that of its denominator, which leads astray.
        """
        largest = []
        for start in range(0, len(samples), CHUNK):
            evaluator = self._engine.evaluator
            part = samples[start : start + CHUNK]
            problem = problem_at(part, self.threat, evaluator.target, self._engine.pool)
            account = Account.empty(len(problem), problem.x.device)  # what a check costs is billed to no attack
            ask = functools.partial(
                evaluator.answer, problem=problem, access=Access.WHITE_BOX, account=account, budget=None
            )
            with self._engine.watch.about("its gradients were looked at", [sample_of(s.index) for s in part]):
                largest.append(self._slopes(ask, loss, problem))
        result: NDArray[np.float64] = np.concatenate(largest)
        return result

    def _slopes(self, ask: Callable[[Gradient], Answer], loss: Loss, problem: Problem) -> NDArray[np.float64]:
        answer = ask(Gradient(problem.x, loss=loss))
        assert answer.gradient is not None
        slope = answer.gradient.flatten(1).abs().amax(1)
        if loss is dlr:
            margins = ask(Gradient(problem.x, loss=margin))
            astray = ~_replaced(answer, dlr, problem) & _replaced(margins, margin, problem)
            slope = slope.masked_fill(astray & (problem.goal < 0), 0.0)
        found: NDArray[np.float64] = slope.double().cpu().numpy()
        return found

    @property
    def watch(self) -> Watch:
        """Told of each call of a model."""
        return self._engine.watch

    def scores(self, points: NDArray[Any], *, alone: bool = False) -> NDArray[Any]:
        """[N, *shape] in u-space to [N, K] scores of the file."""
        target = self._loaded.target
        u = torch.from_numpy(np.array(points)).to(target.device, target.dtype)
        scores: NDArray[Any] = target.scores(u, alone=alone).cpu().numpy()
        return scores

    def breaches(self) -> Sequence[Breach]:
        """Everything that was broken, in data order; a sample once for each threat model."""
        access = {p.key: p.attack.access for front in self._fronts for p in front.attacks()}
        journal = self._cascade.journal
        winners: dict[tuple[int, int, int], Record] = {}
        for record in journal.of("unit"):
            for place, cascade in enumerate(self._cascades if record["success"] else ()):
                case = record["sample"]
                if cascade.broken_by.get(case) == record["attack"]:
                    key = (sample_of(case), case, place)
                    best = winners.get(key, record)
                    winners[key] = min(best, record, key=_precedence)
        return [
            _breach(record, access[record["attack"]], self._cascades[place])
            for (_, _, place), record in sorted(winners.items(), key=lambda item: item[0])
        ]

    def nearest(self) -> Sequence[Breach]:
        """With a curve, the nearest verified adversarial example of each sample in each norm, in data order."""
        if not self._curve:
            return []
        found: list[tuple[int, int, Breach]] = []
        for place, (front, cascade) in enumerate(zip(self._fronts, self._cascades, strict=True)):
            access = {p.key: p.attack.access for p in front.attacks()}
            records = nearest_records(cascade.journal, access, cascade.threat.eps)
            known = self._store.answers
            for sample, record in records.items():
                if sample in known and known[sample].correct:
                    breach = _breach(record, access[record["attack"]], cascade)
                    found.append((sample, place, breach))
        return [breach for _, _, breach in sorted(found, key=lambda entry: entry[:2])]

    def finished(self) -> Mapping[str, Access]:
        """Attacks of the cascade that ran to their end, with their access, in order."""
        done = {r["id"] for r in self._cascade.journal.keyed("attack", "id").values() if r["status"] == "done"}
        return {p.key: p.attack.access for p in self._cascade.plan if p.key in done}

    def losses(self) -> Mapping[str, Mapping[str, Loss]]:
        """The losses that each white-box attack that is to run climbs, by its key."""
        white = [p for p in self._cascade.plan if p.status == "ready" and p.attack.access is Access.WHITE_BOX]
        return {p.key: p.attack.climbs(self.classes) for p in white}


def _replaced(answer: Answer, loss: Loss, problem: Problem) -> torch.Tensor:
    """[S] bool: the lead of another rival was answered in place of a loss without a slope."""
    assert answer.logits is not None
    assert answer.loss is not None
    own = loss(answer.logits, problem.label, problem.target)
    return ~torch.isclose(answer.loss, own, rtol=1e-4, atol=0.0, equal_nan=True)


def _breach(record: Record, access: Access, cascade: Cascade) -> Breach:
    return Breach(
        record["sample"],
        record["attack"],
        access,
        record["prediction"],
        record["distance"],
        functools.partial(_point, cascade.journal, record),
        cascade.threat,
    )


def _precedence(record: Record) -> tuple[float, int, int]:
    """Of an attack's successes on a sample the lowest unit's comes first, of the curve's attacks the nearest."""
    return record["distance"] if "verified" in record else 0.0, record["restart"], record["target"]


def _point(journal: Journal, record: Record) -> NDArray[Any]:
    point = journal.point(record)
    assert point is not None
    return point
