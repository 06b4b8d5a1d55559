"""What an audit says of how scores are read: declared, contradicted by a label, or wrong by the labels of the data."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from run_kit import (
    CLASSES,
    SHAPE,
    make_data,
    make_onnx,
    make_profile,
    make_request,
    make_script,
    run_here,
    scan,
    weights,
)
from torch import Tensor, nn

from robaudit.audit.journal.events import Note
from robaudit.audit.replay.replaying import replay
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.document import Result
from robaudit.audit.run.rundir import MARKER
from robaudit.audit.stored.file import save_result
from robaudit.errors import UsageError
from robaudit.target.head.rule import parse_rule
from robaudit.target.reading.interface import Interface

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FGSM = "\n  - {id: fgsm}\n  - {id: square, queries: 30}\n"


def ended(path: Path, nodes: list[onnx.NodeProto], kinds: dict[str, tuple[list, int]], **constants: object) -> Path:
    """The kit's network, whose logits go through more nodes to other outputs."""
    model = onnx.load(make_onnx(path))
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(n, kind, shape) for n, (shape, kind) in kinds.items())
    onnx.save(model, path)
    return path


def one_number(path: Path, *ends: tuple[str, str, str]) -> Path:
    """The difference of the first two logits, through operators of one input."""
    nodes = [helper.make_node("MatMul", ["logits", "v"], ["one"])]
    nodes += [helper.make_node(op, [source], [name]) for op, source, name in ends]
    v = np.float32([[-1], [1], [0], [0]])
    return ended(path, nodes, {"y": (["N", 1], onnx.TensorProto.FLOAT)}, v=v)


def two_class_data(path: Path, count: int = 60) -> Path:
    rng = np.random.default_rng(7)
    x = (0.5 + 0.2 * rng.normal(size=(count, *SHAPE))).clip(0.05, 0.95).astype(np.float32)
    logits = _logits(x)
    np.savez(path, x=x, y=(logits[:, 1] > logits[:, 0]).astype(int))
    return path


def _logits(x: np.ndarray) -> np.ndarray:
    w1, b1, w2, b2 = weights()
    return np.tanh(x.reshape(len(x), -1).astype(np.float64) @ w1.T + b1) @ w2.T + b2


def audited(folder: Path, model: Path, data: Path, notes: list | None = None, gates: str = "", **how: object) -> Result:
    profile = make_profile(folder / "p.yaml", FGSM, eps=0.1, checks="[clean, determinism, evidence]")
    profile.write_text(profile.read_text() + gates)
    request = make_request(model, data, profile, interface=Interface(**how))
    run = folder / "run"
    result = run_here(request, run, observer=lambda e: notes.append(e.message) if isinstance(e, Note) else None)
    save_result(result, run / "result.json")
    (run / MARKER).write_text(json.dumps({"run": result.run.id, "model": str(model)}))
    return result


def holds_up(folder: Path, result: Result) -> bool:
    found = replay(ReplayRequest(folder / "run"))
    return result.evidence.count > 3 and found.count == result.evidence.count and found.holds


def test_a_number_without_a_threshold_is_refused(tmp_path):
    model = one_number(tmp_path / "m.onnx", ("Softplus", "one", "y"))
    with pytest.raises(
        UsageError, match="nothing tells from where on it means the second of two classes; give --decision"
    ):
        audited(tmp_path, model, two_class_data(tmp_path / "d.npz"), [])


@pytest.mark.parametrize(
    ("ends", "rule"),
    [
        ([("Softplus", "one", "y")], f"above:{np.log(2):.9g}"),
        ([("Neg", "one", "n"), ("Softplus", "n", "y")], f"below:{np.log(2):.9g}"),
        ([("Neg", "one", "n"), ("Sigmoid", "n", "y")], "below:0.5"),
    ],
)
def test_a_declared_threshold_is_audited_recorded_and_replayed(tmp_path, ends, rule):
    model = one_number(tmp_path / "m.onnx", *ends)
    result = audited(tmp_path, model, two_class_data(tmp_path / "d.npz"), [], rule=parse_rule(rule))
    assert result.clean.accuracy is not None
    assert result.clean.accuracy.k == result.clean.accuracy.n
    reading = result.target.reading
    assert (reading.threshold, reading.turned) == (parse_rule(rule).threshold, rule.startswith("below"))
    assert holds_up(tmp_path, result)


