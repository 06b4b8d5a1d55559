"""The documented example of a transform from another package, installed and run exactly as it stands in the docs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_plugin import folder, robaudit  # noqa: F401  # the first is a fixture

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-transform.md"
MEANING = ("--mean", "0", "--std", "1", "--layout", "nchw", "--domain", "0,1")


def blocks() -> dict[str, str]:
    return dict(re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH into which the example was installed by pip, without a network."""
    source, target = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(blocks()["toml"])
    (source / "noisy_gradients.py").write_text(blocks()["python"])
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, capture_output=True, text=True)
    return target


def scan(site: Path, folder: Path, run: str, batch: int) -> subprocess.CompletedProcess[str]:  # noqa: F811
    flags = ("--norm", "linf", "--eps", "0.05", "--no-progress", "--run-dir", run, "--batch-size", str(batch))
    gate = ("--gate", "attack.mi-fgsm+noise.success_rate <= 0.999")
    return robaudit(site, folder, "scan", "model.onnx", "--profile", "noisy.yaml", *flags, *MEANING, *gate)


@pytest.mark.slow
def test_an_audit_with_it_runs_resumes_and_reports(site: Path, folder: Path) -> None:  # noqa: F811
    (folder / "noisy.yaml").write_text(blocks()["yaml"])
    done = scan(site, folder, "noisy", 5)
    assert done.returncode in (0, 4), done.stderr + done.stdout  # the gate may be inconclusive on so few
    result = json.loads((folder / "noisy" / "result.json").read_text())
    (attack,) = result["attacks"]
    assert (attack["id"], attack["status"]) == ("mi-fgsm+noise", "done")
    assert attack["name"].endswith("gradients through noise")
    parameters = {"steps": 5, "decay": 1.0, "loss": "ce", "noise": {"deviation": 0.02}, "eot": 4}
    assert attack["parameters"] == parameters
    assert 0 < attack["broken"] < attack["attempted"]
    assert attack["forwards"] * 4 == attack["backwards"] * 5  # four copies, and the point itself
    units = [r for r in map(json.loads, (folder / "noisy" / "journal.jsonl").open()) if r["kind"] == "unit"]
    assert {u["backwards"] for u in units if not u["success"]} == {6 * 4}
    assert next(c for c in result["checks"] if c["id"] == "evidence")["status"] == "pass"
    assert "attack.mi-fgsm+noise.success_rate" in done.stdout

    whole, half = folder / "noisy", folder / "half-noisy"
    half.mkdir()
    for name in ("robaudit-run.json", "points.bin"):
        (half / name).write_bytes((whole / name).read_bytes())
    lines = (whole / "journal.jsonl").read_text().splitlines(keepends=True)
    places = [i for i, line in enumerate(lines) if json.loads(line)["kind"] == "unit"]
    (half / "journal.jsonl").write_text("".join(lines[: places[len(places) // 2]]))
    resumed = scan(site, folder, "half-noisy", 2)
    assert resumed.returncode == done.returncode, resumed.stderr
    again = json.loads((half / "result.json").read_text())
    assert again["run"]["resumed"]
    assert again["samples"] == result["samples"]

    # a run is named by the source of the transform, too
    other = (site / "noisy_gradients.py").read_text()
    (site / "noisy_gradients.py").write_text(other.replace("points + ", "points - "))
    try:
        stale = scan(site, folder, "noisy", 5)
    finally:
        (site / "noisy_gradients.py").write_text(other)
    assert stale.returncode == 2
    assert "another audit" in stale.stderr or "noisy" in stale.stderr


def test_explain_and_profiles_know_it(site: Path, folder: Path) -> None:  # noqa: F811
    (folder / "noisy.yaml").write_text(blocks()["yaml"])
    assert robaudit(site, folder, "profile", "validate", "noisy.yaml").returncode == 0
    told = robaudit(site, folder, "explain", "mi-fgsm+noise")
    assert told.returncode == 0
    assert "Gaussian noise is added" in told.stdout
    assert "deviation = 0.05" in told.stdout
    (folder / "noisy.yaml").write_text(blocks()["yaml"].replace("deviation: 0.02", "deviation: 0"))
    refused = robaudit(site, folder, "profile", "validate", "noisy.yaml")
    assert refused.returncode == 2
    assert "attacks.0.noise.deviation: transform 'noise', parameter 'deviation'" in refused.stderr


@pytest.mark.parametrize(
    ("group", "id", "words"),
    [
        ("transforms", "di", "two installed packages offer a transform called 'di'"),
        ("transforms", "a+b", "has a plus sign in its id"),
        ("transforms", "eot", "has the name of a key that every attack of a profile has"),
        ("attacks", "noise", "is not a SlotAttack class"),
    ],
)
def test_a_broken_package_is_named(group: str, id: str, words: str, folder: Path, tmp_path: Path) -> None:  # noqa: F811
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (tmp_path / "other.py").write_text(blocks()["python"].replace('id = "noise"', f'id = "{id}"'))
    (info / "entry_points.txt").write_text(f"[robaudit.{group}]\nother = other:Noise\n")
    told = robaudit(tmp_path, folder, "explain")
    assert told.returncode == 2
    assert words in told.stderr
    assert len(told.stderr.splitlines()) == 1
