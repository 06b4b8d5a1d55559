"""Flags of inputs and outputs as a user gives them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from model_files import FLOAT, weight, write_onnx
from onnx import TensorProto, helper
from quick_start import ran

from robaudit.audit.inspection.document import Inspection

NODE = helper.make_node


@pytest.fixture
def model(tmp_path) -> Path:
    """Two outputs, a state, and a rate."""
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((6, 8), np.float32), y=np.arange(6) % 3)
    return write_onnx(
        tmp_path / "m.onnx",
        [
            NODE("MatMul", ["x", "w"], ["z"]),
            NODE("Mul", ["z", "state"], ["scores"]),
            NODE("Neg", ["scores"], ["aux"]),
        ],
        ("N", 8),
        {"w": weight(3, 8)},
        outputs={"scores": (("N", 3), FLOAT), "aux": (("N", 3), FLOAT)},
        extra_inputs={"state": (("N", 3), FLOAT), "sr": ((), TensorProto.INT64)},
    )


def run(model: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return ran([arguments[0], model, *arguments[1:], "--data", model.parent / "d.npz"], cwd=model.parent)


def test_inspect_in_json_is_the_documented_structure(model):
    told = run(model, "inspect", "--input", "state=2", "--input", "sr=16000", "--format", "json")
    assert (told.returncode, told.stderr) == (0, "")
    found = Inspection.model_validate(json.loads(told.stdout))
    assert {i.name: i.value for i in found.inputs} == {"x": None, "state": "2", "sr": "16000"}
    assert {o.name: o.reason for o in found.outputs} == {
        "scores": "the others are auxiliary by their names",
        "aux": None,
    }


def test_scan_takes_the_named_output(model):
    told = run(
        model,
        "scan",
        "--dry-run",
        "--input",
        "state=2",
        "--input",
        "sr=16000",
        "--output-name",
        "aux",
        "--device",
        "cpu",
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "output   aux: named by the user" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--input", "state=1", "--input", "sr=1", "--output-name", "score"), "did you mean 'scores'"),
        (("--input", "state"), "NAME=VALUE"),
    ],
)
def test_what_does_not_fit_is_one_sentence(model, arguments, words):
    told = run(model, "scan", "--dry-run", *arguments)
    assert told.returncode == 2
    assert told.stdout == ""
    assert len(told.stderr.splitlines()) == 1
    assert words in told.stderr
