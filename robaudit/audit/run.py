"""One audit from request to result: run directory, lock, supervision, result file."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from robaudit import __version__
from robaudit.audit.build import build_result
from robaudit.audit.events import Observer
from robaudit.audit.gates import check_gates
from robaudit.audit.plan import validate_attacks
from robaudit.audit.request import AuditRequest
from robaudit.audit.result import Result
from robaudit.audit.resultfile import load_result, save_result
from robaudit.audit.rundir import digest_of, locked, prepare, sha256_file
from robaudit.audit.supervisor import supervise
from robaudit.audit.verdict import OnInconclusive, conclude
from robaudit.errors import AuditError

__all__ = ["RESULT", "run_audit", "run_id_of"]

RESULT = "result.json"


def run_id_of(request: AuditRequest) -> str:
    """Digest of file, data, resolved profile, seed and version: what decides the outcome, and nothing else."""
    profile = request.profile.model_dump(mode="json", exclude={"gates", "description"})
    return digest_of(
        {
            "version": __version__,
            "model": sha256_file(request.model) if request.model.is_file() else str(request.model),
            "data": _data_digest(request.data),
            "labels": _data_digest(request.labels),
            "reference": request.reference,
            "classes": request.classes,
            "surrogates": [sha256_file(p) if p.is_file() else str(p) for p in request.surrogates],
            "input": request.input_values,
            "profile": profile,
            "seed": request.seed,
            "declared": request.declared_accuracy,
        }
    )


def _data_digest(path: Path | None) -> str | None:
    """Of a file its content; of a folder the names, sizes and times of its files (reading all would be slow)."""
    if path is None:
        return None
    if path.is_file():
        return sha256_file(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else []
    return digest_of([[str(p.relative_to(path)), p.stat().st_size, p.stat().st_mtime_ns] for p in files])


def run_audit(
    request: AuditRequest,
    folder: Path | None,
    observer: Observer,
    *,
    fresh: bool = False,
    on_inconclusive: OnInconclusive = "fail",
    warn: Callable[[str], None] = lambda _: None,
) -> tuple[Result, Path]:
    """Audit, or take up an unfinished audit, or return a finished one.

    Args:
        request: what to audit.
        folder: the run directory; default ``.robaudit/MODEL-DIGEST``.
        observer: told of progress.
        fresh: discard what is there.
        on_inconclusive: what an inconclusive gate means for the exit code.
        warn: told in one sentence what went wrong beside the audit.

    Returns:
        The result and the run directory.

    Raises:
        UsageError: the request is refused before the audit.
        AuditError: it failed before anything could be reported.
    """
    validate_attacks(request.profile)
    check_gates(request.profile.gates, [spec.id for spec in request.profile.attacks], list(request.profile.checks))
    run_id = run_id_of(request)
    folder = folder or Path(".robaudit") / f"{request.model.stem}-{run_id[:12]}"
    prepare(folder, run_id, fresh=fresh)
    with locked(folder, "run.lock", wait=1.0):
        finished = _finished(folder, run_id)
        if finished is not None:
            return conclude(finished, request.profile.gates, on_inconclusive), folder
        resumed = (folder / "journal.jsonl").exists()
        begin, start = datetime.now(UTC), time.perf_counter()
        outcome = supervise(request, folder, observer)
        seconds = time.perf_counter() - start
        sessions = list(outcome.journal.of("session"))
        earlier = sum(s["seconds"] for s in sessions)
        started = datetime.fromisoformat(sessions[0]["started"]) if sessions else begin
        outcome.journal.append({"kind": "session", "started": begin.isoformat(), "seconds": seconds})
        result = build_result(
            request,
            outcome.journal,
            run_id=run_id,
            started=started,
            seconds=earlier + seconds,
            interrupted=outcome.interrupted,
            failure=outcome.failure or outcome.journal.failure,
            resumed=resumed,
            on_inconclusive=on_inconclusive,
        )
        try:
            save_result(result, folder / RESULT)
        except AuditError as error:
            warn(str(error))
    return result, folder


def _finished(folder: Path, run_id: str) -> Result | None:
    """The result of a finished run, if the directory holds one."""
    path = folder / RESULT
    if not path.exists():
        return None
    result = load_result(path)
    over = not result.run.interrupted and result.run.failed is None
    return result if over and result.run.id == run_id else None
