"""Baselines on the command line: ``diff`` and ``gate --baseline``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from results import make_result, make_stored

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.result.document import Sample
from robaudit.audit.stored.file import save_result
from robaudit.audit.verdict.conclusion import conclude


def write(path: Path, broken: set[int], gates: tuple[str, ...] = (), **changes: object) -> Path:
    """A result of 100 samples of which some are broken."""
    fell = {"broken_by": "square", "adversarial_prediction": 5, "distance": 0.03}
    samples = [
        Sample(id=f"{i}.png", index=i, label=3, clean_prediction=3, **(fell if i in broken else {})) for i in range(100)
    ]
    draft = make_stored(make_result(samples=samples, **changes))
    save_result(conclude(draft, [GateSpec.model_validate(text) for text in gates]), path)
    return path


@pytest.fixture
def base(tmp_path) -> Path:
    return write(tmp_path / "base.json", set(range(10)))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 0),
        (("--non-inferiority-margin", "0.05"), 1),
        (("--non-inferiority-margin", "0.2"), 4),
        (("--non-inferiority-margin", "0.2", "--on-inconclusive", "warn"), 0),
        (("--non-inferiority-margin", "0.4"), 0),
        (("--gate", "newly_broken<=0"), 1),
    ],
)
def test_diff(robaudit, base, tmp_path, arguments, code) -> None:
    new = write(tmp_path / "new.json", set(range(5, 30)), ("robust_accuracy>=0.99",))
    told = robaudit("diff", base, new, *arguments)
    assert (told.code, told.err) == (code, "")
    assert "-15.0 points" in told.out
    assert "20 newly broken, 5 newly fixed, of 100" in told.out
    assert "29.png: stands before, broken by square now" in told.out
    assert "0.png: broken by square before, stands now" in told.out


def test_diff_in_other_formats(robaudit, base, tmp_path) -> None:
    new = write(tmp_path / "new.json", set(range(5, 30)))
    told = robaudit("diff", base, new, "--format", "json", "-o", tmp_path / "d.json", "-o", tmp_path / "d.txt")
    content = json.loads(told.out)
    assert content == json.loads((tmp_path / "d.json").read_text())
    assert [sample["index"] for sample in content["comparison"]["newly_broken"]] == list(range(10, 30))
    assert "Against the baseline" in (tmp_path / "d.txt").read_text()


def test_no_change_detected(robaudit, base) -> None:
    told = robaudit("diff", base, base)
    assert told.code == 0
    assert "no change of robust accuracy was detected, which does not show that there is none" in told.out
    assert "the same file byte for byte" in told.out


def test_diff_refuses(robaudit, base, tmp_path) -> None:
    other = write(tmp_path / "other.json", set(), data={"sha256": "99" * 32})
    told = robaudit("diff", base, other)
    assert (told.code, told.out, len(told.err.splitlines())) == (3, "", 1)
    assert "the data differ" in told.err
    assert "a new baseline: robaudit scan model.onnx --data data -o baseline.json" in told.err
    (tmp_path / "cut.json").write_text(base.read_text()[:900])
    (tmp_path / "old.json").write_text(base.read_text().replace('"schema_version": "', '"schema_version": "0.'))
    (tmp_path / "edited.json").write_text(base.read_text().replace('"broken_by": null', '"broken_by": "square"', 1))
    for arguments, words in (
        ((base, tmp_path / "none.json"), "cannot be read"),
        ((tmp_path / "cut.json", base), "truncated"),
        ((tmp_path / "old.json", base), "schema version 0."),
        ((tmp_path / "edited.json", base), "was changed"),
        ((base, base, "--gate", "robust_accuracy>=0.5"), "not about the comparison"),
        ((base, base, "--gate", "regresion<=0.5"), "did you mean 'regression'"),
        ((base, base, "--non-inferiority-margin", "2"), "non_inferiority_margin: Input should be less than 1"),
        ((base, base, "--format", "xml"), "text or json"),
        ((base, base, "-o", tmp_path / "no" / "x.json"), "does not exist"),
    ):
        told = robaudit("diff", *arguments)
        assert (told.code, told.out, len(told.err.splitlines())) == (2, "", 1), told.err
        assert words in told.err


def test_a_finished_run_is_gated_against_a_baseline(robaudit, base, tmp_path) -> None:
    new = write(tmp_path / "new.json", set(range(5, 30)), ("coverage>=1",))
    told = robaudit("gate", new, "--baseline", base, "--gate", "regression<=0.05")
    assert told.code == 1
    assert [line.split()[:2] for line in told.out.splitlines()[:2]] == [["pass", "coverage"], ["fail", "regression"]]


def test_an_exception_ends_for_gates_that_are_decided_again(robaudit, tmp_path) -> None:
    config = tmp_path / "gates.yaml"
    config.write_text(
        "gates:\n  - {metric: robust_accuracy, min: 0.99, ignore: {reason: 'ticket 7', until: 2025-06-30}}\n"
    )
    new = write(tmp_path / "new.json", set(range(30)))
    before = robaudit("gate", new, "--gates", config, "--as-of", "2025-06-30")
    assert (before.code, "ignored until 2025-06-30 (ticket 7)" in before.out) == (0, True)
    after = robaudit("gate", new, "--gates", config, "--as-of", "2025-07-01")
    assert (after.code, "ended on 2025-06-30" in after.out) == (1, True)
    assert robaudit("gate", new, "--gates", config).code == 1
    assert robaudit("gate", new, "--gates", config, "--fail-on", "never").code == 0
