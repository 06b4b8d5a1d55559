"""The command that a report tells reproduces the audit: as it is pasted, wherever model and settings lie."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import ROBAUDIT
from model_files import linear_onnx, weight

from robaudit.audit.stored.file import load_result
from robaudit.report.html import render as html
from robaudit.report.markdown import render as markdown

pytestmark = pytest.mark.slow


def lines(place: Path) -> dict[str, Path]:
    """A model, its data and a profile in a folder that shells would split, outside of the folder of the audit."""
    there = place / "my  models (v1) $HOME"
    there.mkdir()
    linear_onnx(there / "it's a model.onnx", output="logits")
    x = np.random.default_rng(0).random((12, 3, 4, 4), dtype=np.float32)
    np.savez(there / "data set.npz", x=x, y=(x.reshape(12, -1) @ weight(5, 48)).argmax(1))
    profile = {"name": "p", "attacks": [{"id": "fgsm"}], "checks": {"clean": {}}}
    (there / "p.yaml").write_text(yaml.safe_dump(profile))
    (there / "robaudit.yaml").write_text("samples: 4\ninput: {mean: 0, std: 1, layout: nchw}\n")
    return {name: there / name for name in ("it's a model.onnx", "data set.npz", "p.yaml")}


def run(command: list[str] | str, where: Path, **more: str) -> subprocess.CompletedProcess[str]:
    known = {k: v for k, v in os.environ.items() if not k.startswith("ROBAUDIT_")}
    path = f"{Path(ROBAUDIT).parent}{os.pathsep}{known['PATH']}"
    return subprocess.run(
        command,
        cwd=where,
        env={**known, "PATH": path, "OMP_NUM_THREADS": "1", **more},
        shell=isinstance(command, str),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def test_the_command_on_the_terminal_can_be_pasted_anywhere(tmp_path: Path) -> None:
    model, data, profile = lines(tmp_path).values()
    work, other = tmp_path / "work", tmp_path / "other"
    work.mkdir()
    other.mkdir()
    asked = [ROBAUDIT, "scan", str(model), f"--data={data}", "--profile", os.path.relpath(profile, work)]
    before = datetime.now().astimezone() - timedelta(milliseconds=1)
    first = run([*asked, "--run-dir", "first", "--no-progress"], work, ROBAUDIT_EPS="3/255", ROBAUDIT_NORM="l2")
    assert first.returncode == 0, first.stderr
    told = first.stdout.split("Reproduce\n")[1].splitlines()[0].strip()
    assert told.startswith(f"cd {work} && ROBAUDIT_EPS=3/255 ROBAUDIT_NORM=l2 robaudit scan ")

    again = run(told.replace("--run-dir first", "--run-dir second"), other)
    assert again.returncode == 0, again.stderr
    one, two = load_result(work / "first" / "result.json"), load_result(work / "second" / "result.json")
    assert (one.run.id, one.samples, one.threat_model) == (two.run.id, two.samples, two.threat_model)
    assert one.threat_model.eps_text == "3/255"
    shown = run([ROBAUDIT, "report", str(work / "first")], other)
    assert told in shown.stdout

    # reports that leave the machine name no folder of it, and say what stands for a path
    assert one.run.elsewhere == ("it's a model.onnx", "data set.npz", "p.yaml")
    for text in (one.to_json(), markdown(one), html(one)):
        assert str(tmp_path) not in text
    assert "Outside of it lay it's a model.onnx, data set.npz, p.yaml" in html(one).replace("&#39;", "'")
    assert json.loads(one.to_json())["run"]["command"].startswith("ROBAUDIT_EPS=3/255 ROBAUDIT_NORM=l2 robaudit scan")

    # it began when it was started, not when the model was loaded
    began, ended = (datetime.fromisoformat(text) for text in (one.run.started, one.run.finished))
    assert before <= began
    assert (ended - began).total_seconds() >= one.run.seconds - 0.01
