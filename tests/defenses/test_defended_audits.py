"""Audits of a model behind a defense, as a user runs them."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from plugin_kit import install, with_package
from run_kit import INPUT, make_data, make_onnx
from wrapper_kit import onnx_purifier

from robaudit.audit.result.document import Result
from robaudit.audit.stored.file import load_result
from robaudit.defenses.bits import BitDepth

PROFILE = "name: p\nthreat: {norm: linf, eps: 0.3}\nattacks:\n  - {id: pgd, steps: 5}\n  - {id: square, queries: 40}\n"


def files(folder: Path) -> list[str]:
    make_onnx(folder / "m.onnx")
    make_data(folder / "d.npz", 12)
    (folder / "p.yaml").write_text(PROFILE + "checks: [clean, parity, zero-gradient, evidence]\n")
    meaning = [part for name, value in INPUT.items() for part in (f"--{name}", value)]
    return ["scan", "m.onnx", "--data", "d.npz", "--profile", "p.yaml", "--no-progress", "--quiet", *meaning]


def scanned(folder: Path, *more: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    return with_package(site or folder, folder, *files(folder), *more)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an audit behind two bits, and one without a defense."""
    folder = tmp_path_factory.mktemp("defended")
    for name, flags in (("plain", []), ("bits", ["--defense", "bits:depth=2"])):
        reports = [part for suffix in ("md", "html", "json") for part in ("-o", f"{name}.{suffix}")]
        done = scanned(folder, "--run-dir", name, *flags, *reports)
        assert done.returncode == 0, done.stderr
    return folder


def result_of(folder: Path, name: str) -> Result:
    found: Result = load_result(folder / name / "result.json")
    return found


@pytest.mark.slow
def test_the_file_is_asked_behind_it_and_the_ball_is_measured_before_it(runs: Path) -> None:
    plain, bits = result_of(runs, "plain"), result_of(runs, "bits")
    assert plain.defense is None
    assert "defense" not in json.loads((runs / "plain" / "result.json").read_text())
    assert bits.defense is not None
    assert (bits.defense.id, bits.defense.parameters, bits.defense.words) == ("bits", {"depth": 2}, "bits:depth=2")
    assert bits.run.id != plain.run.id
    assert bits.target.gradient.method == "straight-through"
    assert {check.status for check in bits.checks} <= {"pass", "skipped"}
    evidence = np.load(runs / "bits" / "evidence.npz")
    moved = np.abs(evidence["adversarial"].astype(np.float64) - evidence["original"]).reshape(
        len(evidence["index"]), -1
    )
    assert len(moved)
    assert moved.max() <= 0.3 + 1e-6
    shown = BitDepth(depth=2).shown(evidence["adversarial"])
    assert not np.array_equal(shown, evidence["adversarial"]), "the evidence is what the attacker sends"
    torch.testing.assert_close(torch.from_numpy(BitDepth(depth=2).shown(shown)), torch.from_numpy(shown))


@pytest.mark.slow
def test_evidence_is_replayed_behind_it(runs: Path) -> None:
    done = with_package(runs, runs, "replay", "bits")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hold up" in done.stdout
    content = json.loads((runs / "bits" / "result.json").read_text())
    assert sum(sample["broken_by"] is not None for sample in content["samples"]) > 0


@pytest.mark.slow
def test_every_report_says_what_stands_in_front(runs: Path) -> None:
    assert "bits:depth" in (runs / "bits.md").read_text().replace("\\", "")
    assert "bits:depth=2" in (runs / "bits.html").read_text()
    told = with_package(runs, runs, "report", "bits").stdout
    assert "Defense" in told
    assert "bits:depth=2" in told
    assert "Defense" not in with_package(runs, runs, "report", "plain").stdout


@pytest.mark.slow
def test_a_baseline_with_another_defense_is_refused(runs: Path) -> None:
    done = with_package(runs, runs, "diff", "plain", "bits")
    assert done.returncode == 3
    assert "the defense differs: it was none and is bits:depth=2" in done.stderr


@pytest.mark.slow
def test_the_same_command_shows_the_finished_run_again_and_another_depth_does_not(runs: Path) -> None:
    again = with_package(runs, runs, *files(runs), "--run-dir", "bits", "--defense", "bits:depth=2")
    assert again.returncode == 0, again.stderr
    other = with_package(runs, runs, *files(runs), "--run-dir", "bits", "--defense", "bits:depth=3")
    assert other.returncode == 2
    assert "holds another audit" in other.stderr


