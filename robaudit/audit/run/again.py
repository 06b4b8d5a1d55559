"""Whether a worker that ended before its time is started again, and with what care.

A model that hangs or crashes on an input costs that sample alone: the sample is known where the model was asked for one
alone, else those asked together are suspects, each of which the next worker asks alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.care import lost_in
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.findings import CheckEnded
from robaudit.audit.journal.records.samples import LostSample, Retry
from robaudit.audit.journal.records.session import Remark
from robaudit.audit.process.messages import Failed, no_answer, not_loaded, too_late
from robaudit.audit.run.auxiliary import blamed, ended_by
from robaudit.target.running.watch import BACKWARD, AtWork

__all__ = ["MOST", "Again", "Ending", "retried"]

NAMED = 8
"""Most samples that are named."""
MOST = 10
"""Workers started again in one audit."""


@dataclass
class Ending:
    """How one worker ended.

    Args:
        failed: the error that it sent, or None.
        loaded: the file was loaded and had answered once.
        late: that took too long.
        hung: a call of the model took too long.
        over: the time of the audit was over.
        too_large: it took too much memory.
        crashed: by a signal that a program raises in itself.
        how: the process ended, in words; ``killed_from_outside``: by a signal that no program raises in itself.
        at_work: what it was at.
    """

    failed: Failed | None = None
    loaded: bool = False
    late: bool = False
    hung: bool = False
    over: bool = False
    too_large: bool = False
    crashed: bool = False
    how: str = ""
    killed_from_outside: bool = False
    at_work: AtWork = field(default_factory=AtWork)

    @property
    def forward_limit(self) -> float | None:
        """Of a call that took too long, the seconds that a forward call might take then."""
        return self.at_work.limit / (BACKWARD if self.at_work.backward else 1) if self.hung else None


@dataclass(frozen=True)
class Again:
    """How a worker is started.

    Args:
        note: why again; ``unsolved``: why, where it is not known yet which sample it was.
        halved: with half the batch, as one before it was killed, likely for its memory.
        suspects: samples of which one hung or crashed the worker before it.
        count: workers before it, those that an auxiliary model ended left out.
        without: auxiliary models that ended one before it.
    """

    note: str = ""
    unsolved: str | None = None
    halved: bool = False
    suspects: frozenset[int] = frozenset()
    count: int = 0
    without: frozenset[str] = frozenset()

    def after(self, ending: Ending, request: AuditRequest, journal: Journal) -> Again | str:
        """How the next one is started after this one ended; why none is started.

        What is lost goes into the journal.
        """
        at_work = ending.at_work
        blames = ending.hung or ending.crashed
        why = f"the worker process was killed ({ending.how})"
        if ending.hung:
            why = no_answer(at_work)
        elif ending.crashed and at_work.words:
            why = f"{ending.how} {at_work.words}"
        samples = frozenset(at_work.samples)
        if self._blames_auxiliary(ending) and (auxiliary := blamed(at_work, request)) is not None:
            record = ended_by(auxiliary, ending, request)
            if journal.failure is not None or auxiliary.key in self.without:
                return str(record.problem)
            journal.append(record)
            note = f"{record.problem}; the audit goes on without it"
            # each costs itself once, so that they need no other limit
            return replace(self, note=note, halved=False, without=self.without | {auxiliary.key})
        known = lost_in(journal)
        next_ = replace(self, count=self.count + 1, unsolved=None)
        if self.count >= MOST:
            return f"{why}; {MOST} workers ended before this one, and none is started again"
        if journal.failure is not None and ending.loaded:  # the next one would not know what was finished
            return why
        if len(samples) == 1 and (blames or (ending.too_large and samples <= self.suspects)):
            (sample,) = samples
            if sample in known:
                return f"{why}, again"
            told = why if blames else f"{why} {at_work.words}"
            journal.append(LostSample(sample=sample, name=at_work.names[0], message=told, limit=ending.forward_limit))
            return replace(
                next_, note=f"{told}; the audit goes on without that sample", suspects=self.suspects - samples
            )
        if blames and len(samples) > 1:
            if samples <= self.suspects:
                return f"{why}, and answered each alone"
            return replace(
                next_, note=f"{why}; they are asked one at a time", unsolved=why, suspects=samples - known.keys()
            )
        if blames and at_work.part:  # a check: nothing else of an audit has a part that can be skipped
            failed = f"the check could not be carried out: {why}"
            limit = ending.forward_limit
            journal.append(CheckEnded(id=at_work.part, failed=failed, seconds=0.0, unanswered=True, limit=limit))
            return replace(next_, note=f"{why}; the audit goes on without that check")
        if not ending.loaded and not ending.killed_from_outside:
            return self._not_loaded(ending, request)
        if ending.hung:
            return why
        if self.halved:
            return f"{why} twice"
        note = f"{why}; it was started once more with half the batch"
        return replace(next_, note=note, halved=True, suspects=samples if ending.too_large else frozenset())

    def _blames_auxiliary(self, ending: Ending) -> bool:
        """Whether the model at work ended the process; one that took much memory has another try with half the batch,
        where a batch was at work."""
        memory = ending.too_large or ending.killed_from_outside
        if memory and (self.halved or (ending.too_large and not ending.loaded)):
            return True
        return ending.late or ending.hung or ending.crashed

    def _not_loaded(self, ending: Ending, request: AuditRequest) -> str:
        if ending.late:
            return too_late(request.model, request.settings.load_timeout)
        if ending.hung:
            return f"{request.model}: {no_answer(ending.at_work)}"
        return not_loaded(request.model, ending.how, ending.at_work)


def retried(journal: Journal, request: AuditRequest) -> str | None:
    """Take back what a call of the model cost that took too long, where ``--call-timeout`` allows more than it had.

    All else that was finished counts as before. A sequential audit keeps what its looks were decided on.

    Returns:
        What is asked again, in a sentence, which goes into the journal too; None where nothing is.
    """
    allowed = request.settings.call_timeout or math.inf
    if request.settings.until_decided:
        return None
    samples = {record.sample: record.name for record in journal.of(LostSample) if _had_less(record, allowed)}
    ended = journal.keyed(CheckEnded, "id")
    checks = [name for name, record in ended.items() if record.unanswered and _had_less(record, allowed)]
    if not samples and not checks:
        return None
    names = list(samples.values())[:NAMED] + (["…"] if len(samples) > NAMED else []) + [f"check {c}" for c in checks]
    if samples:  # any check may have missed them
        checks = [name for name, record in ended.items() if not record.unanswered or name in checks]
    journal.append(Retry(samples=tuple(samples), checks=tuple(checks)))
    message = f"--call-timeout allows more than before: tried again where the model did not answer ({', '.join(names)})"
    journal.append(Remark(message=message))
    return message


def _had_less(record: LostSample | CheckEnded, seconds: float) -> bool:
    return record.limit is not None and record.limit < seconds
