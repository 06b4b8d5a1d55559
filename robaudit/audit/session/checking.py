"""The checks of the audit itself, run one after another and journaled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from robaudit.audit.journal.events import CheckFinished, Observer, Phase
from robaudit.audit.journal.journal import Journal, Record
from robaudit.audit.session.bench import SessionBench
from robaudit.audit.session.cascade import one_line
from robaudit.checks.base import Check
from robaudit.checks.registry import make_check
from robaudit.errors import AuditInterrupted, FinalError

__all__ = ["run_checks"]

EVALUATIONS = ("forwards", "backwards", "queries", "judged")


def run_checks(
    checks: Mapping[str, Mapping[str, Any]],
    bench_of: Callable[[str], SessionBench],
    journal: Journal,
    observer: Observer,
    told_to_stop: Callable[[], bool],
    stop: Callable[[], bool],
) -> None:
    """Measure what was not measured yet; a check that cannot be carried out has failed.

    Args:
        checks: the checks in order, each with its settings.
        bench_of: what a check measures on.
        journal: with what earlier sessions measured; gets a record of each check.
        observer: notified of progress.
        told_to_stop: whether the user ended the audit; no check begins then.
        stop: whether nothing new may begin; where the time is over, checks that say so run all the same.
    """
    observer(Phase("checks"))
    for name, settings in checks.items():
        if told_to_stop():
            return
        check = make_check(name, settings)
        if not check.facts.after_time and stop():
            continue
        start = time.perf_counter()
        known = journal.last("check", id=name) or {}
        if known.get("unanswered"):  # the model hung or crashed in it
            observer(CheckFinished(name, "fail", known["failed"]))
            continue
        record: Record = {"kind": "check", "id": name}
        bench = bench_of(name)
        try:
            if check.facts.ignores_attacks and "measured" in known:
                record |= {field: known.get(field, 0) for field in ("measured", *EVALUATIONS)}
            else:
                # as it will be read from the journal
                record["measured"] = json.loads(json.dumps(_measured(check, bench)))
                record |= bench.cost
            finding = check.verdict(record["measured"])
            observer(CheckFinished(name, finding.status, finding.message))
        except AuditInterrupted:
            continue
        except FinalError:
            raise
        except Exception as error:  # it costs that check alone
            record |= bench.cost
            record["failed"] = f"the check could not be carried out: {one_line(error)}"
            observer(CheckFinished(name, "fail", record["failed"]))
        record["seconds"] = time.perf_counter() - start
        journal.append(record)


def _measured(check: Check, bench: SessionBench) -> Any:
    with bench.watch.about(f"it was checked for {check.id}", part=check.id):
        return check.measure(bench)
