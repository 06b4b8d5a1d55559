"""Answers that are off by one class: a background class, or labels that start at 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from run_kit import CLASSES, make_data, make_onnx, make_profile, make_request, run_here

from robaudit.checks.clean import Clean, best_split


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


def test_the_same_answer_to_everything_is_said() -> None:
    found = {"drawn": 20, "classes": 2, "declared": None, "stability": False, "correct": 12, "same": 0}
    finding = Clean().verdict({**found, "largest_label": 12, "turned": ["below:0", 8], "split": ["above:0.5", 12]})
    assert finding.status == "warn"
    assert "every one of 20 samples gets the same answer, and 8 or more are of another class" in finding.message
    finding = Clean().verdict({**found, "largest_label": 12, "turned": ["below:0", 8], "split": ["above:0.5", 20]})
    assert finding.status == "fail"
    assert "20 of 20 answers would be right with --decision above:0.5" in finding.message
    assert Clean().verdict({**found, "correct": 18, "largest_label": 18}).status == "pass"  # two samples tell nothing


@pytest.mark.parametrize(
    ("numbers", "labels", "expected"),
    [
        ([0.1, 0.2, 0.6, 0.9], [0, 0, 1, 1], ("above:0.4", 4)),
        ([0.1, 0.2, 0.6, 0.9], [1, 1, 0, 0], ("below:0.4", 4)),
        ([10.0, 20.0, 60.0, np.nan], [0, 0, 1, 1], ("above:40", 3)),
        ([0.50000001, 0.50000002], [0, 1], ("above:0.500000015", 2)),
        ([1.0, 1.0], [0, 1], ("", 0)),
        ([], [], ("", 0)),
    ],
)
def test_the_threshold_that_makes_most_labels_right(numbers, labels, expected) -> None:
    assert best_split(numbers, labels) == expected
