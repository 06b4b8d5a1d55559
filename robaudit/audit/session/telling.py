"""Journals what a session has loaded."""

from __future__ import annotations

from datetime import UTC, datetime

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.events import Note
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import AuxiliaryModel
from robaudit.audit.journal.records.session import ChosenSets, DataFacts, MeaningFound, SessionBegun
from robaudit.audit.plan.auxiliary import auxiliaries
from robaudit.audit.session.loaded import Loaded, Opened
from robaudit.audit.session.sections import data_facts, environment_facts, set_sections
from robaudit.audit.session.shared import Shared
from robaudit.engine.refusals import Refusals
from robaudit.errors import ChangedFileError
from robaudit.plural import counted

__all__ = ["check_data", "tell_auxiliary", "tell_choice", "tell_loaded", "tell_refusals", "tell_sets"]


def check_data(loaded: Opened, journal: Journal) -> None:
    """Refuse data that are not those of the workers and sessions before this one, whose answers count.

    Raises:
        ChangedFileError: their content differs.
    """
    before = journal.last(DataFacts)
    if before is not None and before.section.sha256 != loaded.data.digest:
        raise ChangedFileError(
            f"{before.section.source} was changed since this audit began (its SHA-256 differs); what is finished is of "
            "the data as they were: --fresh begins again"
        )


def tell_loaded(request: AuditRequest, loaded: Opened, journal: Journal) -> None:
    """That a session begins, on which machine and data, and what was found that inputs mean."""
    journal.append(SessionBegun(started=datetime.now(UTC).isoformat()))
    known = journal.keyed(MeaningFound, "model")
    for meaning in loaded.meanings:
        if meaning.model not in known:
            journal.append(meaning)
    journal.append(environment_facts(loaded.opened))
    journal.append(data_facts(request, loaded))


def tell_auxiliary(request: AuditRequest, loaded: Loaded, shared: Shared) -> None:
    """Which auxiliary models can be used, where that is news."""
    for auxiliary in auxiliaries(request):
        problem = loaded.problems.get(auxiliary.key)
        known = shared.journal.last(AuxiliaryModel, key=auxiliary.key)
        if problem != (None if known is None else known.problem):
            shared.journal.append(auxiliary.record(problem))
            if problem is not None:
                shared.observer(Note(f"{problem}; the audit goes on without it", "warning"))


def tell_sets(loaded: Loaded, shared: Shared) -> None:
    """The perturbation sets that the user chose, and what is to be said of them."""
    if not loaded.sets:
        return
    shared.journal.append(ChosenSets(sets=set_sections(loaded)))
    for one in loaded.sets:
        for sentence in one.notes(loaded.target.spec.shape):
            shared.note(sentence)


def tell_choice(request: AuditRequest, loaded: Loaded, shared: Shared) -> None:
    """Why the audit attacks with less than the threat model grants, where the profile suits itself to the file."""
    profile, traits = request.profile, loaded.traits
    most = traits.most(profile.threat.access)
    if most == profile.threat.access or all(spec.when is None for spec in profile.attacks):
        return
    why = [f"it has no gradient ({traits.no_gradient})"] if traits.no_gradient and most != "white-box" else []
    why += [f"its scores are not to be had ({traits.no_scores})"] if traits.no_scores and most == "labels" else []
    shared.note(f"the profile {profile.name} attacks the file by its {most} alone: {' and '.join(why)}")


def tell_refusals(refusals: Refusals, shared: Shared) -> None:
    """What the models refused in this session; a point that is refused fools nobody."""
    if refusals.counts:
        each = ", ".join(f"{key} {count}" for key, count in refusals.counts.items())
        shared.note(
            f"the model failed on {counted(refusals.counts.total(), 'evaluation')} of points that attacks tried "
            f"({each}), which count as points that do not fool it: {refusals.why}"
        )
