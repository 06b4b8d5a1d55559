"""What a journal says, in the terms of a result: mostly of audits that did not end well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from journal_kit import clean, ended, plan
from results import make_attack, make_result
from run_kit import make_data, make_onnx, make_profile, make_request, run_here

from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import AttackPlan, Status
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.records.units import finished_unit
from robaudit.audit.journal.tally import Tally
from robaudit.audit.outcome.build import Sessions, build_result
from robaudit.audit.plan.checks import validate_checks
from robaudit.audit.verdict.limitations import limitations
from robaudit.engine.units import Unit, UnitResult
from robaudit.errors import UsageError


def planned(*names: str, **status: Status) -> AttackPlan:
    return AttackPlan(attacks=tuple(plan(name, status=status.get(name, "ready")).attacks[0] for name in names))


def tally(*units: tuple[str, int, int, bool], plan: AttackPlan | None = None, done: tuple[str, ...] = ()) -> Tally:
    """Of five samples, the last one wrong, and units (attack, sample, restart, success)."""
    journal = Journal(None)
    for index in range(5):
        journal.append(clean(index, prediction=int(index == 4)))
    journal.append(plan or planned("a", "b"))
    for attack, sample, restart, success in units:
        result = UnitResult(Unit(restart, 0, sample), success, queries=10)
        journal.append(finished_unit(attack, result))
    for attack in done:
        journal.append(ended(attack))
    return Tally(journal, journal.keyed(CleanSample, "index"))


def test_attacks_that_never_began_are_not_run() -> None:
    found = tally(("a", 0, 0, True), plan=planned("a", "b", "c", c="skipped"))
    assert [(a.key, a.status) for a in found.attacks] == [("a", "partial"), ("b", "not run"), ("c", "skipped")]
    assert (found.whole, found.standing, found.broken_by) == (4, 3, {0: "a"})


def test_no_plan_no_attacks() -> None:
    found = tally(plan=AttackPlan(attacks=()))
    assert found.attacks == []
    assert (found.whole, found.standing) == (4, 4)


def test_a_later_attack_counts_on_what_earlier_ones_left() -> None:
    found = tally(("b", 0, 0, True), ("b", 1, 0, False), ("a", 0, 0, True), done=("a", "b"))
    assert found.broken_by == {0: "a"}
    assert list(found.best["b"]) == [1]  # sample 0 fell to an attack before it, on its second try
    assert (found.whole, found.standing) == (4, 3)


def test_released_units_are_not_billed() -> None:
    found = tally(("a", 0, 1, True), ("a", 0, 0, False), ("a", 0, 2, False))
    assert found.best["a"][0].queries == 20
    assert found.best["a"][0].unit.restart == 1


def test_a_sample_answered_wrongly_is_never_standing() -> None:
    assert tally().correct == [0, 1, 2, 3]


def test_a_stop_before_the_first_attack_reports_the_plan(tmp_path: Path) -> None:
    request = make_request(
        make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz"), make_profile(tmp_path / "p.yaml")
    )
    result = run_here(request, tmp_path / "run", stop=lambda: True)
    assert {a.status for a in result.attacks} == {"not run"}
    assert {c.status for c in result.checks} == {"skipped"}
    assert result.verdict.exit_code == 130
    assert all(s.error == "the audit ended before it" for s in result.samples[1:])


def test_a_clock_that_was_put_back_makes_no_audit_end_before_it_began(tmp_path: Path) -> None:
    request = make_request(
        make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz"), make_profile(tmp_path / "p.yaml")
    )
    run_here(request, tmp_path / "run", stop=lambda: True)
    journal = Journal(tmp_path / "run")
    journal.load()
    started = datetime.now(UTC) + timedelta(days=400)
    result = build_result(request, journal, Sessions("x", started, 1.0, interrupted=True))
    assert result.run.finished >= result.run.started


def test_every_limitation_is_named(tmp_path: Path) -> None:
    request = make_request(
        make_onnx(tmp_path / "m.onnx"),
        make_data(tmp_path / "d.npz"),
        make_profile(tmp_path / "p.yaml", "\n  - {id: fgsm}\n"),
        reference="model",
    )
    result = run_here(request, tmp_path / "run")
    text = " ".join(result.limitations)
    for words in ("upper bound", "L2, L1, L0", "transfer, scores, labels", "stability mode"):
        assert words in text
    assert result.worst_case.metric == "stability"
    assert result.clean.accuracy is None
    assert all(s.label == s.clean_prediction for s in result.samples)


def test_an_attack_that_was_cut_short_ran_with_its_access() -> None:
    def words(status: str) -> str:
        return " ".join(limitations(make_result(attacks=(make_attack("square", "scores", status=status),))))

    assert "with this access: white-box, transfer, labels" in words("partial")
    assert "with this access: white-box, transfer, scores, labels" in words("not run")


def test_an_image_that_cannot_be_read_costs_itself(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    x = np.load(make_data(tmp_path / "d.npz"))["x"]
    for i in range(8):
        (tmp_path / f"data/{i % 4}").mkdir(parents=True, exist_ok=True)
        Image.fromarray((x[i, 0] * 255).astype(np.uint8)).save(tmp_path / f"data/{i % 4}/{i}.png")
    whole = (tmp_path / "data/2/6.png").read_bytes()
    (tmp_path / "data/2/6.png").write_bytes(whole[: len(whole) // 2])
    request = make_request(
        make_onnx(tmp_path / "m.onnx"), tmp_path / "data", make_profile(tmp_path / "p.yaml", "\n  - {id: fgsm}\n")
    )
    result = run_here(request, tmp_path / "run")
    assert len(result.samples) == 8
    (lost,) = [s for s in result.samples if s.error]
    assert lost.id.endswith("2/6.png")
    assert [(e.where, e.sample) for e in result.errors] == [("data", lost.id)]
    assert result.clean.accuracy is not None
    assert result.clean.accuracy.n == 8
    assert result.attacks[0].status == "done"


def test_a_setting_that_no_check_has_is_refused(tmp_path: Path) -> None:
    profile = make_profile(tmp_path / "p.yaml", checks="[{id: clean, least: 0.5}]")
    with pytest.raises(UsageError, match="'clean' has no setting 'least'"):
        validate_checks(load_profile(str(profile)))
