"""Answers that are off by one class: a background class, or labels that start at 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from run_kit import CLASSES, make_data, make_onnx, make_profile, make_request, run_here

from robaudit.checks.clean import Clean


def with_background(path: Path) -> Path:
    """The kit's network with one more class, which comes first and is never answered."""
    model = onnx.load(make_onnx(path))
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.int64([0, 1, 0, 0]), "pads"))
    graph.initializer.append(numpy_helper.from_array(np.float32(-1e3), "low"))
    graph.node.append(helper.make_node("Pad", ["logits", "pads", "low"], ["all"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("all", TensorProto.FLOAT, ["N", CLASSES + 1]))
    onnx.save(model, path)
    return path


def test_a_background_class_is_hinted_at(tmp_path):
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: fgsm}\n", checks="[clean]")
    data = make_data(tmp_path / "d.npz", 16, wrong=0)
    result = run_here(make_request(with_background(tmp_path / "m.onnx"), data, profile), tmp_path / "run")
    (check,) = result.checks
    assert check.status == "fail"
    assert "16 of 16 answers are the class after the label" in check.message
    assert "background class" in check.message


FOUND = {"drawn": 20, "classes": 5, "declared": None, "stability": False}


@pytest.mark.parametrize(
    ("correct", "shifts", "words"),
    [
        (0, [0, 18], "the class before the label: do the labels start at 1?"),
        (2, [15, 1], "the class after the label"),
        (12, [8, 0], None),
        (9, [0, 10], None),
    ],
)
def test_most_answers_must_be_off(correct, shifts, words):
    finding = Clean().verdict({**FOUND, "correct": correct, "shifts": shifts})
    assert finding.status == ("pass" if words is None else "fail")
    assert words is None or words in finding.message
