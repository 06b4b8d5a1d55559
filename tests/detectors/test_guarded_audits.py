"""Audits of a model with a detector beside it, as a user runs them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detector_kit import onnx_detector
from plugin_kit import with_package
from run_kit import CLASSES, INPUT, SHAPE, make_onnx, predict, run_here

from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.result.document import Result
from robaudit.audit.run.asking import request_of
from robaudit.audit.stored.file import load_result
from robaudit.errors import UsageError

PROFILE = "name: p\nthreat: {norm: linf, eps: 0.2}\nattacks:\n  - {id: pgd, steps: 5}\n"


def files(folder: Path, count: int = 90, samples: int = 10) -> list[str]:
    make_onnx(folder / "m.onnx")
    x = np.random.default_rng(3).uniform(size=(count, *SHAPE)).astype(np.float32)
    np.savez(folder / "d.npz", x=x, y=predict(x))
    (folder / "p.yaml").write_text(
        PROFILE + f"data: {{samples: {samples}}}\nchecks: [clean, parity, unbounded, evidence]\n"
    )
    weights = np.zeros(SHAPE)
    weights[0, :2] = 1.0
    onnx_detector(folder / "top.onnx", weights)
    onnx_detector(folder / "label.onnx", weights, out="label")
    meaning = [part for name, value in INPUT.items() for part in (f"--{name}", value)]
    return ["m.onnx", "--data", "d.npz", "--profile", "p.yaml", "--no-progress", *meaning]


def asked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return with_package(folder, folder, *arguments)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an audit beside a file, and one beside neighbours."""
    folder = tmp_path_factory.mktemp("guarded")
    flags = files(folder)
    for name, detector in (("file", "file:top.onnx"), ("near", "dknn:neighbours=5")):
        done = asked(folder, "scan", *flags, "--detector", detector, "--run-dir", name, "-o", f"{name}.md")
        assert done.returncode == 0, done.stderr + done.stdout
    return folder


def result_of(folder: Path, name: str) -> Result:
    found: Result = load_result(folder / name / "result.json")
    return found


@pytest.mark.slow
def test_a_success_is_accepted_by_the_detector_and_wrong(audited: Path) -> None:
    result = result_of(audited, "file")
    assert result.detector is not None
    assert result.detector.words == "file:file=top.onnx,takes=model"
    assert (result.detector.fitted_on, result.detector.calibrated_on) == (0, 80)
    assert result.detector.differentiable
    assert [attack.id for attack in result.attacks] == ["pgd", "orthogonal-pgd"]
    evidence = np.load(audited / "file" / "evidence.npz")
    assert len(evidence["index"])
    suspicion = evidence["adversarial"].reshape(len(evidence["index"]), -1)[:, :12].sum(1)
    assert (suspicion <= result.detector.threshold + 1e-5).all()
    assert (predict(evidence["adversarial"]) != evidence["label"]).all()
    status = {check.id: check.status for check in result.checks}
    assert status == {"clean": "pass", "parity": "pass", "unbounded": "skipped", "evidence": "pass"}
    assert "Detector" in (audited / "file.md").read_text()


@pytest.mark.slow
def test_a_replay_asks_the_detector_again(audited: Path) -> None:
    for name in ("file", "near"):
        done = asked(audited, "replay", name, "-f", "json")
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["examples"]
        assert rows
        assert {row["status"] for row in rows} == {"fools"}
    result = json.loads((audited / "near" / "result.json").read_text())
    assert result["detector"]["arrays"]["artefact/detector/labels"] == [40]


@pytest.mark.slow
def test_a_replay_refuses_a_detector_that_was_changed(audited: Path) -> None:
    path = audited / "top.onnx"
    before = path.read_bytes()
    try:
        onnx_detector(path, np.ones(SHAPE))
        done = asked(audited, "replay", "file")
    finally:
        path.write_bytes(before)
    assert done.returncode == 3
    assert "the file of the detector file" in done.stderr
    assert "was changed since the audit" in done.stderr


@pytest.mark.slow
def test_detectors_are_evaluated_in_one_table(audited: Path) -> None:
    flags = [part for part in files(audited) if part != "--no-progress"]
    done = asked(
        audited, "detectors", "evaluate", *flags, "--no-progress", "--detector", "file:top.onnx", "--detector", "lid",
        "--run-dir", "all", "-f", "json", "-o", "e.txt",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema_version"] == "1.0"
    rows = {row["detector"]["id"]: row for row in found["rows"]}
    assert set(rows) == {"file", "lid"}
    for row in rows.values():
        assert row["area"]["low"] <= row["area"]["estimate"] <= row["area"]["high"]
        assert row["roc"][0] == [0.0, 0.0]
        assert row["roc"][-1] == [1.0, 1.0]
        assert row["joint"]["new"]["k"] <= row["plain"]["new"]["k"]
        assert row["caught"]["n"] == row["area"]["adversarial"] > 0
        assert row["rejected"]["n"] == 10
    text = (audited / "e.txt").read_text()
    for word in ("AUC", "plain examples caught", "clean rejected", "joint attack"):
        assert word in text


@pytest.mark.parametrize(
    ("detector", "more", "why"),
    [
        ("file:label.onnx", {}, "a score is one float number"),
        ("file:m.onnx", {}, f"gives {CLASSES} numbers of an input; a score is one"),
        ("file:d.npz", {}, "d.npz"),
        ("dknn:nodes=nowhere", {}, "m.onnx has no node 'nowhere'"),
        ("lid:nodes=nowhere", {}, "m.onnx has no node 'nowhere'"),
        ("squeezing", {"false_alarms": 0.001}, "take at least 999 samples apart from the audited"),
        ("squeezing", {"samples": 90}, "take at least 19 samples apart from the audited ones"),
    ],
)
def test_what_cannot_be_a_detector_here_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detector: str, more: dict[str, Any], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    given = {"data": "d.npz", "profile": "p.yaml", "detector": detector, **INPUT, **more}
    model = Path("m.onnx")
    with pytest.raises(UsageError, match=why):
        run_here(request_of(model, resolve_settings(given, {}, model)), tmp_path / "r")


@pytest.mark.slow
def test_a_refusal_ends_with_exit_code_2(tmp_path: Path) -> None:
    done = asked(tmp_path, "scan", *files(tmp_path), "--detector", "file:label.onnx")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "a score is one float number" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_detectors_are_listed_with_their_parameters_and_sources(tmp_path: Path) -> None:
    done = asked(tmp_path, "detectors", "list")
    assert done.returncode == 0
    for word in (
        "squeezing\n",
        "magnet\n",
        "lid\n",
        "dknn\n",
        "consistency\n",
        "file\n",
        "Papernot",
        "parameters: bits=5",
    ):
        assert word in done.stdout
