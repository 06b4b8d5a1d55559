"""What checks may use, on top of a session's engine."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.attacks.base import SlotAttack
from robaudit.attacks.cost import Cost
from robaudit.attacks.requests import How
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.records.attacks import AttackEnded
from robaudit.audit.journal.records.findings import Evaluations
from robaudit.audit.journal.records.samples import CertifiedSample, CleanSample
from robaudit.audit.journal.tally import counts
from robaudit.audit.plan.attacks import Planned
from robaudit.audit.plan.certificates import plan_certificates
from robaudit.audit.plan.fronts import Front
from robaudit.audit.session.breaches import breaches, nearest, tries
from robaudit.audit.session.cascade import Cascade
from robaudit.audit.session.checkunits import CheckUnits
from robaudit.audit.session.freezing import search_frozen
from robaudit.audit.session.loaded import Loaded
from robaudit.audit.session.planting import feature_map, features_at, planted_file, search_planted, tried
from robaudit.audit.session.samples import LazySamples, SampleStore
from robaudit.audit.session.smoothing import ran, search_smoothed
from robaudit.audit.session.target_view import TargetView
from robaudit.audit.session.transferred import transferred
from robaudit.certificates.base import Ball
from robaudit.certificates.intervals.unstable import unstable_units
from robaudit.certificates.subject import Unreadable, subject_of
from robaudit.checks.base import Breach, Planted, Ran
from robaudit.engine.engine import Engine
from robaudit.engine.oracle import Purpose
from robaudit.engine.probe import largest_slopes, slopes_along
from robaudit.engine.units import Sample, UnitResult, cases, sample_of
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
        self._profile = request.profile
        self.guarded = request.settings.detector is not None
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

    def run(
        self,
        attack: SlotAttack[Any],
        threat: ThreatModel,
        samples: Sequence[Sample],
        how: How | None = None,
        *,
        one_draw: bool = False,
    ) -> dict[int, UnitResult]:
        """Run an attack outside of the cascade, unculled; results by sample index. An untargeted one forgets goals.

        Raises:
            AuditInterrupted: the audit was told to stop.
        """
        return self._units.run(attack, threat, samples, how, one_draw=one_draw)

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

    def pulled(
        self, points: NDArray[Any], weights: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """([N, K] logits at points [N, *shape], [N, *shape] gradient of their sum with given weights)."""
        model, target = self._engine.oracle.differentiable(), self._loaded.target
        logits, slopes = [], []
        for start in range(0, len(points), CHUNK):
            u = torch.from_numpy(np.array(points[start : start + CHUNK])).to(target.device, target.dtype)
            answer = model.logits(u.requires_grad_())
            found = answer.detach().double().cpu().numpy()
            (slope,) = torch.autograd.grad((answer * torch.tensor(weights(found)).to(answer)).sum(), u)
            logits.append(found)
            slopes.append(slope.cpu().numpy())
        self._units.bill(Cost(forwards=len(points), backwards=len(points)))
        return np.concatenate(logits), np.concatenate(slopes)

    def unstable(self, samples: Sequence[Sample]) -> Mapping[str, tuple[int, int]] | str:
        """(units that can be on either side of 0, all) of each ReLU within the ball, added up over the samples."""
        threat = self._cascade.threat
        still = threat.mask(torch.zeros(1, *self._loaded.target.spec.shape))
        fixed = () if still is None else tuple(still.flatten().nonzero()[:, 0].tolist())
        try:
            subject = subject_of(self._loaded.target)
        except Unreadable as error:
            return str(error)
        points = (torch.from_numpy(sample.u.copy()).double() for sample in samples)
        return unstable_units(subject, Ball(threat.norm, threat.eps, fixed), points)

    def transferred(self) -> Mapping[str, tuple[int, int]]:
        """(samples fooled, tried) of attacks made on surrogates that ran on every sample, and of the white box."""
        return transferred(self._cascade.journal, str(self._cascade.threat.norm))

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

    def draws(self, point: NDArray[Any], numbers: range) -> NDArray[np.int64]:
        """[M] classes of the draws of these numbers at a point [*shape]; -1: none, or it rejects the input."""
        target = self._loaded.target
        u = torch.from_numpy(np.array(point))[None].to(target.device, target.dtype)
        drawn = self._engine.oracle.draw(u, Purpose.CHECK, numbers).drawn
        assert drawn is not None
        self._units.bill(Cost(queries=len(numbers)))
        found: NDArray[np.int64] = drawn[0].cpu().numpy()
        return found

    def proved(self) -> Mapping[str, set[int]]:
        """By norm, the samples that a certifier proved in its ball."""
        norms = {planned.key: str(planned.threat.norm) for planned in plan_certificates(self._profile)}
        found: dict[str, set[int]] = {}
        for record in self._cascade.journal.of(CertifiedSample):
            if record.proved and record.id in norms:
                found.setdefault(norms[record.id], set()).add(record.sample)
        return found

    def index_of(self, case: int) -> int:
        """The sample of a case."""
        return sample_of(case)

    def tries(self) -> Sequence[Breach]:
        """What came nearest to breaking each sample that stands, of a random target."""
        return tries(self._fronts[0], self._cascade)

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
        return nearest(self._fronts, self._cascades, self._store.correct()) if self._profile.curve is not None else []

    def finished(self) -> Mapping[str, Access]:
        """Attacks of the cascade that ran to their end, with their access, in order; then those for the price of
        secrecy, whose breaches are what the cascade left."""
        ended = self._cascade.journal.keyed(AttackEnded, "id")
        done = {key for key, record in ended.items() if record.status == "done"}
        apart = [planned for own in self._fronts[0].secrecy for planned in own.plan]
        return {p.key: p.attack.access for p in (*self._cascade.plan, *apart) if p.key in done}

    def attacks(self) -> Sequence[str]:
        """Keys of the white-box attacks that are to run, in order, so far as they serve a model of two classes."""
        return list(self._tried)

    @functools.cached_property
    def _tried(self) -> Mapping[str, Planned]:
        return tried(self._cascade.plan, self.threat, self._loaded.target.spec.shape)

    @functools.cached_property
    def _features(self) -> tuple[Callable[[torch.Tensor], torch.Tensor], bool]:
        return feature_map(self._loaded.target)

    def features(self, points: NDArray[Any]) -> tuple[NDArray[np.float64], bool]:
        """[N, *shape] in u-space to ([N, F] what the last linear layer is given, True); else (the logits, False)."""
        features, cut = self._features
        self._units.bill(Cost(forwards=len(points)))
        return features_at(self._loaded.target, features, points), cut

    def search_planted(
        self, attack: str, planted: Sequence[Planted], among: Collection[int] | None = None
    ) -> dict[int, bool]:
        """Whether an attack finds an example of each sample's planted class; see :class:`robaudit.checks.base.Bench`.

        Raises:
            AuditInterrupted: the audit was told to stop.
        """
        model = planted_file(self._loaded.target, self._features[0], planted)
        asked = [one.sample for one in planted if among is None or one.sample.index in among]
        found, cost = search_planted(self._units.executor, model, self._tried[attack], self.threat, asked)
        self._units.bill(cost)
        return found

    def search_frozen(self, attack: SlotAttack[Any], samples: Sequence[Sample]) -> dict[int, bool]:
        """Whether an attack breaks samples where every answer has the same draws; see
        :class:`robaudit.checks.base.Bench`.

        Raises:
            AuditInterrupted: the audit was told to stop.
        """
        found, cost = search_frozen(self._units.executor, self._loaded.target, attack, self.threat, samples)
        self._units.bill(cost)
        return found

    def ran(self) -> Sequence[Ran]:
        """The attacks of the cascades that follow the gradient and ran to their end, in order."""
        return ran(self._cascades, self._loaded.target)

    def search_smoothed(self, one: Ran, samples: Sequence[Sample], nodes: Collection[str]) -> dict[int, bool]:
        """Whether a search breaks samples where the backward is smooth at some nodes alone; see
        :class:`robaudit.checks.base.Bench`.

        Raises:
            AuditInterrupted: the audit was told to stop.
        """
        found, cost = search_smoothed(self._units.executor, self._loaded.target, one, samples, nodes)
        self._units.bill(cost)
        return found

    def losses(self) -> Mapping[str, Mapping[str, Loss]]:
        """The losses that each white-box attack that is to run climbs, by its key."""
        white = [p for p in self._cascade.plan if p.status == "ready" and p.attack.access is Access.WHITE_BOX]
        return {p.key: p.attack.climbs(self.classes) for p in white}
