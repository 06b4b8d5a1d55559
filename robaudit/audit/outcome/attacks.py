"""What a result says of each attack, and of what was fitted."""

from __future__ import annotations

from collections.abc import Iterator

from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.threats import single_threats
from robaudit.audit.journal.causes import sentence
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import FitRound
from robaudit.audit.journal.records.findings import EvidenceKept
from robaudit.audit.journal.tally import Tally, TriedAttack
from robaudit.audit.plan.attacks import threat_model
from robaudit.audit.result.archive import artefact_names
from robaudit.audit.result.sections.findings import Attack, Fit, Pairs
from robaudit.stats.rates import rate

__all__ = ["attack_sections", "fit_sections"]

UNKNOWN = rate(0, 0)
"""Until the samples tell."""


def attack_sections(request: AuditRequest, tally: Tally, *, spent: bool) -> tuple[Attack, ...]:
    """All attacks of the plan, in order; ``spent``: it was the time budget that ended the audit."""
    return tuple(_attack(request, tally, tried, spent=spent) for tried in tally.attacks)


def _attack(request: AuditRequest, tally: Tally, attack: TriedAttack, *, spent: bool) -> Attack:
    """What an attack was tried on and spent; what it broke and left standing, the samples tell."""
    key, cause, planned = attack.key, attack.cause, attack.planned
    threat = threat_model(single_threats(request.profile, planned.norm)[0])
    results = tally.best[key]
    tried, reached = tally.pairs[key]
    every = parse_goal(request.profile.threat.goal).kind == "every"
    saw_all = attack.status == "done" and tried == tally.cases and planned.phase != "bisection"
    return Attack(
        id=key,
        name=planned.name,
        access=planned.access,
        status=attack.status,
        reason=sentence(cause, spent=spent) if cause is not None and cause.halted else attack.reason,
        parameters=dict(planned.parameters),
        norm=threat.norm.value,
        eps=threat.eps,
        goal=threat.goal.value,
        seed=request.settings.seed,
        attempted=len(results),
        rate_alone=UNKNOWN if saw_all else None,
        pairs=Pairs(tried=tried, reached=reached) if every else None,
        forwards=sum(r.forwards for r in results.values()),
        backwards=sum(r.backwards for r in results.values()),
        queries=sum(r.queries for r in results.values()),
        query_budget=planned.budget,
        judge_queries=sum(r.judged for r in results.values()),
        seconds=round(attack.seconds, 3),
        candidates_refused=sum(r.refused for r in results.values()),
    )


def fit_sections(tally: Tally, journal: Journal) -> Iterator[Fit]:
    """What was fitted, and whom it fooled."""
    evidence = journal.last(EvidenceKept)
    kept = () if evidence is None else evidence.artefacts
    for attack in tally.attacks:
        key = attack.key
        fit = journal.last(FitRound, attack=key)
        if fit is not None and fit.family != "surrogate":
            yield Fit(
                attack=key,
                family=fit.family,
                samples=fit.samples,
                rounds=fit.round,
                of=fit.rounds,
                forwards=fit.forwards,
                backwards=fit.backwards,
                queries=fit.queries,
                seconds=round(fit.seconds, 3),
                fooled=tuple(sorted(sample for sample, result in tally.best[key].items() if result.success)),
                arrays=artefact_names(key, fit.arrays) if key in kept else {},
            )
