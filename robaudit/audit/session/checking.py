"""The checks of the audit itself, run one after another and journaled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from robaudit.audit.journal.events import CheckFinished, Observer, Phase
from robaudit.audit.journal.journal import Journal, Record
from robaudit.audit.outcome.budget import ALWAYS
from robaudit.audit.session.bench import SessionBench
from robaudit.audit.session.cascade import one_line
from robaudit.checks.base import Check
from robaudit.checks.registry import check_classes
from robaudit.errors import AuditInterrupted, ChangedFileError

__all__ = ["run_checks"]


def run_checks(
    names: Iterable[str],
    bench: SessionBench,
    journal: Journal,
    observer: Observer,
    told_to_stop: Callable[[], bool],
    stop: Callable[[], bool],
) -> None:
    """Measure what was not measured yet; a check that cannot be carried out has failed.

    Args:
        names: the checks, in order.
        bench: what they measure on.
        journal: with what earlier sessions measured; gets a record of each check.
        observer: told of progress.
        told_to_stop: whether the user ended the audit; no check begins then.
        stop: whether nothing new may begin; where the time is over, the checks in ``ALWAYS`` run all the same.
    """
    observer(Phase("checks"))
    for name in names:
        if told_to_stop():
            return
        if name not in ALWAYS and stop():
            continue
        check = check_classes()[name]()
        start = time.perf_counter()
        known = journal.last("check", id=name) or {}
        if known.get("unanswered"):  # the model hung or crashed in it
            observer(CheckFinished(name, "fail", known["failed"]))
            continue
        record: Record = {"kind": "check", "id": name}
        try:
            kept = known.get("measured") if check.ignores_attacks else None
            # as it will be read from the journal
            record["measured"] = json.loads(json.dumps(_measured(check, bench))) if kept is None else kept
            finding = check.verdict(record["measured"])
            observer(CheckFinished(name, finding.status, finding.message))
        except AuditInterrupted:
            continue
        except ChangedFileError:
            raise
        except Exception as error:  # it costs that check alone
            record["failed"] = f"the check could not be carried out: {one_line(error)}"
            observer(CheckFinished(name, "fail", record["failed"]))
        record["seconds"] = time.perf_counter() - start
        journal.append(record)


def _measured(check: Check, bench: SessionBench) -> Any:
    with bench.watch.about(f"it was checked for {check.id}", part=check.id):
        return check.measure(bench)
