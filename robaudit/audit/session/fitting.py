"""Fits the artefacts of fitted attacks on samples apart from the audited ones, journaled round by round."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from robaudit.attacks.fitted import Artefact, Family, Fittable, FittedSearch
from robaudit.attacks.requests import TRUE, How
from robaudit.audit.journal.events import Phase
from robaudit.audit.journal.fits import fit_record, fitted_in
from robaudit.audit.plan.attacks import Planned
from robaudit.audit.session.loaded import Loaded
from robaudit.audit.session.samples import CACHE_BYTES, Asking, answer_samples
from robaudit.audit.session.shared import Shared
from robaudit.engine.executor import Executor
from robaudit.engine.fitting import FitJob, Fitted
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample
from robaudit.errors import UsageError
from robaudit.files import digest_of
from robaudit.plural import counted
from robaudit.threat.model import ThreatModel

__all__ = ["Fitter"]

CHUNK = 32
"""Samples asked together for their clean answers."""
SECONDS = 2.0
"""Between two words of progress."""


@dataclass(frozen=True)
class _Answered:
    """The file's clean answer to a sample to fit on."""

    label: int
    scores: NDArray[Any]
    digest: str


class Fitter:
    """Fits artefacts, or takes them from the journal.

    Args:
        loaded: the data.
        oracle: asks the file for the classes of the samples to fit on.
        executor: carries a fit out.
        shared: its journal takes each round, and holds those of earlier sessions.
    """

    def __init__(self, loaded: Loaded, oracle: Oracle, executor: Executor, shared: Shared) -> None:
        self._loaded = loaded
        self._oracle = oracle
        self._executor = executor
        self._journal = shared.journal
        self._observer = shared.observer
        self._stop = shared.stop
        self._care = shared.care
        self._asking = Asking(own_reference=True, batch=CHUNK, care=shared.care, watch=shared.watch)
        self._told = -SECONDS
        self._answers: dict[int, _Answered] = {}
        self._points: dict[int, NDArray[Any]] = {}

    def artefact(self, planned: Planned, attack: FittedSearch[Any], threat: ThreatModel) -> Artefact | None:
        """The artefact of an attack of the plan; None where the audit was told to stop.

        Raises:
            UsageError: too few samples to fit on are answered.
        """
        return self.fit(planned.key, attack, threat, planned.how, attack.family)

    def fit(
        self,
        key: str,
        attack: Fittable,
        threat: ThreatModel,
        how: How = TRUE,
        family: Family | Literal["surrogate"] = "surrogate",
    ) -> Artefact | None:
        """The artefact of an attack, or of a surrogate's recipe; None where the audit was told to stop.

        Args:
            key: names it in the journal, and keys its random numbers.
            attack: what is fitted.
            threat: norm and radius.
            how: gradients are taken.
            family: of the perturbations that an attack tests.

        Raises:
            UsageError: too few samples to fit on are answered.
        """
        before = fitted_in(self._journal, key)
        if before is not None and before.fitted.rounds >= attack.fit_rounds:
            return before.fitted.artefact
        self._observer(Phase("fitting", key))
        indices = self._loaded.others(attack.fit_samples)
        self._answer(indices)
        if self._stop():
            return None
        found = [index for index in indices if index in self._answers]
        if len(found) < attack.fit_needs:
            raise UsageError(
                f"the model answers {len(found)} of the {counted(len(indices), 'sample')} to fit on, and at least "
                f"{attack.fit_needs} are needed"
            )
        ordered = sorted(found, key=lambda index: (self._answers[index].digest, index))
        digests = tuple(self._answers[index].digest for index in ordered)
        job = FitJob(attack, threat, tuple(ordered), digests, key, how)
        of = digest_of(digests)
        known = before.fitted if before is not None and before.of == of else None

        def take(fitted: Fitted) -> None:
            record, packed = fit_record(key, family, fitted, attack.fit_rounds, len(ordered), of)
            self._journal.append(record, packed)
            self._say(key, fitted.rounds, attack.fit_rounds)

        done = self._executor.fit(job, self._sample, known, take)
        return None if done is None else done.artefact

    def _say(self, key: str, done: int, rounds: int) -> None:
        if time.monotonic() - self._told >= SECONDS:
            self._told = time.monotonic()
            self._observer(Phase("fitting", f"{key}, {done} of {counted(rounds, 'round')}"))

    def _answer(self, indices: list[int]) -> None:
        """The file's clean answers to samples; those that it does not answer have none."""
        left = [index for index in indices if index not in self._answers and index not in self._care.lost]
        for record, scores in answer_samples(self._oracle, self._loaded.data, left, self._asking):
            if record.prediction is not None and record.digest is not None and scores is not None:
                self._answers[record.index] = _Answered(record.prediction, scores, record.digest)
            if self._stop():
                return

    def _sample(self, index: int) -> Sample:
        known = self._answers[index]
        point = self._points.get(index)
        if point is None:
            point = self._loaded.data.load(index)
            if point.nbytes * len(self._answers) <= CACHE_BYTES:  # every round needs them all
                self._points[index] = point
        return Sample(index, point, known.label, known.scores, known.digest)
