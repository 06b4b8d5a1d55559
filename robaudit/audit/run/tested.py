"""Keeps track of tests: each run directory tells which gates it has tested, on what, and what that spent.

What was tested is the model's file, the data's content, the attacks and the threat model; samples, seed and bounds are
not part of it, as drawing again, or more, is a further test of the same thing.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from robaudit.audit.config.metrics import parse_metric
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.keys import run_key
from robaudit.audit.journal.records.findings import PriorTests
from robaudit.audit.journal.records.session import Remark
from robaudit.audit.ownfiles import read_own
from robaudit.audit.result.document import EarlierTests, Result
from robaudit.audit.run.rundir import TESTS
from robaudit.audit.verdict.retests import baseline_of, figure_tested, radii_of
from robaudit.defenses.registry import named_files, parse_chain, words_of_chain
from robaudit.detectors import registry as detectors
from robaudit.errors import AuditError
from robaudit.files import digest_of, sha256_file, write_atomic

__all__ = ["TESTS", "Begun", "begin_test", "end_test", "keep_test", "subject_of"]

RUNS = Path(".robaudit")
LARGEST = 2**24
"""Bytes of the tests of one run directory."""
SEALED = ("run", "of", "before", "gates")
"""Fields of an entry that its seal is of."""
DAMAGE = (OSError, ValueError, TypeError, LookupError, AttributeError, ValidationError, RecursionError, OverflowError)
CHANGED = "was changed since it was written, or was written by another user or on another machine"
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
            "columns": [request.settings.label_column, request.settings.target_column],
            "ranges": _content(request.feature_ranges),
            "reference": request.reference,
            "input": request.input_values,
            "profile": request.profile.model_dump(mode="json", exclude=ignored),
            "surrogates": [_content(path) for path in request.surrogates],
        }
        | ({} if request.settings.defense is None else _defended(request.settings.defense))
        | ({} if request.settings.detector is None else _guarded(request.settings.detector))
    )


def _defended(defense: str) -> dict[str, Any]:
    chain = parse_chain(defense)
    files = [_content(path) for path in named_files(chain)]
    return {"defense": words_of_chain(chain, files=False)} | ({"files of defenses": files} if files else {})


def _guarded(detector: str) -> dict[str, Any]:
    files = [_content(path) for path in detectors.named_files(detector)]
    words = detectors.words_of_detector(detectors.parse_detector(detector), files=False)
    return {"detector": words} | ({"files of the detector": files} if files else {})


def _content(path: Path | None) -> Any:
    """Of a file its content; of a folder the names and sizes of its files, which a copy keeps."""
    if path is None or not path.exists():
        return None
    if path.is_file():
        return sha256_file(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return [[p.relative_to(path).as_posix(), p.stat().st_size] for p in files]


@dataclass(frozen=True)
class Begun:
    """A test that begins.

    Args:
        of: digest of what it tests.
        before: the tests that were there before it.
        told: what was not as robaudit wrote it, in sentences.
    """

    of: str
    before: tuple[EarlierTests, ...] = ()
    told: tuple[str, ...] = ()


def begin_test(folder: Path, run_id: str, subject: str, journal: Journal, *, foreign: bool = False) -> Begun:
    """The tests that were there before an audit: those known when it was begun first, however often it is taken up.

    Args:
        folder: its run directory; those beside it and in ``.robaudit`` are looked at.
        run_id: of the audit.
        subject: what it tests.
        journal: of the audit, which is believed before any other file.
        foreign: the whole directory was written with another key, and that is said.
    """
    path = folder / TESTS
    entries, damage = _entries(path)
    mine = {entry["run"]: entry for entry in entries}
    kept, known = journal.last(PriorTests, of=subject), mine.get(run_id)
    told = [] if damage is None else [damage]
    if known is not None and not known["sealed"]:
        told += [] if foreign else [f"{path} {CHANGED}"]
        known = None
    if kept is not None:
        before = kept.before
        told = [f"{words}: it is made again from the journal" for words in told]
        gone = known is None and not told
        told += [f"{path} is not there any more: it is made again from the journal"] if gone else []
    elif known is not None and known["of"] == subject:
        return Begun(subject, known["before"], tuple(told))
    else:
        before, others = _others(path, run_id, subject)
        told = [f"{words}: earlier tests are counted again" for words in told] + others
    gates = known["gates"] if known is not None and known["of"] == subject else {}
    begun = Begun(subject, before, tuple(told))
    _write(path, mine, run_id, begun, gates)
    return begun


def _others(mine: Path, run_id: str, subject: str) -> tuple[tuple[EarlierTests, ...], list[str]]:
    """What the run directories around this one tell of tests of the same subject, and what to say of them.

    An entry that is not trusted counts all the same: it can make a gate stricter alone.
    """
    others: dict[str, dict[str, Any]] = {}
    told = []
    for path in sorted({*mine.absolute().parent.parent.glob(f"*/{TESTS}"), *RUNS.absolute().glob(f"*/{TESTS}")}):
        entries, damage = _entries(path)
        entries = [entry for entry in entries if entry["run"] != run_id]
        if not all(entry["sealed"] for entry in entries):
            told.append(f"{path} {CHANGED}: the tests that it tells of count as they stand, and it may not tell of all")
        elif damage is not None and path != mine.absolute():
            told.append(f"{damage}: the tests that it recorded are not counted")
        others |= {entry["run"]: entry for entry in entries if entry["of"] == subject}
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
    return before, told


def keep_test(begun: Begun, journal: Journal) -> None:
    """Note in a journal that is begun what was there before."""
    if journal.records and journal.last(PriorTests, of=begun.of) is None:
        for sentence in begun.told:
            journal.append(Remark(message=sentence))
        journal.append(PriorTests(of=begun.of, before=begun.before))


def end_test(folder: Path, run_id: str, begun: Begun, result: Result) -> None:
    """Keep what an audit has tested; of several bounds on one figure the likelier error counts."""
    mine = {entry["run"]: entry for entry in _entries(folder / TESTS)[0]}
    known = mine.get(run_id)
    gates = dict(known["gates"]) if known is not None and known["sealed"] and known["of"] == begun.of else {}
    for gate in result.gates:
        metric = parse_metric(gate.metric)
        if gate.status not in DECIDED or metric.family.interval == "none":
            continue
        figure = figure_tested(gate.metric, radii_of(result), baseline_of(result))
        allowed = 1 - gate.confidence
        last = gates.get(figure, (0.0, 0.0))
        spent = allowed if gate.spent is None else gate.spent
        gates[figure] = max(spent, last[0]), max(allowed, last[1])
    _write(folder / TESTS, mine, run_id, begun, gates)


def _write(
    path: Path, entries: Mapping[str, Mapping[str, Any]], run_id: str, begun: Begun, gates: Mapping[str, Any]
) -> None:
    """Write the entry of an audit, and those of others in this directory as they were."""
    before = [tests.model_dump(mode="json") for tests in begun.before]
    mine = {"run": run_id, "of": begun.of, "before": before, "gates": gates}
    content = [entry["content"] for run, entry in entries.items() if run != run_id]
    try:
        write_atomic(path, json.dumps([*content, {**mine, "seal": _seal(mine)}], indent=1) + "\n")
    except AuditError:
        return  # the result cannot be written there either, which is said


def _seal(entry: Mapping[str, Any]) -> str:
    """Of an entry, with the key of its run."""
    content = json.dumps({name: entry[name] for name in SEALED}, sort_keys=True)
    return hmac.digest(run_key(entry["run"], make=False).key, b"tests " + content.encode(), "sha256").hex()


def _entries(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    """The audits that a file tells of, ``sealed`` where this user's robaudit wrote that; and what is wrong with it."""
    if not os.path.lexists(path):
        return [], None
    found = []
    try:
        for entry in json.loads(read_own(path, LARGEST)):
            seal = entry.get("seal", "")
            found.append(
                {
                    "run": str(entry["run"]),
                    "of": str(entry["of"]),
                    "before": tuple(map(_earlier, entry["before"])),
                    "gates": {str(figure): _spent(*pair) for figure, pair in entry["gates"].items()},
                    "sealed": isinstance(seal, str) and seal.isascii() and hmac.compare_digest(seal, _seal(entry)),
                    "content": entry,
                }
            )
    except DAMAGE:
        return [], f"{path} is damaged"
    return found, None


def _earlier(content: Any) -> EarlierTests:
    tests = EarlierTests.model_validate(content)
    if tests.tests < 1 or tests.error < 0 or not 0 <= tests.allowed <= 1:
        raise ValueError("no number of tests, or no error")
    return tests


def _spent(spent: float, allowed: float) -> tuple[float, float]:
    """What a test spent of the error that it was allowed."""
    spent, allowed = float(spent), float(allowed)
    if not (0 <= spent <= 1 and 0 <= allowed <= 1):
        raise ValueError("no error")
    return spent, allowed
