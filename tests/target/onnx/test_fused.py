"""Formulas become operators, detours go; values and gradients stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import answers, make_model

from robaudit.target.onnx import import_onnx, tracing

RNG = np.random.default_rng(11)


class Draft:
    """An ONNX graph written down as nested calls."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def __call__(self, op: str, *inputs: str | float | np.ndarray, outputs: int = 1, **attributes: object) -> str:
        names = [value if isinstance(value, str) else self.hold(value) for value in inputs]
        made = [f"{op}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, names, made, **attributes))
        return made[0]

    def hold(self, value: float | np.ndarray) -> str:
        name = f"held_{len(self.constants)}"
        self.constants[name] = np.asarray(value, np.float32 if isinstance(value, float) else None)
        return name

    def model(self, last: str, shape: tuple[int | str, ...], opset: int = 17) -> onnx.ModelProto:
        nodes = [*self.nodes, helper.make_node("Identity", [last], ["y"])]
        return make_model(nodes, shape, self.constants, opset=opset)


def f(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def i(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def check(model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch, batch: int = 2) -> Counter[str]:
    """Values against ONNX Runtime, gradients against the program as recorded; counts the calls that remain."""
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    x = f(batch, *shape)
    module = import_onnx(model, "y")
    np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), answers(model, x, optimise=False), 1e-4, 1e-5)
    wide = torch.from_numpy(x).double().requires_grad_()
    fused = module.double()
    program = fused.graph_module(wide.shape, torch.float64)
    slopes = [torch.autograd.grad(fused(wide).square().sum(), wide)[0]]
    with monkeypatch.context() as patch:
        patch.setattr(tracing, "simplify", lambda *_: None)
        plain = import_onnx(model, "y").double()
        slopes.append(torch.autograd.grad(plain(wide).square().sum(), wide)[0])
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-8)
    # One sample after another, by vmap, is the same.
    mapped = fused.run("vmap", wide, {})[0]
    torch.testing.assert_close(mapped, fused(wide))
    called = (node.target for node in program.graph.nodes if node.op.startswith("call"))
    return Counter(target if isinstance(target, str) else target.__name__ for target in called)


def gelu(g: Draft) -> str:
    return g("Mul", g("Mul", "x", g("Add", g("Erf", g("Div", "x", 2**0.5)), 1.0)), 0.5)


def gelu_halved_first(g: Draft) -> str:
    return g("Mul", g("Mul", 0.5, "x"), g("Add", 1.0, g("Erf", g("Mul", "x", 0.5**0.5))))


def gelu_halved_gate(g: Draft) -> str:
    return g("Mul", "x", g("Mul", 0.5, g("Add", g("Erf", g("Div", "x", 2**0.5)), 1.0)))


def gelu_tanh(g: Draft) -> str:
    cubic = g("Add", "x", g("Mul", g("Pow", "x", 3.0), 0.044715))
    return g("Mul", g("Mul", "x", 0.5), g("Add", g("Tanh", g("Mul", cubic, (2 / np.pi) ** 0.5)), 1.0))


def gelu_tanh_products(g: Draft) -> str:
    square = g("Mul", "x", "x")
    inner = g("Mul", g("Mul", "x", (2 / np.pi) ** 0.5), g("Add", 1.0, g("Mul", square, 0.044715)))
    return g("Mul", 0.5, g("Mul", "x", g("Add", 1.0, g("Tanh", inner))))


def silu(g: Draft) -> str:
    return g("Mul", g("Sigmoid", "x"), "x")


def hardswish(g: Draft) -> str:
    return g("Mul", "x", g("HardSigmoid", "x", alpha=1 / 6, beta=0.5))


def hardswish_of_clip(g: Draft) -> str:
    return g("Div", g("Mul", "x", g("Clip", g("Add", "x", 3.0), 0.0, 6.0)), 6.0)


def hardsigmoid(g: Draft) -> str:
    return g("HardSigmoid", "x", alpha=1 / 6, beta=0.5)


def sigmoid(g: Draft) -> str:
    return g("Reciprocal", g("Add", g("Exp", g("Mul", "x", -1.0)), 1.0))


