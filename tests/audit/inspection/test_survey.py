"""What ``inspect`` says of files of every kind, measured in this process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from model_files import FLOAT, weight, write_onnx
from onnx import TensorProto, helper
from run_kit import CLASSES, labels_only, make_data, make_onnx, make_profile, make_request, make_script

from robaudit.audit.inspection.document import Inspection
from robaudit.audit.inspection.survey import survey
from robaudit.errors import UsageError
from robaudit.report.inspection import inspection_lines
from robaudit.target.reading.interface import Interface

NODE = helper.make_node


def look(model: Path, data: bool = True, **fields: object) -> Inspection:
    """An inspection, taken through JSON as a user gets it."""
    folder = model.parent
    request = make_request(model, make_data(folder / "d.npz", 8), make_profile(folder / "p.yaml"), **fields)
    if not data:
        import dataclasses

        request = dataclasses.replace(request, data=None)
    return Inspection.model_validate(json.loads(survey(request).model_dump_json()))


def text(found: Inspection) -> str:
    return "\n".join(inspection_lines(found))


def test_a_plain_file(tmp_path):
    found = look(make_onnx(tmp_path / "m.onnx"))
    assert found.unmeasured == {}
    assert (found.file.format, found.file.opsets["ai.onnx"], found.file.parameters) == (
        "onnx",
        17,
        36 * 12 + 12 + 48 + 4,
    )
    assert found.file.parameter_bytes == 4 * found.file.parameters
    assert [(i.name, i.role) for i in found.inputs] == [("x", "attacked")]
    assert [(o.name, o.chosen, o.reason) for o in found.outputs] == [("logits", True, "the only output")]
    assert (found.head.kind, found.head.classes, found.head.peeled) == ("logits", 4, False)
    assert {o.operator: (o.count, o.supported) for o in found.operators} == {
        "Gemm-17": (2, True),
        "Flatten-17": (1, True),
        "Tanh-17": (1, True),
    }
    assert (found.gradient.available, found.gradient.method, found.gradient.cuts) == (True, "exact", ())
    assert found.parity is not None
    assert (found.parity.argmax_agreement, found.parity.points) == (1.0, 8)
    assert found.parity.relative_difference is not None
    assert found.parity.relative_difference < 1e-5
    assert found.parity.noise is not None
    assert found.parity.noise < 1e-5
    assert found.gradient_check is not None
    assert found.gradient_check.worst_error < 1e-2
    assert found.batch is not None
    assert (found.batch.declared, found.batch.invariant, found.batch.twin) == (None, True, "direct")
    assert found.speed is not None
    assert found.speed[0].batch == 1
    assert all(s.judge_ms > 0 and s.gradient_ratio for s in found.speed)
    assert found.costs is not None
    assert {"quick", "standard"} <= found.costs.keys()
    quick = found.costs["quick"]
    assert quick.forwards >= quick.backwards > 60  # the ladder of the ensemble, not one search of it
    assert quick.queries > 0
    assert quick.unknown == ()
    assert quick.seconds > 0
    assert found.safety.code == "none: the file is data"
    told = text(found)
    for words in ("100.0% of 4 nodes", "Gemm-17 x 2", "yes, exact", "twin and file agree on 100.0% of 8", "batch 1"):
        assert words in told, words


@pytest.mark.parametrize("copied", [True, False])
def test_a_copy_of_the_best_class_is_not_taken_for_a_gradient_of_zero(tmp_path: Path, copied: bool) -> None:
    """Only where no margin has a slope is none said to be there."""
    model = onnx.load(make_onnx(tmp_path / "m.onnx"))
    classes = 2 * CLASSES if copied else CLASSES
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    last = NODE("Concat", ["logits", "logits"], ["out"], axis=1) if copied else NODE("Mul", ["logits", "zero"], ["out"])
    model.graph.node.append(last)
    model.graph.initializer.append(zero)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", classes]))
    onnx.save(model, tmp_path / "m.onnx")
    found = look(tmp_path / "m.onnx", data=True)
    if copied:
        assert found.gradient_check is not None
        assert found.gradient_check.points > 0
        assert found.gradient_check.worst_error < 1e-2
    else:
        assert "the gradient is zero" in found.unmeasured["gradient_check"]


def test_a_wrong_gradient_is_seen(tmp_path, monkeypatch):
    from robaudit.target.head.scores import Head

    true = Head.logits
    monkeypatch.setattr(Head, "logits", lambda self, answer: true(self, answer).detach() + 0.5 * true(self, answer))
    check = look(make_onnx(tmp_path / "m.onnx")).gradient_check
    assert check is not None
    assert check.median_error > 0.3


def test_rounding_inside(tmp_path):
    found = look(make_onnx(tmp_path / "m.onnx", extra="round"))
    assert (found.gradient.available, found.gradient.method) == (True, "straight-through")
    assert len(found.gradient.cuts) == 1
    assert "Round" in text(found)


def test_an_operator_without_a_translation(tmp_path):
    found = look(make_onnx(tmp_path / "m.onnx", extra="foreign"))
    assert not found.gradient.available
    missing = [o for o in found.operators if o.supported is False]
    assert [o.operator for o in missing] == ["Multinomial-17"]
    assert missing[0].nodes == ("i",)
    assert {"parity", "gradient_check"} <= found.unmeasured.keys()
    assert found.speed is not None
    assert found.costs is not None
    assert "ensemble" in str(found.costs["quick"].unavailable)
    told = text(found)
    assert "Multinomial-17 x 1: i" in told
    assert "gradient check    " in told


def test_labels(tmp_path):
    found = look(labels_only(tmp_path / "m.onnx"))
    assert (found.head.kind, found.head.peeled) == ("labels", True)
    assert found.head.before[-1] == "ArgMax (decide)"
    assert found.unmeasured == {"gradient_check": "the file returns labels only, which have no differences"}
    assert found.costs is not None
    assert found.costs["quick"].unavailable.keys() == {"square"}


def test_torchscript(tmp_path):
    found = look(make_script(tmp_path / "m.pt"))
    assert (found.file.format, found.file.parameters) == ("torchscript", 36 * 12 + 12 + 48 + 4)
    assert "list of harmless ones" in found.safety.code
    assert found.unmeasured.keys() == {"parity"}
    assert found.gradient_check is not None
    assert found.gradient_check.worst_error < 1e-3
    assert all(o.supported is None for o in found.operators)


def tokens(path: Path) -> Path:
    """Embeddings of 16 tokens of 32, averaged, then a matrix."""
    rng = np.random.default_rng(0)
    nodes = [
        NODE("Gather", ["table", "x"], ["e"]),
        NODE("ReduceMean", ["e"], ["m"], axes=[1], keepdims=0),
        NODE("MatMul", ["m", "w"], ["y"]),
    ]
    constants = {"table": rng.normal(size=(32, 8)).astype(np.float32), "w": weight(3, 8)}
    outputs = {"y": (("N", 3), FLOAT)}
    return write_onnx(path, nodes, ("N", 16), constants, outputs=outputs, dtype=TensorProto.INT64)


def test_a_model_of_tokens_is_shown_and_not_audited(tmp_path):
    path = tokens(tmp_path / "m.onnx")
    found = look(path, data=False)
    assert (found.meaning.kind, found.head.classes) == ("tokens", 3)
    assert found.gradient.reason == "the input x holds tokens, which are looked up in a table"
    assert found.parity is not None
    assert found.parity.argmax_agreement == 1.0
    assert found.speed is not None
    assert "do not apply to tokens" in text(found)
    from robaudit.target.load import open_target

    with pytest.raises(UsageError, match=r"takes tokens \(x int64\).*robaudit inspect shows the model"):
        open_target(path, device="cpu")


def test_a_vector_without_data_is_shown_on_noise(tmp_path):
    path = write_onnx(tmp_path / "m.onnx", [NODE("MatMul", ["x", "w"], ["y"])], ("N", 8), {"w": weight(3, 8)})
    found = look(path, data=False)
    assert found.samples == "8 samples of uniform noise"
    assert found.parity is not None


def test_a_fixed_input(tmp_path):
    path = write_onnx(
        tmp_path / "m.onnx",
        [NODE("MatMul", ["x", "w"], ["z"]), NODE("Mul", ["z", "s"], ["y"])],
        ("N", 8),
        {"w": weight(3, 8)},
        outputs={"y": (("N", 3), FLOAT)},
        extra_inputs={"s": (("N", 3), FLOAT)},
    )
    found = look(path, data=False, interface=Interface(fixed={"s": "2"}))
    assert [(i.name, i.role, i.value) for i in found.inputs] == [("x", "attacked", None), ("s", "fixed", "2")]
    assert found.gradient.available


def test_a_section_that_fails_costs_itself_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("robaudit.audit.inspection.survey.speed", lambda *_: 1 / 0)
    found = look(make_onnx(tmp_path / "m.onnx"))
    assert found.speed is None
    assert found.unmeasured == {"speed": "division by zero"}
    assert found.parity is not None
    assert "speed" in text(found)
    assert "not measured: division by zero" in text(found)


def test_weights_kept_elsewhere_and_foreign_domains_are_told(tmp_path):
    path = make_onnx(tmp_path / "m.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    found = look(path)
    assert found.safety.external_data == ("w.bin",)
    assert found.file.parameters == 36 * 12 + 12 + 48 + 4
    assert "w.bin" in text(found)
