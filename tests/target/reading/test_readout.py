"""Files of every ending: which output is read, what it means, and that twin and judge say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from endings import INT64, NODE, STRING, W, ending, expected, gradient_is_of_the_logits, ready
from model_files import FLOAT, write_onnx
from onnx import TensorProto, helper

from robaudit.errors import UsageError

ML = {"domain": "ai.onnx.ml"}
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
