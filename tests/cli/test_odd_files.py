"""Files that are none, wherever a command reads one: a sentence at once, and exit code 2."""

from __future__ import annotations

import os

import numpy as np
import pytest
from command_line import refused
from model_files import linear_onnx

from robaudit.audit.stored.file import load_result
from robaudit.errors import UsageError

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NOT TESTED: no named pipes here")

SCAN = ("scan", "model.onnx", "--data", "data.npz", "--dry-run")
COMMANDS = {
    "model": ("scan", "FILE", "--dry-run"),
    "inspected model": ("inspect", "FILE"),
    "data": ("scan", "model.onnx", "--data", "FILE.csv", "--dry-run"),
    "packed data": ("scan", "model.onnx", "--data", "FILE.csv.gz", "--dry-run"),
    "arrays": ("scan", "model.onnx", "--data", "FILE.npz", "--dry-run"),
    "class names": (*SCAN, "--classes", "FILE"),
    "profile": (*SCAN, "--profile", "FILE.yaml"),
    "surrogate": (*SCAN, "--surrogate", "FILE"),
    "stand-in": (*SCAN, "--stand-in", "FILE"),
    "baseline": (*SCAN, "--baseline", "FILE"),
    "public key": (*SCAN, "--verify", "FILE"),
    "report": ("report", "FILE", "-o", "x.html"),
    "gate": ("gate", "FILE"),
    "diff": ("diff", "FILE", "FILE"),
    "replay": ("replay", "FILE"),
    "signed": ("verify", "FILE", "--key", "FILE"),
    "validated profile": ("profile", "validate", "FILE.yaml"),
    "shown profile": ("profile", "show", "FILE.yaml"),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    linear_onnx(tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 3, 4, 4), np.uint8), y=np.zeros(4, np.int64))
    return tmp_path


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("case", COMMANDS)
def test_what_is_no_file_is_refused_at_once(place, robaudit, case, kind):
    arguments = [word.replace("FILE", "odd") for word in COMMANDS[case]]
    name = next(word for word in arguments if word.startswith("odd"))
    if kind == "pipe":
        os.mkfifo(place / name)
    else:
        (place / name).symlink_to("/dev/zero")
    refused(robaudit(*arguments), "odd")


def test_a_result_is_a_file(place):
    os.mkfifo(place / "result.json")
    with pytest.raises(UsageError, match="named pipe"):
        load_result(place / "result.json")


LONG = "a" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("scan", f"{LONG}.onnx"),
        ("inspect", f"{LONG}.onnx"),
        ("report", LONG),
        ("gate", LONG),
        ("scan", "model.onnx", "--profile", f"{LONG}.yaml"),
        ("scan", "model.onnx", "--data", LONG),
        ("scan", "model.onnx", "-o", f"{LONG}.json"),
        ("scan", "model.onnx", "--run-dir", LONG),
        ("profile", "show", f"{LONG}.yaml"),
        ("scan", "model.onnx", "--input", "x=~nobody-is-called-so/a.npy", "--dry-run"),
        ("scan", "loop", "--dry-run"),
        ("scan", "model.onnx", "--data", "loop", "--dry-run"),
        ("scan", "model.onnx", "--data", "loop.csv", "--dry-run"),
        ("scan", "model.onnx", "--profile", "loop.yaml", "--dry-run"),
        ("report", "loop"),
    ],
)
def test_a_path_that_can_be_none_is_refused_in_a_sentence(place, robaudit, arguments):
    for name in ("loop", "loop.csv", "loop.yaml"):
        (place / name).symlink_to(name)
    outcome = robaudit(*arguments)
    refused(outcome)
    assert len(outcome.err) < 700


def test_which_settings_count_is_said(place, robaudit):
    (place / "robaudit.yaml").write_text("seed: 3\n")
    outcome = robaudit(*SCAN)
    assert outcome.code == 0, outcome.err
    assert outcome.err.splitlines()[-1] == f"settings from {place / 'robaudit.yaml'}"
    assert "settings from" not in robaudit(*SCAN, "--quiet").err
    (place / "robaudit.yaml").write_text("seed: 3\noutput: ../r.json\n")
    refused(robaudit(*SCAN), "line 2 of", "outside of the file's folder")
