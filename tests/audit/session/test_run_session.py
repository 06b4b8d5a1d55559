"""Sessions in this process: what they reuse, what a failure costs, and that the outcome is no accident of batching."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_kit import (
    ALL,
    SHAPE,
    make_data,
    make_onnx,
    make_profile,
    make_request,
    make_script,
    outcome,
    records,
    run_here,
    with_settings,
)

from robaudit.attacks.registry import attack_classes
from robaudit.attacks.requests import Gradient
from robaudit.attacks.whitebox.pgd import PGD
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.events import Event, UnitsFinished
from robaudit.audit.journal.journal import Journal
from robaudit.audit.run.identity import identity_of
from robaudit.checks.base import Bench, Check, Finding, Measured
from robaudit.checks.facts import CheckFacts
from robaudit.checks.registry import check_classes

MINIMAL = """
  - {id: fgsm}
  - {id: square, queries: 40}
"""
COHORTS = "\n  - {id: daa, steps: 4, step_size: 0.3, cohort: 6, restarts: 2}\n"
EVERYTHING = COHORTS + ALL.lstrip("\n") + "  - {id: hopskipjump, queries: 150}\n"
L2 = """
  - {id: apgd-ce, steps: 8, restarts: 2}
  - {id: hopskipjump, queries: 300}
