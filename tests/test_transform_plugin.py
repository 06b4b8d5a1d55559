"""The documented example of a transform from another package, installed and run exactly as it stands in the docs."""

from __future__ import annotations

import json
import subprocess
import types
from pathlib import Path

import pytest
from plugin_kit import blocks, install, with_package
from test_plugin import folder  # noqa: F401  # a fixture

from robaudit import extensions
from robaudit.attacks import registry
from robaudit.attacks.transforms.input_diversity import InputDiversity
from robaudit.errors import UsageError

PAGE = "adding-a-transform"
MEANING = ("--mean", "0", "--std", "1", "--layout", "nchw", "--domain", "0,1")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(PAGE, "noisy_gradients", tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site"))


def scan(site: Path, folder: Path, run: str, batch: int) -> subprocess.CompletedProcess[str]:  # noqa: F811
    flags = ("--norm", "linf", "--eps", "0.05", "--no-progress", "--run-dir", run, "--batch-size", str(batch))
    gate = ("--gate", "attack.mi-fgsm+noise.success_rate <= 0.999")
    return with_package(site, folder, "scan", "model.onnx", "--profile", "noisy.yaml", *flags, *MEANING, *gate)


@pytest.mark.slow
def test_an_audit_with_it_runs_resumes_and_reports(site: Path, folder: Path) -> None:  # noqa: F811
    (folder / "noisy.yaml").write_text(blocks(PAGE)["yaml"])
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
    assert "another audit" in stale.stderr


def test_explain_and_profiles_know_it(site: Path, folder: Path) -> None:  # noqa: F811
    (folder / "noisy.yaml").write_text(blocks(PAGE)["yaml"])
    assert with_package(site, folder, "profile", "validate", "noisy.yaml").returncode == 0
    told = with_package(site, folder, "explain", "mi-fgsm+noise")
    assert told.returncode == 0
    assert "Gaussian noise is added" in told.stdout
    assert "deviation = 0.05" in told.stdout
    (folder / "noisy.yaml").write_text(blocks(PAGE)["yaml"].replace("deviation: 0.02", "deviation: 0"))
    refused = with_package(site, folder, "profile", "validate", "noisy.yaml")
    assert refused.returncode == 2
    assert "attacks.0.noise.deviation: transform 'noise', parameter 'deviation'" in refused.stderr


@pytest.mark.parametrize(
    ("base", "id", "words"),
    [
        (registry.Transform, "di", "two installed packages offer a transform called 'di'"),
        (registry.Transform, "a+b", "has a plus sign in its id"),
        (registry.Transform, "eot", "has the name of a key that every attack of a profile has"),
        (object, "noise", "is not a Transform class"),
    ],
)
def test_a_broken_package_is_named(base: type, id: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = types.SimpleNamespace(name="other", value="other:Other", load=lambda: type("Other", (base,), {"id": id}))
    monkeypatch.setattr(extensions, "entry_points", lambda group: [entry] if group == "robaudit.transforms" else [])
    with pytest.raises(UsageError, match=words.replace("+", r"\+")):
        registry.transform_classes.__wrapped__()


def test_ours_are_found_without_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "entry_points", lambda group: [])
    assert registry.transform_classes.__wrapped__()["di"] is InputDiversity


def test_a_short_name_belongs_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    other = type("Other", (registry.SlotAttack,), {"id": "mi"})
    entry = types.SimpleNamespace(name="other", value="other:Other", load=lambda: other)
    monkeypatch.setattr(extensions, "entry_points", lambda group: [entry])
    with pytest.raises(UsageError, match="'mi', which is short for transfer-mi-fgsm"):
        registry.attack_classes.__wrapped__()
