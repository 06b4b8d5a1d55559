"""Label and scores in one file: the label is what ``predict`` answers, and the scores are read as it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from endings import INT64, NODE, STRING, W, ending, expected, gradient_is_of_the_logits, ready
from model_files import FLOAT, script, write_onnx
from onnx import helper
from target_kit import complete
from torch import Tensor, nn

from robaudit.errors import UsageError
from robaudit.target.load import open_target

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ML = {"domain": "ai.onnx.ml"}
LABEL = NODE("ArgMax", ["z"], ["label"], axis=1, keepdims=0)
OUT = ("N",), INT64
ONE = {"v": np.float32([[1], [-1], [0]])}
DIFFERENCE = NODE("MatMul", ["z", "v"], ["one"])


def judged(path: Path, nodes, outputs, constants=None, **how):
    target, u = ready(ending(path, nodes, outputs, constants or {}), samples=12, **how)
    return target, torch.cat([u, torch.rand(200, 8, generator=torch.Generator().manual_seed(1)).to(u)])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_smallest_of_three_wins_where_the_label_says_so(tmp_path, sign):
    nodes = [NODE("Mul", ["z", "sign"], ["scores"]), LABEL]
    outputs = {"scores": (("N", 3), FLOAT), "label": OUT}
    target, u = judged(tmp_path / "m.onnx", nodes, outputs, {"sign": np.float32(sign)})
    assert (target.head.kind, target.head.turned) == ("logits", sign < 0)
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    assert target.logits(u).argmax(1).tolist() == expected(u).argmax(1).tolist()
    assert target.parity(u).argmax_agreement == 1.0
    gradient_is_of_the_logits(target, u)


@pytest.mark.parametrize(
    ("made", "kind", "turned"),
    [
        ([NODE("Sigmoid", ["one"], ["p"])], "probabilities", False),
        ([NODE("Neg", ["one"], ["n"]), NODE("Sigmoid", ["n"], ["p"])], "probabilities", True),
        ([NODE("Identity", ["one"], ["p"])], "logits", False),
        ([NODE("Neg", ["one"], ["p"])], "logits", True),
        # a decision function whose values lie between 0 and 1 on whatever is tried
        ([NODE("Atan", ["one"], ["a"]), NODE("Mul", ["a", "small"], ["p"])], "logits", False),
    ],
)
@pytest.mark.parametrize("shape", [("N",), ("N", 1)])
def test_one_number_for_two_classes(tmp_path, made, kind, turned, shape):
    nodes = [
        DIFFERENCE,
        *made[:-1],
        helper.make_node(made[-1].op_type, list(made[-1].input), ["last"]),
        NODE("Reshape", ["last", "shape"], ["p"]),
        NODE("Greater", ["one", "zero"], ["above"]),
        NODE("Cast", ["above"], ["cast"], to=INT64),
        NODE("Reshape", ["cast", "flat"], ["label"]),
    ]
    constants = {
        **ONE,
        "zero": np.float32(0),
        "small": np.float32(0.1),
        "flat": np.int64([-1]),
        "shape": np.int64([-1, 1][: len(shape)]),
    }
    target, u = judged(tmp_path / "m.onnx", nodes, {"p": (shape, FLOAT), "label": OUT}, constants)
    truth = expected(u)[:, 0] > expected(u)[:, 1]
    assert target.labels(u).tolist() == truth.astype(int).tolist()
    assert (target.num_classes, target.head.kind, target.head.turned) == (2, kind, turned)
    assert target.logits(u).argmax(1).tolist() == truth.astype(int).tolist()


def test_another_threshold_is_found_between_samples_and_the_label_judges(tmp_path):
    nodes = [
        NODE("MatMul", ["z", "pick"], ["two"]),
        NODE("Softmax", ["two"], ["p"], axis=1),
        NODE("Gather", ["p", "last"], ["second"], axis=1),
        NODE("Greater", ["second", "t"], ["above"]),
        NODE("Cast", ["above"], ["label"], to=INT64),
    ]
    constants = {"pick": np.float32([[1, 0], [0, 1], [0, 0]]), "last": np.int64(1), "t": np.float32(0.3)}
    target, u = judged(tmp_path / "m.onnx", nodes, {"p": (("N", 2), FLOAT), "label": OUT}, constants)
    z = expected(u)
    truth = 1 / (1 + np.exp(z[:, 0] - z[:, 1])) > 0.3
    assert (truth != (z[:, 1] > z[:, 0])).any()
    assert target.labels(u).tolist() == truth.astype(int).tolist()
    assert (target.head.kind, target.choice.output.name) == ("labels", "label")
    assert "label output decides" in str(target.no_scores)
    assert target.gradient.available
    assert target.logits(u).argmax(1).tolist() == truth.astype(int).tolist()


def test_where_they_differ_here_and_there_the_label_decides(tmp_path):
    """Scores that were rounded: in a tie of theirs the label still knows."""
    nodes = [NODE("Mul", ["z", "k"], ["m"]), NODE("Round", ["m"], ["r"]), NODE("Div", ["r", "k"], ["scores"]), LABEL]
    outputs = {"scores": (("N", 3), FLOAT), "label": OUT}
    target, u = judged(tmp_path / "m.onnx", nodes, outputs, {"k": np.float32(2)})
    own = (np.round(expected(u) * 2) / 2).argmax(1)
    assert (own != expected(u).argmax(1)).any()
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()


def columns(path: Path, names, values=None, order=(0, 1, 2), label=True) -> Path:
    nodes = [NODE("Softmax", ["z"], ["p"], axis=1), NODE("Split", ["p"], ["c0", "c1", "c2"], axis=1)]
    nodes += [NODE("Reshape", [f"c{i}", "flat"], [name]) for name, i in zip(names, order, strict=True)]
    outputs = dict.fromkeys(names, (("N",), FLOAT))
    kind = INT64
    if label:
        nodes.append(NODE("ArgMax", ["z"], ["label" if values is None else "place"], axis=1, keepdims=0))
        if values is not None:
            kind = STRING if isinstance(values[0], str) else INT64
            key = "values_strings" if kind == STRING else "values_int64s"
            nodes.append(NODE("LabelEncoder", ["place"], ["label"], keys_int64s=[0, 1, 2], **{key: values}, **ML))
        outputs = {"label": (("N",), kind), **outputs}
    return ending(path, nodes, outputs, {"flat": np.int64([-1])})


@pytest.mark.parametrize(
    ("names", "values", "order"),
    [
        (["i0", "i1", "i2"], None, (0, 1, 2)),
        (["a", "b", "c"], None, (0, 1, 2)),
        (["i3", "i5", "i9"], [3, 5, 9], (0, 1, 2)),
        (["p_owl", "p_bee", "p_cat"], ["bee", "cat", "owl"], (2, 0, 1)),
        (["scat", "sowl", "sbee"], ["cat", "owl", "bee"], (0, 1, 2)),
    ],
)
def test_an_output_for_each_class(tmp_path, names, values, order):
    target, u = ready(columns(tmp_path / "m.onnx", names, values, order), samples=12)
    assert (target.num_classes, target.head.kind) == (3, "probabilities")
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    np.testing.assert_allclose(target.scores(u).sum(1), 1, rtol=1e-5)
    assert target.class_names == (None if values is None else [str(v) for v in values])
    assert target.parity(u).relative_difference < 1e-5
    assert target.logits(u).argmax(1).tolist() == expected(u).argmax(1).tolist()
    assert target.head.peeled


def test_outputs_of_no_common_tensor_are_put_together_for_the_gradient(tmp_path):
    nodes = [NODE("Split", ["z"], ["c0", "c1", "c2"], axis=1), LABEL]
    nodes += [NODE("Mul", [f"c{i}", "two"], [f"s{i}"]) for i in range(3)]
    outputs = {"label": OUT, **{f"s{i}": (("N", 1), FLOAT) for i in range(3)}}
    target, u = judged(tmp_path / "m.onnx", nodes, outputs, {"two": np.float32(2)})
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    assert (target.head.kind, target.head.peeled) == ("logits", False)
    torch.testing.assert_close(target.logits(u), torch.from_numpy(2 * expected(u)), rtol=1e-4, atol=1e-4)
    assert len(target.file.model.graph.node) == 7  # the file itself is as it was


def test_shares_of_one_need_no_label(tmp_path):
    target, u = ready(columns(tmp_path / "m.onnx", ["a", "b", "c"], label=False), samples=12)
    assert target.num_classes == 3
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()


def test_several_questions_are_not_answered_as_one(tmp_path):
    nodes = [NODE("Sigmoid", ["z"], ["p"]), NODE("Split", ["p"], ["age", "size", "sex"], axis=1)]
    path = ending(tmp_path / "m.onnx", nodes, dict.fromkeys(("age", "size", "sex"), (("N", 1), FLOAT)))
    with pytest.raises(UsageError, match="several questions are answered; name one with --output-name"):
        ready(path)
    assert ready(path, output="sex")[0].num_classes == 2


@pytest.mark.parametrize("shape", [("N",), ("N", 1)])
def test_an_index_that_was_cast_to_a_float_is_a_label(tmp_path, shape):
    nodes = [NODE("ArgMax", ["z"], ["a"], axis=1, keepdims=len(shape) - 1), NODE("Cast", ["a"], ["y"], to=FLOAT)]
    target, u = ready(ending(tmp_path / "m.onnx", nodes, {"y": (shape, FLOAT)}), samples=12)
    assert (target.head.kind, target.num_classes) == ("labels", 3)
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    gradient_is_of_the_logits(target, u)


def test_a_traced_index_that_was_cast_to_a_float_is_a_label(tmp_path):
    class Index(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x @ torch.from_numpy(W)).argmax(1).float()

    path = script(tmp_path / "m.pt", Index(), torch.zeros(2, 8))
    target = open_target(path, device="cpu", sample_shape=(8,))
    u = torch.rand(12, 8, generator=torch.Generator().manual_seed(0))
    target = complete(target, u)
    assert (target.head.kind, target.num_classes) == ("labels", 3)
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()


def machine(path: Path, classes: list, outputs: int, prob: bool = False) -> Path:
    """A support vector machine of linear kernel, as its converter writes it; one score for each pair of classes."""
    rng = np.random.default_rng(3)
    count = len(classes)
    key = "classlabels_strings" if isinstance(classes[0], str) else "classlabels_ints"
    pairs = count * (count - 1) // 2
    vectors = rng.normal(size=(2 * count, 8))
    vectors -= vectors.mean(1, keepdims=True)  # so that the middle of the box lies near every boundary
    more = {"prob_a": [-2.0] * pairs, "prob_b": [0.7] * pairs} if prob else {}
    svm = NODE(
        "SVMClassifier", ["x"], ["label", "scores"], **ML, kernel_type="LINEAR", kernel_params=[1.0, 0.0, 3.0],
        **{key: classes}, vectors_per_class=[2] * count, support_vectors=vectors.ravel().tolist(),
        coefficients=rng.normal(size=2 * count * (count - 1)).tolist(), rho=(0.1 * rng.normal(size=pairs)).tolist(),
        **more,
    )  # fmt: skip
    kind = STRING if key.endswith("strings") else INT64
    declared = {"label": (("N",), kind), "scores": (("N", outputs), FLOAT)}
    return write_onnx(path, [svm], ("N", 8), {}, outputs=declared, domains={"ai.onnx.ml": 3})


@pytest.mark.parametrize("prob", [False, True])
@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 2], [0, 1, 2, 3], ["d", "b", "a", "c", "e"]])
def test_support_vector_machines_answer_as_their_label(tmp_path, classes, prob):
    count = len(classes)
    pairs = 2 if count == 2 else count * (count - 1) // 2
    path = machine(tmp_path / "m.onnx", classes, count if prob else pairs, prob)
    target, u = ready(path, samples=12)
    u = torch.cat([u, torch.rand(200, 8, generator=torch.Generator().manual_seed(1)).to(u)])
    said = onnxruntime.InferenceSession(path).run(["label"], {"x": u.numpy()})[0].tolist()
    assert len(set(said)) > 1
    assert [classes[i] for i in target.labels(u).tolist()] == said
    assert target.num_classes == count
    assert target.gradient.available
    agreement = (target.logits(u).argmax(1) == target.labels(u)).double().mean()
    assert agreement > 0.97
    leaf = u[:3].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(target.logits(leaf)[:, 0].sum(), leaf)
    assert bool(gradient.isfinite().all())


def test_maps_whose_keys_are_in_another_order(tmp_path):
    nodes = [
        NODE("Softmax", ["z"], ["p"]),
        NODE("ZipMap", ["p"], ["maps"], **ML, classlabels_strings=["wolf", "ape", "bee"]),
        NODE("ArgMax", ["z"], ["place"], axis=1, keepdims=0),
        NODE("LabelEncoder", ["place"], ["label"], **ML, keys_int64s=[0, 1, 2], values_strings=["wolf", "ape", "bee"]),
    ]
    made = ending(tmp_path / "m.onnx", nodes, {"label": (("N",), STRING), "maps": (None, FLOAT)})
    model = onnx.load(made)
    kind = helper.make_map_type_proto(STRING, helper.make_tensor_type_proto(FLOAT, None))
    model.graph.output[1].CopyFrom(helper.make_value_info("maps", helper.make_sequence_type_proto(kind)))
    onnx.save(model, made)
    target, u = ready(made, samples=12)
    assert target.class_names == ["wolf", "ape", "bee"]
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    assert not target.head.turned


@pytest.mark.parametrize("name", ["length", "num_classes"])
def test_a_count_beside_the_scores_is_no_label(tmp_path, name):
    nodes = [NODE("Identity", ["z"], ["y"]), NODE("Shape", ["z"], ["s"]), NODE("Gather", ["s", "one"], ["k"])]
    nodes.append(NODE("Reshape", ["k", "flat"], [name]))
    constants = {"one": np.int64(1), "flat": np.int64([-1])}
    target, u = judged(tmp_path / "m.onnx", nodes, {"y": (("N", 3), FLOAT), name: OUT}, constants)
    assert target.choice.label is None
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()


def test_a_label_that_is_no_class_of_the_scores_is_refused(tmp_path):
    nodes = [NODE("Identity", ["z"], ["y"]), NODE("ArgMax", ["z"], ["place"], axis=1, keepdims=0)]
    nodes.append(NODE("Add", ["place", "far"], ["label"]))
    path = ending(tmp_path / "m.onnx", nodes, {"y": (("N", 3), FLOAT), "label": OUT}, {"far": np.int64(7)})
    with pytest.raises(UsageError, match="its output label says one that is none of them"):
        ready(path)
    assert ready(path, output="y")[0].num_classes == 3


def test_the_user_names_the_scores_whatever_the_label_says(tmp_path):
    nodes = [NODE("Neg", ["z"], ["scores"]), LABEL]
    path = ending(tmp_path / "m.onnx", nodes, {"scores": (("N", 3), FLOAT), "label": OUT})
    target, u = ready(path, output="scores")
    assert target.labels(u).tolist() == expected(u).argmin(1).tolist()
    target, u = ready(path, output="label")
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()


def test_a_module_with_a_label_beside_negated_scores(tmp_path):
    class Both(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            z = x @ torch.from_numpy(W)
            return {"label": z.argmax(1), "scores": -z}

    made = torch.jit.trace(Both().eval(), torch.zeros(2, 8), strict=False)
    torch.jit.save(made, str(tmp_path / "m.pt"))
    target = open_target(tmp_path / "m.pt", device="cpu", sample_shape=(8,))
    u = torch.rand(12, 8, generator=torch.Generator().manual_seed(0))
    target = complete(target, u)
    assert target.head.turned
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    assert target.logits(u).argmax(1).tolist() == expected(u).argmax(1).tolist()
