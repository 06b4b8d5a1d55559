"""Outputs and inputs of odd shapes and number types: read, or refused in a sentence."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from endings import NODE, W, expected
from model_files import FLOAT, write_onnx
from onnx import TensorProto, helper
from target_kit import complete, points

from robaudit.errors import UsageError
from robaudit.target.files.onnx.runtime import ask, start
from robaudit.target.files.onnx.source import read_onnx
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target

BF16 = TensorProto.BFLOAT16


def opened(path, **how):
    target = open_target(path, device="cpu", **how)
    u = points(target, 12)
    target = complete(target, u)
    return target, u


def shaped(path, end, constants, shape, batch):
    nodes = [NODE("MatMul", ["x", "w"], ["z"]), *end]
    return write_onnx(path, nodes, (batch, 8), {"w": W, **constants}, outputs={"y": (shape, FLOAT)})


@pytest.mark.parametrize("batch", [1, "N"])
@pytest.mark.parametrize(
    ("end", "constants", "shape"),
    [
        ([NODE("Squeeze", ["z", "axes"], ["y"])], {"axes": np.int64([0])}, (3,)),
        ([NODE("Squeeze", ["z"], ["y"])], {}, None),
        ([NODE("Unsqueeze", ["z", "axes"], ["y"])], {"axes": np.int64([1])}, ("N", 1, 3)),
        ([NODE("Unsqueeze", ["z", "axes"], ["y"])], {"axes": np.int64([2, 3])}, ("N", 3, 1, 1)),
        ([NODE("Unsqueeze", ["z", "axes"], ["y"])], {"axes": np.int64([1, 2])}, ("N", 1, 1, 3)),
        ([NODE("Softmax", ["z"], ["p"]), NODE("Squeeze", ["p"], ["y"])], {}, None),
    ],
)
def test_one_row_of_scores_in_any_shape(tmp_path, end, constants, shape, batch):
    if batch == "N" and shape == (3,):
        pytest.skip("such a file runs at batch 1 alone")
    target, u = opened(shaped(tmp_path / "m.onnx", end, constants, shape, batch))
    assert target.num_classes == 3
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    assert target.logits(u).argmax(1).tolist() == expected(u).argmax(1).tolist()
    assert target.parity(u).relative_difference < 1e-5


def test_scores_across_the_batch_are_refused(tmp_path):
    path = shaped(tmp_path / "m.onnx", [NODE("Transpose", ["z"], ["y"])], {}, (3, "N"), "N")
    with pytest.raises(UsageError, match="the output y of 1 inputs has shape 3x1, not one row an input"):
        opened(path)


def test_a_sequence_is_refused(tmp_path):
    nodes = [NODE("MatMul", ["x", "w"], ["z"]), NODE("Neg", ["z"], ["n"]), NODE("SequenceConstruct", ["z", "n"], ["y"])]
    model = onnx.load(write_onnx(tmp_path / "m.onnx", nodes, ("N", 8), {"w": W}))
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    model.graph.output[0].CopyFrom(helper.make_value_info("y", kind))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=r"its output y is a sequence of tensors.*export one of them by itself"):
        opened(tmp_path / "m.onnx")


def without_shape(path):
    model = onnx.load(write_onnx(path, [NODE("MatMul", ["x", "w"], ["y"])], ("N", 8), {"w": W}))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    return path


def test_an_input_without_a_declared_shape_takes_that_of_the_data(tmp_path):
    path = without_shape(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=r"'x' .* does not declare its shape; give --data"):
        opened(path)
    target, u = opened(path, sample_shape=(8,))
    assert target.labels(u).tolist() == expected(u).argmax(1).tolist()
    assert str(target.file.outputs[0]) == "y ? float32"  # and not a scalar
    with pytest.raises(UsageError, match="does not answer an input of 8x8x3"):
        open_target(path, device="cpu", overrides=SpecOverrides({"resize": 8, "layout": "nhwc"}))


def test_bfloat16_that_goes_in_and_comes_out(tmp_path):
    nodes = [
        NODE("Cast", ["x"], ["f"], to=FLOAT),
        NODE("MatMul", ["f", "w"], ["z"]),
        NODE("Cast", ["z"], ["y"], to=BF16),
    ]
    path = write_onnx(tmp_path / "m.onnx", nodes, ("N", 8), {"w": W}, dtype=BF16, outputs={"y": (("N", 3), BF16)})
    target, u = opened(path)
    assert target.spec.dtype == "bfloat16"
    wanted = (u.to(torch.bfloat16).float() @ torch.from_numpy(W)).to(torch.bfloat16).float()
    torch.testing.assert_close(target.scores(u), wanted, rtol=1e-2, atol=1e-3)
    assert target.gradient.available
    assert target.parity(u).relative_difference < 1e-2


def test_bfloat16_is_rounded_as_torch_rounds(tmp_path):
    nodes = [NODE("Cast", ["x"], ["f"], to=FLOAT), NODE("Cast", ["f"], ["y"], to=BF16)]
    path = write_onnx(tmp_path / "m.onnx", nodes, ("N", 6), dtype=BF16, outputs={"y": (("N", 6), BF16)})
    values = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32) * 1e3
    values[0] = [np.inf, -np.inf, np.nan, 0.0, 3.4e38, 1.00390625]
    found = ask(start(read_onnx(path)), None, "x", values)[0]
    np.testing.assert_array_equal(found, torch.from_numpy(values).to(torch.bfloat16).float().numpy())


def test_bfloat16_that_the_runtime_cannot_compute_with(tmp_path):
    nodes = [NODE("MatMul", ["x", "x"], ["y"])]
    path = write_onnx(tmp_path / "m.onnx", nodes, (3, 3), dtype=BF16, outputs={"y": ((3, 3), BF16)})
    try:
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception:
        with pytest.raises(UsageError, match=r"few operators for bfloat16: export the model in float32 or float16"):
            opened(path)
    else:
        pytest.skip("this runtime multiplies bfloat16")