"""


class Stopper:
    """Asks for a stop after so many journaled units."""

    def __init__(self, folder: Path, units: int) -> None:
        self.folder, self.units = folder, units

    def __call__(self) -> bool:
        return len(records(self.folder, "unit")) >= self.units


@pytest.fixture
def audit(tmp_path: Path) -> AuditRequest:
    return make_request(
        make_onnx(tmp_path / "m.onnx"),
        make_data(tmp_path / "d.npz"),
        make_profile(tmp_path / "p.yaml", MINIMAL, eps=0.02),
    )


def by_content(result: Any, data: Path) -> dict[bytes, tuple[Any, ...]]:
    x = np.load(data)["x"]
    return {
        x[s.index].tobytes(): (
            s.label,
            s.broken_by,
            s.adversarial_prediction,
            None if s.distance is None else round(s.distance, 5),
            s.queries,
        )
        for s in result.samples
    }


@pytest.mark.parametrize(("attacks", "norm", "eps"), [(EVERYTHING, "linf", 0.03), (L2, "l2", 0.2)])
def test_equal_at_any_batch_size_and_order(tmp_path: Path, attacks: str, norm: str, eps: float) -> None:
    model = make_script(tmp_path / "m.pt")
    profile = make_profile(tmp_path / "p.yaml", attacks, eps=eps, norm=norm)
    plain = make_data(tmp_path / "d.npz", 40)
    order = np.random.default_rng(3).permutation(40).tolist()
    shuffled = make_data(tmp_path / "shuffled.npz", 40, order=order)
    base = run_here(make_request(model, plain, profile, batch_size=64), tmp_path / "a")
    assert 0 < len([s for s in base.samples if s.broken_by]) < 38
    assert {a.status for a in base.attacks} <= {"done", "skipped"}
    for name, data, batch in (("b", plain, 1), ("c", plain, 7), ("d", shuffled, 7)):
        found = run_here(make_request(model, data, profile, batch_size=batch), tmp_path / name)
        assert by_content(found, data) == by_content(base, plain)
        for mine, other in zip(found.attacks, base.attacks, strict=True):
            for field in ("attempted", "broken", "queries", "forwards", "backwards", "judge_queries"):
                assert getattr(mine, field) == getattr(other, field), (name, mine.id, field)


@pytest.mark.parametrize("units", [1, 9, 30, 45])
def test_a_resumed_session_computes_nothing_twice_and_ends_the_same(tmp_path: Path, units: int) -> None:
    request = make_request(
        make_script(tmp_path / "m.pt"),
        make_data(tmp_path / "d.npz"),
        make_profile(
            tmp_path / "p.yaml", eps=0.01, checks="[clean, zero-gradient, unbounded, black-over-white, evidence]"
        ),
        batch_size=4,
    )
    whole = run_here(request, tmp_path / "whole")
    part = run_here(request, tmp_path / "part", stop=Stopper(tmp_path / "part", units))
    assert part.verdict.exit_code == 130
    assert not part.run.complete
    assert {a.status for a in part.attacks} >= {"not run"} or part.attacks[-1].status == "partial"
    assert [a.id for a in part.attacks] == [a.id for a in whole.attacks]
    resumed = run_here(request, tmp_path / "part")
    assert outcome(resumed) == outcome(whole)
    assert resumed.run.resumed
    keys = [(r["attack"], r["sample"], r["restart"], r["aim"]) for r in records(tmp_path / "part", "unit")]
    assert len(keys) == len(set(keys))
    assert len(records(tmp_path / "part", "clean")) == 16


@pytest.mark.parametrize("units", [1, 7])
def test_cohorts_resume_to_the_same_end(tmp_path: Path, units: int) -> None:
    request = make_request(
        make_script(tmp_path / "m.pt"),
        make_data(tmp_path / "d.npz"),
        make_profile(tmp_path / "p.yaml", COHORTS, eps=0.01),
        batch_size=4,
    )
    whole = run_here(request, tmp_path / "whole")
    part = run_here(request, tmp_path / "part", stop=Stopper(tmp_path / "part", units))
    assert not part.run.complete
    resumed = run_here(request, tmp_path / "part")
    assert outcome(resumed) == outcome(whole)
    keys = [(r["attack"], r["sample"], r["restart"], r["aim"]) for r in records(tmp_path / "part", "unit")]
    assert len(keys) == len(set(keys))


def test_points_are_kept_of_successes_alone(tmp_path: Path) -> None:
    request = make_request(
        make_script(tmp_path / "m.pt"),
        make_data(tmp_path / "d.npz"),
        make_profile(tmp_path / "p.yaml", "\n  - {id: hopskipjump, queries: 100}\n", norm="l2", eps=0.15),
    )
    result = run_here(request, tmp_path / "run")
    units = records(tmp_path / "run", "unit")
    assert any(u["distance"] is not None and not u["success"] for u in units)
    assert all((u["point"] is not None) == u["success"] for u in units)
    assert result.attacks[0].median_distance is not None


def test_evidence_of_equal_content_has_equal_bytes(tmp_path: Path, audit: AuditRequest) -> None:
    first, second = (run_here(audit, tmp_path / name) for name in "ab")
    assert first.evidence.count > 0
    assert first.evidence == second.evidence
    archive = np.load(tmp_path / "a/evidence.npz")
    assert archive["adversarial"].shape == (first.evidence.count, *SHAPE)
    assert archive["index"].tolist() == [s.index for s in first.samples if s.broken_by]
    assert archive["attack"].tolist() == [s.broken_by for s in first.samples if s.broken_by]
    data = np.load(tmp_path / "d.npz")
    np.testing.assert_array_equal(archive["original"], data["x"][archive["index"]])
    np.testing.assert_array_equal(archive["label"], data["y"][archive["index"]])


def test_a_nan_costs_its_sample_alone(tmp_path: Path) -> None:
    x = np.load(make_data(tmp_path / "d.npz"))["x"]
    lowest = int(x[:, 0, 0, 0].argmin())
    model = make_onnx(tmp_path / "m.onnx", extra="nan", bound=float(x[lowest].flat[0]) + 1e-4)
    profile = make_profile(tmp_path / "p.yaml", MINIMAL, eps=0.0001)
    result = run_here(make_request(model, tmp_path / "d.npz", profile), tmp_path / "run")
    assert [s.index for s in result.samples if s.error] == [lowest]
    assert result.samples[lowest].clean_prediction is None
    assert [(e.where, e.sample) for e in result.errors] == [("data", result.samples[lowest].id)]
    assert [a.status for a in result.attacks] == ["done", "done"]
    assert result.worst_case.upper_bound_observed.n == 16
    assert result.clean.accuracy.n == 16
    assert any("1 of 16 samples drawn has no answer" in text for text in result.limitations)


@pytest.mark.parametrize("labels", [True, False])
def test_an_input_and_an_output_that_are_no_number_count_alike(tmp_path: Path, labels: bool) -> None:
    data = np.load(make_data(tmp_path / "d.npz"))
    x, y = data["x"], data["y"]
    place = int(x[:, 0, 0, 0].argmin())
    bound = float(x[place].flat[0]) + 1e-4
    profile = make_profile(tmp_path / "p.yaml", MINIMAL, eps=0.0001)
    bad = x.copy()
    bad[place, 0, 2, 2] = np.nan
    more = {"y": y} if labels else {}
    np.savez(tmp_path / "good.npz", x=x, **more)
    np.savez(tmp_path / "bad.npz", x=bad, **more)
    found = []
    for name, extra in (("good", "nan"), ("bad", None)):
        model = make_onnx(tmp_path / f"{name}.onnx", extra=extra, bound=bound)
        request = make_request(model, tmp_path / f"{name}.npz", profile, reference="labels" if labels else "model")
        result = run_here(request, tmp_path / f"run-{name}")
        assert [s.index for s in result.samples if s.error] == [place]
        found.append((result.clean.accuracy, result.worst_case.upper_bound_observed, result.limitations))
    assert found[0] == found[1]
    assert found[0][1].n == 16
    assert found[0][1].k == (13 if labels and place > 1 else 14 if labels else 15)


def test_a_model_that_refuses_one_input_costs_that_sample(tmp_path: Path, audit: AuditRequest) -> None:
    from data_kit import open_dataset

    from robaudit.audit.session.samples import Asking, answer_samples
    from robaudit.engine.oracle import Oracle

    class Picky:
        device, dtype, num_classes = torch.device("cpu"), torch.float32, 4

        def answered(self, u: torch.Tensor) -> torch.Tensor:
            if bool((u[:, 0, 0, 0] > limit).any()):
                raise RuntimeError("too bright")
            return torch.eye(4)[torch.zeros(len(u), dtype=torch.int64)]

    x = np.load(tmp_path / "d.npz")["x"]
    limit = float(np.sort(x[:, 0, 0, 0])[-2])
    data = open_dataset(
        tmp_path / "d.npz",
        shape=SHAPE,
        lo=0,
        hi=1,
        crop=1,
        interpolation="nearest",
        num_classes=4,
        class_names=None,
        labels=None,
    )
    found = list(answer_samples(Oracle(Picky()), data, range(16), Asking(False, 5)))
    bad = [record for record, _ in found if record.error]
    assert [record.index for record in bad] == [int(x[:, 0, 0, 0].argmax())]
    assert "too bright" in bad[0].error
    assert [record.index for record, _ in found] == list(range(16))


class Raises(PGD):
    """Fails at its third step."""

    id = "test-raises"

    def update(self, problem: Any, state: Any, answer: Any) -> Any:
        if int(state.step.max()) >= 2:
            raise ZeroDivisionError("of\nits own making")
        return super().update(problem, state, answer)


class Blind(PGD):
    """Sees nothing finite on any sample."""

    id = "test-blind"

    def query(self, problem: Any, state: Any) -> Gradient:
        return Gradient(state.point, loss=lambda logits, label, target_class: logits.sum(1) * float("nan"))


def test_an_attack_that_fails_on_every_sample_is_no_sign_of_robustness(
    tmp_path: Path, audit: AuditRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(attack_classes(), "test-blind", Blind)
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: test-blind}")
    result = run_here(make_request(audit.model, audit.data, profile), tmp_path / "run")
    assert result.attacks[0].status == "failed"
    assert "not finite" in (result.attacks[0].reason or "")
    assert result.worst_case.robust_accuracy is None
    assert result.verdict.exit_code == 3


def test_an_attack_that_raises_costs_itself_alone(
    tmp_path: Path, audit: AuditRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(attack_classes(), "test-raises", Raises)
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: test-raises}" + MINIMAL)
    result = run_here(make_request(audit.model, audit.data, profile), tmp_path / "run")
    assert [a.status for a in result.attacks] == ["failed", "done", "done"]
    assert result.attacks[0].reason == "ZeroDivisionError: of its own making"
    assert [(e.where, e.attack) for e in result.errors] == [("attack", "test-raises")]
    assert [g.status for g in result.gates if g.metric == "coverage"] == ["fail"]
    assert result.verdict.exit_code == 3
    assert result.worst_case.robust_accuracy is None


def test_a_failed_attack_is_tried_again_and_ends_as_if_it_had_not_failed(
    tmp_path: Path, audit: AuditRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(attack_classes(), "test-raises", Raises)
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: test-raises}" + MINIMAL, eps=0.05)
    request = make_request(make_script(tmp_path / "m.pt"), audit.data, profile, batch_size=4)
    run_here(request, tmp_path / "run")
    monkeypatch.setattr(Raises, "update", PGD.update)
    again = run_here(request, tmp_path / "run")
    assert outcome(again) == outcome(run_here(request, tmp_path / "whole"))


class Breaks(Check):
    """Fails to measure."""

    facts = CheckFacts("breaks", title="It breaks.", next_step="mend it")

    def measure(self, bench: Bench) -> Measured:
        raise KeyError("nothing")

    def verdict(self, measured: Measured) -> Finding:
        raise AssertionError


def test_a_check_that_raises_costs_itself_alone(
    tmp_path: Path, audit: AuditRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(check_classes(), "breaks", Breaks)
    profile = audit.profile.model_copy(update={"checks": {"breaks": {}, "clean": {}, "evidence": {}}})
    result = run_here(dataclasses.replace(audit, profile=profile), tmp_path / "run")
    assert [c.status for c in result.checks] == ["fail", "pass", "pass"]
    assert "could not be carried out" in result.checks[0].message
    assert [e.where for e in result.errors] == ["check breaks"]
    assert result.verdict.exit_code == 3


def test_a_full_disk_leaves_everything_in_memory(
    tmp_path: Path, audit: AuditRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_here(audit, tmp_path / "whole")
    original = Journal._write_point
    written = 0

    def full(self: Journal, point: Any) -> Any:
        nonlocal written
        written += 1
        if written > 17:  # the clean answers and one adversarial example
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, point)

    monkeypatch.setattr(Journal, "_write_point", full)
    journal = Journal(tmp_path / "run")
    heard: list[Any] = []
    journal.listener = lambda record, point, failure: heard.append((record.kind, point is not None, failure))
    result = run_here(audit, tmp_path / "run", journal=journal)
    assert journal.failure == "No space left on device"
    assert [s.model_dump() for s in result.samples] == [s.model_dump() for s in whole.samples]
    assert [c.status for c in result.checks] == ["pass", "pass"]
    assert result.evidence.path is None
    assert ("unit", True, "No space left on device") in heard
    monkeypatch.undo()
    assert outcome(run_here(audit, tmp_path / "run")) == outcome(whole)  # and the journal is sound


def test_a_stand_in_gives_white_box_a_gradient(tmp_path: Path) -> None:
    model, plain = make_onnx(tmp_path / "m.onnx", extra="foreign"), make_onnx(tmp_path / "plain.onnx")
    profile = make_profile(tmp_path / "p.yaml", MINIMAL, eps=0.1)
    audit = make_request(model, make_data(tmp_path / "d.npz"), profile)
    result = run_here(with_settings(audit, stand_in=str(plain)), tmp_path / "run")
    fgsm = result.attacks[0]
    assert fgsm.status == "done"
    assert fgsm.broken > 0
    assert result.target.gradient.method == "stand-in"
    assert result.target.gradient.source == "the stand-in plain.onnx"
    assert identity_of(audit).run_id != identity_of(with_settings(audit, stand_in=str(plain))).run_id


def test_an_operator_that_the_importer_lacks_leaves_black_box(tmp_path: Path) -> None:
    model = make_onnx(tmp_path / "m.onnx", extra="foreign")
    profile = make_profile(tmp_path / "p.yaml", MINIMAL, eps=0.1)
    result = run_here(make_request(model, make_data(tmp_path / "d.npz"), profile), tmp_path / "run")
    fgsm, square = result.attacks
    assert fgsm.status == "unavailable"
    assert "Multinomial" in (fgsm.reason or "")
    assert square.status == "done"
    assert square.broken > 0
    assert [g.status for g in result.gates if g.metric == "coverage"] == ["fail"]
    assert result.verdict.exit_code == 3


TRANSFER = "\n  - {id: transfer-mi-fgsm}\n"


def test_a_surrogate_breaks_samples_repeatably(tmp_path: Path, audit: AuditRequest) -> None:
    profile = make_profile(tmp_path / "p.yaml", TRANSFER, eps=0.05)
    surrogate = make_script(tmp_path / "s.pt")
    request = make_request(audit.model, audit.data, profile, surrogates=(surrogate,))
    first = run_here(request, tmp_path / "a")
    assert first.attacks[0].broken > 3
    assert first.attacks[0].queries == first.attacks[0].attempted
    assert outcome(first) == outcome(run_here(request, tmp_path / "b"))


def test_a_surrogate_that_does_not_fit_is_left_out_and_named(tmp_path: Path, audit: AuditRequest) -> None:
    bare = make_onnx(tmp_path / "bare.onnx", extra="foreign")
    profile = make_profile(tmp_path / "p.yaml", TRANSFER)
    request = make_request(audit.model, audit.data, profile, surrogates=(bare,))
    result = run_here(request, tmp_path / "run")
    assert any(error.where == "surrogate" and "bare.onnx" in error.message for error in result.errors)
    assert result.attacks[0].status == "unavailable"
    assert "bare.onnx" in (result.attacks[0].reason or "")
    none = run_here(make_request(audit.model, audit.data, profile), tmp_path / "none")
    assert none.attacks[0].status == "skipped"


def test_a_point_that_was_changed_is_found_again_when_an_audit_goes_on(tmp_path: Path, audit: AuditRequest) -> None:
    folder = tmp_path / "run"
    run_here(audit, folder, stop=Stopper(folder, 18))
    broken = [u for u in records(folder, "unit") if u["success"]]
    assert broken
    blob = bytearray((folder / "points.bin").read_bytes())
    place = broken[0]["point"]
    blob[place["offset"] : place["offset"] + place["bytes"]] = np.full(36, 0.5, np.float32).tobytes()
    (folder / "points.bin").write_bytes(blob)
    result = run_here(audit, folder)
    assert any("is not as it was written" in note["message"] for note in records(folder, "note"))
    whole = run_here(audit, tmp_path / "whole")
    assert result.worst_case == whole.worst_case
    assert [s.broken_by for s in result.samples] == [s.broken_by for s in whole.samples]


def test_progress_counts_what_was_resumed(tmp_path: Path, audit: AuditRequest) -> None:
    run_here(audit, tmp_path / "run", stop=Stopper(tmp_path / "run", 6))
    seen: list[Event] = []
    run_here(audit, tmp_path / "run", observer=seen.append)
    fgsm = [e for e in seen if isinstance(e, UnitsFinished) and e.id == "fgsm"]
    assert fgsm[0].done <= 6
    assert fgsm[-1].done == fgsm[-1].total


def test_the_journal_is_json_a_line(tmp_path: Path, audit: AuditRequest) -> None:
    run_here(audit, tmp_path / "run")
    for line in (tmp_path / "run/journal.jsonl").read_text().splitlines():
        assert "kind" in json.loads(line)
