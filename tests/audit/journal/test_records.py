"""Each kind of record comes back from its line as it was, and no other line is one."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from journal_kit import clean, comes_back, ended, plan, unit

import robaudit.audit
from robaudit.audit.journal.causes import Cause
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import AuxiliaryModel, CertifierEnded, FitRound, SurrogateKnown
from robaudit.audit.journal.records.base import InMemory, Point
from robaudit.audit.journal.records.findings import (
    CheckEnded,
    Evaluations,
    EvidenceKept,
    LookTaken,
    MaskingFound,
    OutcomeAtLook,
    PassedOver,
    PriorTests,
    ResultWritten,
)
from robaudit.audit.journal.records.kinds import AnyRecord, decoded, encoded
from robaudit.audit.journal.records.samples import CertifiedSample, LostSample, Retry
from robaudit.audit.journal.records.session import (
    BatchChosen,
    BudgetSpent,
    ChosenSets,
    DataFacts,
    DetectorSet,
    EnvironmentFacts,
    InputsSent,
    MeaningFound,
    MeaningTried,
    Remark,
    SessionBegun,
    SessionEnded,
    TargetFacts,
)
from robaudit.audit.journal.records.units import CheckUnit, SeenQueries, Sought
from robaudit.audit.result.sections.findings import Evidence
from robaudit.audit.result.sections.gates import EarlierTests
from robaudit.audit.result.sections.masking import HiddenAt
from robaudit.audit.result.sections.run import Environment
from robaudit.audit.result.sections.sequential import LookGate
from robaudit.audit.result.sections.target import Data, Defended, Detecting, Gradient, InputSpec, Target
from robaudit.audit.result.sections.threat import PerturbationSet

POINT = Point(shape=(2, 3), dtype="float32", offset=5, bytes=24, sha256="ab" * 32)
PLAIN = {name: getattr(unit("a", 1), name) for name in ("restart", "aim", "success", "prediction", "distance")}
COSTS = dict.fromkeys(("forwards", "backwards", "queries", "judged", "refused"), 3)
SEEN = SeenQueries(repeated=1, bad=2, watched=3, flagged=2, first_flagged=2, burst=1)
GATE = LookGate(metric="robust_accuracy", min=0.5, k=3, n=4, low=0.1, high=0.9, decision="open")
INPUT = InputSpec(name="x", shape=("N", 3, None), dtype="float32", mean=(0.5,), provenance={"mean": "flag"})
RECORDS: tuple[AnyRecord, ...] = (
    unit("a", 2**41, distance=0.25, point=POINT, sought=Sought(verified=True, radius=0.5)),
    CheckUnit(check="unbounded", job="cd" * 32, attack="pgd", sample=1, error=None, seen=SEEN, **PLAIN, **COSTS),
    clean(1, goals=(2, 3), left_out="so", smallest=4, point=POINT),
    clean(2, label=None, prediction=None, digest=None, error="no class", unlabelled=True),
    LostSample(sample=1, name="a.png", message="it hung", limit=10.0),
    Retry(samples=(1, 2), checks=("parity",)),
    CertifiedSample(id="ibp", sample=1, proved=True, margin=None, seconds=1.5, error=None),
    plan("a", "b", phase="bisection", parameters={"steps": 5, "noise": {"deviation": 0.5}}),
    ended("a", status="partial", cause=Cause.INTERRUPTED),
    SurrogateKnown(
        name="distilled",
        origin="made",
        status="used",
        recipe="distilled",
        parameters={"queries": 500},
        agreed=3,
        compared=4,
        on="held-out",
        trained_on=5,
    ),
    FitRound(
        attack="u", round=1, rounds=2, samples=3, of="x", seconds=1.0, family="patch", arrays={"delta": (3, 4)},
        forwards=1, backwards=2, queries=3, point=POINT,
    ),
    AuxiliaryModel(key="surrogate 0", name="s", problem="it hung", limits=(300.0, None, "auto"), attack="transfer"),
    CertifierEnded(id="ibp", status="skipped", reason="no"),
    CheckEnded(id="c", seconds=1.0, measured={"x": [1, math.inf], "y": {"z": None}}, cost=Evaluations(judged=4)),
    LookTaken(
        number=1, samples=32, share=0.1, indices=(1, 2), passed=PassedOver(repeats=1, told=("a",)), gates=(GATE,),
        attacks={"a": OutcomeAtLook(status="failed", reason="so", cause=Cause.UNTRIED)}, stopped=None,
    ),
    EvidenceKept(section=Evidence(path="evidence.npz", sha256="ab", count=1), artefacts=("u",)),
    MaskingFound(signs=("landscape",), hidden=(HiddenAt(operators=("Clip (c)",), why="lost", before=0.9),), stood=3),
    PriorTests(of="x", before=(EarlierTests(figure="f", tests=1, error=0.05, allowed=0.05),)),
    ResultWritten(sha256="ab"),
    TargetFacts(
        section=Target(
            file="m.onnx", sha256="ab", bytes=3, format="onnx", details={"opset": 17}, input=INPUT, num_classes=4,
            head="logits", gradient=Gradient(available=True, cuts=("Round",)), training=("dropout",),
        ),
        defense=Defended(id="bits", parameters={"depth": 3}, words="bits:depth=3", summary="Rounds"),
    ),
    DetectorSet(
        section=Detecting(
            id="dknn", words="dknn", summary="Counts", false_alarms=0.05, threshold=0.5, fitted_on=3, calibrated_on=19,
            differentiable=True, arrays={"artefact/detector/labels": (3,)},
        ),
        point=POINT,
    ),
    EnvironmentFacts(section=Environment(python="3", platform="p", device="cpu", judge="j", details={"gpu": "g"})),
    DataFacts(
        section=Data(source="d", kind="array", sha256="ab", count=4, drawn=2, reference="labels", notes=("a",)),
        ids=("a", "b"), indices=(0, 2), copies={"2": 1},
    ),
    ChosenSets(sets=(PerturbationSet(id="mask", words="w", free=1, features=2, sha256="ab", content={"a": [1]}),)),
    MeaningFound(
        model="ab", taken="imagenet", changes={"mean": [0.5]}, provenance={"mean": "searched"}, sentence="s", samples=1,
        of=2, evaluations=3, alpha=0.05, candidates=(MeaningTried(name="a", right=1, of=2, status="beaten"),),
    ),
    SessionBegun(started="now"),
    SessionEnded(began="now", seconds=1.0),
    BudgetSpent(seconds=None),
    BatchChosen(size=8),
    InputsSent(to="https://example.com/x", queries=3, requests=2, octets=90, cost=0.5, currency="EUR"),
    Remark(message="größer \u2028 \n 😀"),
)  # fmt: skip


def test_every_kind_comes_back_as_it_was() -> None:
    assert {type(record) for record in RECORDS} == set(get_args(AnyRecord))
    assert len({record.kind for record in RECORDS}) == len(get_args(AnyRecord))
    for record in RECORDS:
        line = encoded(record)
        assert b"\n" not in line
        assert json.loads(line)["kind"] == record.kind
        assert decoded(line) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_field_is_checked_and_none_may_be_more(record: AnyRecord) -> None:
    content = json.loads(encoded(record))
    assert decoded(json.dumps(content | {"more": 1}).encode()) is None
    for name in content:
        assert decoded(json.dumps(content | {name: {"another": [object.__name__]}}).encode()) != record
        rest = {key: value for key, value in content.items() if key != name}
        optional = any(f.name == name and f.default is not dataclasses.MISSING for f in dataclasses.fields(record))
        if not optional or name == "kind":
            assert decoded(json.dumps(rest).encode()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample": "1"},
        {"sample": True},
        {"sample": -1},
        {"success": 0},
        {"distance": "0.1"},
        {"forwards": 1.5},
        {"forwards": None},
        {"attack": ["pgd"]},
        {"error": 3},
        {"point": {"shape": [2], "dtype": "object", "offset": 0, "bytes": 16, "sha256": "0"}},
        {"point": {"shape": [2], "dtype": "float64"}},
        {"sought": {"verified": "yes", "radius": None}},
        {"kind": "units"},
        {"kind": 1},
        {"kind": None},
    ],
    ids=str,
)
def test_a_wrong_type_makes_a_line_no_record(wrong: dict[str, Any]) -> None:
    content = json.loads(encoded(unit("pgd", 1)))
    assert decoded(json.dumps(content).encode()) == unit("pgd", 1)
    assert decoded(json.dumps(content | wrong).encode()) is None


@pytest.mark.parametrize("line", [b"[]", b"null", b"{}", b"", b"\xff", b"[" * 100_000, b'{"kind": "note"'])
def test_what_is_no_record_is_none(line: bytes) -> None:
    assert decoded(line) is None


def test_a_sealed_record_with_a_wrong_type_does_not_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(unit("a", 0))
    journal.append(dataclasses.replace(unit("a", 1), forwards=-1))
    journal.append(unit("a", 2))
    again = Journal(tmp_path)
    assert "line 3 of the journal" in (again.load() or "")
    assert again.records[0] == unit("a", 0)
    assert len(again.records) == 2  # with the note


def test_a_place_in_memory_that_came_to_the_disk_does_not_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(clean(0), np.ones(3))
    journal.append(dataclasses.replace(clean(1), point=InMemory(0)))
    again = Journal(tmp_path)
    assert "line 3 of the journal" in (again.load() or "")
    assert again.records[0] == journal.records[0]


def test_a_name_that_is_no_text_comes_back_readable() -> None:
    name = b"caf\xe9 \xf0\x9f\x98\x80".decode("utf-8", "surrogateescape")
    found = decoded(encoded(LostSample(sample=1, name=name, message="it hung", limit=None)))
    assert isinstance(found, LostSample)
    assert found.name == r"caf\udce9 😀"
    assert found.name == name.encode("utf-8", "backslashreplace").decode()  # as a result has it


def test_no_record_is_a_dictionary_outside_of_the_journal() -> None:
    for path in Path(robaudit.audit.__file__).parent.rglob("*.py"):
        assert '"kind": "' not in path.read_text("utf-8"), path


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECORDS[0].kind = "unit"  # type: ignore[misc]
    assert comes_back(RECORDS)
