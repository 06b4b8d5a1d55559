"""Scans against a baseline, through the installed command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from run_kit import make_data, make_onnx, make_profile, scan

from robaudit.audit.stored.file import load_result

FGSM = "\n  - fgsm"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """With a model, data, and a baseline in base.json."""
    folder = tmp_path_factory.mktemp("baselines")
    make_onnx(folder / "m.onnx")
    make_profile(folder / "p.yaml", FGSM, eps=0.1)
    make_data(folder / "d.npz")
    make_data(folder / "e.npz", order=[*range(1, 16), 0])
    first = audit(folder, "first", "-o", "base.json")
    assert first.returncode == 0, first.stderr
    return folder


def audit(folder: Path, run: str, *more: str, data: str = "d.npz") -> subprocess.CompletedProcess[str]:
    return scan("m.onnx", data, "p.yaml", run, "-q", *more, cwd=folder)


def test_the_result_of_a_scan_holds_the_comparison(folder) -> None:
    again = audit(folder, "first", "--baseline", "base.json", "-o", "new.json", "--non-inferiority-margin", "0.01")
    assert again.returncode == 4, again.stderr  # 16 samples show no such margin
    result = load_result(folder / "new.json")
    found = result.comparison
    assert found is not None
    assert (found.same_model, found.worst_case.pairs) == (True, result.worst_case.upper_bound_observed.n)
    assert (found.worst_case.lost, found.worst_case.gained) == (0, 0)
    assert [gate.metric for gate in result.gates] == ["validity", "coverage", "regression"]
    assert audit(folder, "first", "-o", "without.json").returncode == 0
    assert load_result(folder / "without.json").comparison is None
    margin = ("--baseline", "base.json", "--non-inferiority-margin", "0.01", "--fail-on", "never")
    assert audit(folder, "first", *margin).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "data", "code", "words"),
    [
        (("--baseline", "base.json"), "e.npz", 2, "the data differ: their digest"),
        (("--baseline", "base.json", "--seed", "1"), "d.npz", 2, "the seed was 0 and is 1"),
        (("--baseline", "base.json", "--samples", "9"), "d.npz", 2, "16 samples were drawn, and 9 are"),
        (("--baseline", "none.json"), "d.npz", 2, "cannot be read"),
        (("--gate", "regression<=0.1"), "d.npz", 2, "--baseline"),
        (("--gate", "attack.fgms.success_rate<=0.1"), "d.npz", 2, "did you mean 'fgsm'"),
        (("--gate", "class.9.robust_accuracy>=0.1"), "d.npz", 2, "no class '9'"),
        (("--fail-on", "all"), "d.npz", 2, "'error', 'warn' or 'never'"),
    ],
)
def test_refusals_come_before_the_attacks(folder, arguments, data, code, words) -> None:
    told = audit(folder, "refused", "--fresh", *arguments, data=data)
    assert (told.returncode, told.stdout, len(told.stderr.splitlines())) == (code, "", 1), told.stderr
    assert words in told.stderr
    assert not (folder / "refused" / "result.json").exists()


def test_a_sequential_audit_is_compared_on_the_samples_that_it_took(folder) -> None:
    make_data(folder / "many.npz", 80)
    made = audit(folder, "whole", "-o", "whole.json", data="many.npz")
    assert made.returncode == 0, made.stderr
    early = ("--until-decided", "--gate", "clean_accuracy>=0.2", "--baseline", "whole.json", "-o", "early.json")
    told = audit(folder, "early", *early, data="many.npz")
    assert told.returncode == 0, told.stderr
    result = load_result(folder / "early.json")
    assert result.sequential is not None
    assert result.comparison is not None
    assert len(result.samples) < 80
    found = result.comparison.worst_case
    assert (found.pairs + result.comparison.left_out, found.lost, found.gained) == (len(result.samples), 0, 0)
    assert f"on the {len(result.samples)} samples that both audits took" in result.comparison.message
    back = audit(folder, "again", "--baseline", "early.json", "-o", "back.json", data="many.npz")
    assert back.returncode == 0, back.stderr
    assert load_result(folder / "back.json").comparison.worst_case.pairs == found.pairs


@pytest.mark.parametrize("profile", ["auto", "labels", "twice.yaml"])
def test_attacks_of_other_accesses_and_an_attack_that_comes_twice_are_no_difference(folder, profile) -> None:
    make_profile(folder / "twice.yaml", "\n  - fgsm\n  - fgsm", eps=0.1)
    whole = ("--samples", "4", "--eps", "0.1", "-q")
    first = scan("m.onnx", "d.npz", profile, f"{profile}-1", *whole, "-o", "first.json", cwd=folder)
    assert first.returncode == 0, first.stderr
    again = scan(
        "m.onnx", "d.npz", profile, f"{profile}-2", *whole, "--baseline", "first.json", "-o", "again.json", cwd=folder
    )
    assert again.returncode == 0, again.stderr
    assert load_result(folder / "again.json").comparison is not None
