"""The documented example of a check from another package, installed and run exactly as it stands in the docs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_kit import blocks, install, pretend, with_package
from run_kit import make_data, make_onnx

from robaudit.audit.stored.file import load_result

PAGE = "adding-a-check"
SUFFIXES = ("json", "html", "sarif", "xml", "md", "csv")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the example."""
    return install(PAGE, "more_steps", tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its data and the documented profile, with few attacks."""
    folder = tmp_path_factory.mktemp("audit")
    make_onnx(folder / "model.onnx")
    make_data(folder / "data.npz", count=24)
    profile = blocks(PAGE)["yaml"] + "attacks: [fgsm]\nthreat: {eps: 0.02}\n"
    (folder / "mine.yaml").write_text(profile)
    return folder


def robaudit(site: Path | None, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return with_package(site or folder, folder, *arguments)


def scan(site: Path, folder: Path, run: str, *more: str, batch: int = 5) -> subprocess.CompletedProcess[str]:
    flags = ("--data", "data.npz", "--no-progress", "--run-dir", run, "--batch-size", str(batch))
    meaning = ("--mean", "0", "--std", "1", "--layout", "nchw", "--domain", "0,1")
    return robaudit(site, folder, "scan", "model.onnx", "--profile", "mine.yaml", *flags, *meaning, *more)


@pytest.fixture(scope="module")
def whole(site: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A finished audit, in every format."""
    return scan(site, folder, "whole", *(word for s in SUFFIXES for word in ("-o", f"report.{s}")))


def journal(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


def check_of(run: Path) -> dict:
    (found,) = [c for c in json.loads((run / "result.json").read_text())["checks"] if c["id"] == "more-steps"]
    return found


def test_the_example_is_short() -> None:
    assert len(blocks(PAGE)["python"].splitlines()) <= 70


def test_it_is_planned_measured_journaled_and_counted(site, folder, whole) -> None:
    assert whole.returncode == 0, whole.stderr + whole.stdout
    check = check_of(folder / "whole")
    assert check["status"] == "warn"
    assert check["threshold"] == 0.02
    assert re.fullmatch(r"of \d+ samples 2 steps break \d+, and 8 times as many [1-9]\d* others", check["message"])
    units = [r for r in journal(folder / "whole") if r["kind"] == "check unit" and r["check"] == "more-steps"]
    n = int(check["message"].split()[1])
    assert len(units) == 2 * n
    assert len({unit["job"] for unit in units}) == 2
    broken = sum(unit["success"] for unit in units)
    assert round(check["value"] * n) == int(check["message"].split()[-2]) > 0
    assert broken >= round(check["value"] * n)
    for name, field in (("forwards", "forwards"), ("backwards", "backwards"), ("judge_queries", "judged")):
        assert check[name] == sum(unit[field] for unit in units) > 0
    resolved = json.loads((folder / "whole" / "result.json").read_text())["profile"]["resolved"]["checks"]
    assert resolved["more-steps"] == {"steps": 2}
    assert next(iter(resolved)) == "clean"  # those of the profile that it extends come first
    assert list(resolved)[-1] == "more-steps"


def test_a_resumed_audit_runs_no_finished_unit_of_it_again(site, folder, whole) -> None:
    half = folder / "half"
    half.mkdir()
    for name in ("robaudit-run.json", "points.bin"):
        (half / name).write_bytes((folder / "whole" / name).read_bytes())
    lines = (folder / "whole" / "journal.jsonl").read_text().splitlines(keepends=True)
    units = [i for i, line in enumerate(lines) if '"check unit"' in line and json.loads(line)["check"] == "more-steps"]
    cut = units[len(units) // 2]
    (half / "journal.jsonl").write_text("".join(lines[:cut]) + lines[cut][:40])
    done = scan(site, folder, "half", batch=2)
    assert done.returncode == 0, done.stderr
    again = [r for r in journal(half) if r["kind"] == "check unit" and r["check"] == "more-steps"]
    assert len(again) == len(units)  # the kept ones are not there twice
    assert check_of(half) == check_of(folder / "whole")
    kept = [json.loads(lines[i]) for i in units[: len(units) // 2]]
    assert again[: len(kept)] == kept


def test_every_format_tells_of_it(site, folder, whole) -> None:
    message = check_of(folder / "whole")["message"]
    for suffix in SUFFIXES:
        text = (folder / f"report.{suffix}").read_text()
        assert suffix == "csv" or "more-steps" in text, suffix
    assert "more-steps" in whole.stdout
    assert message in (folder / "report.md").read_text()
    assert re.search(r"\| more-steps \| .*warn.* \| MS1 \| ", (folder / "report.md").read_text())
    assert f"warning: {message}" in (folder / "report.xml").read_text()
    (run,) = json.loads((folder / "report.sarif").read_text())["runs"]
    (found,) = [r for r in run["results"] if r["ruleId"] == "MS1"]
    rule = run["tool"]["driver"]["rules"][found["ruleIndex"]]
    assert (rule["id"], rule["name"], found["level"]) == ("MS1", "CheckMoreSteps", "warning")
    assert rule["shortDescription"]["text"] == "A longer search breaks more."
    place = found["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("mine.yaml")
    assert place["region"]["startLine"] == 5


def test_a_gate_on_it_decides(site, folder, whole) -> None:
    (gate,) = [
        g for g in json.loads((folder / "report.json").read_text())["gates"] if g["metric"] == "check.more-steps"
    ]
    assert gate["status"] == "pass"  # it ran and did not fail
    told = robaudit(site, folder, "gate", "whole", "--gate", "check.more-step")
    assert told.returncode == 2
    assert "did you mean 'more-steps'" in told.stderr


def test_its_result_is_read_judged_and_reported_without_the_package(folder, whole) -> None:
    """As on another machine: nothing of the package is there."""
    assert load_result(folder / "report.json").checks[-1].plug_in.package == "more-steps 1.0"
    assert robaudit(None, folder, "gate", "whole").returncode == 0
    assert robaudit(None, folder, "report", "report.json", "-o", "elsewhere.sarif").returncode == 0
    here, there = (json.loads((folder / n).read_text())["runs"][0] for n in ("report.sarif", "elsewhere.sarif"))
    assert here["tool"] == there["tool"]
    assert [r["ruleId"] for r in here["results"]] == [r["ruleId"] for r in there["results"]]
    told = robaudit(None, folder, "profile", "validate", "mine.yaml")
    assert told.returncode == 2
    assert "no check is called 'more-steps'" in told.stderr


def test_explain_tells_all_of_it(site, folder) -> None:
    told = robaudit(site, folder, "explain", "more-steps").stdout
    for words in (
        "Warns where a search of more steps",
        "times = 8",
        "Cost: two searches",
        "rule MS1",
        "more-steps 1.0",
    ):
        assert words in told
    rule = robaudit(site, folder, "explain", "ms1").stdout
    assert "An attack that is stopped early" in rule
    assert "Found by the check more-steps" in rule


def test_its_settings_are_checked_with_their_line(site, folder) -> None:
    (folder / "wrong.yaml").write_text(blocks(PAGE)["yaml"].replace("steps: 2", "steps: 0"))
    told = robaudit(site, folder, "profile", "validate", "wrong.yaml")
    assert told.returncode == 2
    assert "line 6 of wrong.yaml: checks.more-steps.steps: check 'more-steps', setting 'steps'" in told.stderr


def test_its_source_and_settings_are_part_of_the_run(site, folder, whole, tmp_path: Path) -> None:
    def digest(where: Path) -> str:
        return json.loads(scan(where, folder, "whole", "--format", "json", "-q").stdout)["run"]["id"]

    first = json.loads((folder / "report.json").read_text())["run"]["id"]
    for file in site.rglob("*"):
        if file.is_file():
            to = tmp_path / file.relative_to(site)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(file.read_bytes())
    (tmp_path / "more_steps.py").write_text((tmp_path / "more_steps.py").read_text() + "\n")
    told = scan(tmp_path, folder, "whole")
    assert told.returncode == 2  # the run directory holds another audit
    assert digest(site) == first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("import Bench", "import Bensh, Bench"), "cannot be imported"),
        (("class MoreSteps(Check)", "class MoreSteps"), "is not a Check class with facts"),
        (('id="more-steps"', 'id="clean"'), "two installed packages offer a check called 'clean'"),
        (('id="more-steps"', 'id="More steps"'), "is called 'More steps', which is not lower-case words"),
        (('"MS1"', '"RA106"'), "rules that begin with RA are robaudit's own"),
        (('"MS1"', '"ms-1"'), "which is not capitals and digits"),
    ],
)
def test_a_broken_package_is_named(change, words, folder, tmp_path: Path) -> None:
    source = blocks(PAGE)["python"]
    assert change[0] in source
    pretend(tmp_path, "robaudit.checks", "other = other:MoreSteps", source.replace(*change))
    told = robaudit(tmp_path, folder, "profile", "validate", "mine.yaml")
    assert told.returncode == 2
    assert words in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert robaudit(tmp_path, folder, "profile", "validate", "quick").returncode == 0  # it costs no other


def test_reading_checks_needs_no_torch(site, folder) -> None:
    code = (
        "import sys; from robaudit.checks.registry import check_classes; from robaudit.report.rules import every_rule;"
        "assert 'more-steps' in check_classes() and 'MS1' in every_rule(); assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=folder, check=True)
