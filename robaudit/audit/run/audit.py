"""One audit from request to result: run directory, lock, supervision, result file."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from robaudit.audit.config.places import elsewhere, shown_command
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.auxiliary import ROLES
from robaudit.audit.journal.events import Observer
from robaudit.audit.journal.journal import Journal, OtherVersionError
from robaudit.audit.journal.keys import RunKey, run_key
from robaudit.audit.journal.records.attacks import AttackPlan
from robaudit.audit.journal.records.findings import CheckEnded, ResultWritten
from robaudit.audit.journal.records.session import Remark, SessionBegun, SessionEnded
from robaudit.audit.outcome.build import Sessions, build_result
from robaudit.audit.outcome.inputs import profile_record
from robaudit.audit.outcome.sent import inputs_sent
from robaudit.audit.plan.validate import validate
from robaudit.audit.result.document import Result
from robaudit.audit.run.again import retried
from robaudit.audit.run.identity import folder_of
from robaudit.audit.run.rundir import RESULT, check_apart, claimed
from robaudit.audit.run.supervisor import supervise
from robaudit.audit.run.tested import Begun, begin_test, end_test, keep_test, subject_of
from robaudit.audit.stored.file import parse_result, read_result, save_result
from robaudit.audit.verdict.compare import with_comparison
from robaudit.audit.verdict.conclusion import FailOn, OnInconclusive, conclude
from robaudit.errors import AuditError, AuditInterrupted, UsageError
from robaudit.files import held_to, sha256_file
from robaudit.target.files.remote.answers import ANSWERS, totals_of
from robaudit.target.files.remote.endpoint import is_endpoint, read_endpoint

__all__ = ["ExitRules", "run_audit"]


@dataclass(frozen=True)
class ExitRules:
    """How gates decide the exit code.

    Args:
        on_inconclusive: what an inconclusive gate means for it.
        fail_on: which gates decide it.
    """

    on_inconclusive: OnInconclusive = "fail"
    fail_on: FailOn = "error"


USUAL = ExitRules()


def run_audit(
    request: AuditRequest,
    folder: Path | None,
    observer: Observer,
    *,
    fresh: bool = False,
    rules: ExitRules = USUAL,
    warn: Callable[[str], None] = lambda _: None,
    reports: Sequence[str] = (),
) -> tuple[Result, Path]:
    """Audit, or take up an unfinished audit, or return a finished one.

    Args:
        request: what to audit.
        folder: the run directory; default ``.robaudit/MODEL-DIGEST``.
        observer: notified of progress.
        fresh: discard what is there.
        rules: how gates decide the exit code.
        warn: told in one sentence what went wrong beside the audit.
        reports: files that will be written; none may be one of the run directory's own.

    Returns:
        The result and the run directory.

    Raises:
        UsageError: the request is refused before the audit, also because it is not comparable with the baseline.
        AuditError: it failed, or was interrupted, before anything could be reported, or shows at its end that it is not
            comparable with the baseline.
    """
    validate(request)
    folder, identity = folder_of(request, folder)
    run_id, request = identity.run_id, replace(request, files=identity.files)
    check_apart(folder, reports, request.data)
    key = run_key(run_id)
    if key.problem is not None:
        warn(f"{key.problem}; this audit could not be taken up again, and would be computed afresh")
    kept = {"model": os.path.abspath(request.model), "folder": os.getcwd(), "command": request.command}
    kept |= {} if request.data is None else {"data": os.path.abspath(request.data)}
    taken = claimed(folder, run_id, fresh=fresh, key=key, kept=kept)
    with held_to(identity.files), taken as discarded:
        journal = _journal(folder, key, discarded, warn)
        begun = begin_test(folder, run_id, subject_of(request), journal, foreign=discarded is not None)
        for sentence in begun.told:
            warn(sentence)
        request = replace(request, earlier=begun.before)
        again = retried(journal, request)
        if again is not None:
            warn(f"{folder}: {again}")
        finished = None if again is not None else _finished(folder, run_id, journal, warn)
        if finished is None:
            result, journal = _audit(request, folder, run_id, journal, observer, begun)
        else:
            result = _shown_again(finished, request)
        return _concluded(request, result, rules, _Kept(folder, journal, run_id, begun)), folder


@dataclass(frozen=True)
class _Kept:
    """Where the result of an audit is kept.

    Args:
        folder: the run directory.
        journal: of the run.
        run_id: of the audit.
        begun: the test that it is.
    """

    folder: Path
    journal: Journal
    run_id: str
    begun: Begun


def _concluded(request: AuditRequest, result: Result, rules: ExitRules, kept: _Kept) -> Result:
    """The result compared with the baseline and decided, which is kept.

    It is judged today, so that an exception that is over counts no more, even where nothing had to be audited again.

    Raises:
        AuditError: it is not comparable with the baseline.
    """
    decided = partial(
        conclude,
        gates=request.profile.gates,
        on_inconclusive=rules.on_inconclusive,
        fail_on=rules.fail_on,
        judged=datetime.now(UTC).date(),
    )
    try:
        result = decided(with_comparison(result.model_copy(update={"comparison": None}), request.baseline))
    except AuditError:
        _keep(decided(result), kept.folder, kept.journal)  # the audit itself is none the worse
        raise
    end_test(kept.folder, kept.run_id, kept.begun, result)
    try:
        _keep(result, kept.folder, kept.journal)
    except AuditError as error:
        if result.run.failed is None:
            failed = result.run.model_copy(update={"failed": str(error)})
            result = decided(result.model_copy(update={"run": failed}))
    return result


def _journal(folder: Path, key: RunKey, discarded: str | None, warn: Callable[[str], None]) -> Journal:
    """The journal of a claimed directory, as far as it is as it was written; what is not is told."""
    journal = Journal(folder, key=key.key)
    try:
        damage = journal.load()
    except (OSError, OtherVersionError) as error:
        why = error.strerror or error if isinstance(error, OSError) else error
        raise UsageError(
            f"the journal in the run directory {folder} cannot be used: {why}; choose another with --run-dir, or "
            "--fresh to discard it"
        ) from error
    if discarded is not None:
        warn(f"{folder}: {discarded}")
        journal.append(Remark(message=discarded))
    if damage is not None:
        warn(f"{folder}: {damage}")
    return journal


def _keep(result: Result, folder: Path, journal: Journal) -> None:
    """Write the result file; the journal says which ones are of this audit.

    Raises:
        AuditError: the disk does not take it.
    """
    full = journal.failure is not None
    journal.append(ResultWritten(sha256=hashlib.sha256(result.to_json().encode()).hexdigest()))
    save_result(result, folder / RESULT)
    if journal.failure is not None and not full:
        raise AuditError(cannot_be_written(journal.failure))


def cannot_be_written(why: str) -> str:
    """What a result says where the disk takes nothing more."""
    return f"the run directory cannot be written ({why}): what came after that is in this report only"


def _audit(
    request: AuditRequest, folder: Path, run_id: str, journal: Journal, observer: Observer, begun: Begun
) -> tuple[Result, Journal]:
    begin, start = datetime.now(UTC), time.perf_counter()
    resumed = journal.last(SessionBegun) is not None
    outcome = supervise(request, folder, journal, observer)
    journal = outcome.journal
    keep_test(begun, journal)
    totals = totals_of(folder / ANSWERS, journal.key)
    if totals is not None and journal.records and is_endpoint(request.model):
        journal.append(inputs_sent(read_endpoint(request.model), totals))
    if journal.records:
        journal.append(SessionEnded(began=begin.isoformat(), seconds=time.perf_counter() - start))
    failure = outcome.failure
    if failure is None and journal.failure is not None:
        failure = cannot_be_written(journal.failure)
    if outcome.interrupted and journal.last(AttackPlan) is None:
        raise AuditInterrupted("the audit was stopped before the model was loaded")
    sessions = Sessions(
        run_id=run_id,
        started=_began(journal) or begin,
        seconds=sum(ended.seconds for ended in journal.of(SessionEnded)),
        interrupted=outcome.interrupted,
        failure=failure,
        resumed=resumed,
    )
    return build_result(request, journal, sessions), journal


def _began(journal: Journal) -> datetime | None:
    """When the first session began: as its supervisor knows, else (it was killed) as the worker wrote once it had
    loaded the model.
    """
    told = [ended.began for ended in journal.of(SessionEnded)]
    moments = [*told, *(session.started for session in journal.of(SessionBegun))]
    return min(map(datetime.fromisoformat, moments), default=None)


def _shown_again(result: Result, request: AuditRequest) -> Result:
    """A finished audit under what asks for it now: another command and profile may ask for the same audit, with other
    gates, and say at other places what it is."""
    typed = {"command": shown_command(request.command), "elsewhere": elsewhere(request.command)}
    changes = {**typed, "shown_again": datetime.now(UTC).isoformat()}
    threat = result.threat_model.model_copy(update={"eps_default": request.eps_default})
    run = result.run.model_copy(update=changes)
    return result.model_copy(update={"run": run, "threat_model": threat, "profile": profile_record(request)})


def _finished(folder: Path, run_id: str, journal: Journal, warn: Callable[[str], None]) -> Result | None:
    """The result of a finished run, if the directory holds one; what failed in it is worth another try."""
    path = folder / RESULT
    if not path.exists():
        return None
    written = {record.sha256 for record in journal.of(ResultWritten)}
    try:
        text = read_result(path)
        if hashlib.sha256(text).hexdigest() not in written:
            if written:  # else the session that began to write one did not end
                warn(f"{path} is not as this audit wrote it; it is made again from the journal")
            return None
        result = parse_result(text, str(path))
    except (UsageError, OSError) as error:
        warn(f"{error}; made again from the journal")
        return None
    again = [a for a in result.attacks if a.status in ("partial", "failed", "not run")]
    beside = [error for error in result.errors if error.where in ROLES]
    again_checks = [check for check in journal.keyed(CheckEnded, "id").values() if check.failed is not None]
    unfinished = (
        result.run.interrupted
        or result.run.budget_spent
        or result.run.failed is not None
        or again
        or again_checks
        or beside
    )
    if unfinished or result.run.id != run_id:
        return None
    kept = result.evidence
    if kept.path is not None:
        archive = folder / kept.path
        if not archive.is_file() or sha256_file(archive) != kept.sha256:
            warn(f"{archive} is missing or was changed since the audit; it is made again from the journal")
            return None
    return result
