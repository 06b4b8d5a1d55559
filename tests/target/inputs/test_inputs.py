"""Models with several inputs: one is attacked, the others are fixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from model_files import FLOAT, Net, script, weight, write_onnx
from onnx import TensorProto, helper
from target_kit import complete
from torch import Tensor, nn

from robaudit.errors import UsageError
from robaudit.target.inputs.several import DeclaredInput, choose_input
from robaudit.target.load import open_target
from robaudit.target.reading.interface import Interface
from robaudit.target.target import Target

NODE = helper.make_node
X = DeclaredInput("x", (None, 8), "float32", ("batch", None))
W = weight(3, 8)


def chosen(*others: DeclaredInput, wanted: str | None = None, **fixed: str):
    return choose_input(Path("m.onnx"), [X, *others], fixed, wanted)


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        (DeclaredInput("a", (), "int64"), "16000", np.int64(16000)),
        (DeclaredInput("a", (1,), "int64"), "16000", np.int64([16000])),
        (DeclaredInput("a", (None, 3), "float32"), "1,2,3", np.float32([[1, 2, 3]])),
        (DeclaredInput("a", (None, 2), "bool"), "true", np.array([[True, True]])),
        (DeclaredInput("a", (2, None, 4), "float32"), "zeros", np.zeros((2, 1, 4), np.float32)),
        (DeclaredInput("a", (1, 2), "float16"), "0.5", np.float16([[0.5, 0.5]])),
        (DeclaredInput("a", (2, 2), "float64"), "1,2,3,4", np.float64([[1, 2], [3, 4]])),
        (DeclaredInput("a", None, "float32"), "ones", np.float32(1)),
        (DeclaredInput("a", (None,), "string"), "text", np.array(["text"], dtype=object)),
    ],
)
def test_values(declared, text, value):
    attacked, (fixed,) = chosen(declared, a=text)
    assert attacked is X
    np.testing.assert_array_equal(fixed.value, value)
    assert fixed.value.dtype == value.dtype


def test_values_from_files(tmp_path):
    declared = DeclaredInput("a", (None, 2), "float32")
    np.save(tmp_path / "a.npy", np.arange(2.0))
    np.savez(tmp_path / "a.npz", a=np.ones((3, 2)), b=np.zeros(1))
    assert chosen(declared, a=str(tmp_path / "a.npy"))[1][0].value.tolist() == [[0, 1]]
    whole = chosen(declared, a=str(tmp_path / "a.npz"))[1][0]
    assert whole.value.shape == (3, 2)
    assert whole.batch_axis is None
    for name, words in (("b.npy", "there is no file"), ("c.npy", "cannot be read")):
        (tmp_path / "c.npy").write_bytes(b"nothing")
        with pytest.raises(UsageError, match=words):
            chosen(declared, a=str(tmp_path / name))


@pytest.mark.parametrize(
    ("declared", "axis"),
    [
        (DeclaredInput("a", (2, None, 4), "float32", (None, "batch", None)), 1),
        (DeclaredInput("a", (2, None, 4), "float32"), 1),
        (DeclaredInput("a", (None, None), "float32"), 0),
        (DeclaredInput("a", (1, 4), "float32"), None),
        (DeclaredInput("a", (), "float32"), None),
    ],
)
def test_the_axis_that_follows_the_batch(declared, axis):
    (fixed,) = chosen(declared, a="zeros")[1]
    assert fixed.batch_axis == axis
    assert fixed.rows(3).shape == tuple(3 if i == axis else d for i, d in enumerate(fixed.value.shape))


A = DeclaredInput("a", (1, 3), "int32")


@pytest.mark.parametrize(
    ("fixed", "wanted", "words"),
    [
        ({}, None, r"has 2 inputs \(x \?x8 float32, a 1x3 int32\); .*--input a=VALUE"),
        ({}, "x", r"inputs without a value \(a 1x3 int32\); give --input a=VALUE"),
        ({"b": "1"}, None, "has no input 'b'"),
        ({}, "xx", "has no input 'xx'; did you mean 'x'"),
        ({"a": "1"}, "a", "names the attacked input"),
        ({"a": "1", "x": "zeros"}, None, "fixes every input"),
        ({"a": "1,2"}, None, "the value is 2, and the model takes 1x3"),
        ({"a": "0.5"}, None, "whole numbers"),
        ({"a": "3e9"}, None, "that the type int32 cannot"),
        ({"a": "nan"}, None, "finite"),
        ({"a": "seven"}, None, "is not a number, a list"),
    ],
)
def test_what_does_not_fit_is_refused(fixed, wanted, words):
    with pytest.raises(UsageError, match=words):
        chosen(A, wanted=wanted, **fixed)


def test_an_optional_input_may_be_left_out():
    attacked, fixed = chosen(DeclaredInput("o", None, "optional(tensor(float))", optional=True))
    assert (attacked, fixed) == (X, [])


def scaled(path: Path, batch: object = "N") -> Path:
    """y = (x W) s + b[r]: a state for each input, and a whole number that chooses."""
    return write_onnx(
        path,
        [
            NODE("MatMul", ["x", "w"], ["z"]),
            NODE("Mul", ["z", "s"], ["p"]),
            NODE("Cast", ["r"], ["c"], to=FLOAT),
            NODE("Add", ["p", "c"], ["y"]),
        ],
        (batch, 8),
        {"w": W},
        outputs={"y": ((batch, 3), FLOAT)},
        extra_inputs={"s": ((batch, 3), FLOAT), "r": ((), TensorProto.INT64)},
    )


def ready(path: Path, **interface: object) -> tuple[Target, Tensor]:
    target = open_target(path, device="cpu", interface=Interface(**interface), sample_shape=(8,))
    u = torch.rand(6, *target.spec.shape, generator=torch.Generator().manual_seed(1)).to(target.dtype)
    target = complete(target, u)
    return target, u


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_an_onnx_file_with_a_state(tmp_path, batch):
    target, u = ready(scaled(tmp_path / "m.onnx", batch), fixed={"s": "-1", "r": "2"})
    expected = u.numpy() @ W * -1 + 2
    np.testing.assert_allclose(target.scores(u).numpy(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(target.scores(u, alone=True).numpy(), expected, rtol=1e-5, atol=1e-5)
    assert target.gradient.available, target.gradient.reason
    leaf = u.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(target.logits(leaf)[:, 0].sum(), leaf)
    np.testing.assert_allclose(gradient[0], -W[:, 0], rtol=1e-5)
    assert target.parity(u).relative_difference < 1e-5
    if batch == "N":
        assert target.batch_invariant


def test_a_recurrent_layer_with_a_state_of_one_row(tmp_path):
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(1, 12, 2)).astype(np.float32),
        "r": rng.normal(size=(1, 12, 3)).astype(np.float32),
        "steps": np.int64([-1, 4, 2]),
        "axis": np.int64([0]),
    }
    path = write_onnx(
        tmp_path / "m.onnx",
        [
            NODE("Reshape", ["x", "steps"], ["s"]),
            NODE("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
            NODE("LSTM", ["t", "w", "r", "", "", "h", "c"], ["", "last"], hidden_size=3),
            NODE("Squeeze", ["last", "axis"], ["y"]),
        ],
        ("N", 8),
        constants,
        outputs={"y": (("N", 3), FLOAT)},
        extra_inputs={"h": ((1, "N", 3), FLOAT), "c": ((1, "N", 3), FLOAT)},
    )
    target, u = ready(path, fixed={"h": "zeros", "c": "0.5"})
    assert target.gradient.available, target.gradient.reason
    assert target.gradient.batching in ("direct", "vmap")
    assert target.batch_invariant
    assert target.parity(u).relative_difference < 1e-5
    leaf = u.clone().requires_grad_()
    assert torch.autograd.grad(target.logits(leaf).sum(), leaf)[0].flatten(1).any(1).all()


def test_the_attacked_input_is_named(tmp_path):
    x = np.arange(1.0, 9.0)
    fixed = {"x": ",".join(map(str, x)), "r": "0"}
    target, u = ready(scaled(tmp_path / "m.onnx"), fixed=fixed, input="s")
    assert (target.spec.name, target.spec.shape) == ("s", (3,))
    np.testing.assert_allclose(target.scores(u).numpy(), u.numpy() * (x @ W), rtol=1e-5, atol=1e-6)
    assert target.gradient.available, target.gradient.reason
    assert target.parity(u).relative_difference < 1e-5


def test_a_value_that_the_graph_itself_holds_is_no_input(tmp_path):
    path = scaled(tmp_path / "m.onnx")
    model = onnx.load(path)
    for name, value in (("s", np.ones((1, 3), np.float32)), ("r", np.int64(0))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    onnx.save(model, path)
    target, u = ready(path)
    np.testing.assert_allclose(target.scores(u).numpy(), u.numpy() @ W, rtol=1e-5, atol=1e-5)


class Rated(Net):
    """A module that takes a rate and may take a shift."""

    def forward(self, x: Tensor, rate: int, shift: float = 0.0) -> Tensor:
        return self.last(torch.tanh(self.conv(x)).flatten(1)) * rate + shift


@pytest.mark.parametrize("name", ["rate", "1"])
def test_a_torchscript_module_with_arguments(tmp_path, name):
    path = script(tmp_path / "m.pt", Rated())
    target = open_target(path, device="cpu", interface=Interface(fixed={name: "3"}), sample_shape=(3, 8, 8))
    u = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(target.scores(u), Rated().eval()(u, 3))
    assert target.file.fixed[1].text == "default"
    leaf = u.clone().requires_grad_()
    assert torch.autograd.grad(target.logits(leaf).sum(), leaf)[0].any()


class Masked(nn.Module):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return (x * mask).flatten(1)[:, :4]


def test_a_torchscript_module_with_a_tensor_beside(tmp_path):
    path = script(tmp_path / "m.pt", Masked())
    np.save(tmp_path / "mask.npy", np.full((1, 3, 8, 8), 2, np.float32))
    fixed = {"mask": str(tmp_path / "mask.npy")}
    target = open_target(path, device="cpu", interface=Interface(fixed=fixed), sample_shape=(3, 8, 8))
    u = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(target.scores(u), 2 * u.flatten(1)[:, :4])


@pytest.mark.parametrize(
    ("fixed", "words"),
    [
        ({}, r"inputs without a value \(rate \(int64\)\); give --input rate=VALUE"),
        ({"rat": "3"}, "has no input 'rat'; did you mean 'rate'"),
        ({"rate": "0.5"}, "one whole number"),
        ({"rate": "fast"}, "is not a number"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, fixed, words):
    path = script(tmp_path / "m.pt", Rated())
    with pytest.raises(UsageError, match=words):
        open_target(path, device="cpu", interface=Interface(fixed=fixed), sample_shape=(3, 8, 8))
