"""Journal -> result. Nothing else feeds a report, so that a killed or interrupted audit is reported in the same way."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from robaudit import __version__
from robaudit.audit import result as model
from robaudit.audit.journal import Journal, Record, unit_result
from robaudit.audit.plan import threat_model
from robaudit.audit.request import AuditRequest
from robaudit.audit.verdict import OnInconclusive, conclude
from robaudit.checks.registry import check_classes
from robaudit.engine.units import UnitResult, best_of
from robaudit.errors import AuditError
from robaudit.stats import rate

__all__ = ["build_result"]

DERIVED = {"kind", "ids", "indices", "data_kind"}


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
    clean = journal.keyed("clean", "index")
    cascade = _Cascade(journal, clean)
    stability = data["reference"] == "model"
    standing = cascade.standing(len(cascade.order))
    draft = model.Result(
        tool=model.Tool(version=__version__),
        run=model.Run(
            id=run_id,
            seed=request.seed,
            started=started.isoformat(timespec="seconds"),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(seconds, 3),
            command=request.command,
            batch_size=request.batch_size or "auto",
            resumed=resumed,
            interrupted=interrupted,
            failed=failure,
            notes=tuple(dict.fromkeys(record["message"] for record in journal.of("note"))),
        ),
        verdict=model.Verdict(status="incomplete", headline="", exit_code=3),
        target=model.Target(**_fields(target)),
        data=model.Data(kind=data["data_kind"], **_fields(data)),
        threat_model=_threat(request, cascade),
        profile=_profile(request),
        environment=model.Environment(**_fields(environment)),
        clean=model.Clean(
            accuracy=None if stability else rate(len(cascade.correct), cascade.readable),
            declared=request.declared_accuracy,
        ),
        worst_case=model.WorstCase(
            metric="stability" if stability else "robust_accuracy",
            upper_bound_observed=rate(len(standing), cascade.readable),
        ),
        attacks=tuple(_attack(request, cascade, place) for place in range(len(cascade.order))),
        checks=_checks(request, journal),
        evidence=_evidence(journal),
        limitations=_limitations(request, data, target, cascade),
        errors=_errors(cascade, clean, journal, failure),
        samples=_samples(data, clean, cascade, _eight_bit(journal)),
    )
    return conclude(draft, request.profile.gates, on_inconclusive)


def _fields(record: Record) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in DERIVED}


class _Cascade:
    """The units of the journal, put together attack by attack."""

    def __init__(self, journal: Journal, clean: Mapping[int, Record]) -> None:
        self.readable = sum(1 for r in clean.values() if r["readable"])
        self.correct = [i for i, r in clean.items() if r["prediction"] is not None and r["prediction"] == r["label"]]
        self.records = journal.keyed("attack", "id")
        self.order = list(self.records)
        units: dict[str, dict[int, dict[tuple[int, int], UnitResult]]] = defaultdict(lambda: defaultdict(dict))
        for record in journal.of("unit"):
            result = unit_result(record)
            units[record["attack"]][record["sample"]][result.unit.rank] = result
        self.best: dict[str, dict[int, UnitResult]] = {
            attack: {sample: best_of(list(found.values())) for sample, found in samples.items()}
            for attack, samples in units.items()
        }
        for attack in units:  # killed before the attack's own record was written
            if attack not in self.order:
                self.order.append(attack)
        self.broken_by: dict[int, str] = {}
        for attack in self.order:
            for sample, result in self.best.get(attack, {}).items():
                if result.success:
                    self.broken_by.setdefault(sample, attack)

    def standing(self, after: int) -> list[int]:
        """Samples correct and unbroken by the first ``after`` attacks."""
        done = set(self.order[:after])
        return [i for i in self.correct if self.broken_by.get(i) not in done]


def _attack(request: AuditRequest, cascade: _Cascade, place: int) -> model.Attack:
    key = cascade.order[place]
    record = cascade.records.get(key) or _unrecorded(request, key)
    threat = threat_model(request.profile)
    results = cascade.best.get(key, {})
    newly = [s for s, r in results.items() if r.success and cascade.broken_by.get(s) == key]
    broken = [s for s, r in results.items() if r.success]
    distances = [r.distance for r in results.values() if r.distance is not None]
    ran = record["status"] in ("done", "partial", "failed")
    saw_all = record["status"] == "done" and set(results) >= set(cascade.correct)
    return model.Attack(
        id=key,
        name=record["name"],
        access=record["access"],
        status=record["status"],
        reason=record["reason"],
        parameters=record["parameters"],
        norm=threat.norm.value,
        eps=threat.eps,
        goal=threat.goal.value,
        seed=request.seed,
        attempted=record["attempted"],
        broken=len(broken),
        newly_broken=len(newly),
        cumulative_robust_accuracy=(rate(len(cascade.standing(place + 1)), cascade.readable) if ran else None),
        rate_alone=rate(len(cascade.correct) - len(broken), cascade.readable) if saw_all else None,
        median_distance=statistics.median(distances) if distances else None,
        forwards=sum(r.forwards for r in results.values()),
        backwards=sum(r.backwards for r in results.values()),
        queries=sum(r.queries for r in results.values()),
        judge_queries=sum(r.judged for r in results.values()),
        seconds=round(record["seconds"], 3),
        candidates_refused=sum(r.refused for r in results.values()),
    )


def _unrecorded(request: AuditRequest, key: str) -> Record:
    """An attack whose worker died in it."""
    from robaudit.attacks.registry import attack_classes

    cls = attack_classes()[key.partition("#")[0]]
    return {
        "name": key,
        "access": str(cls.access),
        "status": "partial",
        "reason": "the worker ended during it",
        "parameters": {},
        "attempted": 0,
        "seconds": 0.0,
    }


def _threat(request: AuditRequest, cascade: _Cascade) -> model.Threat:
    threat = threat_model(request.profile)
    used = {r["access"] for r in cascade.records.values() if r["status"] in ("done", "partial", "failed")}
    order: Sequence[Any] = ("white-box", "transfer", "scores", "labels")
    return model.Threat(
        norm=threat.norm.value,
        eps=threat.eps,
        eps_text=str(request.profile.threat.eps),
        eps_default=request.eps_default,
        goal=threat.goal.value,
        access=tuple(name for name in order if name in used),
        queries=threat.queries,
        domain="every feature between the lowest and the highest value of the input's domain; decision-based "
        "attacks may start from other samples of the audit",
    )


def _profile(request: AuditRequest) -> model.ProfileRecord:
    return model.ProfileRecord(
        name=request.profile.name,
        source=request.profile_source,
        sha256=request.profile.digest(),
        resolved=request.profile.model_dump(mode="json"),
        settings=request.settings,
        sources=request.sources,
    )


def _checks(request: AuditRequest, journal: Journal) -> tuple[model.Check, ...]:
    found = []
    records = journal.keyed("check", "id")
    for name in request.profile.checks:
        record = records.get(name)
        if record is None or "skipped" in record:
            reason = record["skipped"] if record else "the audit ended before it"
            found.append(model.Check(id=name, status="skipped", message=reason))
        elif "failed" in record:
            found.append(model.Check(id=name, status="fail", message=record["failed"]))
        else:
            finding = check_classes()[name]().verdict(record["measured"])
            found.append(
                model.Check(
                    id=name,
                    status=finding.status,
                    value=finding.value,
                    threshold=finding.threshold,
                    message=finding.message,
                )
            )
    return tuple(found)


def _eight_bit(journal: Journal) -> dict[str, float | None]:
    record = journal.last("check", id="evidence")
    measured: dict[str, float | None] = (record or {}).get("measured", {}).get("eight_bit", {})
    return measured


def _evidence(journal: Journal) -> model.Evidence:
    record = journal.last("evidence")
    if record is None:
        return model.Evidence()
    return model.Evidence(path=record["path"], sha256=record["sha256"], count=record["count"])


def _samples(
    data: Record, clean: Mapping[int, Record], cascade: _Cascade, eight_bit: Mapping[str, float | None]
) -> tuple[model.Sample, ...]:
    found = []
    for index, name in zip(data["indices"], data["ids"], strict=True):
        record = clean.get(index)
        attack = cascade.broken_by.get(index)
        winner = cascade.best[attack][index] if attack else None
        results = [best[index] for best in cascade.best.values() if index in best]
        error = (
            "the audit ended before it"
            if record is None
            else record["error"] or next((r.error for r in results if r.error), None)
        )
        found.append(
            model.Sample(
                id=name,
                index=index,
                label=record["label"] if record else None,
                clean_prediction=record["prediction"] if record else None,
                broken_by=attack,
                adversarial_prediction=winner.prediction if winner else None,
                distance=winner.distance if winner else None,
                distance_8bit=eight_bit.get(str(index)),
                queries=sum(r.queries for r in results),
                error=error,
            )
        )
    return tuple(found)


def _errors(
    cascade: _Cascade, clean: Mapping[int, Record], journal: Journal, failure: str | None
) -> tuple[model.AuditFailure, ...]:
    found = []
    if failure is not None:
        found.append(model.AuditFailure(where="worker", message=failure))
    for record in clean.values():
        if record["error"]:
            found.append(model.AuditFailure(where="data", message=record["error"], sample=record["id"]))
    for key in cascade.order:
        attack = cascade.records.get(key)
        if attack is not None and attack["status"] == "failed":
            found.append(model.AuditFailure(where="attack", message=attack["reason"], attack=key))
        for sample, result in cascade.best.get(key, {}).items():
            if result.error:
                name = clean[sample]["id"] if sample in clean else str(sample)
                found.append(model.AuditFailure(where="attack", message=result.error, sample=name, attack=key))
    for record in journal.keyed("check", "id").values():
        if "failed" in record:
            found.append(model.AuditFailure(where=f"check {record['id']}", message=record["failed"]))
    return tuple(found)


def _limitations(request: AuditRequest, data: Record, target: Record, cascade: _Cascade) -> tuple[str, ...]:
    threat = threat_model(request.profile)
    norms = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}
    found = [
        "attacked accuracy is an upper bound: an attack that was not tried may break more; the interval covers "
        "sampling alone",
        "not tested: other norms ("
        + ", ".join(sign for name, sign in norms.items() if name != threat.norm)
        + "), spatial, patch and universal perturbations, and changes outside the domain's box",
    ]
    ran = {r["access"] for r in cascade.records.values() if r["status"] == "done"}
    missing = [a for a in ("white-box", "transfer", "scores", "labels") if a not in ran]
    if missing:
        found.append(f"no attack ran with this access: {', '.join(missing)}")
    if data["reference"] == "model":
        found.append("stability mode: the model's own clean answers are the reference; no accuracy is claimed")
    found += target["assumed"]
    return tuple(found)
