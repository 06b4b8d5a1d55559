"""Journal -> result. Nothing else feeds a report, so that a killed or interrupted audit is reported in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from robaudit import METHODS, __version__
from robaudit.audit.config.places import elsewhere, shown_command
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.looks import completed
from robaudit.audit.journal.records.findings import EvidenceKept, MaskingFound
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.records.session import (
    DataFacts,
    DetectorSet,
    EnvironmentFacts,
    InputsSent,
    Remark,
    TargetFacts,
)
from robaudit.audit.journal.tally import Tally
from robaudit.audit.outcome.attacks import UNKNOWN, attack_sections, fit_sections
from robaudit.audit.outcome.budget import was_spent, with_budget
from robaudit.audit.outcome.certified import certified_section, proofs_of
from robaudit.audit.outcome.checks import check_sections, wavers
from robaudit.audit.outcome.errors import failures
from robaudit.audit.outcome.inputs import data_section, profile_record, target_section, threat_section
from robaudit.audit.outcome.prices import prices_of, with_prices
from robaudit.audit.outcome.samples import build_samples
from robaudit.audit.outcome.sent import sent_words
from robaudit.audit.outcome.stopping import section
from robaudit.audit.outcome.transfer import transfer_section
from robaudit.audit.result import document as model
from robaudit.audit.result.derive import derived
from robaudit.audit.verdict.conclusion import conclude
from robaudit.audit.verdict.limitations import limitations
from robaudit.errors import AuditError

__all__ = ["Sessions", "build_result"]


@dataclass(frozen=True)
class Sessions:
    """How a run went, over all its sessions.

    Args:
        run_id: digest of the audit.
        started: of the first session.
        seconds: over all sessions.
        interrupted: the user or the system stopped it.
        failure: why the worker failed, or None.
        resumed: a part came from an earlier session.
    """

    run_id: str
    started: datetime
    seconds: float
    interrupted: bool = False
    failure: str | None = None
    resumed: bool = False


def build_result(request: AuditRequest, journal: Journal, sessions: Sessions) -> model.Result:
    """The result of what the journal holds.

    Args:
        request: what was asked.
        journal: what was finished.
        sessions: how the run went.

    Raises:
        AuditError: the journal does not even describe the target: nothing can be reported.
    """
    target, environment = journal.last(TargetFacts), journal.last(EnvironmentFacts)
    data = journal.last(DataFacts)
    if target is None or data is None or environment is None:
        raise AuditError(sessions.failure or "the audit was stopped before the model was loaded")
    sequential = section(journal) if request.settings.until_decided else None
    if sequential is not None:
        journal = completed(journal)
        data = journal.last(DataFacts) or data
    clean = journal.keyed(CleanSample, "index")
    tally = Tally(journal, clean)
    spent = request.time_budget is not None and was_spent(journal)
    checks = check_sections(request, journal, spent=spent)
    evidence, detector = journal.last(EvidenceKept), journal.last(DetectorSet)
    attacks = attack_sections(request, tally, spent=spent)
    samples = build_samples(request.profile, data, clean, tally, journal, proofs_of(request, journal))
    draft = model.Result(
        tool=model.Tool(version=__version__, methods=METHODS),
        run=_run(request, journal, sessions, repeats=not wavers(checks) and target.section.random != "file"),
        verdict=model.Verdict(status="incomplete", headline="", exit_code=3),
        target=target_section(target, journal.last(InputsSent)),
        defense=target.defense,
        detector=None if detector is None else detector.section,
        data=data_section(request, data, tally),
        threat_model=threat_section(request, tally, target, data, journal),
        profile=profile_record(request),
        environment=environment.section,
        clean=model.Clean(accuracy=None, declared=request.settings.clean_accuracy),
        worst_case=model.WorstCase(
            metric="stability" if data.section.reference == "model" else "robust_accuracy",
            upper_bound_observed=UNKNOWN,
        ),
        attacks=attacks,
        fits=tuple(fit_sections(tally, journal)),
        sequential=sequential,
        earlier=request.earlier,
        transfer=transfer_section(tally, journal),
        certified=certified_section(request, journal, spent=spent),
        checks=checks,
        masking=_masking(journal),
        evidence=model.Evidence() if evidence is None else evidence.section,
        errors=tuple(failures(tally, clean, journal, sessions.failure)),
        samples=with_prices(samples, prices_of(attacks, tally)),
    )
    draft = derived(with_budget(draft, request.time_budget, journal))
    draft = draft.model_copy(update={"limitations": limitations(draft)})
    return conclude(draft, request.profile.gates)


def _masking(journal: Journal) -> model.Masking | None:
    """The signs of masked gradients that the audit reacted to; what that came to, the samples tell."""
    found = journal.last(MaskingFound)
    return None if found is None else model.Masking(signs=found.signs, hidden=found.hidden, stood=found.stood)


def _run(request: AuditRequest, journal: Journal, sessions: Sessions, *, repeats: bool) -> model.Run:
    started = sessions.started
    return model.Run(
        id=sessions.run_id,
        seed=request.settings.seed,
        started=started.isoformat(timespec="milliseconds"),
        # a clock may have been put back
        finished=max(datetime.now(UTC), started).isoformat(timespec="milliseconds"),
        seconds=round(sessions.seconds, 3),
        command=shown_command(request.command),
        elsewhere=elsewhere(request.command),
        batch_size=request.batch_size or "auto",
        resumed=sessions.resumed,
        interrupted=sessions.interrupted,
        failed=sessions.failure,
        reproducible=repeats,
        network=sent_words(journal.last(InputsSent)),
        notes=tuple(dict.fromkeys(remark.message for remark in journal.of(Remark))),
    )
