"""What checks may use, on top of a session's engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.attacks.base import SlotAttack
from robaudit.attacks.cost import Cost
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.records.attacks import AttackEnded
from robaudit.audit.journal.records.findings import Evaluations
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.tally import counts
from robaudit.audit.plan.fronts import Front
from robaudit.audit.session.breaches import breaches, nearest
from robaudit.audit.session.cascade import Cascade
from robaudit.audit.session.checkunits import CheckUnits
from robaudit.audit.session.loaded import Loaded
from robaudit.audit.session.samples import LazySamples, SampleStore
from robaudit.audit.session.target_view import TargetView
from robaudit.checks.base import Breach
from robaudit.engine.engine import Engine
from robaudit.engine.oracle import Purpose
from robaudit.engine.probe import largest_slopes, slopes_along
from robaudit.engine.units import Sample, UnitResult, cases
from robaudit.target.running.watch import Watch
from robaudit.threat.losses import Loss
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.random import key_of

__all__ = ["SessionBench"]

CHUNK = 64


class SessionBench:
    """A :class:`robaudit.checks.base.Bench` over a session, for one check; ``units`` runs and counts its attacks."""

    def __init__(
        self,
        request: AuditRequest,
        loaded: Loaded,
        store: SampleStore,
        engine: Engine,
        fronts: Sequence[Front],
        cascades: Sequence[Cascade],
        units: CheckUnits,
    ) -> None:
        cascade = cascades[0]
        self.target = TargetView(loaded, request.interface.fresh_state, units.bill)
        self._units = units
        self.threat = cascade.threat
        self.classes = loaded.target.num_classes
        self.stability = loaded.reference == "model"
        self.declared_accuracy = request.settings.clean_accuracy
        self.guarded = request.settings.detector is not None
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
        answers, seed = self._store.answers, self._units.seed
        lost = self._cascade.lost
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
        return len(self._store.correct()), sum(map(counts, self._cascade.journal.keyed(CleanSample, "index").values()))

    def clean_shifts(self) -> tuple[int, int]:
        """Samples whose answer is the class after their label, and the one before."""
        away = [answer - label for answer, label in zip(*self.clean_answers(), strict=True)]
        return away.count(1), away.count(-1)

    def clean_answers(self) -> tuple[list[int], list[int]]:
        """(answers, labels) of all samples that have both."""
        found = self._answered()
        return [answer for _, answer, _ in found], [label for *_, label in found]

    def clean_smallest(self) -> int:
        """Samples whose label is the class with the smallest score."""
        return sum(record.smallest == label for record, _, label in self._answered())

    def clean_numbers(self) -> tuple[list[float], list[int]]:
        """(what the file says in its own numbers, labels), where it gives one number for two classes; else empty."""
        head = self._loaded.target.head
        if not head.single or head.labelled:
            return [], []
        found = self._answered()
        scores = [np.asarray(self._cascade.journal.point(record), np.float64) for record, *_ in found]
        return [head.number(row) for row in scores], [label for *_, label in found]

    def _answered(self) -> list[tuple[CleanSample, int, int]]:
        """(record, answer, label) of all samples that have both."""
        records = self._cascade.journal.keyed(CleanSample, "index").values()
        return [(r, r.prediction, r.label) for r in records if r.prediction is not None and r.label is not None]

    def run(self, attack: SlotAttack[Any], threat: ThreatModel, samples: Sequence[Sample]) -> dict[int, UnitResult]:
        """Run an attack outside of the cascade, unculled; results by sample index. An untargeted one forgets goals.

        Raises:
            AuditInterrupted: the audit was told to stop.
        """
        return self._units.run(attack, threat, samples)

    @property
    def cost(self) -> Evaluations:
        """Evaluations of the check so far."""
        return self._units.cost

    def gradients(self, loss: Loss, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """[N] largest absolute entry of the gradient of a loss at each sample, as an attack is given it."""
        found, cost = largest_slopes(self._engine, self.threat, loss, samples)
        self._units.bill(cost)
        return found

    def slopes(self, loss: Loss, samples: Sequence[Sample], directions: NDArray[Any]) -> NDArray[np.float64]:
        """[N, D] slope of a loss at each sample along directions [D, *shape], by the gradient an attack is given."""
        found, cost = slopes_along(self._engine, self.threat, loss, samples, directions)
        self._units.bill(cost)
        return found

    def logits(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """[N, *shape] in u-space to [N, K] logits of what is differentiated, before a softmax or sigmoid."""
        model, target = self._engine.oracle.differentiable(), self._loaded.target
        found = []
        for start in range(0, len(points), CHUNK):
            u = torch.from_numpy(np.array(points[start : start + CHUNK])).to(target.device, target.dtype)
            with torch.no_grad():
                found.append(model.logits(u).double().cpu().numpy())
        self._units.bill(Cost(forwards=len(points)))
        return np.concatenate(found)

    @property
    def watch(self) -> Watch:
        """Told of each call of a model."""
        return self._engine.watch

    def scores(self, points: NDArray[Any], *, alone: bool = False) -> NDArray[Any]:
        """[N, *shape] in u-space to [N, K] scores of the file."""
        target = self._loaded.target
        u = torch.from_numpy(np.array(points)).to(target.device, target.dtype)
        scores: NDArray[Any] = self._engine.oracle.ask(u, Purpose.CHECK, alone=alone).scores.cpu().numpy()
        self._units.bill(Cost(queries=len(points)))
        return scores

    def rejects(self, scores: NDArray[Any], point: NDArray[Any] | None = None) -> bool:
        """Whether the service rejects an input with these scores [K], or the detector the input [*shape], if given."""
        u = None if point is None else torch.from_numpy(np.array(point))[None].to(self._loaded.target.dtype)
        rejected = self._engine.oracle.rejects(torch.from_numpy(scores)[None], u)
        return rejected is not None and bool(rejected[0])

    def breaches(self) -> Sequence[Breach]:
        """Everything that was broken, in data order; a sample once for each threat model."""
        return breaches(self._fronts, self._cascades)

    def nearest(self) -> Sequence[Breach]:
        """With a curve, the nearest verified adversarial example of each sample in each norm, in data order."""
        return nearest(self._fronts, self._cascades, self._store.correct()) if self._curve else []

    def finished(self) -> Mapping[str, Access]:
        """Attacks of the cascade that ran to their end, with their access, in order; then those for the price of
        secrecy, whose breaches are what the cascade left."""
        ended = self._cascade.journal.keyed(AttackEnded, "id")
        done = {key for key, record in ended.items() if record.status == "done"}
        apart = [planned for own in self._fronts[0].secrecy for planned in own.plan]
        return {p.key: p.attack.access for p in (*self._cascade.plan, *apart) if p.key in done}

    def losses(self) -> Mapping[str, Mapping[str, Loss]]:
        """The losses that each white-box attack that is to run climbs, by its key."""
        white = [p for p in self._cascade.plan if p.status == "ready" and p.attack.access is Access.WHITE_BOX]
        return {p.key: p.attack.climbs(self.classes) for p in white}
