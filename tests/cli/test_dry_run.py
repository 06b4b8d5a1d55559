"""``scan --dry-run`` refuses what ``scan`` refuses, in the same words and with the same exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import Command
from model_files import linear_onnx, weight

KNOWN = ["--mean", "0", "--std", "1", "--layout", "nchw", "--samples", "4"]


def save_data(path: Path, classes: int = 5, **more: object) -> None:
    x = np.random.default_rng(0).random((12, 3, 4, 4), dtype=np.float32)
    np.savez(path, x=x, y=(x.reshape(12, -1) @ weight(classes, 48)).argmax(1), **more)


@pytest.fixture
def scan(tmp_path, monkeypatch, no_settings, no_child, robaudit) -> Command:
    monkeypatch.chdir(tmp_path)
    linear_onnx(tmp_path / "m.onnx", output="logits")
    save_data(tmp_path / "d.npz")
    return lambda *arguments: robaudit("scan", "m.onnx", "--no-progress", *KNOWN, *arguments)


def profile(name: str = "p.yaml", **content: object) -> None:
    Path(name).write_text(yaml.safe_dump({"name": "p", "attacks": [{"id": "fgsm"}], "checks": {"clean": {}}} | content))


def finished(scan: Command, name: str, *arguments: str) -> None:
    """A finished run in a folder of that name, and its result beside it."""
    profile()
    assert scan("--data", "d.npz", "--profile", "p.yaml", *arguments, "--run-dir", name, "-o", f"{name}.json").code == 0


BAD = {
    "gate on an attack that is not planned": ["--gate", "attack.pgd.success_rate<=0.5"],
    "gate on a check that is not planned": ["--gate", "check.parity"],
    "gate on another norm": ["--gate", "robust_accuracy.l2>=0.1"],
    "gate on another radius": ["--gate", "robust_accuracy@0.5>=0.1"],
    "gate on the curve": ["--gate", "median_distance>=0.1"],
    "gate on a baseline that is not given": ["--gate", "newly_broken<=0"],
    "gate on a class that is not there": ["--gate", "class.9.robust_accuracy>=0.1"],
    "stopping without a gate": ["--until-decided"],
    "precision that needs a GPU": ["--search-precision", "tf32", "--device", "cpu"],
    "device that is not there": ["--device", "cuda:99"],
    "goal that no class has": ["--goal", "class:zebra"],
    "goal without classes given": ["--goal", "given"],
    "run directory that is a file": ["--run-dir", "taken"],
    "run directory below a file": ["--run-dir", "taken/deeper"],
    "run directory of another audit": ["--run-dir", "run"],
    "run directory with what is of no audit": ["--run-dir", "odd"],
    "baseline of another seed": ["--baseline", "run.json", "--seed", "3"],
    "baseline of another radius": ["--baseline", "run.json", "--eps", "0.2"],
    "baseline of other data": ["--baseline", "other.json"],
    "an eps that the tolerance swallows": ["--eps", "1e-9"],
    "label column without a table": ["--label-column", "x"],
}


def test_both_refuse_the_same_in_the_same_words(scan, tmp_path):
    finished(scan, "run")
    save_data(tmp_path / "e.npz", z=np.zeros(1))
    x = np.random.default_rng(9).random((12, 3, 4, 4), dtype=np.float32)
    np.savez(tmp_path / "e.npz", x=x, y=(x.reshape(12, -1) @ weight(5, 48)).argmax(1))
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "result.json").write_text("{}")
    profile()
    for case, arguments in BAD.items():
        data = "e.npz" if case in ("baseline of other data", "run directory of another audit") else "d.npz"
        baseline = ["--baseline", "run.json"] if case == "baseline of other data" else []
        given = ["--data", data, "--profile", "p.yaml", *(baseline or arguments)]
        before = sorted(path for path in tmp_path.rglob("*"))
        seen = scan("--dry-run", *given)
        assert sorted(path for path in tmp_path.rglob("*")) == before, case
        real = scan(*given)
        assert seen.code in (2, 3), (case, seen)
        assert seen.err.startswith("robaudit: error: "), (case, seen)
        assert (seen.code, seen.err, seen.out) == (real.code, real.err, real.out), case


def test_both_accept_what_is_right(scan):
    finished(scan, "run")
    for arguments in (["--run-dir", "run"], ["--run-dir", "new/deeper"], ["--baseline", "run.json"]):
        assert scan("--data", "d.npz", "--profile", "p.yaml", "--dry-run", *arguments).code == 0, arguments
    assert not Path("new").exists()
    assert not Path(".robaudit").exists()
