"""Labels in another order than the outputs: off by one class, or with classes that have changed places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from run_kit import CLASSES, make_data, make_onnx, make_profile, make_request, run_here

from robaudit.checks.clean import Clean, best_split, moved


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


@pytest.mark.parametrize(
    ("answers", "labels", "expected"),
    [
        ([2, 2, 2, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 2, 2, 2], [[0, 2], [2, 0]]),  # red, green, blue by name
        ([1] * 5 + [2] * 5 + [0, 0, 0, 0, 1], [0] * 5 + [1] * 5 + [2] * 5, [[0, 1], [1, 2], [2, 0]]),
        ([1, 1, 0, 0], [0, 0, 1, 1], []),  # two samples of a class may both be wrong
        ([1] * 5 + [0, 0, 0, 1, 1], [0] * 5 + [1] * 5, []),  # confused, both ways, and not exchanged
        ([1] * 5 + [1] * 5, [0] * 5 + [1] * 5, []),  # one class is never answered
        ([1] * 5 + [2] * 5, [0] * 5 + [1] * 5, []),  # nothing shows that 2 is answered 0
        ([], [], []),
    ],
)
def test_classes_that_have_changed_places_are_found(answers, labels, expected) -> None:
    assert moved(answers, labels) == expected


def test_labels_in_another_order_than_the_outputs_withhold_the_figures(tmp_path) -> None:
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: fgsm}\n", checks="[clean]")
    data = make_data(tmp_path / "d.npz", 60, wrong=0)
    with np.load(data) as arrays:
        x, y = arrays["x"], arrays["y"]
    two = [int(c) for c in np.argsort(-np.bincount(y, minlength=CLASSES))[:2]]
    assert np.bincount(y, minlength=CLASSES)[two].min() >= 3
    np.savez(data, x=x, y=np.where(y == two[0], two[1], np.where(y == two[1], two[0], y)))
    result = run_here(make_request(make_onnx(tmp_path / "m.onnx"), data, profile), tmp_path / "run")
    (check,) = result.checks
    assert (check.status, result.verdict.exit_code) == ("fail", 3)
    low, high = sorted(two)
    assert f"(number {low} is answered {high}, {high} is answered {low})" in check.message
    assert "--classes" in check.message
    found = {**FOUND, "correct": 8, "shifts": [0, 0], "moved": [[0, 1], [1, 0]]}
    assert Clean().verdict(found).status == "fail"
    assert Clean().verdict({**found, "declared": 0.4}).status == "pass"  # the model is known to err so
