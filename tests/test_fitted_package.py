"""The documented example of a fitted attack from another package, installed and run exactly as it stands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from plugin_kit import blocks, install, with_package
from run_kit import make_data, make_onnx, predict, records

PAGE = "adding-a-fitted-attack"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(PAGE, "stripes", tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_onnx(tmp_path / "model.onnx")
    make_data(tmp_path / "model.data.npz", 40, wrong=0)
    (tmp_path / "mine.yaml").write_text(blocks(PAGE)["yaml"])
    return tmp_path


@pytest.mark.slow
def test_the_documented_attack_is_fitted_and_judged(site: Path, folder: Path) -> None:
    flags = ("--norm", "linf", "--eps", "0.1", "--no-progress", "--samples", "20", "--run-dir", "run")
    meaning = ("--mean", "0", "--std", "1", "--layout", "nchw", "--domain", "0,1")
    command = ("scan", "model.onnx", "--profile", "mine.yaml", *flags, *meaning)
    planned = with_package(site, folder, *command, "--dry-run")
    assert "once, to fit on 20 other samples: 200 queries" in planned.stdout
    done = with_package(site, folder, *command)
    assert done.returncode == 0, done.stderr + done.stdout
    result = json.loads((folder / "run" / "result.json").read_text())
    (attack,), (fit,) = result["attacks"], result["fits"]
    assert (attack["id"], attack["status"], attack["access"]) == ("stripes", "done", "scores")
    assert (attack["attempted"], attack["queries"], attack["forwards"]) == (20, 20, 0)
    assert (fit["samples"], fit["rounds"], fit["queries"], fit["forwards"]) == (20, 10, 200, 0)
    with np.load(folder / "run" / "evidence.npz") as kept, np.load(folder / "model.data.npz") as data:
        stripes = kept["artefact/stripes/stripes"]
        answers, y = predict((data["x"] + stripes).clip(0, 1)), data["y"]
    assert np.abs(stripes) == pytest.approx(np.full((1, 6, 6), 0.1))
    assert (stripes == stripes[:, :1]).all()
    fooled = [s["index"] for s in result["samples"] if answers[s["index"]] != y[s["index"]]]
    assert fit["fooled"] == fooled != []
    assert len(records(folder / "run", "fit")) == 10
    assert "stripes" in with_package(site, folder, "replay", "run").stdout


def test_explain_knows_it(site: Path, folder: Path) -> None:
    told = with_package(site, folder, "explain", "stripes").stdout
    assert "One pattern of vertical stripes" in told
    assert "fitted on other samples first" in told
    assert "tries = 20" in told
