"""The documented example of an attack from another package, installed and run exactly as it stands in the docs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from plugin_kit import with_package

DOCS = Path(__file__).parents[1] / "docs" / "adding-an-attack.md"
SHAPE = (1, 4, 4)
CLASSES = 3
SAMPLES = 12
QUERIES = 200


def blocks() -> dict[str, str]:
    return dict(re.findall(r"```(\w+)\n(.*?)```", DOCS.read_text("utf-8"), re.S))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH into which the example was installed by pip, without a network."""
    source, target = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(blocks()["toml"])
    (source / "pixel_walk.py").write_text(blocks()["python"])
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, capture_output=True, text=True)
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear classifier, its data and the documented profile."""
    folder = tmp_path_factory.mktemp("audit")
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(16, CLASSES)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(-weight.sum(0) / 2, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    x = rng.uniform(0.1, 0.9, size=(SAMPLES, *SHAPE)).astype(np.float32)
    y = ((x.reshape(SAMPLES, -1) - 0.5) @ weight).argmax(1)
    np.savez(folder / "model.data.npz", x=x, y=y)
    # The example alone: a linear model leaves nothing standing after the documented apgd-ce.
    (folder / "mine.yaml").write_text(blocks()["yaml"].replace("  - id: apgd-ce\n", ""))
    return folder


def robaudit(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return with_package(site, folder, *arguments)


def scan(site: Path, folder: Path, run: str, batch: int) -> subprocess.CompletedProcess[str]:
    flags = ("--norm", "linf", "--eps", "0.08", "--no-progress", "--run-dir", run, "--batch-size", str(batch))
    meaning = ("--mean", "0", "--std", "1", "--layout", "nchw", "--domain", "0,1")
    return robaudit(site, folder, "scan", "model.onnx", "--profile", "mine.yaml", *flags, *meaning)


def test_example_is_at_most_sixty_lines() -> None:
    assert sum(len(blocks()[kind].splitlines()) for kind in ("toml", "python")) <= 60


@pytest.mark.slow
def test_engine_does_the_rest(site: Path, folder: Path) -> None:
    done = scan(site, folder, "whole", 5)
    assert done.returncode == 0, done.stderr + done.stdout
    result = json.loads((folder / "whole" / "result.json").read_text())
    (attack,) = result["attacks"]
    assert (attack["id"], attack["status"], attack["access"]) == ("pixel-walk", "done", "scores")
    assert attack["parameters"] == {"queries": QUERIES}
    assert attack["attempted"] == SAMPLES
    assert 0 < attack["broken"] < SAMPLES  # otherwise budget and verification would be tested on nothing

    units = [r for r in _journal(folder / "whole") if r["kind"] == "unit"]
    assert len(units) == SAMPLES
    assert all(u["queries"] <= QUERIES for u in units)  # budget
    assert {u["queries"] for u in units if not u["success"]} == {QUERIES}
    assert all(u["judged"] >= 1 and u["distance"] <= 0.08 + 1e-6 for u in units if u["success"])  # verification
    assert next(c for c in result["checks"] if c["id"] == "evidence")["status"] == "pass"
    assert result["evidence"]["count"] == attack["broken"]
    assert "pixel-walk" in done.stdout  # report
    assert {s["broken_by"] for s in result["samples"]} == {"pixel-walk", None}

    _leave_half(folder / "whole", folder / "half")
    resumed = scan(site, folder, "half", 2)  # resume, at another batch size
    assert resumed.returncode == 0, resumed.stderr
    again = json.loads((folder / "half" / "result.json").read_text())
    assert again["run"]["resumed"]
    assert again["samples"] == result["samples"]
    assert again["attacks"][0]["queries"] == attack["queries"]


def _journal(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


def _leave_half(whole: Path, half: Path) -> None:
    """A run directory as a kill in the middle of the attack leaves it."""
    half.mkdir()
    for name in ("robaudit-run.json", "points.bin"):
        (half / name).write_bytes((whole / name).read_bytes())
    lines = (whole / "journal.jsonl").read_text().splitlines(keepends=True)
    units = [i for i, line in enumerate(lines) if json.loads(line)["kind"] == "unit"]
    cut = units[len(units) // 2]
    (half / "journal.jsonl").write_text("".join(lines[:cut]) + lines[cut][:40])


def test_explain_knows_it(site: Path, folder: Path) -> None:
    told = robaudit(site, folder, "explain", "pixel-walk")
    assert told.returncode == 0
    assert "Move one random feature" in told.stdout
    assert "queries = 500" in told.stdout


def test_documented_profile_is_valid(site: Path, folder: Path) -> None:
    (folder / "documented.yaml").write_text(blocks()["yaml"])
    assert robaudit(site, folder, "profile", "validate", "documented.yaml").returncode == 0


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("import nowhere", "cannot be imported"),
        ("class PixelWalk: pass", "is not a SlotAttack class"),
        (None, "two installed packages"),
    ],
)
def test_a_broken_package_is_named(module: str | None, words: str, site: Path, folder: Path, tmp_path: Path) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    if module is None:
        module = blocks()["python"].replace('"pixel-walk"', '"pgd"')
    (tmp_path / "other.py").write_text(module)
    (info / "entry_points.txt").write_text("[robaudit.attacks]\nother = other:PixelWalk\n")
    told = robaudit(tmp_path, folder, "explain")
    assert told.returncode == 2
    assert words in told.stderr
    assert len(told.stderr.splitlines()) == 1
