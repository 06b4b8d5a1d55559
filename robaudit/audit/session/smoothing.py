"""White-box attacks of the cascade, and a search of them again whose backward is smooth in places alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from robaudit.attacks.cost import Cost
from robaudit.attacks.fitted import FittedSearch
from robaudit.audit.journal.causes import Cause, sentence
from robaudit.audit.journal.records.attacks import AttackEnded
from robaudit.audit.plan.attacks import needs_surrogate
from robaudit.audit.session.cascade import Cascade
from robaudit.checks.base import Ran
from robaudit.engine.executor import Executor
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.smooth_parts import PartlySmoothFile
from robaudit.engine.units import Sample, UnitResult, best_of
from robaudit.errors import AuditInterrupted
from robaudit.target.running.smooth import Smooth
from robaudit.target.target import Target
from robaudit.threat.model import Access

__all__ = ["ran", "search_smoothed"]


def ran(cascades: Sequence[Cascade], target: Target) -> list[Ran]:
    """The attacks of all cascades that follow the target's gradient, sample by sample, and ran to their end; in order.

    Args:
        cascades: of each threat model.
        target: whose gradient may be smooth by itself, where the true one ends.
    """
    smooth = target.gradient.method == "smoothed"
    found = []
    for cascade in cascades:
        ended = cascade.journal.keyed(AttackEnded, "id")
        done = {key for key, record in ended.items() if record.status == "done"}
        for planned in cascade.plan:
            attack = planned.attack
            follows = attack.access is Access.WHITE_BOX and not needs_surrogate(attack)
            if planned.key in done and follows and not isinstance(attack, FittedSearch):
                by_smooth = smooth or bool(planned.how.smooth)
                found.append(Ran(planned.key, attack, planned.how, cascade.threat, by_smooth))
    return found


def search_smoothed(
    executor: Executor, target: Target, one: Ran, samples: Sequence[Sample], nodes: Collection[str]
) -> tuple[dict[int, bool], Cost]:
    """Whether a search breaks each sample where the backward is smooth at some nodes alone, by index; and the cost.

    Args:
        executor: of the audit, for its batch, seed and precision.
        target: the file.
        one: the search.
        samples: that it runs on.
        nodes: by name; none: the true gradient.

    Raises:
        AuditInterrupted: the audit was told to stop.
    """
    on_parts = executor.on(
        Oracle(PartlySmoothFile(target, replace(one.how.smooth or Smooth(), nodes=frozenset(nodes))))
    )
    own = {sample.index: sample for sample in samples}
    units = on_parts.units(one.attack, one.threat, list(own))
    job = Job(one.attack, one.threat, units, f"smoothed/{one.key}", replace(one.how, smooth=None))
    results: dict[int, list[UnitResult]] = {}
    if not on_parts.run(job, own.__getitem__, lambda one: results.setdefault(one.unit.sample, []).append(one)):
        raise AuditInterrupted(sentence(Cause.INTERRUPTED))
    best = {case: best_of(found) for case, found in results.items()}
    cost = Cost()
    for result in best.values():
        cost += Cost(result.forwards + result.judged, result.backwards, result.queries)  # the judge asks the same model
    return {case: result.success for case, result in best.items()}, cost
