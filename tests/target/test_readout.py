"""Files of every ending: what is judged, what the twin returns, and that both say the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from model_files import FLOAT, linear_onnx, weight, write_onnx
from onnx import TensorProto, helper

from robaudit.errors import UsageError
from robaudit.target.load import Interface, load_target
from robaudit.target.target import Target

NODE = helper.make_node
STRING, INT64 = TensorProto.STRING, TensorProto.INT64
W = weight(3, 8)


def ready(path: Path, **interface: object) -> tuple[Target, torch.Tensor]:
    target = load_target(path, device="cpu", interface=Interface(**interface))
    u = torch.rand(8, *target.spec.shape, generator=torch.Generator().manual_seed(1)).to(target.dtype)
    target.measure(u)
    target.calibrate()
    return target, u


def expected(u: torch.Tensor, w: np.ndarray = W) -> np.ndarray:
    return u.numpy().reshape(len(u), -1) @ w


def gradient_is_of_the_logits(target: Target, u: torch.Tensor, w: np.ndarray = W) -> None:
    """The twin's logits are those of the linear layer, whatever the file does to them."""
    leaf = u.clone().requires_grad_()
    logits = target.logits(leaf)
    found = logits - logits.mean(1, keepdim=True)
    wanted = torch.from_numpy(expected(u, w))
    torch.testing.assert_close(found, wanted - wanted.mean(1, keepdim=True), rtol=1e-4, atol=1e-4)
    (gradient,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), leaf)
    torch.testing.assert_close(gradient.flatten(1)[0], torch.from_numpy(w[:, 1] - w[:, 0]), rtol=1e-4, atol=1e-4)


def ending(
    path: Path,
    nodes: list[onnx.NodeProto],
    outputs: Mapping[str, tuple[object, int]],
    constants: Mapping[str, np.ndarray] | None = None,
    w: np.ndarray = W,
) -> Path:
    """x [N, 8] through a matrix to ``z`` [N, 3], then the nodes."""
    head = [NODE("Flatten", ["x"], ["f"]), NODE("MatMul", ["f", "w"], ["z"])]
    held = {"w": w, **(constants or {})}
    return write_onnx(path, head + nodes, ("N", 8), held, outputs=outputs, domains={"ai.onnx.ml": 3})


PROBABILITIES = {"y": (("N", 3), FLOAT)}
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
    session = target.file.session.run(None, {"x": u.numpy()})[0]
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


ML = {"domain": "ai.onnx.ml"}
NAMES = {"names": np.array(["ape", "bee", "cat"], dtype=object)}
LABELS: dict[str, tuple[list[onnx.NodeProto], dict[str, tuple[object, int]], dict[str, np.ndarray]]] = {
    "argmax": ([NODE("ArgMax", ["z"], ["y"], axis=1, keepdims=0)], {"y": (("N",), INT64)}, {}),
    "argmax, kept": ([NODE("ArgMax", ["z"], ["y"], axis=-1)], {"y": (("N", 1), INT64)}, {}),
    "argmax of softmax": (
        [NODE("Softmax", ["z"], ["p"]), NODE("ArgMax", ["p"], ["y"], axis=1, keepdims=0)],
        {"y": (("N",), INT64)},
        {},
    ),
    "as int32": (
        [NODE("ArgMax", ["z"], ["a"], axis=1, keepdims=0), NODE("Cast", ["a"], ["y"], to=TensorProto.INT32)],
        {"y": (("N",), TensorProto.INT32)},
        {},
    ),
    "names": (
        [
            NODE("ArgMax", ["z"], ["a"], axis=1, keepdims=0),
            NODE("LabelEncoder", ["a"], ["y"], keys_int64s=[0, 1, 2], values_strings=["ape", "bee", "cat"], **ML),
        ],
        {"y": (("N",), STRING)},
        {},
    ),
    "extracted numbers": (
        [
            NODE("ArgMax", ["z"], ["a"], axis=1),
            NODE("ArrayFeatureExtractor", ["values", "a"], ["e"], **ML),
            NODE("Reshape", ["e", "flat"], ["y"]),
        ],
        {"y": (("N",), INT64)},
        {"values": np.int64([10, 20, 30]), "flat": np.int64([-1])},
    ),
    "top 2": (
        [NODE("Softmax", ["z"], ["p"]), NODE("TopK", ["p", "k"], ["v", "i"], axis=1)],
        {"v": (("N", 2), FLOAT), "i": (("N", 2), INT64)},
        {"k": np.int64([2])},
    ),
}


@pytest.mark.parametrize("how", LABELS)
def test_files_that_return_labels(tmp_path, how):
    nodes, outputs, constants = LABELS[how]
    target, u = ready(ending(tmp_path / "m.onnx", nodes, outputs, constants))
    assert (target.head.kind, target.num_classes) == ("labels", 3)
    assert target.no_scores == "the file returns labels only"
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    assert set(target.scores(u).unique().tolist()) == {0.0, 1.0}
    assert target.gradient.available
    assert target.batch_invariant
    gradient_is_of_the_logits(target, u)
    parity = target.parity(u)
    assert (parity.argmax_agreement, parity.relative_difference) == (1.0, 0.0)
    if how in ("names", "extracted numbers"):
        assert target.class_names == (["ape", "bee", "cat"] if how == "names" else ["10", "20", "30"])


