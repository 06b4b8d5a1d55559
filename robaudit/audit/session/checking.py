"""The checks of the audit itself, run one after another and journaled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from robaudit.audit.journal.events import CheckFinished, Observer, Phase
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.base import Content
from robaudit.audit.journal.records.findings import CheckEnded
from robaudit.audit.session.bench import SessionBench
from robaudit.audit.session.cascade import one_line
from robaudit.checks.base import Check, Finding
from robaudit.checks.registry import make_check
from robaudit.errors import AuditInterrupted, FinalError

__all__ = ["run_checks"]


def run_checks(
    checks: Mapping[str, Mapping[str, Any]],
    bench_of: Callable[[str], SessionBench],
    journal: Journal,
    observer: Observer,
    told_to_stop: Callable[[], bool],
    stop: Callable[[], bool],
    *,
    last: bool,
) -> dict[str, Finding]:
    """Measure what was not measured yet; a check that cannot be carried out has failed.

    Args:
        checks: the checks in order, each with its settings.
        bench_of: what a check measures on.
        journal: with what earlier sessions measured; gets a record of each check.
        observer: notified of progress.
        told_to_stop: whether the user ended the audit; no check begins then.
        stop: whether nothing new may begin; where the time is over, checks that say so run all the same.
        last: those that come after a reaction, or else all others.

    Returns:
        What those found that were carried out.
    """
    observer(Phase("checks"))
    found: dict[str, Finding] = {}
    for name, settings in checks.items():
        if told_to_stop():
            return found
        check = make_check(name, settings)
        if check.facts.after_reaction != last or (not check.facts.after_time and stop()):
            continue
        known = journal.last(CheckEnded, id=name)
        if known is not None and known.unanswered:  # the model hung or crashed in it
            observer(CheckFinished(name, "fail", known.failed or ""))
            continue
        ended = _carried_out(name, check, bench_of(name), known, observer)
        if ended is not None:
            journal.append(ended)
            if ended.failed is None:
                found[name] = check.verdict(ended.measured or {})
    return found


def _carried_out(
    name: str, check: Check, bench: SessionBench, known: CheckEnded | None, observer: Observer
) -> CheckEnded | None:
    """What a check came to; None where the audit was told to stop. ``known``: what it came to before."""
    start = time.perf_counter()
    measured: Content | None = None
    try:
        if check.facts.ignores_attacks and known is not None and known.measured is not None:
            measured, cost = known.measured, known.cost
        else:
            measured = _measured(check, bench)
            cost = bench.cost
        finding = check.verdict(measured)
    except AuditInterrupted:
        return None
    except FinalError:
        raise
    except Exception as error:  # it costs that check alone
        failed = f"the check could not be carried out: {one_line(error)}"
        observer(CheckFinished(name, "fail", failed))
        seconds = time.perf_counter() - start
        return CheckEnded(id=name, seconds=seconds, measured=measured, failed=failed, cost=bench.cost)
    observer(CheckFinished(name, finding.status, finding.message))
    return CheckEnded(id=name, seconds=time.perf_counter() - start, measured=measured, cost=cost)


def _measured(check: Check, bench: SessionBench) -> Content:
    """What it measures, as it will be read from the journal."""
    with bench.watch.about(f"it was checked for {check.id}", part=check.id):
        found: Content = json.loads(json.dumps(check.measure(bench)))
    return found
