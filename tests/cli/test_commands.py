"""The commands that do not audit, and the demo, as a user meets them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command_line import ROBAUDIT, refused
from jsonschema import Draft202012Validator
from model_files import linear_onnx
from results import make_result, make_samples, make_stored

from robaudit.attacks.registry import attack_classes, transform_classes
from robaudit.audit.config.keys import FileKeys
from robaudit.audit.config.profile import GateSpec
from robaudit.audit.config.profile_files import list_profiles, load_profile
from robaudit.audit.stored.file import save_result
from robaudit.audit.verdict.conclusion import conclude
from robaudit.certificates.registry import certifier_classes
from robaudit.checks.registry import check_classes
from robaudit.cli import doctor as doctor_command
from robaudit.defenses.registry import defense_classes
from robaudit.detectors.registry import detector_classes
from robaudit.purifiers.registry import purifier_classes
from robaudit.report.rules import RULES
from robaudit.surrogates.registry import surrogate_classes
from robaudit.threat.sets.registry import chosen_classes


@pytest.fixture
def run_folder(tmp_path) -> Path:
    """A finished run: 41 of 100 stand."""
    folder = tmp_path / "run"
    folder.mkdir()
    draft = make_stored(make_result(k=41, n=100, samples=make_samples(41, 100)))
    resolved = {"threat": load_profile("quick").model_dump(mode="json")["threat"]}
    draft = draft.model_copy(update={"profile": draft.profile.model_copy(update={"resolved": resolved})})
    save_result(conclude(draft, [GateSpec(metric="validity")]), folder / "result.json")
    return folder


# The command line itself


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("scna",), ("No such command",)),
        (("scan",), ("model",)),
        (("scan", "x.onnx", "--epz", "1"), ("--epz", "--eps")),
        (("scan", "x.onnx", "--samples", "many"), ("--samples", "integer")),
        (("profile", "lst"), ("No such command",)),
        (("explain", "pgdd"), ("'pgdd'", "did you mean 'pgd'?")),
        (("profile", "show", "quik"), ("'quik'",)),
        (("profile", "validate", "missing.yaml"), ("missing.yaml", "does not exist")),
        (("report",), ("run directory", "--schema")),
        (("report", "nowhere"), ("nowhere", "No such file")),
        (("gate", "nowhere"), ("nowhere", "No such file")),
    ],
)
def test_usage_errors_are_one_sentence(robaudit, arguments, words) -> None:
    refused(robaudit(*arguments), *words)


@pytest.mark.parametrize("arguments", [(), ("profile",)])
def test_without_arguments_help_is_shown(robaudit, arguments) -> None:
    told = robaudit(*arguments)
    assert told.code == 2
    assert "Usage" in told.out + told.err
    assert "error" not in told.err


def test_version(robaudit) -> None:
    told = robaudit("--version")
    assert (told.code, told.out.split()[0]) == (0, "robaudit")


def test_our_own_failure_is_three_and_no_traceback(robaudit, monkeypatch) -> None:
    monkeypatch.setattr("robaudit.report.rules.every_rule", lambda: 1 / 0)
    told = robaudit("explain")
    assert told.code == 3
    assert told.err == "robaudit: error: unexpected ZeroDivisionError: division by zero; please report it\n"


@pytest.mark.parametrize(
    "arguments", [("inspect", "closed/m.onnx"), ("report", "closed/run"), ("scan", "m.onnx", "--data", "closed/d.npz")]
)
def test_a_path_in_a_folder_that_may_not_be_searched_is_refused(
    robaudit, monkeypatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    linear_onnx(tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    stat = Path.stat

    def closed(self: Path, **options: bool) -> os.stat_result:
        if "closed" in self.parts:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", closed)
    told = robaudit(*arguments)
    assert told.code == 2
    assert told.err.startswith("robaudit: error: 'closed/")
    assert told.err.endswith("' cannot be used: Permission denied\n")


def test_interrupt_is_130(robaudit, monkeypatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("robaudit.report.rules.every_rule", interrupt)
    assert robaudit("explain").code == 130


def test_a_closed_pipe_is_neither_success_nor_a_failed_gate() -> None:
    shell = f"set -o pipefail; '{ROBAUDIT}' report --schema | true"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")


# explain, profile, doctor


def test_explain_lists_everything_on_a_line_each(robaudit) -> None:
    told = robaudit("explain")
    assert told.code == 0
    names = [line.split()[0] for line in told.out.splitlines()]
    parts = (attack_classes(), transform_classes(), surrogate_classes(), check_classes(), defense_classes())
    known = (*parts, purifier_classes(), detector_classes(), chosen_classes(), certifier_classes())
    assert names == [*(name for kind in known for name in sorted(kind)), *RULES, "loss", "goal"]


@pytest.mark.parametrize("name", [*attack_classes(), *surrogate_classes(), *check_classes(), *purifier_classes()])
def test_explain_says_what_and_whence(robaudit, name) -> None:
    told = robaudit("explain", name)
    assert told.code == 0
    assert len(told.out.splitlines()) >= 3
    if name in attack_classes():
        assert all(word in told.out for word in ("access", "norms", "goals", "Source:", "Cost:", "Parameters"))


def test_profiles_are_listed_shown_and_valid(robaudit) -> None:
    listed = robaudit("profile", "list").out.splitlines()
    assert [line.split()[0] for line in listed] == list(list_profiles())
    for name in list_profiles():
        assert yaml.safe_load(robaudit("profile", "show", name).out)["name"] == name
        assert robaudit("profile", "validate", name).code == 0


def test_what_show_prints_is_a_profile(robaudit, tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(robaudit("profile", "show", "ci").out)
    assert robaudit("profile", "validate", path).code == 0
    schema = json.loads(robaudit("profile", "schema").out)
    Draft202012Validator(schema).validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("attakcs: []", ("attakcs", "attacks")),
        ("attacks: [{id: pgdd}]", ("pgdd", "pgd")),
        ("attacks: [{id: pgd, stepz: 3}]", ("stepz", "steps")),
        ("attacks: [{id: pgd, steps: 0}]", ("steps",)),
        ("extends: nothing", ("nothing",)),
        ("threat: {eps: 2}", ("eps",)),
        ("{", ("mine.yaml",)),
    ],
)
def test_a_wrong_profile_is_refused(robaudit, tmp_path, text, words) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    refused(robaudit("profile", "validate", path), *words)


def test_doctor(robaudit) -> None:
    told = robaudit("doctor")
    assert told.code == 0
    facts = dict(line.split(maxsplit=1) for line in told.out.splitlines() if not line.startswith("cuda:"))
    assert {"robaudit", "python", "torch", "onnx", "processors", "threads", "providers"} <= facts.keys()


def test_doctor_where_no_audit_could_run(robaudit, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    told = robaudit("doctor")
    assert told.code == 3
    assert told.err.startswith("robaudit: error: onnxruntime cannot be used: ")
    assert doctor_command.PACKAGES[0] in told.out


# report and gate


def test_report_on_the_terminal(robaudit, run_folder) -> None:
    told = robaudit("report", run_folder)
    assert (told.code, told.err) == (0, "")
    assert "41 of 100" in told.out


def test_report_to_files(robaudit, run_folder, tmp_path) -> None:
    told = robaudit("report", run_folder / "result.json", "-o", tmp_path / "a.json", "-o", tmp_path / "a.txt")
    assert (told.code, told.out) == (0, "")
    schema = json.loads(robaudit("report", "--schema").out)
    Draft202012Validator(schema).validate(json.loads((tmp_path / "a.json").read_text()))
    assert "41 of 100" in (tmp_path / "a.txt").read_text()


def test_report_refuses(robaudit, run_folder, tmp_path) -> None:
    refused(robaudit("report", run_folder, "-o", "a.docx"), ".json")
    refused(robaudit("report", run_folder, "-o", tmp_path / "no" / "a.json"), "does not exist")
    (tmp_path / "other.json").write_text("{}")
    refused(robaudit("report", tmp_path / "other.json"), "other.json")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 0, "pass"),
        (("--min-robust", "0.2"), 0, "pass"),
        (("--min-robust", "0.6"), 1, "fail"),
        (("--min-robust", "0.4"), 4, "inconclusive"),
        (("--min-robust", "0.4", "--on-inconclusive", "warn"), 0, "inconclusive"),
        (("--min-robust", "0.4", "--on-inconclusive", "pass"), 0, "inconclusive"),
    ],
)
def test_gate(robaudit, run_folder, arguments, code, words) -> None:
    told = robaudit("gate", run_folder, *arguments)
    assert (told.code, told.err) == (code, "")
    assert told.out.splitlines()[0].startswith("pass         validity")
    assert words in told.out
    assert "at most 41.0%" in told.out.splitlines()[-1]


def test_gate_refuses(robaudit, run_folder) -> None:
    refused(robaudit("gate", run_folder, "--min-robust", "40"), "min_robust: Input should be less than or equal to 1")
    refused(
        robaudit("gate", run_folder, "--on-inconclusive", "ignore"),
        "on_inconclusive: Input should be 'fail', 'warn' or 'pass'",
    )
    refused(robaudit("gate", run_folder, "--fail-on", "all"), "fail_on: Input should be 'error', 'warn' or 'never'")
    refused(robaudit("gate", run_folder, "--as-of", "soon"), "2026-12-31")
    refused(robaudit("gate", run_folder, "--gate", "robust_acuracy>=0.6"), "did you mean 'robust_accuracy'")
    refused(robaudit("gate", run_folder, "--gate", "attack.apgd.success_rate<=0.6"), "did you mean 'apgd-ce'")
    refused(robaudit("gate", run_folder, "--gate", "class.cat.robust_accuracy>=0.6"), "from 0 to 9")
    refused(robaudit("gate", run_folder, "--gate", "median_distance>=0.1"), "--curve")
    refused(robaudit("gate", run_folder, "--gate", "regression<=0.1"), "--baseline")
    refused(robaudit("gate", run_folder, "--gates", run_folder / "none.yaml"), "cannot be read")
    result = (run_folder / "result.json").read_text()
    (run_folder / "result.json").write_text(result.replace('"k": 41', '"k": 91'))
    refused(robaudit("gate", run_folder), "was changed")
    (run_folder / "result.json").write_text(result[: len(result) // 2])
    refused(robaudit("gate", run_folder), "truncated")


# demo


def test_demo_keeps_a_config_that_somebody_changed(robaudit, tmp_path) -> None:
    (tmp_path / "robaudit.yaml").write_text("eps: 0.2\n")
    refused(robaudit("demo", tmp_path), "robaudit.yaml", "another folder")
    assert [p.name for p in tmp_path.iterdir()] == ["robaudit.yaml"]


def test_demo_where_it_cannot_write(robaudit, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    refused(robaudit("demo", tmp_path / "file"), "cannot be written")


def test_demo_config_is_what_a_scan_reads() -> None:
    from robaudit.cli.demo import CONFIG

    given = yaml.safe_load(CONFIG)
    uncommented = CONFIG.replace("# input", "input").replace("#   ", "  ").replace("# min-robust", "min-robust")
    FileKeys.model_validate(given)
    assert FileKeys.model_validate(yaml.safe_load(uncommented)).min_robust == 0.6


@pytest.mark.slow
def test_demo_shows_the_contrast(tmp_path) -> None:
    environment = {**os.environ, "ROBAUDIT_SAMPLES": "40", "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [ROBAUDIT, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown = run("demo", "--no-progress")
    assert "left after ensemble+smooth  " in shown
    (worst,) = (line for line in shown.splitlines() if line.startswith("worst case"))
    fragile, robust = (float(word.rstrip("%")) for word in worst.split() if word.endswith("%"))
    assert fragile < 10
    assert robust > 50
    assert max(map(len, shown.splitlines())) <= 120
    reports = [line.split()[-1] for line in shown.splitlines() if "robaudit report" in line]
    assert len(reports) == 2
    assert all("L∞ ≤ 0.1" in run("report", folder) for folder in reports)
    plan = run("scan", "robaudit-demo/fashion_clean.onnx", "--dry-run")
    assert "fashion_test500.npz" in plan
    assert "eps 0.1" in plan
