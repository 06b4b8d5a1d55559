"""How scores decide where they are not the largest of logits: as declared, as the numbers show, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from endings import INT64, NODE, W, ending, expected, ready
from model_files import FLOAT, script
from onnx import TensorProto
from target_kit import complete
from torch import Tensor, nn

from robaudit.errors import UsageError
from robaudit.target.head.rule import Rule, parse_rule
from robaudit.target.load import open_target
from robaudit.target.reading.interface import Interface

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
V = (W[:, 1] - W[:, 0])[:, None]
U = torch.rand(200, 8, generator=torch.Generator().manual_seed(1))
TRUTH = (U.numpy() @ V)[:, 0]
ONE = [NODE("MatMul", ["f", "v"], ["one"])]


def one_number(path, nodes, constants=None, shape=("N", 1), kind=FLOAT):
    held = {"v": V, **{name: np.float32(value) for name, value in (constants or {}).items()}}
    return ending(path, ONE + nodes, {"y": (shape, kind)}, held)


@pytest.mark.parametrize(
    "text", ["largest", "smallest", "above:0.5", "below:-3", "above:1e-06", "above:0.6931471805599453"]
)
def test_a_decision_is_read_and_written_alike(text):
    assert str(parse_rule(text)) == text


@pytest.mark.parametrize("text", ["", "biggest", "above", "above:", "above:x", "below:nan", "above:inf", "above:1:2"])
def test_what_is_no_decision_is_refused(text):
    with pytest.raises(UsageError, match="largest, smallest, above:NUMBER or below:NUMBER"):
        parse_rule(text)


SCALED = [NODE("Sigmoid", ["one"], ["s"]), NODE("Mul", ["s", "c"], ["y"])]
SIGMOID = [NODE("Sigmoid", ["one"], ["y"])]


@pytest.mark.parametrize(
    ("nodes", "constants", "rule", "truth"),
    [
        ([NODE("Softplus", ["one"], ["y"])], {}, f"above:{np.log(2)}", TRUTH > 0),
        ([NODE("Exp", ["one"], ["y"])], {}, "above:1", TRUTH > 0),
        ([NODE("Exp", ["one"], ["y"])], {}, "below:2", np.log(2) > TRUTH),
        (SIGMOID, {}, "above:0.3", np.log(0.3 / 0.7) < TRUTH),
        (SIGMOID, {}, "below:0.5", TRUTH < 0),
        (SCALED, {"c": 100}, "above:70", np.log(0.7 / 0.3) < TRUTH),
        ([NODE("Neg", ["one"], ["y"])], {}, "below:0.25", TRUTH > -0.25),
        ([NODE("Abs", ["one"], ["y"])], {}, "below:0.5", np.abs(TRUTH) < 0.5),
    ],
)
def test_one_number_is_decided_on_as_declared(tmp_path, nodes, constants, rule, truth):
    path = one_number(tmp_path / "m.onnx", nodes, constants)
    target, u = ready(path, samples=12, rule=parse_rule(rule))
    assert 5 < truth.sum() < 195
    assert target.labels(U).tolist() == truth.astype(int).tolist()
    assert target.logits(U).argmax(1).tolist() == truth.astype(int).tolist()
    assert target.parity(u).relative_difference < 1e-5
    leaf = U[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad((target.logits(leaf) @ torch.tensor([-1.0, 1.0])).sum(), leaf)
    assert bool(gradient.any())
    assert f"the second class is {rule.partition(':')[0]}" in target.choice.why


def test_a_column_of_a_softmax_has_a_threshold(tmp_path):
    nodes = [NODE("Softmax", ["z"], ["p"]), NODE("Gather", ["p", "i"], ["y"], axis=1)]
    path = ending(tmp_path / "m.onnx", nodes, {"y": (("N",), FLOAT)}, {"i": np.int64(1)})
    target, _ = ready(path, samples=12, rule=Rule("above", 0.2))
    z = np.exp(expected(U))
    truth = z[:, 1] / z.sum(1) > 0.2
    assert target.head.peeled
    assert target.labels(U).tolist() == truth.astype(int).tolist()
    assert target.logits(U).argmax(1).tolist() == truth.astype(int).tolist()


@pytest.mark.parametrize("before", [NODE("Identity", ["z"], ["s"]), NODE("Softmax", ["z"], ["s"])])
def test_the_smallest_of_several_wins_where_it_is_declared(tmp_path, before):
    end = [before, NODE("Neg", ["s"], ["y"])]
    path = ending(tmp_path / "m.onnx", end, {"y": (("N", 3), FLOAT)})
    target, _ = ready(path, samples=12, rule=Rule("smallest"))
    assert target.labels(U).tolist() == expected(U).argmax(1).tolist()
    assert target.logits(U).argmax(1).tolist() == expected(U).argmax(1).tolist()
    assert ready(path, samples=12)[0].labels(U).tolist() == expected(U).argmin(1).tolist()


def test_the_smallest_of_two_probabilities(tmp_path):
    nodes = [NODE("Slice", ["z", "a", "b", "a1"], ["two"]), NODE("Softmax", ["two"], ["y"])]
    held = {"a": np.int64([0]), "b": np.int64([2]), "a1": np.int64([1])}
    path = ending(tmp_path / "m.onnx", nodes, {"y": (("N", 2), FLOAT)}, held)
    target, _ = ready(path, samples=12, rule=Rule("smallest"))
    assert target.labels(U).tolist() == (TRUTH < 0).astype(int).tolist()
    assert target.logits(U).argmax(1).tolist() == (TRUTH < 0).astype(int).tolist()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("largest", "one number an input: give above:NUMBER"),
        ("above:1", "lies between .* and 1, all of it on one side"),
    ],
)
def test_a_decision_that_does_not_fit_one_number_is_refused(tmp_path, rule, words):
    with pytest.raises(UsageError, match=words):
        ready(one_number(tmp_path / "m.onnx", SIGMOID), rule=parse_rule(rule))


def test_a_threshold_for_several_scores_or_labels_is_refused(tmp_path):
    path = ending(tmp_path / "m.onnx", [NODE("Identity", ["z"], ["y"])], {"y": (("N", 3), FLOAT)})
    with pytest.raises(UsageError, match="one score a class: give largest or smallest"):
        ready(path, rule=Rule("above", 0.5))
    path = ending(tmp_path / "l.onnx", [NODE("ArgMax", ["z"], ["y"], axis=1, keepdims=0)], {"y": (("N",), INT64)})
    with pytest.raises(UsageError, match="holds labels, which are decided already"):
        ready(path, rule=Rule("smallest"))


@pytest.mark.parametrize("scale", [100.0, 255.0, -1.0])
def test_a_share_in_percent_is_above_its_middle(tmp_path, scale):
    target, _ = ready(one_number(tmp_path / "m.onnx", SCALED, {"c": scale}), samples=12)
    assert target.head.threshold == scale / 2
    truth = scale * TRUTH > 0  # a negated share is of the other class, which labels must tell
    assert target.labels(U).tolist() == truth.astype(int).tolist()
    assert target.logits(U).argmax(1).tolist() == truth.astype(int).tolist()


@pytest.mark.parametrize("op", ["Softplus", "Exp"])
def test_one_number_that_is_never_negative_needs_a_threshold(tmp_path, op):
    target, _ = ready(one_number(tmp_path / "m.onnx", [NODE(op, ["one"], ["y"])]), samples=12)
    assert "give --decision above:NUMBER (or below:NUMBER)" in str(target.undecided)


@pytest.mark.parametrize("op", ["Tanh", "Relu", "Sigmoid", "Softsign", "Identity"])
def test_one_number_that_tells_its_threshold_needs_none(tmp_path, op):
    target, _ = ready(one_number(tmp_path / "m.onnx", [NODE(op, ["one"], ["y"])]), samples=12)
    assert target.undecided is None
    assert target.labels(U).tolist() == (TRUTH > 0).astype(int).tolist()


def test_negative_log_likelihoods_are_known_by_their_sum(tmp_path):
    nodes = [NODE("LogSoftmax", ["z"], ["s"]), NODE("Neg", ["s"], ["y"])]
    target, _ = ready(ending(tmp_path / "m.onnx", nodes, {"y": (("N", 3), FLOAT)}), samples=12)
    assert target.head.turned
    assert target.labels(U).tolist() == expected(U).argmax(1).tolist()
    assert target.logits(U).argmax(1).tolist() == expected(U).argmax(1).tolist()


HOT = [NODE("ReduceMax", ["z"], ["m"], axes=[1], keepdims=1), NODE("Equal", ["z", "m"], ["e"])]
BYTES = [NODE("Softmax", ["z"], ["s"]), NODE("Mul", ["s", "c"], ["m"]), NODE("Round", ["m"], ["r"])]


@pytest.mark.parametrize(
    ("nodes", "kind"),
    [
        ([*HOT, NODE("Cast", ["e"], ["y"], to=INT64)], INT64),
        ([*HOT, NODE("Identity", ["e"], ["y"])], TensorProto.BOOL),
        ([*HOT, NODE("Cast", ["e"], ["y"], to=TensorProto.UINT8)], TensorProto.UINT8),
        ([*BYTES, NODE("Cast", ["r"], ["y"], to=TensorProto.UINT8)], TensorProto.UINT8),
        ([NODE("QuantizeLinear", ["z", "d", "zero"], ["y"])], TensorProto.INT8),
    ],
)
def test_scores_in_whole_numbers_and_ones_among_zeros(tmp_path, nodes, kind):
    held = {"c": np.float32(255), "d": np.float32(0.01), "zero": np.int8(0)}
    path = ending(tmp_path / "m.onnx", nodes, {"y": (("N", 3), kind)}, held)
    target, _ = ready(path, samples=12)
    assert target.num_classes == 3
    agreement = (target.labels(U).numpy() == expected(U).argmax(1)).mean()
    assert agreement > 0.97  # rounding makes ties


def test_several_labels_an_input_are_no_ones_among_zeros(tmp_path):
    nodes = [NODE("Greater", ["z", "c"], ["y"])]
    path = ending(tmp_path / "m.onnx", nodes, {"y": (("N", 3), TensorProto.BOOL)}, {"c": np.float32(-9)})
    with pytest.raises(UsageError, match="no output holds one score a class, or a label"):
        ready(path)


def test_labels_of_minus_one_and_one(tmp_path):
    nodes = [NODE("Sign", ["one"], ["s"]), NODE("Cast", ["s"], ["y"], to=INT64)]
    path = one_number(tmp_path / "m.onnx", nodes, shape=("N", 1), kind=INT64)
    target, _ = ready(path, samples=20, classes=2)
    assert target.head.signed
    assert target.labels(U).tolist() == (TRUTH > 0).astype(int).tolist()
    assert not bool(target.scores(U).isnan().any())


def test_a_module_in_percent_and_one_of_distances(tmp_path):
    class Percent(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 100 * (x @ torch.from_numpy(V)).sigmoid()

    class Distances(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cdist(x, torch.from_numpy(W.T.copy()))

    path = script(tmp_path / "p.pt", Percent(), torch.zeros(2, 8))
    target = open_target(path, device="cpu", sample_shape=(8,))
    target = complete(target, U[:12])
    assert target.labels(U).tolist() == (TRUTH > 0).astype(int).tolist()
    path = script(tmp_path / "d.pt", Distances(), torch.zeros(2, 8))
    target = open_target(path, device="cpu", sample_shape=(8,), interface=Interface(rule=Rule("smallest")))
    target = complete(target, U[:12])
    nearest = np.linalg.norm(U.numpy()[:, None] - W.T[None], axis=2).argmin(1)
    assert target.labels(U).tolist() == nearest.tolist()
    assert target.logits(U).argmax(1).tolist() == nearest.tolist()


def test_a_label_beside_declared_scores_is_set_aside_and_said(tmp_path):
    nodes = [NODE("Neg", ["z"], ["scores"]), NODE("ArgMax", ["z"], ["label"], axis=1, keepdims=0)]
    path = ending(tmp_path / "m.onnx", nodes, {"scores": (("N", 3), FLOAT), "label": (("N",), INT64)})
    target, _ = ready(path, samples=12, rule=Rule("largest"))
    assert target.labels(U).tolist() == expected(U).argmin(1).tolist()
    assert "the label output label of the file says another class" in str(target.disputed)
    target, _ = ready(path, samples=12, rule=Rule("smallest"))
    assert target.labels(U).tolist() == expected(U).argmax(1).tolist()
    assert target.disputed is None


@pytest.mark.parametrize(("sign", "said"), [(-1.0, True), (1.0, False)])
def test_a_label_that_contradicts_the_named_scores_is_said(tmp_path, sign, said):
    nodes = [NODE("Mul", ["z", "sign"], ["scores"]), NODE("ArgMax", ["z"], ["label"], axis=1, keepdims=0)]
    outputs = {"scores": (("N", 3), FLOAT), "label": (("N",), INT64)}
    path = ending(tmp_path / "m.onnx", nodes, outputs, {"sign": np.float32(sign)})
    target, _ = ready(path, samples=12, output="scores")
    assert target.choice.aside is not None
    assert (target.disputed is not None) == said
    assert target.labels(U).tolist() == (sign * expected(U)).argmax(1).tolist()


def test_a_label_with_another_threshold_contradicts_named_probabilities(tmp_path):
    nodes = [
        *ONE,
        NODE("Sigmoid", ["one"], ["p"]),
        NODE("Greater", ["p", "t"], ["above"]),
        NODE("Cast", ["above"], ["label"], to=INT64),
    ]
    outputs = {"p": (("N", 1), FLOAT), "label": (("N", 1), INT64)}
    path = ending(tmp_path / "m.onnx", nodes, outputs, {"v": V, "t": np.float32(0.45)})
    assert ready(path, samples=12, output="p")[0].disputed is not None
    assert ready(path, samples=12, rule=Rule("above", 0.45))[0].disputed is None


class Answer(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> dict[str, Tensor] | Tensor:
        z = x @ torch.from_numpy(W)
        if self.kind == "confidence":
            return {"pred": z.argmax(1), "conf": z.softmax(1).amax(1)}
        if self.kind == "bool":
            return z == z.amax(1, keepdim=True)
        hot = nn.functional.one_hot(z.argmax(1), 3)
        return hot if self.kind == "one-hot" else (255 * z.softmax(1)).round().to(torch.uint8)


@pytest.mark.parametrize("kind", ["confidence", "bool", "one-hot", "bytes"])
def test_a_module_that_answers_in_whole_numbers_or_with_its_confidence(tmp_path, kind):
    module = torch.jit.trace(Answer(kind), torch.rand(2, 8), strict=False, check_trace=False)
    torch.jit.save(module, str(tmp_path / "m.pt"))
    target = open_target(tmp_path / "m.pt", device="cpu", sample_shape=(8,), interface=Interface(classes=3))
    target = complete(target, U[:20])
    assert target.num_classes == 3
    assert float((target.labels(U).numpy() == expected(U).argmax(1)).mean()) > 0.97
    assert target.scores(U).is_floating_point()
    assert (target.head.kind == "labels") == (kind == "confidence")


def test_the_confidence_beside_a_label_is_no_score_of_two_classes(tmp_path):
    nodes = [
        NODE("Softmax", ["z"], ["p"]),
        NODE("ReduceMax", ["p"], ["conf"], axes=[1], keepdims=0),
        NODE("ArgMax", ["z"], ["label"], axis=1, keepdims=0),
    ]
    path = ending(tmp_path / "m.onnx", nodes, {"conf": (("N",), FLOAT), "label": (("N",), INT64)})
    target, _ = ready(path, samples=20)
    assert (target.num_classes, target.head.kind) == (3, "labels")
    assert target.labels(U).tolist() == expected(U).argmax(1).tolist()
    assert target.logits(U).argmax(1).tolist() == expected(U).argmax(1).tolist()