@pytest.mark.parametrize("op", ["Greater", "Less"])
@pytest.mark.parametrize("squashed", [True, False])
def test_one_number_against_a_threshold_is_a_label_of_two_classes(tmp_path, op, squashed):
    nodes = [
        NODE("MatMul", ["z", "v"], ["one"]),
        *([NODE("Sigmoid", ["one"], ["p"])] if squashed else [NODE("Identity", ["one"], ["p"])]),
        NODE(op, ["p", "t"], ["above"]),
        NODE("Cast", ["above"], ["y"], to=INT64),
    ]
    constants = {"v": np.float32([[1], [-1], [0]]), "t": np.float32(0.6 if squashed else 0.4)}
    target, u = ready(ending(tmp_path / "m.onnx", nodes, {"y": (("N", 1), INT64)}, constants))
    assert (target.head.kind, target.num_classes) == ("labels", 2)
    one = expected(u)[:, 0] - expected(u)[:, 1]
    above = one > (np.log(0.6 / 0.4) if squashed else 0.4)
    assert 0 < above.sum() < len(u)
    assert target.labels(u).tolist() == (above if op == "Greater" else ~above).astype(int).tolist()
    assert target.parity(u).argmax_agreement == 1.0
    leaf = u.clone().requires_grad_()
    logits = target.logits(leaf)
    assert logits.argmax(1).tolist() == target.labels(u).tolist()
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), leaf)
    sign = 1 if op == "Greater" else -1
    np.testing.assert_allclose(gradient.flatten(1)[0], sign * (W[:, 0] - W[:, 1]), rtol=1e-4)


def test_labels_at_the_boundary_are_ties(tmp_path):
    path = ending(tmp_path / "m.onnx", [NODE("ArgMax", ["z"], ["y"], axis=1, keepdims=0)], {"y": (("N",), INT64)})
    target, _ = ready(path)
    true = target.file.differentiable
    target.file.differentiable = lambda x: true(x) * torch.tensor([0.0, 0.0, 1.0]) + torch.tensor([1e-6, 0.0, -9.0])
    tied = torch.zeros(1, 8)  # every class the same: the file says 0
    assert target.parity(tied).argmax_agreement == 1.0
    target.file.differentiable = lambda x: true(x) + torch.tensor([0.0, 1.0, 0.0])
    assert target.parity(tied).argmax_agreement == 0.0


def test_labels_whose_origin_is_hidden(tmp_path):
    nodes = [
        NODE("ArgMax", ["z"], ["a"], axis=1, keepdims=0),
        NODE("Mul", ["a", "one"], ["b"]),
        NODE("Abs", ["b"], ["y"]),
    ]
    path = ending(tmp_path / "m.onnx", nodes, {"y": (("N",), INT64)}, {"one": np.int64(1)})
    with pytest.raises(UsageError, match="how many classes there are; name them with --classes"):
        ready(path)
    target, u = ready(path, classes=3)
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    assert not target.gradient.available
    assert "what they are decided on was not found" in str(target.gradient.reason)


def zipmap(path: Path, keys: object) -> Path:
    nodes = [
        NODE("Softmax", ["z"], ["p"]),
        NODE("ZipMap", ["p"], ["y"], **ML, **keys),
    ]
    made = ending(path, nodes, {"y": (None, FLOAT)})
    model = onnx.load(made)
    kind = STRING if "classlabels_strings" in keys else INT64
    value = helper.make_tensor_type_proto(FLOAT, None)
    model.graph.output[0].CopyFrom(
        helper.make_value_info("y", helper.make_sequence_type_proto(helper.make_map_type_proto(kind, value)))
    )
    onnx.save(model, made)
    return made


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"classlabels_strings": ["wolf", "ape", "bee"]}, ["wolf", "ape", "bee"]),
        ({"classlabels_int64s": [4, 2, 9]}, ["4", "2", "9"]),
        ({"classlabels_int64s": [0, 1, 2]}, None),
    ],
)
def test_dictionaries_of_scores(tmp_path, keys, names):
    target, u = ready(zipmap(tmp_path / "m.onnx", keys))
    assert (target.choice.role, target.head.kind, target.num_classes) == ("maps", "probabilities", 3)
    assert target.class_names == names
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    gradient_is_of_the_logits(target, u)
    assert target.parity(u).relative_difference < 1e-5


def classifier(path: Path, post: str, normalise: bool) -> Path:
    """A linear classifier of scikit-learn, as its converter writes it."""
    attributes = {
        "classlabels_ints": [0, 1, 2],
        "coefficients": W.T.ravel().tolist(),
        "intercepts": [0.0, 0.0, 0.0],
        "post_transform": post,
    }
    nodes = [NODE("LinearClassifier", ["x"], ["label", "p"], **ML, **attributes)]
    nodes += [
        NODE("Normalizer" if normalise else "Identity", ["p"], ["y"], **({"norm": "L1", **ML} if normalise else {}))
    ]
    outputs = {"label": (("N",), INT64), "y": (("N", 3), FLOAT)}
    return write_onnx(path, nodes, ("N", 8), {}, outputs=outputs, domains={"ai.onnx.ml": 3})


