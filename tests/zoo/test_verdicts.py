"""What the zoo makes of an audit; the audit itself is not run here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import robaudit

from .audit import audited, planned
from .registry import NETS
from .verdicts import exposed, named, ours, reached, table

SOUND = {"clean": ["pass", "as declared"]}
CUT = [["Greater (/0/Greater)"]]
FAILED = {"zero-gradient": ["fail", "no gradient at 90 % of the samples"]}


def record(
    name: str, observed: int, *, status: str = "measured", checks: Any = SOUND, seed: int = 0, hidden: Any = ()
) -> dict[str, Any]:
    eps = NETS[name].eps
    facts = {"name": name, "seed": seed, "eps": eps, "clean": 0.9, "fgsm": 0.5, "pgd20": 0.25, "status": status}
    robust = [observed, 100] if status == "measured" else None
    facts |= {"robust": robust, "observed": [observed, 100], "hidden": hidden}
    return facts | {"checks": checks, "reasons": [], "headline": ""}


@pytest.mark.parametrize(
    ("found", "twin", "expected"),
    [
        (record("k-wta", 3), record("undefended", 0), True),
        (record("k-wta", 4), record("undefended", 0), False),
        (record("k-wta", 60, status="withheld", checks=FAILED), record("undefended", 0), True),
        (record("k-wta", 60, status="withheld"), record("undefended", 0), False),
        (record("k-wta", 2, status="incomplete"), record("undefended", 0), True),
        (record("k-wta", 60, status="incomplete"), record("undefended", 0), False),
        (record("k-wta", 0), None, False),
    ],
)
def test_a_masked_net_is_exposed_by_its_twin_or_a_failing_check(
    found: dict[str, Any], twin: dict[str, Any] | None, expected: bool
) -> None:
    assert exposed(found, twin) is expected
    assert reached(NETS["k-wta"], found, twin) is expected


def test_other_nets_must_keep_their_headline() -> None:
    assert reached(NETS["pgd-at"], record("pgd-at", 60), None)
    assert not reached(NETS["pgd-at"], record("pgd-at", 60, status="withheld", checks=FAILED), None)


def test_an_operator_is_named_where_the_audit_finds_the_gradient_hidden_there() -> None:
    assert named(NETS["thermometer"], record("thermometer", 0, hidden=CUT)) is True
    assert named(NETS["thermometer"], record("thermometer", 0)) is False
    assert named(NETS["k-nn"], record("k-nn", 0, hidden=CUT)) is False
    assert named(NETS["fgsm-at"], record("fgsm-at", 0, hidden=CUT)) is None


def test_the_table_has_a_row_a_net_with_its_seeds_in_turn() -> None:
    assert ours(record("k-wta", 60, status="withheld", checks=FAILED)) == "withheld: zero-gradient (observed 60 %)"
    rows = [record("undefended", seed, seed=seed) for seed in (0, 1)]
    rows += [record("thermometer", 1, seed=0, hidden=CUT), record("thermometer", 50, seed=1)]
    text = table(rows)
    line = next(line for line in text.splitlines() if line.startswith("| thermometer encoding"))
    assert "| 1 % / 50 % |" in line
    assert line.endswith("| yes / NO | yes / NO |")
    assert "Reached: 3 of 4." in text
    assert "hiding operator is named: 1 of 2." in text


def test_twins_are_audited_at_the_radius_of_those_that_they_are_compared_with() -> None:
    asked = [(entry.name, eps) for entry, eps, _ in planned([NETS["fgsm-at"], NETS["k-wta"], NETS["pgd-at"]], [0])]
    large = NETS["fgsm-at"].eps
    assert asked == [("undefended", large), ("fgsm-at", large), ("undefended", 0.1), ("k-wta", 0.1), ("pgd-at", 0.1)]


def test_an_audit_is_kept_and_one_that_broke_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "net-0.onnx"
    model.write_bytes(b"a model")
    tries = []

    def fails(error: type[Exception]) -> None:
        def audit(*_: Any, **__: Any) -> None:
            tries.append(error)
            raise error("it did not work")

        monkeypatch.setattr(robaudit, "audit", audit)

    def run(samples: int = 5) -> dict[str, Any]:
        return audited(model, tmp_path, profile="quick", eps=0.1, samples=samples)

    fails(robaudit.AuditError)
    assert run()["status"] == run()["status"] == "refused"
    assert len(tries) == 2
    fails(robaudit.UsageError)
    assert run() == run()
    assert len(tries) == 3
    run(samples=6)
    model.write_bytes(b"another")
    run()
    assert len(tries) == 5
    fails(robaudit.AuditInterrupted)
    with pytest.raises(robaudit.AuditInterrupted):
        run(samples=7)
