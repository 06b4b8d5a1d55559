"""What becomes of a process that a surrogate or a stand-in ended: another goes on without that model."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.records.attacks import AuxiliaryModel
from robaudit.audit.plan.auxiliary import Auxiliary, auxiliaries, limits_of
from robaudit.audit.process.messages import no_answer, too_late
from robaudit.target.running.watch import RUNNING, AtWork

__all__ = ["blamed", "ended_by"]


class Ended(Protocol):
    """How a process ended."""

    late: bool
    hung: bool
    how: str
    at_work: AtWork


def blamed(at_work: AtWork, request: AuditRequest) -> Auxiliary | None:
    """The auxiliary model that was at work when a process ended; None: the model under audit."""
    return next((found for found in auxiliaries(request) if found.key == at_work.auxiliary), None)


def ended_by(auxiliary: Auxiliary, ending: Ended, request: AuditRequest) -> AuxiliaryModel:
    """The journal's record of a model that ended the process in which it was at work."""
    at_work, attack = ending.at_work, None
    if ending.late:
        why = too_late(auxiliary.name, request.settings.load_timeout)
    elif ending.hung:
        why = no_answer(at_work, auxiliary.name)
    else:
        why = f"{auxiliary.name} ended the process that asked it: {ending.how}"
        why += f" {at_work.words}" if at_work.words else ""
    if at_work.doing.endswith(RUNNING):
        attack = at_work.doing.removesuffix(RUNNING)
    return replace(auxiliary.record(why), limits=limits_of(request), attack=attack)
