from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import FLOAT, linear_onnx, weight, write_onnx
from onnx import TensorProto, helper
from torch import Tensor

from robaudit.errors import AuditError, RobauditError, UsageError
from robaudit.target.load import load_target
from robaudit.target.spec import SpecOverrides
from robaudit.target.target import Target

NODE = helper.make_node


def load(path: Path, **values: object) -> Target:
    return load_target(path, overrides=SpecOverrides(values), device="cpu")


def ready(path: Path, samples: int = 6, **values: object) -> tuple[Target, Tensor]:
    """A target as an audit uses it, and points."""
    target = load(path, **values)
    u = points(target, samples)
    target.measure(u)
    target.calibrate()
    return target, u


def points(target: Target, count: int = 6, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(count, *target.spec.shape, generator=generator, dtype=torch.float64)
    return ((u * 255).round() / 255).to(target.dtype)


def check_gradient(target: Target, u: Tensor, step: float = 1e-3, tolerance: float = 2e-2) -> None:
    """Directional derivatives of the logits against central differences of the file's scores."""
    u = u[:2].detach().requires_grad_()
    logits = target.logits(u)
    weights = torch.linspace(-1, 1, logits.shape[1], dtype=logits.dtype)
    (gradient,) = torch.autograd.grad((logits * weights).sum(), u)
    direction = gradient / gradient.flatten(1).norm(dim=1).reshape(-1, *([1] * (u.dim() - 1)))

    def value(at: Tensor) -> Tensor:
        scores = target.scores(at).double()
        if target.head.kind == "probabilities":
            scores = scores.log()
        return (scores * weights).sum(1)

    found = (value(u + step * direction) - value(u - step * direction)) / (2 * step)
    expected = (gradient * direction).flatten(1).sum(1)
    torch.testing.assert_close(found, expected.double(), rtol=tolerance, atol=1e-6)


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


def test_float64_files_are_answered_in_float64(tmp_path):
    target, u = ready(linear_onnx(tmp_path / "m.onnx", dtype=TensorProto.DOUBLE, end=["Tanh"]))
    assert target.dtype == torch.float64
    assert target.scores(u).dtype == torch.float64
    assert target.parity(u).relative_difference < 1e-12
    check_gradient(target, u, step=1e-5, tolerance=1e-6)


def test_float16_files_judge_in_half_and_differentiate_in_single_precision(tmp_path):
    target, u = ready(linear_onnx(tmp_path / "m.onnx", dtype=TensorProto.FLOAT16))
    assert target.scores(u).dtype == torch.float32
    assert target.logits(u).dtype == torch.float32
    half = u.half().numpy().reshape(6, -1).astype(np.float32) @ weight(5, 48).astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(target.scores(u).numpy(), half, atol=0.05)
    parity = target.parity(u)
    assert parity.relative_difference < 2e-3
    assert target.batch_invariant


def uint8_file(path: Path) -> Path:
    """N x H x W x 3 bytes: cast, scaled and transposed inside, as exported serving models have it."""
    return write_onnx(
        path,
        [
            NODE("Cast", ["x"], ["f"], to=FLOAT),
            NODE("Div", ["f", "s"], ["d"]),
            NODE("Transpose", ["d"], ["t"], perm=[0, 3, 1, 2]),
            NODE("Flatten", ["t"], ["v"]),
            NODE("MatMul", ["v", "w"], ["m"]),
            NODE("Tanh", ["m"], ["y"]),
        ],
        ("N", 4, 4, 3),
        {"w": weight(5, 48), "s": np.float32([255])},
        outputs={"y": (("N", 5), FLOAT)},
        dtype=TensorProto.UINT8,
    )


def test_byte_inputs(tmp_path):
    target, u = ready(uint8_file(tmp_path / "m.onnx"))
    assert (target.spec.layout, target.spec.dtype, target.spec.scale) == ("nhwc", "uint8", 255.0)
    assert target.gradient.available
    expected = np.tanh(u.numpy().reshape(6, -1) @ weight(5, 48))
    np.testing.assert_allclose(target.scores(u).numpy(), expected, atol=1e-5)
    assert target.parity(u).relative_difference < 1e-5
    # between two bytes the file rounds, and the twin with it
    between = (u + 0.3 / 255).clamp(0, 1)
    assert target.parity(between).relative_difference < 1e-5
    leaf = u.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(target.logits(leaf)[:, 0].sum(), leaf)
    by_hand = (1 - torch.from_numpy(expected[:, :1]) ** 2) * torch.from_numpy(weight(5, 48))[:, 0]
    torch.testing.assert_close(gradient.flatten(1), by_hand, rtol=1e-3, atol=1e-5)


def test_points_of_an_integer_input_are_snapped(tmp_path):
    target, u = ready(uint8_file(tmp_path / "m.onnx"))
    moved = (u + 2.7 / 255).clamp(0, 1)
    snapped = target.snap(moved, u)
    torch.testing.assert_close((snapped * 255).round() / 255, snapped, rtol=0, atol=1e-6)
    assert (snapped - u).max() < 2.001 / 255


def test_values_outside_of_the_integer_type_are_clipped(tmp_path):
    target = load(uint8_file(tmp_path / "m.onnx"))
    high = target.scores(torch.full((1, 3, 4, 4), 1.01))
    assert torch.equal(high, target.scores(torch.ones(1, 3, 4, 4)))


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
    target, u = ready(dynamic_scale(tmp_path / "m.onnx"))
    u = u * 0.5
    target.measure(u)
    assert target.batch_invariant is False
    assert target.batch_deviation > 1e-4
    torch.testing.assert_close(target.scores(u), target.scores(u, alone=True), rtol=0, atol=0)
    assert target.parity(u).argmax_agreement == 1.0


def test_one_sample_is_enough_to_find_that_the_batch_matters(tmp_path):
    target = load(dynamic_scale(tmp_path / "m.onnx"))
    target.measure(torch.full((1, 3, 4, 4), 0.3137))
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
            NODE("RandomNormalLike", ["x"], ["r"], scale=1e-9),
            NODE("Add", ["x", "r"], ["s"]),
            NODE("Flatten", ["s"], ["f"]),
            NODE("MatMul", ["f", "w"], ["y"]),
        ],
        ("N", 3, 4, 4),
        {"w": weight(5, 48)},
        outputs={"y": (("N", 5), FLOAT)},
    )
    target, u = ready(path)
    assert not target.gradient.available
    assert target.gradient.reason == "unavailable: RandomNormalLike-17"
    assert target.scores(u).shape == (6, 5)
    with pytest.raises(AuditError, match="has no gradient"):
        target.logits(u)


def test_a_graph_that_breaks_the_importer_leaves_the_scores(tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise KeyError("axis")

    monkeypatch.setattr("robaudit.target.onnx_file.import_onnx", broken)
    target, u = ready(linear_onnx(tmp_path / "m.onnx"))
    assert target.gradient.reason == "unavailable: 'axis'"
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

    monkeypatch.setattr(target.file, "session", Full())
    with pytest.raises(torch.OutOfMemoryError):
        target.scores(points(target))


def test_a_gradient_is_taken_in_the_files_own_precision(tmp_path):
    target, u = ready(linear_onnx(tmp_path / "m.onnx"))
    torch.testing.assert_close(target.logits(u.double()), target.logits(u))


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


def test_float32_stays_float32_on_a_gpu(tmp_path):
    load(linear_onnx(tmp_path / "m.onnx"))
    assert not torch.backends.cudnn.allow_tf32
