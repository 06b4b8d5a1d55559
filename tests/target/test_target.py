"""A file as a target: batches, heads, randomness, NaN, and what fails with a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import FLOAT, linear_onnx, script, weight, write_onnx
from onnx import TensorProto, helper
from target_kit import check_gradient, complete, load, points, ready

from robaudit.errors import AuditError, RobauditError, UsageError
from robaudit.target.files.onnx.runtime import Session
from robaudit.target.load import open_target

NODE = helper.make_node


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_answers_alone_are_those_of_the_batch_whatever_the_files_batch(tmp_path, batch):
    target, u = ready(linear_onnx(tmp_path / "m.onnx", (batch, 3, 4, 4), end=["Tanh"]))
    expected = np.tanh(u.numpy().reshape(6, -1).astype(np.float32) @ weight(5, 48))
    for count in (1, 2, 5, 6):
        for alone in (False, True):
            found = target.scores(u[:count], alone=alone)
            np.testing.assert_allclose(found.numpy(), expected[:count], atol=1e-5)
    assert target.labels(u).tolist() == expected.argmax(1).tolist()
    assert target.batch_invariant in ((True,) if batch != 3 else (None,))
    parity = target.parity(u)
    assert (parity.n, parity.argmax_agreement) == (6, 1.0)
    assert parity.relative_difference < 1e-5
    check_gradient(target, u)


@settings(max_examples=15, deadline=None)
@given(
    mean=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    std=st.lists(st.floats(0.2, 2), min_size=3, max_size=3),
    channels=st.sampled_from(["rgb", "bgr"]),
    layout=st.sampled_from(["nchw", "nhwc"]),
)
def test_gradient_goes_through_preprocessing(tmp_path_factory, mean, std, channels, layout):
    shape = ("N", 3, 5, 4) if layout == "nchw" else ("N", 5, 5, 3)
    path = linear_onnx(tmp_path_factory.mktemp("m") / "m.onnx", shape, end=["Tanh"], dtype=TensorProto.DOUBLE)
    target, u = ready(path, mean=tuple(mean), std=tuple(std), channels=channels, scale=0.2)
    assert target.spec.layout == layout
    check_gradient(target, u, step=1e-5, tolerance=1e-4)


def test_softmax_is_undone(tmp_path):
    target, u = ready(linear_onnx(tmp_path / "m.onnx", end=["Softmax"]))
    assert target.head.kind == "probabilities"
    check_gradient(target, u)


def test_log_softmax(tmp_path):
    target, u = ready(linear_onnx(tmp_path / "m.onnx", end=["LogSoftmax"]))
    assert target.head.kind == "log-probabilities"
    check_gradient(target, u)


@pytest.mark.parametrize(("end", "kind"), [((), "logits"), (("Sigmoid",), "probabilities")])
def test_one_output_is_two_classes(tmp_path, end, kind):
    path = write_onnx(
        tmp_path / "m.onnx",
        [
            NODE("Flatten", ["x"], ["f"]),
            NODE("MatMul", ["f", "w"], ["z"]),
            *([NODE(op, ["z"], ["y"]) for op in end] or [NODE("Identity", ["z"], ["y"])]),
        ],
        ("N", 1, 4, 4),
        {"w": np.full((16, 1), 0.01, np.float32)},  # always in [0, 1]: the linear operator says that these are logits
        outputs={"y": (("N", 1), FLOAT)},
    )
    target, u = ready(path)
    assert (target.num_classes, target.head.kind, target.head.single) == (2, kind, True)
    assert target.scores(u).shape == (6, 2)
    assert target.labels(u).tolist() == [1] * 6
    assert target.logits(u).shape == (6, 2)


def test_scores_with_two_trailing_ones(tmp_path):
    path = write_onnx(
        tmp_path / "m.onnx",
        [NODE("Conv", ["x", "w"], ["y"])],
        ("N", 3, 4, 4),
        {"w": weight(5, 48).T.reshape(5, 3, 4, 4)},
        outputs={"y": (("N", 5, 1, 1), FLOAT)},
    )
    target, u = ready(path)
    assert target.scores(u).shape == (6, 5)
    check_gradient(target, u)


def dynamic_scale(path: Path) -> Path:
    """Quantises with a scale over the whole batch."""
    return write_onnx(
        path,
        [
            NODE("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
            NODE("DequantizeLinear", ["q", "s", "z"], ["d"]),
            NODE("Flatten", ["d"], ["f"]),
            NODE("MatMul", ["f", "w"], ["y"]),
        ],
        ("N", 3, 4, 4),
        {"w": weight(5, 48)},
        outputs={"y": (("N", 5), FLOAT)},
    )


def test_a_batch_that_matters_is_found_and_inputs_run_alone(tmp_path):
    opened = load(dynamic_scale(tmp_path / "m.onnx"))
    u = points(opened) * 0.5
    target = complete(opened, u)
    assert target.batch_invariant is False
    assert target.batch_deviation > 1e-4
    torch.testing.assert_close(target.scores(u), target.scores(u, alone=True), rtol=0, atol=0)
    assert target.parity(u).argmax_agreement == 1.0


def test_one_sample_is_enough_to_find_that_the_batch_matters(tmp_path):
    target = load(dynamic_scale(tmp_path / "m.onnx"))
    target = complete(target, torch.full((1, 3, 4, 4), 0.3137))
    assert target.batch_invariant is False


def test_randomness_is_found(tmp_path):
    path = write_onnx(
        tmp_path / "m.onnx",
        [
            NODE("RandomUniformLike", ["x"], ["r"], low=-0.2, high=0.2),
            NODE("Add", ["x", "r"], ["a"]),
            NODE("Flatten", ["a"], ["f"]),
            NODE("MatMul", ["f", "w"], ["y"]),
        ],
        ("N", 3, 4, 4),
        {"w": weight(5, 48)},
        outputs={"y": (("N", 5), FLOAT)},
    )
    target, _ = ready(path)
    assert target.repeat_deviation > 1e-3
    steady, _ = ready(linear_onnx(tmp_path / "n.onnx"))
    assert steady.repeat_deviation == 0.0


def nan_where_dark(path: Path) -> Path:
    return write_onnx(
        path,
        [
            NODE("Flatten", ["x"], ["f"]),
            NODE("MatMul", ["f", "w"], ["m"]),
            NODE("ReduceMean", ["f"], ["r"], axes=[1], keepdims=1),
            NODE("Sub", ["r", "half"], ["s"]),
            NODE("Sqrt", ["s"], ["q"]),
            NODE("Add", ["m", "q"], ["y"]),
        ],
        ("N", 3, 4, 4),
        {"w": weight(5, 48), "half": np.float32([0.5])},
        outputs={"y": (("N", 5), FLOAT)},
    )


def test_nan_stays_visible_and_costs_only_its_row(tmp_path):
    target, _ = ready(nan_where_dark(tmp_path / "m.onnx"))
    u = torch.stack([torch.full((3, 4, 4), 0.2), 0.6 + 0.4 * points(target, 1)[0]])
    scores = target.scores(u)
    assert scores[0].isnan().all()
    assert scores[1].isfinite().all()
    parity = target.parity(u)
    assert parity.argmax_agreement == 1.0
    assert np.isfinite(parity.relative_difference)


def test_a_twin_that_answers_where_the_file_does_not_is_no_parity(tmp_path):
    target, _ = ready(nan_where_dark(tmp_path / "m.onnx"))
    target.file.differentiable = lambda x: torch.zeros(len(x), 5)
    assert target.parity(torch.full((2, 3, 4, 4), 0.2)).argmax_agreement == 0.0


def test_an_unknown_operator_leaves_the_scores(tmp_path):
    path = write_onnx(
        tmp_path / "m.onnx",
        [
            NODE("Flatten", ["x"], ["f"]),
            NODE("Multinomial", ["f"], ["r"], dtype=6),
            NODE("Cast", ["r"], ["s"], to=FLOAT),
            NODE("Mul", ["s", "nothing"], ["z"]),
            NODE("MatMul", ["f", "w"], ["m"]),
            NODE("Add", ["m", "z"], ["y"]),
        ],
        ("N", 3, 4, 4),
        {"w": weight(5, 48), "nothing": np.float32(0)},
        outputs={"y": (("N", 5), FLOAT)},
    )
    target, u = ready(path)
    assert not target.gradient.available
    assert target.gradient.reason == "Multinomial-17"
    assert target.scores(u).shape == (6, 5)
    with pytest.raises(AuditError, match="has no gradient"):
        target.logits(u)


def test_a_graph_that_breaks_the_importer_leaves_the_scores(tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("axis")

    monkeypatch.setattr("robaudit.target.files.onnx.file.import_onnx", broken)
    target, u = ready(linear_onnx(tmp_path / "m.onnx"))
    assert target.gradient.reason == "'axis'"
    assert target.scores(u).shape == (6, 5)


def test_an_output_that_the_input_does_not_reach(tmp_path):
    path = write_onnx(
        tmp_path / "m.onnx",
        [
            NODE("Flatten", ["x"], ["f"]),
            NODE("Greater", ["f", "half"], ["g"]),
            NODE("Cast", ["g"], ["c"], to=FLOAT),
            NODE("MatMul", ["c", "w"], ["y"]),
        ],
        ("N", 3, 4, 4),
        {"w": weight(5, 48), "half": np.float32([0.5])},
        outputs={"y": (("N", 5), FLOAT)},
    )
    target, u = ready(path)
    assert target.gradient.available  # a comparison has a smooth backward
    assert target.gradient.method == "smoothed"
    assert target.gradient.cuts == ("Greater (g), ends the gradient",)
    point = u.clone().requires_grad_()
    assert torch.autograd.grad(target.logits(point)[:, 0].sum(), point)[0].abs().min() > 0
    torch.testing.assert_close(target.logits(u), target.scores(u))
    assert target.unsmooth is None  # of another width it is another


def test_comparisons_of_torchscript_are_smoothed_likewise(tmp_path):
    class Thermometer(torch.nn.Module):
        def forward(self, x):
            return (x.flatten(1) > 0.5).float() @ torch.from_numpy(weight(5, 48))

    path = script(tmp_path / "m.pt", Thermometer(), torch.zeros(2, 3, 4, 4))
    opened = open_target(path, sample_shape=(3, 4, 4), device="cpu")
    u = points(opened)
    target = complete(opened, u)
    assert target.gradient.available
    assert target.gradient.method == "smoothed"
    point = u.clone().requires_grad_()
    assert torch.autograd.grad(target.logits(point)[:, 0].sum(), point)[0].abs().min() > 0
    torch.testing.assert_close(target.logits(u), target.scores(u))


def test_an_output_that_no_gradient_reaches(tmp_path):
    path = write_onnx(
        tmp_path / "m.onnx",
        [
            NODE("Flatten", ["x"], ["f"]),
            NODE("ReduceSum", ["f", "axes"], ["s"], keepdims=0),
            NODE("Cast", ["s"], ["k"], to=TensorProto.INT64, name="whole"),
            NODE("Gather", ["table", "k"], ["y"]),
        ],
        ("N", 3, 4, 4),
        {"table": weight(5, 49), "axes": np.int64([1])},
        outputs={"y": (("N", 5), FLOAT)},
    )
    target, u = ready(path)
    assert not target.gradient.available
    assert "no gradient path" in target.gradient.reason
    assert target.scores(u).shape == (6, 5)


def test_an_output_that_mixes_the_batch_is_refused(tmp_path):
    path = write_onnx(
        tmp_path / "m.onnx",
        [NODE("Reshape", ["x", "s"], ["f"]), NODE("MatMul", ["f", "w"], ["y"])],
        ("N", 3, 4, 4),
        {"w": weight(5, 24), "s": np.int64([-1, 24])},
    )
    with pytest.raises(UsageError, match="not one row an input"):
        load(path)


def test_batches_that_the_file_declares_and_refuses_run_one_at_a_time(tmp_path):
    path = write_onnx(
        tmp_path / "m.onnx",
        [NODE("Reshape", ["x", "s"], ["f"]), NODE("MatMul", ["f", "w"], ["y"])],
        ("N", 3, 4, 4),
        {"w": weight(5, 48), "s": np.int64([1, 48])},
        outputs={"y": (("N", 5), FLOAT)},
    )
    target, u = ready(path)
    assert target.batch_invariant is False
    assert "one at a time" in target.notes[0]
    assert target.scores(u).shape == (6, 5)
    assert target.logits(u).shape == (6, 5)
    check_gradient(target, u)


def test_a_runtime_error_is_one_sentence(tmp_path):
    target = load(linear_onnx(tmp_path / "m.onnx"))
    with pytest.raises(RobauditError, match="ONNX Runtime refuses"):
        target.file.run(torch.zeros(1, 3, 9, 9))


@pytest.mark.parametrize("words", ["Failed to allocate memory for requested buffer", "CUDA failure 2: out of memory"])
def test_memory_that_runs_out_is_told_from_other_errors(tmp_path, monkeypatch, words):
    target = load(linear_onnx(tmp_path / "m.onnx"))

    class Full:
        def run(self, *_: object) -> object:
            raise RuntimeError(words)

    monkeypatch.setattr(target.file, "session", Session(Full(), narrow=False))
    with pytest.raises(torch.OutOfMemoryError):
        target.scores(points(target))


def test_metadata_and_facts(tmp_path):
    metadata = {"robaudit.mean": "0.5", "robaudit.std": "0.25", "robaudit.classes": "a,b,c,d,e"}
    target = load(linear_onnx(tmp_path / "m.onnx", metadata=metadata))
    assert (target.spec.mean, target.spec.std, target.spec.provenance["mean"]) == ((0.5,), (0.25,), "onnx metadata")
    assert target.class_names == list("abcde")
    assert target.facts["operators"] == {"Flatten": 1, "MatMul": 1}
    assert target.facts["outputs"] == ["y Nx5"]


def test_image_types(tmp_path):
    path = linear_onnx(
        tmp_path / "m.onnx",
        ("N", 3, 3, 3),
        denotation=("DATA_BATCH", "DATA_FEATURE", "DATA_FEATURE", "DATA_CHANNEL"),
        metadata={"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "Normalized_1_1"},
    )
    spec = load(path).spec
    assert (spec.layout, spec.channels, spec.scale, spec.mean, spec.assumed) == ("nhwc", "bgr", 2.0, (1.0,), ())
    assert spec.provenance["layout"] == "image type"


def test_hash_is_of_the_content(tmp_path):
    import hashlib

    path = linear_onnx(tmp_path / "m.onnx")
    assert load(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
