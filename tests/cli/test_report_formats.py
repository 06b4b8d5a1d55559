"""One real audit, reported in every format by the installed command, and again from its run directory."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from jsonschema import Draft4Validator
from quick_start import ran
from table_files import RANGES, write_model, write_table

from robaudit.report.registry import suffixes

FORMATS = suffixes()
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
SCHEMAS = Path(__file__).parents[1] / "schemas"
PROFILE = """
name: tiny
threat: {norm: linf, eps: 0.2}
attacks:
  - {id: fgsm}
  - {id: square, queries: 60}
checks: [clean, parity, evidence]
"""
CONFIG = """
profile: ci/tiny.yaml
data: data/t.csv
gates:
  - robust_accuracy >= 99%
"""
RENDERED = tuple(suffix for suffix in FORMATS if suffix not in (".json", ".txt", ".html"))


def robaudit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return ran(arguments, env=ENVIRONMENT, cwd=folder)


@pytest.fixture(scope="module")
def audited(tmp_path_factory) -> Path:
    """A repository in whose folder ``work`` an audit ran, and failed its gate."""
    root = tmp_path_factory.mktemp("repository")
    for name in (".git", "data", "work/ci", "work/models"):
        (root / name).mkdir(parents=True)
    model = write_model(root / "work/models/<b>m|x.onnx")
    (root / "work/models/<b>m|x.ranges.csv").write_text(RANGES)
    write_table(root / "data/t.csv", model)
    (root / "work/ci/tiny.yaml").write_text(PROFILE)
    (root / "work/robaudit.yaml").write_text(CONFIG.replace("data/t.csv", "../data/t.csv"))
    outputs = [part for suffix in RENDERED for part in ("-o", f"r{suffix}")]
    done = robaudit(root / "work", "scan", "models/<b>m|x.onnx", "--run-dir", "run", "--no-progress", *outputs)
    assert done.returncode == 1, done.stderr
    return root


def test_every_format_is_valid(audited):
    work = audited / "work"
    sarif = json.loads((work / "r.sarif").read_text())
    Draft4Validator(json.loads((SCHEMAS / "sarif-schema-2.1.0.json").read_text())).validate(sarif)
    xmlschema.XMLSchema(str(SCHEMAS / "junit-10.xsd")).validate(str(work / "r.xml"))
    assert ElementTree.parse(work / "r.xml").getroot().attrib["failures"] == "2"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str((work / "r.cdx.json").read_text()) is None
    with (work / "r.csv").open(newline="") as file:
        assert sum(row["broken"] == "true" for row in csv.DictReader(file)) > 3
    # In a block of code nothing is markup
    assert "<b>" not in re.sub(r"^(`{3,})\n.*?^\1$", "", (work / "r.md").read_text(), flags=re.DOTALL | re.MULTILINE)


def test_findings_point_at_files_of_the_repository(audited):
    run = json.loads((audited / "work/r.sarif").read_text())["runs"][0]
    places = {
        (r["ruleId"], p["artifactLocation"]["uri"], p["region"]["startLine"])
        for r in run["results"]
        for p in [r["locations"][0]["physicalLocation"]]
    }
    assert ("RA001", "work/robaudit.yaml", 5) in places
    assert ("RA010", "work/models/%3Cb%3Em%7Cx.onnx", 1) in places
    assert ("RA011", "work/ci/tiny.yaml", 5) in places


def test_reports_name_files_by_relative_paths(audited):
    for suffix in RENDERED:
        assert str(audited) not in (audited / f"work/r{suffix}").read_text(), suffix
    recorded = json.loads((audited / "work/run/result.json").read_text())["profile"]
    assert recorded["source"] == "work/ci/tiny.yaml"
    assert str(audited) not in json.dumps(recorded)


def test_reports_are_made_again_without_compute_and_the_same(audited):
    outputs = [part for suffix in RENDERED for part in ("-o", f"again{suffix}")]
    done = robaudit(audited / "work", "report", "run", *outputs)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for suffix in RENDERED:
        assert (audited / f"work/again{suffix}").read_bytes() == (audited / f"work/r{suffix}").read_bytes(), suffix


def test_an_unknown_suffix_lists_the_known_ones(audited):
    done = robaudit(audited / "work", "report", "run", "-o", "r.pdf")
    assert done.returncode == 2
    assert all(suffix in done.stderr for suffix in FORMATS)
    assert len(done.stderr.splitlines()) == 1


def test_no_report_names_a_folder_of_the_machine(audited):
    """Files are named by full paths, as scripts do; the run directory keeps them for itself, and replays."""
    work, elsewhere = audited / "work", audited / "elsewhere"
    elsewhere.mkdir()
    outputs = [part for suffix in FORMATS for part in ("-o", str(elsewhere / f"r{suffix}"))]
    model = str(work / "models/<b>m|x.onnx")
    common = ["--profile", str(work / "ci/tiny.yaml"), "--data", str(audited / "data/t.csv"), "--no-progress"]
    done = robaudit(elsewhere, "scan", model, *common, "--run-dir", str(audited / "kept"), *outputs)
    assert done.returncode == 1, done.stderr
    for suffix in FORMATS:
        assert str(audited) not in (elsewhere / f"r{suffix}").read_text(), suffix
    # The terminal's command can be pasted anywhere on this machine
    before, _, command = done.stdout.partition("Reproduce")
    assert str(audited) not in before
    assert "cd " in command
    assert json.loads((elsewhere / "r.json").read_text())["target"]["file"] == "<b>m|x.onnx"
    (elsewhere / "<b>m|x.onnx").write_text("another file of this name")
    replayed = robaudit(elsewhere, "replay", str(audited / "kept"), "-f", "json")
    assert replayed.returncode == 0, replayed.stderr
    assert str(audited) not in replayed.stdout


def test_a_damaged_result_is_made_again_from_the_journal(audited):
    work = audited / "work"
    kept = (work / "run/result.json").read_text()
    (work / "run/result.json").write_text(kept[:2000])
    done = robaudit(work, "scan", "models/<b>m|x.onnx", "--run-dir", "run", "--no-progress", "-f", "json")
    assert done.returncode == 1, done.stderr
    assert "run/result.json is not as this audit wrote it; it is made again from the journal" in done.stderr
    assert "made again from the journal" in done.stderr
    assert json.loads(done.stdout)["samples"] == json.loads(kept)["samples"]
    assert json.loads((work / "run/result.json").read_text()) == json.loads(done.stdout)
