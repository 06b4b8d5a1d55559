"""Models beside the one under audit: one that cannot be used costs the attacks that need it, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from robaudit.attacks.names import numbered
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.auxiliary import STAND_IN, SURROGATE
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import AttackEnded, AttackPlan, AuxiliaryModel
from robaudit.audit.journal.records.units import FinishedUnit
from robaudit.audit.plan.attacks import Planned

__all__ = ["Auxiliary", "as_it_ended", "auxiliaries", "given_up_names", "limits_of", "surrogate_files", "unusable"]


@dataclass(frozen=True)
class Auxiliary:
    """A surrogate or a stand-in.

    Args:
        role: of it; ``place``: its number among those of its role.
        path: of the file.
        short: how attacks and tables name it: its file name, with a number where others have the same.
    """

    role: str
    place: int
    path: Path
    short: str

    @property
    def key(self) -> str:
        """Names it in a journal, and to a watch."""
        return f"{self.role} {self.place}"

    @property
    def name(self) -> str:
        """Names it to people."""
        return f"the {self.role} {self.path.name}"

    def record(self, problem: str | None) -> AuxiliaryModel:
        """For the journal: whether it can be used."""
        return AuxiliaryModel(key=self.key, name=self.name, problem=problem)


def auxiliaries(request: AuditRequest) -> list[Auxiliary]:
    """All of a request, surrogates first."""
    paths = request.surrogates
    shorts = numbered([path.name for path in paths])
    found = [Auxiliary(SURROGATE, place, paths[place], short) for place, short in enumerate(shorts)]
    stand_in = request.settings.stand_in
    return found + ([] if stand_in is None else [Auxiliary(STAND_IN, 0, Path(stand_in), Path(stand_in).name)])


def surrogate_files(request: AuditRequest) -> tuple[str, ...]:
    """Names of the surrogates that are given as files."""
    return tuple(a.short for a in auxiliaries(request) if a.role == SURROGATE)


def limits_of(request: AuditRequest) -> tuple[float | str | None, ...]:
    """What a user may change to give a model that ended a process another try."""
    return (
        request.settings.load_timeout,
        request.settings.call_timeout,
        request.settings.memory_limit,
        request.settings.device,
    )


def unusable(journal: Journal, request: AuditRequest) -> dict[str, str]:
    """Those that are not loaded again, and why: they ended a process under the limits of this request, or are
    surrogates without which attacks were carried out."""
    limits = limits_of(request)
    found = {}
    for key, record in journal.keyed(AuxiliaryModel, "key").items():
        if record.problem is not None and (record.limits == limits or _ran_without(journal, record)):
            found[key] = record.problem
    return found


def _ran_without(journal: Journal, record: AuxiliaryModel) -> bool:
    """Whether attacks ran on other surrogates than this one."""
    plan = journal.last(AttackPlan)
    attacks = () if plan is None else plan.attacks
    others = [attack.id for attack in attacks if attack.access == "transfer" and attack.id != record.attack]
    return record.key.startswith(SURROGATE) and any(journal.last(FinishedUnit, attack=id) for id in others)


def as_it_ended(journal: Journal, planned: Planned) -> Planned:
    """An attack of the plan, after what a journal says of it.

    One that was done stays so, whatever can be used now; one in which an auxiliary model ended the process failed,
    and is not carried on with other models than it began with.
    """
    if planned.status not in ("ready", "unavailable"):
        return planned
    known = journal.last(AttackEnded, id=planned.key)
    if known is not None and known.status == "done":
        return replace(planned, status="ready", reason=None)
    for record in journal.keyed(AuxiliaryModel, "key").values():
        if record.problem is not None and record.attack == planned.key:
            return replace(planned, status="failed", reason=record.problem)
    if planned.status == "unavailable" and journal.last(FinishedUnit, attack=planned.key) is not None:
        return replace(planned, status="failed")
    return planned


def given_up_names(request: AuditRequest, given_up: Mapping[str, str]) -> dict[str, str]:
    """Why auxiliary models are not loaded, in sentences, by their keys, where a process ended on them."""
    return {a.key: f"{a.name} cannot be used: {given_up[a.key]}" for a in auxiliaries(request) if a.key in given_up}