def test_distances_are_audited_and_replayed(tmp_path):
    model = ended(
        tmp_path / "m.onnx",
        [helper.make_node("Neg", ["logits"], ["y"])],
        {"y": (["N", CLASSES], onnx.TensorProto.FLOAT)},
    )
    result = audited(tmp_path, model, make_data(tmp_path / "d.npz", wrong=0), [], rule=parse_rule("smallest"))
    assert result.clean.accuracy is not None
    assert result.clean.accuracy.k == 16
    assert holds_up(tmp_path, result)


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ([("Neg", "one", "y")], "60 of 60 answers would be right with --decision below:0"),
        ([("Sigmoid", "one", "s"), ("Neg", "s", "y")], r"60 of 60 answers would be right with --decision below:-0\.5"),
        ([("Neg", "one", "n"), ("Sigmoid", "n", "y")], r"60 of 60 answers would be right with --decision below:0\.5"),
    ],
)
def test_another_reading_that_the_labels_tell_is_named(tmp_path, ends, words):
    model = one_number(tmp_path / "m.onnx", *ends)
    result = audited(tmp_path, model, two_class_data(tmp_path / "d.npz"), [])
    check = next(check for check in result.checks if check.id == "clean")
    assert check.status == "fail"
    assert re.search(words, check.message), check.message
    assert result.verdict.status == "withheld"


def test_the_smallest_of_several_that_the_labels_tell_is_named(tmp_path):
    model = ended(
        tmp_path / "m.onnx",
        [helper.make_node("Neg", ["logits"], ["y"])],
        {"y": (["N", CLASSES], onnx.TensorProto.FLOAT)},
    )
    result = audited(tmp_path, model, make_data(tmp_path / "d.npz", 40, wrong=0), [])
    check = next(check for check in result.checks if check.id == "clean")
    assert check.status == "fail"
    assert "40 of 40 answers would be right with --decision smallest" in check.message


def both(path: Path, sign: float) -> Path:
    """Scores that contradict the label beside them where the sign is -1."""
    nodes = [
        helper.make_node("Mul", ["logits", "sign"], ["scores"]),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    kinds = {"scores": (["N", CLASSES], onnx.TensorProto.FLOAT), "label": (["N"], onnx.TensorProto.INT64)}
    return ended(path, nodes, kinds, sign=np.float32(sign))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_label_that_contradicts_named_scores_is_said(tmp_path, sign):
    model = both(tmp_path / "m.onnx", sign)
    data = make_data(tmp_path / "d.npz", wrong=0)
    x = np.load(data)["x"]
    np.savez(data, x=x, y=(sign * _logits(x)).argmax(1))
    notes: list[str] = []
    gate = "  - {metric: robust_accuracy, min: 0.0001}\n"
    result = audited(tmp_path, model, data, notes, gate, output="scores")
    reading = result.target.reading
    assert (reading.label, reading.aside) == (None, "label")
    said = "the label output label of the file says another class than its scores in scores"
    texts = (str(reading.disputed), *result.verdict.reasons, *result.limitations)
    assert sum(said in text for text in texts) == (3 if sign < 0 else 0)
    assert holds_up(tmp_path, result)


class Counting(nn.Module):
    """The kit's network, whose scores grow, shrink and turn round from call to call."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("calls", torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x) * torch.cos(self.calls - 1)


def test_a_model_with_a_state_is_audited_with_its_first_answers(tmp_path):
    inner = torch.jit.load(str(make_script(tmp_path / "inner.pt")))
    torch.jit.script(Counting(inner)).save(str(tmp_path / "m.pt"))
    data = make_data(tmp_path / "d.npz", wrong=0)
    (tmp_path / "plain").mkdir()
    plain = audited(tmp_path / "plain", tmp_path / "m.pt", data, [])
    check = next(check for check in plain.checks if check.id == "determinism")
    assert check.status == "fail"
    assert "--fresh-state audits the answer that it gives first after loading" in check.message
    result = audited(tmp_path, tmp_path / "m.pt", data, [], fresh_state=True)
    assert result.clean.accuracy is not None
    assert result.clean.accuracy.k == 16
    assert {check.id: check.status for check in result.checks if check.status == "fail"} == {}
    assert result.target.fresh_state
    assert any("--fresh-state" in text for text in result.limitations)
    assert holds_up(tmp_path, result)


def test_the_contradiction_is_a_warning_on_stderr_however_quiet(tmp_path):
    data = make_data(tmp_path / "d.npz", wrong=0)
    profile = make_profile(tmp_path / "p.yaml", FGSM)
    more = ("--output-name", "scores", "--labels", "model", "--quiet")
    done = scan(both(tmp_path / "m.onnx", -1.0), data, profile, tmp_path / "run", *more)
    assert "robaudit: warning: the label output label of the file says another class" in done.stderr
