"""Journal -> result. Nothing else feeds a report, so that a killed or interrupted audit is reported in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from robaudit import METHODS, __version__
from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.keys import record_of
from robaudit.audit.config.places import elsewhere, repository_root, shown_command, shown_path, without_machine
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.threats import single_threats
from robaudit.audit.journal.auxiliary import problems_in
from robaudit.audit.journal.care import lost_in
from robaudit.audit.journal.causes import Cause, sentence
from robaudit.audit.journal.journal import Journal, Record
from robaudit.audit.journal.looks import completed
from robaudit.audit.journal.tally import Tally
from robaudit.audit.outcome.budget import was_spent, with_budget
from robaudit.audit.outcome.certified import certified_section, proofs_of
from robaudit.audit.outcome.samples import build_samples
from robaudit.audit.outcome.sent import sent_words
from robaudit.audit.outcome.stopping import section
from robaudit.audit.plan.attacks import threat_model
from robaudit.audit.result import document as model
from robaudit.audit.result.archive import artefact_names
from robaudit.audit.result.derive import RAN, derived
from robaudit.audit.verdict.check_facts import plug_in
from robaudit.audit.verdict.conclusion import OnInconclusive, conclude
from robaudit.audit.verdict.limitations import limitations
from robaudit.checks.base import Finding
from robaudit.checks.registry import check_class, make_check
from robaudit.errors import AuditError
from robaudit.plural import part_of
from robaudit.stats.rates import rate

__all__ = ["build_result", "profile_record"]

DERIVED = {"kind", "ids", "indices", "data_kind", "copies"}
EVALUATIONS = {"forwards": "forwards", "backwards": "backwards", "queries": "queries", "judge_queries": "judged"}
"""What a check cost, in a result and in the journal."""
UNKNOWN = rate(0, 0)
"""Until the samples tell."""


def build_result(
    request: AuditRequest,
    journal: Journal,
    *,
    run_id: str,
    started: datetime,
    seconds: float,
    interrupted: bool,
    failure: str | None,
    resumed: bool,
    on_inconclusive: OnInconclusive = "fail",
) -> model.Result:
    """The result of what the journal holds.

    Args:
        request: what was asked.
        journal: what was finished.
        run_id: digest of the audit.
        started: of the first session.
        seconds: over all sessions.
        interrupted: the user or the system stopped it.
        failure: why the worker failed, or None.
        resumed: a part came from an earlier session.
        on_inconclusive: what an inconclusive gate means for the exit code.

    Raises:
        AuditError: the journal does not even describe the target: nothing can be reported.
    """
    target, data, environment = (journal.last(kind) for kind in ("target", "data", "environment"))
    if target is None or data is None or environment is None:
        raise AuditError(failure or "the audit was stopped before the model was loaded")
    sequential = section(journal) if request.until_decided else None
    if sequential is not None:
        journal = completed(journal)
        data = journal.last("data") or data
    clean = journal.keyed("clean", "index")
    tally = Tally(journal, clean)
    stability = data["reference"] == "model"
    spent = request.time_budget is not None and was_spent(journal)
    checks = _checks(request, journal, spent)
    draft = model.Result(
        tool=model.Tool(version=__version__, methods=METHODS),
        run=model.Run(
            id=run_id,
            seed=request.seed,
            started=started.isoformat(timespec="milliseconds"),
            # a clock may have been put back
            finished=max(datetime.now(UTC), started).isoformat(timespec="milliseconds"),
            seconds=round(seconds, 3),
            command=shown_command(request.command),
            elsewhere=elsewhere(request.command),
            batch_size=request.batch_size or "auto",
            resumed=resumed,
            interrupted=interrupted,
            failed=failure,
            reproducible=not _wavers(checks),
            notes=tuple(dict.fromkeys(record["message"] for record in journal.of("note"))),
            **sent_words(journal.last("sent")),
        ),
        verdict=model.Verdict(status="incomplete", headline="", exit_code=3),
        target=_target(target, journal.last("sent")),
        defense=None if target.get("defense") is None else model.Defended.model_validate(target["defense"]),
        data=_data(request, data, tally),
        threat_model=_threat(request, tally, target["input"]["features"], data["classes"], journal.last("sets")),
        profile=profile_record(request),
        environment=model.Environment(**_fields(environment)),
        clean=model.Clean(accuracy=None, declared=request.settings.clean_accuracy),
        worst_case=model.WorstCase(
            metric="stability" if stability else "robust_accuracy", upper_bound_observed=UNKNOWN
        ),
        attacks=tuple(_attack(request, tally, record, spent) for record in tally.attacks),
        fits=tuple(_fits(tally, journal)),
        sequential=sequential,
        earlier=request.earlier,
        certified=certified_section(request, journal, spent),
        checks=checks,
        evidence=_evidence(journal),
        errors=_errors(tally, clean, journal, failure),
        samples=build_samples(request.profile, data, clean, tally, journal, proofs_of(request, journal)),
    )
    draft = derived(with_budget(draft, request.time_budget, journal))
    draft = draft.model_copy(update={"limitations": limitations(draft)})
    return conclude(draft, request.profile.gates, on_inconclusive)


def _fields(record: Record, *others: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in (*DERIVED, *others)}


def _target(target: Record, sent: Record | None) -> model.Target:
    given = target["input"]
    origins = without_machine(given["provenance"], repository_root(Path()))
    told = {"file": shown_path(target["file"]), "input": {**given, "provenance": origins}}
    if sent is not None:
        told["details"] = {**target["details"], "sent": _fields(sent)}
    return model.Target(**{**_fields(target, "defense"), **told})


def _data(request: AuditRequest, data: Record, tally: Tally) -> model.Data:
    left_out = tuple(
        f"{part_of(count, tally.drawn, 'sample', 'is/are')} left out, as the goal does not apply: {why}"
        for why, count in tally.left_out.items()
    )
    source = data["source"] if request.data is None else shown_path(request.data)
    told = {"source": source, "notes": (*data["notes"], *left_out)}
    return model.Data(kind=data["data_kind"], **{**_fields(data), **told})


def _attack(request: AuditRequest, tally: Tally, record: Record, spent: bool) -> model.Attack:
    """What an attack was tried on and spent; what it broke and left standing, the samples tell."""
    key, cause = record["id"], record["cause"]
    threat = threat_model(single_threats(request.profile, record.get("norm"))[0])
    results = tally.best[key]
    tried, reached = tally.pairs[key]
    every = parse_goal(request.profile.threat.goal).kind == "every"
    saw_all = record["status"] == "done" and tried == tally.cases and record.get("phase") != "bisection"
    return model.Attack(
        id=record["id"],
        name=record["name"],
        access=record["access"],
        status=record["status"],
        reason=sentence(cause, spent=spent) if cause is not None and cause.halted else record["reason"],
        parameters=record["parameters"],
        norm=threat.norm.value,
        eps=threat.eps,
        goal=threat.goal.value,
        seed=request.seed,
        attempted=len(results),
        rate_alone=UNKNOWN if saw_all else None,
        pairs=model.Pairs(tried=tried, reached=reached) if every else None,
        forwards=sum(r.forwards for r in results.values()),
        backwards=sum(r.backwards for r in results.values()),
        queries=sum(r.queries for r in results.values()),
        judge_queries=sum(r.judged for r in results.values()),
        seconds=round(record["seconds"], 3),
        candidates_refused=sum(r.refused for r in results.values()),
    )


def _fits(tally: Tally, journal: Journal) -> Iterator[model.Fit]:
    """What was fitted, and whom it fooled."""
    kept = (journal.last("evidence") or {}).get("artefacts", [])
    for record in tally.attacks:
        key = record["id"]
        fit = journal.last("fit", attack=key)
        if fit is not None:
            yield model.Fit(
                attack=key,
                family=fit["family"],
                samples=fit["samples"],
                rounds=fit["round"],
                of=fit["rounds"],
                forwards=fit["forwards"],
                backwards=fit["backwards"],
                queries=fit["queries"],
                seconds=round(fit["seconds"], 3),
                fooled=tuple(sorted(sample for sample, result in tally.best[key].items() if result.success)),
                arrays=artefact_names(key, fit["arrays"]) if key in kept else {},
            )


def _threat(
    request: AuditRequest, tally: Tally, features: Sequence[Record], names: Sequence[str] | None, sets: Record | None
) -> model.Threat:
    threat, goal = threat_model(request.profile), parse_goal(request.profile.threat.goal)
    used = {r["access"] for r in tally.attacks if r["status"] in RAN}
    domain = "the box from the lowest to the highest value of the input's domain"
    if features:
        fixed = sum(f["immutable"] or f["low"] == f["high"] for f in features)
        domain = "the box of the features' ranges"
        domain += f", with {fixed} of {len(features)} features as they are" if fixed else ""
    order: Sequence[Any] = ("white-box", "transfer", "scores", "labels")
    return model.Threat(
        norm=threat.norm.value,
        eps=threat.eps,
        eps_text=str(request.profile.threat.eps),
        eps_default=request.eps_default,
        also=tuple(
            model.Radius(norm=other.norm, eps=other.radius, eps_text=other.eps) for other in request.profile.threat.also
        ),
        sets=tuple(model.PerturbationSet.model_validate(one) for one in (sets or {"sets": ()})["sets"]),
        goal=request.profile.threat.goal,
        goal_words=goal.said(names),
        access=tuple(name for name in order if name in used),
        queries=threat.queries,
        domain=domain,
    )


def profile_record(request: AuditRequest) -> model.ProfileRecord:
    """The profile as it was resolved, and where each of its settings was said."""
    root = repository_root(Path())
    return model.ProfileRecord(
        name=request.profile.name,
        source=without_machine(request.profile_source, root),
        sha256=request.profile.digest(),
        resolved=without_machine(request.profile.model_dump(mode="json"), root),
        settings=without_machine(record_of(request.settings), root),
        sources=without_machine(request.sources, root),
        places=request.places,
    )


def _checks(request: AuditRequest, journal: Journal, spent: bool) -> tuple[model.Check, ...]:
    found = []
    records = journal.keyed("check", "id")
    for name, settings in request.profile.checks.items():
        check, record = make_check(name, settings), records.get(name)
        finding = Finding("skipped", sentence(Cause.ENDED, spent=spent))
        if record is not None:
            failed = record.get("failed")
            finding = check.verdict(record["measured"]) if failed is None else Finding("fail", failed)
        found.append(
            model.Check(
                id=name,
                status=finding.status,
                value=finding.value,
                threshold=finding.threshold,
                message=finding.message,
                plug_in=plug_in(type(check)),
                **{field: (record or {}).get(key, 0) for field, key in EVALUATIONS.items()},
            )
        )
    return tuple(found)


def _wavers(checks: Sequence[model.Check]) -> bool:
    """Whether the same audit may come out differently."""
    return any(check.status == "fail" and check_class(check.id).facts.voids_repetition for check in checks)


def _evidence(journal: Journal) -> model.Evidence:
    record = journal.last("evidence")
    if record is None:
        return model.Evidence()
    return model.Evidence(
        path=record["path"], sha256=record["sha256"], count=record["count"], nearest=record.get("nearest", 0)
    )


def _errors(
    tally: Tally, clean: Mapping[int, Record], journal: Journal, failure: str | None
) -> tuple[model.AuditFailure, ...]:
    found = []
    if failure is not None:
        found.append(model.AuditFailure(where="worker", message=failure))
    for key, problem in problems_in(journal).items():
        found.append(model.AuditFailure(where=key.rpartition(" ")[0], message=problem))
    lost = lost_in(journal)
    for record in journal.of("lost"):
        found.append(model.AuditFailure(where="model", message=record["message"], sample=record["name"]))
    for record in clean.values():
        if record["error"] and record["index"] not in lost:
            found.append(model.AuditFailure(where="data", message=record["error"], sample=record["id"]))
    for attack in tally.attacks:
        key = attack["id"]
        if attack["status"] == "failed":
            found.append(model.AuditFailure(where="attack", message=attack["reason"], attack=key))
        for sample, result in tally.best[key].items():
            if result.error and result.error != lost.get(sample):
                found.append(
                    model.AuditFailure(where="attack", message=result.error, sample=clean[sample]["id"], attack=key)
                )
    for record in journal.of("certificate"):
        if record["error"] is not None:
            where, sample = f"certificate {record['id']}", clean[record["sample"]]["id"]
            found.append(model.AuditFailure(where=where, message=record["error"], sample=sample))
    for record in journal.keyed("check", "id").values():
        if "failed" in record:
            found.append(model.AuditFailure(where=f"check {record['id']}", message=record["failed"]))
    return tuple(found)
