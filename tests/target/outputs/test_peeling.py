"""Softmax, sigmoid and the like at the end of a file: the twin leaves them out, the judge never does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from endings import NODE, PROBABILITIES, W, ending, expected, gradient_is_of_the_logits, ready
from model_files import FLOAT, linear_onnx, weight
from target_kit import complete

from robaudit.target.load import open_target

ENDS = {
    "softmax": [NODE("Softmax", ["z"], ["y"])],
    "softmax, axis 1": [NODE("Softmax", ["z"], ["y"], axis=1)],
    "softmax, identity": [NODE("Softmax", ["z"], ["a"]), NODE("Identity", ["a"], ["y"])],
    "softmax, clip": [NODE("Softmax", ["z"], ["a"]), NODE("Clip", ["a", "low", "high"], ["y"])],
    "log softmax": [NODE("LogSoftmax", ["z"], ["y"])],
    "log of softmax": [NODE("Softmax", ["z"], ["a"]), NODE("Log", ["a"], ["y"])],
    "spelled out": [
        NODE("ReduceMax", ["z"], ["m"], axes=[1]),
        NODE("Sub", ["z", "m"], ["s"]),
        NODE("Exp", ["s"], ["e"]),
        NODE("ReduceSum", ["e", "axis"], ["t"]),
        NODE("Div", ["e", "t"], ["y"]),
    ],
    "sigmoids": [NODE("Sigmoid", ["z"], ["y"])],
    "softmax, mean of one": [
        NODE("Softmax", ["z"], ["a"]),
        NODE("Reshape", ["a", "shape"], ["b"]),
        NODE("ReduceMean", ["b"], ["y"], axes=[2, 3], keepdims=0),
    ],
    "softmax, reshaped": [
        NODE("Softmax", ["z"], ["a"]),
        NODE("Reshape", ["a", "shape"], ["b"]),
        NODE("Flatten", ["b"], ["y"]),
    ],
}
CONSTANTS = {
    "low": np.float32(1e-7),
    "high": np.float32(1 - 1e-7),
    "axis": np.int64([1]),
    "shape": np.int64([-1, 3, 1, 1]),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_end_is_left_out_of_the_twin_and_never_of_the_judge(tmp_path, how):
    target, u = ready(ending(tmp_path / "m.onnx", ENDS[how], PROBABILITIES, CONSTANTS))
    assert target.head.peeled
    gradient_is_of_the_logits(target, u)
    session = target.file.session.runtime.run(None, {"x": u.numpy()})[0]
    np.testing.assert_allclose(target.scores(u).numpy(), session, rtol=1e-6)
    parity = target.parity(u)
    assert (parity.argmax_agreement, parity.relative_difference < 1e-5) == (1.0, True)


def test_a_large_margin_behind_a_softmax_still_has_a_gradient(tmp_path):
    u = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0]])
    w = W * 200 / np.ptp(expected(u))
    target, _ = ready(ending(tmp_path / "m.onnx", ENDS["softmax"], PROBABILITIES, w=w.astype(np.float32)))
    scores = target.scores(u)
    assert float(scores.amax()) == 1.0  # the judge sees the saturated softmax
    assert float(target.logits(u).amax() - target.logits(u).amin()) == pytest.approx(200, rel=1e-3)
    leaf = u.clone().requires_grad_()
    label = scores.argmax(1)
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(target.logits(leaf), 2 - label), leaf)
    assert float(gradient.abs().amax()) > 1


COLUMN = {
    "gather": [NODE("Gather", ["p", "two"], ["y"], axis=1)],
    "gather from the end": [NODE("Gather", ["p", "last"], ["y"], axis=-1)],
    "slice": [NODE("Slice", ["p", "from", "to", "axis"], ["y"])],
    "slice to the end": [NODE("Slice", ["p", "last_", "end", "axis"], ["a"]), NODE("Squeeze", ["a", "axis"], ["y"])],
}
PICKS = {
    "two": np.int64(2),
    "last": np.int64(-1),
    "from": np.int64([2]),
    "to": np.int64([3]),
    "last_": np.int64([-1]),
    "end": np.int64([2**63 - 1]),
    "axis": np.int64([1]),
}


@pytest.mark.parametrize("how", COLUMN)
@pytest.mark.parametrize("kind", ["Softmax", "Sigmoid"])
def test_one_probability_taken_out_of_several(tmp_path, kind, how):
    nodes = [NODE(kind, ["z"], ["p"]), *COLUMN[how]]
    outputs = {"y": (("N", 1) if how == "slice" else ("N",), FLOAT)}
    target, u = ready(ending(tmp_path / "m.onnx", nodes, outputs, PICKS, w=W * 300))  # it rounds to 0 or 1
    assert (target.num_classes, target.head.kind, target.head.peeled) == (2, "probabilities", True)
    z = torch.from_numpy(expected(u)) * 300
    rest = z[:, :2].logsumexp(1) if kind == "Softmax" else 0
    lead = target.logits(u) @ torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(lead, z[:, 2] - rest, rtol=1e-3, atol=1e-2)
    assert target.labels(u).tolist() == (lead > 0).long().tolist()
    leaf = u.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((target.logits(leaf) @ torch.tensor([-1.0, 1.0])).sum(), leaf)
    assert float(gradient.abs().amax(1).amin()) > 1


def test_a_column_of_a_softmax_over_something_else_is_not_left_out(tmp_path):
    nodes = [
        NODE("Softmax", ["z"], ["p"], axis=0),  # over the batch
        NODE("Gather", ["p", "two"], ["y"], axis=1),
    ]
    target, _ = ready(ending(tmp_path / "m.onnx", nodes, {"y": (("N",), FLOAT)}, PICKS))
    assert not target.head.peeled


def test_a_softmax_over_something_else_than_classes_is_not_left_out(tmp_path):
    nodes = [
        NODE("Reshape", ["z", "shape"], ["a"]),
        NODE("Softmax", ["a"], ["b"], axis=2),  # over one number: always 1
        NODE("Flatten", ["b"], ["c"]),
        NODE("Mul", ["c", "z"], ["y"]),
    ]
    target, u = ready(ending(tmp_path / "m.onnx", nodes, PROBABILITIES, CONSTANTS))
    assert not target.head.peeled
    gradient_is_of_the_logits(target, u)
    wrong = [
        NODE("Reshape", ["z", "shape"], ["a"]),
        NODE("Softmax", ["a"], ["b"], axis=2),
        NODE("Flatten", ["b"], ["y"]),
    ]
    target, u = ready(ending(tmp_path / "n.onnx", wrong, PROBABILITIES, CONSTANTS))
    assert not target.head.peeled
    assert target.parity(u).relative_difference < 1e-5


def test_a_mean_of_several_probabilities_is_not_left_out(tmp_path):
    nodes = [
        NODE("Reshape", ["z", "pairs"], ["a"]),
        NODE("Softmax", ["a"], ["b"], axis=1),
        NODE("ReduceMean", ["b"], ["y"], axes=[2], keepdims=0),
    ]
    w = weight(6, 8)
    target, u = ready(ending(tmp_path / "m.onnx", nodes, PROBABILITIES, {"pairs": np.int64([-1, 3, 2])}, w=w))
    assert not target.head.peeled
    assert target.gradient.available
    assert target.parity(u).relative_difference < 1e-5


def test_a_clip_that_changes_probabilities_stays(tmp_path):
    nodes = [NODE("Softmax", ["z"], ["a"]), NODE("Clip", ["a", "low", "high"], ["y"])]
    bounds = {"low": np.float32(0.2), "high": np.float32(0.9)}
    target, u = ready(ending(tmp_path / "m.onnx", nodes, PROBABILITIES, bounds))
    assert not target.head.peeled
    assert target.parity(u).relative_difference < 1e-5


def test_a_twin_that_contradicts_its_peeled_end_is_not_peeled(tmp_path, monkeypatch):
    path = linear_onnx(tmp_path / "m.onnx", end=["Softmax"])
    monkeypatch.setattr("robaudit.target.reading.proof._share", lambda *_: 0.0)
    target = open_target(path, device="cpu")
    assert not target.head.peeled
    u = torch.rand(4, *target.spec.shape)
    target = complete(target, u)
    torch.testing.assert_close(target.logits(u).softmax(1), target.scores(u), rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_zero_everywhere_is_told(tmp_path):
    nodes = [
        NODE("Mul", ["z", "zero"], ["flat"]),
        NODE("TopK", ["z", "k"], ["sorted", "places"], name="step"),
        NODE("Mul", ["places", "one"], ["same"]),  # of what is computed with an index there is no smooth backward
        NODE("Cast", ["same"], ["steps"], to=FLOAT),
        NODE("Add", ["flat", "steps"], ["y"]),
    ]
    given = {"zero": np.float32(0), "k": np.int64([3]), "one": np.int64(1)}
    target, _ = ready(ending(tmp_path / "m.onnx", nodes, PROBABILITIES, given))
    assert not target.gradient.available
    assert str(target.gradient.reason).startswith("the gradient is zero everywhere (TopK (step)")
    assert target.gradient.method == "none"
