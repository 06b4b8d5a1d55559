"""Keeps track of tests: each run directory tells which gates it has tested, on what, and what that spent.

What was tested is the model's file, the data's content, the attacks and the threat model; samples, seed and bounds are
not part of it, as drawing again, or more, is a further test of the same thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from robaudit.audit.config.metrics import parse_metric
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.ownfiles import read_own
from robaudit.audit.result.document import EarlierTests, Result
from robaudit.audit.run.rundir import TESTS
from robaudit.audit.verdict.retests import baseline_of, figure_tested, radii_of
from robaudit.errors import AuditError
from robaudit.files import digest_of, sha256_file, write_atomic

__all__ = ["TESTS", "begin_test", "end_test", "subject_of"]

RUNS = Path(".robaudit")
LARGEST = 2**24
"""Bytes of the tests of one run directory."""
DECIDED = ("pass", "fail", "inconclusive")
"""How a test may end; a gate that could not be judged was not tested."""


def subject_of(request: AuditRequest) -> str:
    """Digest of what an audit tests, whatever samples it draws."""
    ignored = {"gates", "description", "name", "extends", "data", "checks"}
    return digest_of(
        {
            "model": _content(request.model),
            "data": _content(request.data),
            "labels": _content(request.labels),
            "columns": [request.label_column, request.target_column],
            "ranges": _content(request.feature_ranges),
            "reference": request.reference,
            "input": request.input_values,
            "profile": request.profile.model_dump(mode="json", exclude=ignored),
            "surrogates": [_content(path) for path in request.surrogates],
        }
    )


def _content(path: Path | None) -> Any:
    """Of a file its content; of a folder the names and sizes of its files, which a copy keeps."""
    if path is None or not path.exists():
        return None
    if path.is_file():
        return sha256_file(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return [[p.relative_to(path).as_posix(), p.stat().st_size] for p in files]


def begin_test(folder: Path, run_id: str, subject: str) -> tuple[EarlierTests, ...]:
    """The tests that were there before an audit: those known when it was begun first, however often it is taken up.

    Args:
        folder: its run directory; those beside it and in ``.robaudit`` are looked at.
        run_id: of the audit.
        subject: what it tests.
    """
    mine = {entry["run"]: entry for entry in _entries(folder / TESTS)}
    if (known := mine.get(run_id)) is not None and known["of"] == subject:
        kept: tuple[EarlierTests, ...] = known["before"]
        return kept
    others = {
        entry["run"]: entry
        for path in sorted({*folder.absolute().parent.glob(f"*/{TESTS}"), *RUNS.absolute().glob(f"*/{TESTS}")})
        for entry in _entries(path)
        if entry["of"] == subject and entry["run"] != run_id
    }
    found: dict[str, list[tuple[float, float]]] = {}
    for entry in others.values():
        for figure, test in entry["gates"].items():
            found.setdefault(figure, []).append(test)
    before = tuple(
        EarlierTests(
            figure=figure,
            tests=len(tests),
            error=sum(spent for spent, _ in tests),
            allowed=max(allowed for _, allowed in tests),
        )
        for figure, tests in sorted(found.items())
    )
    mine[run_id] = {"run": run_id, "of": subject, "before": before, "gates": {}}
    _write(folder / TESTS, mine)
    return before


def end_test(folder: Path, run_id: str, result: Result) -> None:
    """Keep what an audit has tested; of several bounds on one figure the likelier error counts."""
    mine = {entry["run"]: entry for entry in _entries(folder / TESTS)}
    entry = mine.get(run_id)
    if entry is None:
        return
    for gate in result.gates:
        metric = parse_metric(gate.metric)
        if gate.status not in DECIDED or metric.family.interval == "none":
            continue
        figure = figure_tested(gate.metric, radii_of(result), baseline_of(result))
        allowed = 1 - gate.confidence
        last = entry["gates"].get(figure, (0.0, 0.0))
        spent = allowed if gate.spent is None else gate.spent
        entry["gates"][figure] = max(spent, last[0]), max(allowed, last[1])
    _write(folder / TESTS, mine)


def _write(path: Path, entries: dict[str, dict[str, Any]]) -> None:
    content = [
        {**entry, "before": [tests.model_dump(mode="json") for tests in entry["before"]]} for entry in entries.values()
    ]
    try:
        write_atomic(path, json.dumps(content, indent=1) + "\n")
    except AuditError:
        return  # the result cannot be written there either, which is said


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """The audits that a file tells of; one that is damaged tells of none."""
    try:
        content = json.loads(read_own(path, LARGEST))
        for entry in content:
            yield {
                "run": str(entry["run"]),
                "of": str(entry["of"]),
                "before": tuple(EarlierTests.model_validate(tests) for tests in entry["before"]),
                "gates": {str(figure): (float(pair[0]), float(pair[1])) for figure, pair in entry["gates"].items()},
            }
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ValidationError, RecursionError):
        return