@pytest.mark.parametrize(
    ("post", "normalise"), [("SOFTMAX", False), ("SOFTMAX", True), ("LOGISTIC", True), ("NONE", False)]
)
def test_linear_classifiers_of_scikit_learn(tmp_path, post, normalise):
    target, u = ready(classifier(tmp_path / "m.onnx", post, normalise))
    assert target.choice.output.name == "y"
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    if not target.gradient.available and "LinearClassifier" in str(target.gradient.reason):
        pytest.skip("the importer does not know LinearClassifier")
    assert target.head.peeled == (post != "NONE")
    assert target.parity(u).relative_difference < 1e-5
    if post != "LOGISTIC":
        gradient_is_of_the_logits(target, u)


def test_a_row_of_numbers_without_a_second_dimension(tmp_path):
    nodes = [
        NODE("MatMul", ["z", "v"], ["one"]),
        NODE("Sigmoid", ["one"], ["p"]),
        NODE("Squeeze", ["p", "axis"], ["y"]),
    ]
    constants = {"v": np.float32([[1], [-1], [0]]), "axis": np.int64([1])}
    target, u = ready(ending(tmp_path / "m.onnx", nodes, {"y": (("N",), FLOAT)}, constants))
    assert (target.num_classes, target.head.kind, target.head.single) == (2, "probabilities", True)
    one = expected(u)[:, 0] - expected(u)[:, 1]
    assert target.labels(u).tolist() == (one > 0).astype(int).tolist()
    assert target.head.peeled
    torch.testing.assert_close(target.logits(u)[:, 1], torch.from_numpy(one), rtol=1e-4, atol=1e-5)


def test_an_auxiliary_head_is_left_alone_unless_named(tmp_path):
    nodes = [NODE("Neg", ["z"], ["aux"]), NODE("Identity", ["z"], ["y"])]
    outputs = {"aux": (("N", 3), FLOAT), "y": (("N", 3), FLOAT)}
    path = ending(tmp_path / "m.onnx", nodes, outputs)
    target, u = ready(path)
    assert (target.choice.output.name, target.choice.why) == ("y", "the others are auxiliary by their names")
    target, u = ready(path, output="aux")
    assert target.labels(u).tolist() == expected(u).argmin(1).tolist()
    with pytest.raises(UsageError, match="did you mean 'aux'"):
        ready(path, output="auxx")


def test_scores_are_those_of_a_label_beside_them(tmp_path):
    nodes = [
        NODE("Neg", ["z"], ["one"]),
        NODE("Identity", ["z"], ["two"]),
        NODE("ArgMax", ["z"], ["label"], axis=1, keepdims=0),
    ]
    outputs = {"one": (("N", 3), FLOAT), "two": (("N", 3), FLOAT), "label": (("N",), INT64)}
    target, _ = ready(ending(tmp_path / "m.onnx", nodes, outputs))
    assert (target.choice.output.name, target.choice.why) == ("two", "its largest score is the label in label")


@pytest.mark.parametrize("batch", [1, 3])
def test_labels_of_a_fixed_batch(tmp_path, batch):
    path = write_onnx(
        tmp_path / "m.onnx",
        [
            NODE("Flatten", ["x"], ["f"]),
            NODE("MatMul", ["f", "w"], ["z"]),
            NODE("ArgMax", ["z"], ["y"], axis=1, keepdims=0),
        ],
        (batch, 8),
        {"w": W},
        outputs={"y": ((batch,), INT64)},
    )
    target, u = ready(path)
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    gradient_is_of_the_logits(target, u)


def test_a_twin_that_contradicts_its_peeled_end_is_not_peeled(tmp_path, monkeypatch):
    path = linear_onnx(tmp_path / "m.onnx", end=["Softmax"])
    monkeypatch.setattr("robaudit.target.readout._proved", lambda *_: False)
    target = load_target(path, device="cpu")
    assert not target.head.peeled
    u = torch.rand(4, *target.spec.shape)
    target.measure(u)
    torch.testing.assert_close(target.logits(u).softmax(1), target.scores(u), rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_zero_everywhere_is_told(tmp_path):
    nodes = [
        NODE("Mul", ["z", "zero"], ["flat"]),
        NODE("Greater", ["z", "zero"], ["above"], name="step"),
        NODE("Cast", ["above"], ["steps"], to=FLOAT),
        NODE("Add", ["flat", "steps"], ["y"]),
    ]
    target, _ = ready(ending(tmp_path / "m.onnx", nodes, PROBABILITIES, {"zero": np.float32(0)}))
    assert not target.gradient.available
    assert str(target.gradient.reason).startswith("unavailable: the gradient is zero everywhere (Greater (step)")
    assert target.gradient.method == "none"