@pytest.fixture(scope="module")
def purified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an audit behind a purifier and two bits, named in a robaudit.yaml elsewhere than it is run from."""
    folder = tmp_path_factory.mktemp("purified")
    onnx_purifier(folder / "p.onnx")
    (folder / "robaudit.yaml").write_text("defense: [purifier:p.onnx, bits:3]\n")
    done = scanned(folder, "--run-dir", "chain", "-o", "chain.json", "-o", "chain.html")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_chain_is_recorded_with_each_part_and_its_files(purified: Path) -> None:
    found = result_of(purified, "chain").defense
    assert found is not None
    assert found.id == "purifier+bits"
    assert found.words == f"purifier:file={purified / 'p.onnx'}+bits:depth=3"
    assert [part.id for part in found.parts] == [part.id for part in found.chain] == ["purifier", "bits"]
    digest = hashlib.sha256((purified / "p.onnx").read_bytes()).hexdigest()
    assert found.parts[0].files == {"file": digest}
    assert found.parts[1].parameters == {"depth": 3}
    told = with_package(purified, purified, "report", "chain").stdout
    assert "purifier" in told
    assert "bits:depth=3" in "".join(told.split())


@pytest.mark.slow
def test_evidence_behind_a_chain_is_replayed_with_the_purifier_that_it_had(purified: Path) -> None:
    done = with_package(purified, purified, "replay", "chain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hold up" in done.stdout
    path = purified / "p.onnx"
    content = path.read_bytes()
    onnx_purifier(path, out="rounded")
    changed = with_package(purified, purified, "replay", "chain")
    assert changed.returncode == 3
    assert "was changed since the audit" in changed.stderr
    other = scanned(purified, "--run-dir", "chain")
    assert other.returncode == 2, "another purifier is another audit"
    assert "holds another audit" in other.stderr
    path.unlink()
    missing = with_package(purified, purified, "replay", "chain")
    assert "is not here" in missing.stderr
    path.write_bytes(content)


@pytest.mark.slow
def test_a_report_may_not_replace_a_purifier(purified: Path) -> None:
    (purified / "p.json").write_bytes((purified / "p.onnx").read_bytes())
    done = scanned(purified, "--run-dir", "x", "--defense", "purifier:p.json", "-o", "p.json")
    assert done.returncode == 2
    assert "would replace a file of a defense" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("defense", "words"),
    [
        ("jpeg:900", "parameter 'quality'"),
        ("median:9", "its window of 9 is larger than the model's images, 6x6"),
        ("purifier:q.onnx", "does not take images of 1x6x6, as the model does"),
        ("purifier:none.onnx", "there is no file none.onnx"),
    ],
)
def test_what_does_not_apply_is_one_sentence(tmp_path: Path, defense: str, words: str) -> None:
    onnx_purifier(tmp_path / "q.onnx", shape=(1, 3, 8, 8))
    done = scanned(tmp_path, "--run-dir", "run", "--defense", defense)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_documented_package_runs_as_it_stands(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    source, target = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    site = install("adding-a-defense", "robaudit_dimming", source, target)
    page = with_package(site, tmp_path, "explain", "dimming").stdout
    assert "Sets every feature below a threshold to 0." in page
    assert "below = 0.1" in page
    done = scanned(tmp_path, "--run-dir", "run", "--defense", "dimming:below=0.2", site=site)
    assert done.returncode == 0, done.stderr
    found = result_of(tmp_path, "run").defense
    assert found is not None
    assert found.words == "dimming:below=0.2"
    assert with_package(site, tmp_path, "replay", "run").returncode == 0
    (site / "robaudit_dimming.py").write_text((site / "robaudit_dimming.py").read_text() + "\n# another source\n")
    changed = scanned(tmp_path, "--run-dir", "run", "--defense", "dimming:below=0.2", site=site)
    assert changed.returncode == 2
    assert "holds another audit" in changed.stderr
    missing = scanned(tmp_path, "--defense", "dimming")
    assert missing.returncode == 2
    assert "unknown defense 'dimming'" in missing.stderr
