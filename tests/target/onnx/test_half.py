"""Where the twin of a float16 file rounds: as ONNX Runtime's CPU does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import answers

from robaudit.target.onnx import half, import_onnx

RNG = np.random.default_rng(7)


def halves(nodes: list[onnx.NodeProto], shape: tuple[int, ...] = (1, 6), **held: np.ndarray) -> onnx.ModelProto:
    """A float16 graph ``a`` -> ``z`` between conversions from ``x`` and to ``y``, as converters write it."""
    to = [helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT16)]
    back = [helper.make_node("Cast", ["z"], ["y"], to=TensorProto.FLOAT)]
    kept = {name: v.astype(np.float16) if v.dtype == np.float32 else v for name, v in held.items()}
    graph = helper.make_graph(
        [*to, *nodes, *back],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in kept.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(op: str, *inputs: str, to: str = "z", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [to], **attributes)


W = RNG.standard_normal((6, 6)).astype(np.float32)
V = RNG.standard_normal(6).astype(np.float32)
SHAPE = np.array([1, 3, 2])
CASES: dict[str, tuple[onnx.ModelProto, int]] = {
    "none between float32 kernels": (halves([node("MatMul", "a", "w", to="b"), node("Relu", "b")], w=W), 0),
    "before what moves": (halves([node("MatMul", "a", "w", to="b"), node("Reshape", "b", "s")], w=W, s=SHAPE), 1),
    "of the input": (halves([node("Reshape", "a", "s")], s=SHAPE), 1),
    "none where it stands alone": (
        halves(
            [
                node("MatMul", "a", "w", to="b"),
                node("Concat", "b", "b", to="c", axis=1),
                node("Mul", "c", "k"),
            ],
            w=W,
            k=V[:1],
        ),
        0,
    ),
    "two that move keep it": (
        halves(
            [
                node("MatMul", "a", "w", to="b"),
                node("Reshape", "b", "s", to="c"),
                node("Transpose", "c", to="d", perm=[0, 2, 1]),
                node("Sigmoid", "d"),
            ],
            w=W,
            s=SHAPE,
        ),
        1,
    ),
    "nor with constants": (
        halves(
            [
                node("MatMul", "a", "w", to="b"),
                node("LayerNormalization", "b", "k", to="c"),
                node("Relu", "c", to="d"),
                node("Concat", "d", "r", to="e", axis=1),
                node("Exp", "e"),
            ],
            w=W,
            k=V,
            r=W[:1],
        ),
        0,
    ),
    "around a layer norm that has a neighbour": (
        halves(
            [
                node("MatMul", "a", "w", to="b"),
                node("Reshape", "b", "s", to="c"),
                node("LayerNormalization", "c", "k", to="d"),
                node("Exp", "d"),
            ],
            w=W,
            s=np.array([1, 1, 6]),
            k=V,
        ),
        2,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_twin_rounds_where_the_runtime_does(name: str) -> None:
    model, roundings = CASES[name]
    module = import_onnx(model, "y").float_twin()
    assert sum(n.op == half.ROUND for n in module._graph.nodes) == roundings
    x = RNG.standard_normal((1, 6)).astype(np.float32)
    expected = answers(model, x, optimise=False)
    # Half precision's step is a thousand times larger.
    np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), expected, rtol=2e-6, atol=2e-6)


def test_answers_in_half_precision_are_rounded() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(CASES["none between float32 kernels"][0])
    del model.graph.node[-1], model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT16, None))
    module = import_onnx(model, "z").float_twin()
    x = RNG.standard_normal((1, 6)).astype(np.float32)
    np.testing.assert_array_equal(module(torch.from_numpy(x)).numpy(), answers(model, x, optimise=False))


def test_an_input_in_half_precision_is_rounded() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(CASES["none between float32 kernels"][0])
    del model.graph.node[0], model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("a", TensorProto.FLOAT16, (1, 6)))
    module = import_onnx(model, "y").float_twin()
    x = RNG.standard_normal((1, 6)).astype(np.float32)
    expected = answers(model, x.astype(np.float16), optimise=False)
    np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), expected, rtol=2e-6, atol=2e-6)


def test_the_gradient_passes_a_rounding_unchanged() -> None:
    module = import_onnx(CASES["before what moves"][0], "y").float_twin()
    x = torch.ones(1, 6, requires_grad=True)
    y = module(x)
    weights = torch.randn(y.shape)
    (found,) = torch.autograd.grad((y * weights).sum(), x)
    expected = weights.reshape(1, 6) @ torch.from_numpy(W.astype(np.float16).astype(np.float32)).T
    torch.testing.assert_close(found, expected)
    assert module.cuts == []


def test_other_files_are_left_alone() -> None:
    wide = import_onnx(CASES["before what moves"][0], "y")
    assert wide.rounds_to_half
    nodes = [node("MatMul", "x", "w", to="b"), node("Reshape", "b", "s", to="y")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 6))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(W, "w"), numpy_helper.from_array(SHAPE, "s")],
    )
    assert not import_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])).rounds_to_half