def sigmoid_as_quotient(g: Draft) -> str:
    return g("Div", 1.0, g("Add", 1.0, g("Exp", g("Neg", "x"))))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (gelu, "gelu"),
        (gelu_halved_first, "gelu"),
        (gelu_halved_gate, "gelu"),
        (gelu_tanh, "gelu"),
        (gelu_tanh_products, "gelu"),
        (silu, "silu"),
        (hardswish, "hardswish"),
        (hardswish_of_clip, "hardswish"),
        (hardsigmoid, "hardsigmoid"),
        (sigmoid, "sigmoid"),
        (sigmoid_as_quotient, "sigmoid"),
    ],
)
def test_an_activation_is_one_call(
    formula: Callable[[Draft], str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = Draft()
    assert check(g.model(formula(g), ("N", 5)), monkeypatch) == {expected: 1}


def test_a_sigmoid_keeps_its_gradient_where_the_formula_overflows() -> None:
    g = Draft()
    x = torch.full((1, 5), -200.0, requires_grad=True)
    y = import_onnx(g.model(sigmoid(g), ("N", 5)), "y")(x)
    assert torch.autograd.grad(y.sum(), x)[0].isfinite().all()


@pytest.mark.parametrize("factor", [1.702, -1.0])
def test_what_only_resembles_an_activation_stays(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    g = Draft()
    y = g("Mul", "x", g("Sigmoid", g("Mul", "x", factor)))
    assert "silu" not in check(g.model(y, ("N", 5)), monkeypatch)


def test_a_gate_that_others_read_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Draft()
    gate = g("Sigmoid", "x")
    called = check(g.model(g("Add", g("Mul", "x", gate), gate), ("N", 5)), monkeypatch)
    assert called == {"sigmoid": 1, "mul": 1, "add": 1}


def test_a_clip_after_weights_has_the_cheaper_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Draft()
    y = g("Clip", g("Conv", "x", f(4, 3, 3, 3)), 0.0, 6.0)
    assert check(g.model(y, ("N", 3, 5, 5)), monkeypatch) == {"conv2d": 1, "hardtanh": 1}


def test_a_clip_of_the_input_passes_the_gradient_on_its_bounds() -> None:
    g = Draft()
    module = import_onnx(g.model(g("Clip", "x", 0.0, 1.0), ("N", 4)), "y")
    x = torch.tensor([[0.0, 1.0, 0.5, 2.0]], requires_grad=True)
    assert torch.autograd.grad(module(x).sum(), x)[0].tolist() == [[1.0, 1.0, 1.0, 0.0]]


def normed(g: Draft, x: str, axis: int, how: str) -> str:
    centred = g("Sub", x, g("ReduceMean", x, axes=[axis]))
    square = g("Mul", centred, centred) if how == "rsqrt" else g("Pow", centred, 2.0)
    root = g("Sqrt", g("Add", g("ReduceMean", square, axes=[axis]), 1e-5))
    if how == "rsqrt":
        return g("Mul", centred, g("Reciprocal", root))
    return g("Div", centred, root)


@pytest.mark.parametrize("how", ["div", "rsqrt"])
@pytest.mark.parametrize("axis", [-1, 2])
def test_a_layer_norm_is_one_call(how: str, axis: int, monkeypatch: pytest.MonkeyPatch) -> None:
    g = Draft()
    y = g("Add", g("Mul", normed(g, "x", axis, how), f(6)), f(6))
    assert check(g.model(y, ("N", 4, 6)), monkeypatch) == {"layer_norm": 1}


def test_a_layer_norm_over_channels_is_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Draft()
    y = g("Add", g("Mul", normed(g, "x", 1, "div"), f(3, 1, 1)), f(1, 3, 1, 1))
    called = check(g.model(y, ("N", 3, 4, 5)), monkeypatch)
    assert (called["layer_norm"], called["permute"], called["mul"], called["add"]) == (1, 2, 0, 0)


def test_a_norm_by_other_means_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divided by the root over another axis than the mean was taken over."""
    g = Draft()
    centred = g("Sub", "x", g("ReduceMean", "x", axes=[2]))
    root = g("Sqrt", g("Add", g("ReduceMean", g("Pow", centred, 2.0), axes=[1]), 1e-5))
    assert "layer_norm" not in check(g.model(g("Div", centred, root), ("N", 4, 6)), monkeypatch)


def attention(g: Draft, scaled: str, mask: np.ndarray | None = None) -> str:
    """As exporters write it: one projection, five axes, three parts; width 12, 3 heads."""
    rows = g("Reshape", g("MatMul", "x", f(12, 36)), i(0, 5, 3, 3, 4))
    parts = g("Transpose", rows, perm=[2, 0, 3, 1, 4])
    q, k, v = (g("Gather", parts, np.array(n, np.int64), axis=0) for n in range(3))
    turned = g("Transpose", k, perm=[0, 1, 3, 2])
    if scaled == "both":
        root = 0.25**0.5
        scores = g("MatMul", g("Mul", q, root), g("Mul", turned, root))
    elif scaled == "q":
        scores = g("MatMul", g("Mul", q, 0.5), turned)
    else:
        scores = g("Div", g("MatMul", q, turned), 2.0)
    if mask is not None:
        scores = g("Add", scores, mask)
    mixed = g("Transpose", g("MatMul", g("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    return g("Reshape", mixed, i(0, 5, 12))


@pytest.mark.parametrize("scaled", ["both", "q", "after"])
@pytest.mark.parametrize("mask", [None, (3, 5, 5), (5, 5), (1, 3, 5, 5)])
def test_attention_is_one_call(scaled: str, mask: tuple[int, ...] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    g = Draft()
    y = attention(g, scaled, None if mask is None else f(*mask))
    called = check(g.model(y, ("N", 5, 12)), monkeypatch)
    assert called["scaled_dot_product_attention"] == 1
    assert not {"softmax", "matmul", "mul", "div", "select"} & set(called)
    assert called["unbind"] == 1, "one split, whose gradient is one concatenation"


def test_attention_that_sees_nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((5, 5), np.float32)
    mask[2] = -np.inf
    g = Draft()
    model = g.model(attention(g, "q", mask), ("N", 5, 12))
    program = import_onnx(model, "y").graph_module((2, 5, 12))
    assert not any("scaled_dot" in str(node.target) for node in program.graph.nodes)


def test_attention_over_three_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Draft()
    q, k, v = (g("MatMul", "x", f(6, 6)) for _ in range(3))
    scores = g("Mul", g("MatMul", q, g("Transpose", k, perm=[0, 2, 1])), 0.4)
    called = check(g.model(g("MatMul", g("Softmax", scores, axis=-1), v), ("N", 5, 6)), monkeypatch)
    assert called["scaled_dot_product_attention"] == 1


def test_heads_folded_into_the_batch_while_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dynamo exporter's way to transpose the keys."""
    g = Draft()
    q = g("Transpose", g("Reshape", "x", i(0, 5, 3, 4)), perm=[0, 2, 1, 3])
    turned = g("Transpose", g("Reshape", q, i(-1, 5, 4)), perm=[0, 2, 1])
    y = g("MatMul", q, g("Reshape", turned, i(-1, 3, 4, 5)))
    called = check(g.model(y, ("N", 5, 12)), monkeypatch)
    assert (called["reshape"], called["matmul"]) == (1, 1)


def test_transposes_and_reshapes_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Draft()
    there = g("Transpose", "x", perm=[0, 2, 3, 1])
    back = g("Transpose", g("Reshape", g("Reshape", there, i(0, -1, 3)), i(0, 4, 5, 3)), perm=[0, 3, 1, 2])
    y = g("Relu", g("Squeeze", g("Unsqueeze", back, i(1)), i(1)))
    assert check(g.model(y, ("N", 3, 4, 5)), monkeypatch) == {"relu": 1}


def test_rolled_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Draft()
    first, rest = g("Slice", "x", i(0), i(2), i(1)), g("Slice", "x", i(2), i(9), i(1))
    assert check(g.model(g("Concat", rest, first, axis=1), ("N", 5, 4)), monkeypatch) == {"roll": 1}
    g = Draft()
    first, rest = g("Slice", "x", i(0), i(2), i(1)), g("Slice", "x", i(3), i(9), i(1))
    assert "roll" not in check(g.model(g("Concat", rest, first, axis=1), ("N", 5, 4)), monkeypatch)


def test_rows_picked_in_order_are_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Draft()
    y = g("Relu", g("Gather", g("Gather", "x", i(0, 1, 2, 3), axis=1), i(1, 2), axis=1))
    assert check(g.model(y, ("N", 4)), monkeypatch) == {"narrow": 1, "relu": 1}
    g = Draft()
    assert "narrow" not in check(g.model(g("Gather", "x", i(1, 0), axis=1), ("N", 4)), monkeypatch)


def test_parts_with_a_gap_stay_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Draft()
    y = g("Add", g("Slice", "x", i(0), i(2), i(1)), g("Slice", "x", i(3), i(5), i(1)))
    called = check(g.model(y, ("N", 5)), monkeypatch)
    assert called == {"getitem": 2, "add": 1}


def test_half_precision_keeps_its_roundings() -> None:
    g = Draft()
    y = g("Mul", "x", g("Sigmoid", "x"))
    model = make_model([*g.nodes, helper.make_node("Identity", [y], ["y"])], ("N", 4), dtype=onnx.TensorProto.FLOAT16)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    module = import_onnx(model, "y")
    for dtype, expected in ((torch.float16, ["sigmoid", "mul"]), (torch.float32, ["silu"])):
        program = (module if dtype == torch.float16 else module.float_twin()).graph_module((2, 4), dtype)
        called = [n.target.__name__ for n in program.graph.nodes if n.op == "call_function"]
        assert [name for name in called if name != "replaced"] == expected  # that one rounds to half precision
