"""What stands for the derivative of steps: rules, where they hold, and what is said of them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import answers, make_model, one_op, runtime
from torch.fx.experimental.proxy_tensor import make_fx

from robaudit.errors import UsageError
from robaudit.target.onnx import OnnxModule, import_onnx

FLOAT, UINT8, INT32, INT64 = (getattr(onnx.TensorProto, name) for name in ("FLOAT", "UINT8", "INT32", "INT64"))
RNG = np.random.default_rng(0)


def f(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def gradient(module: OnnxModule, x: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Of the outputs' weighted sum; zero where no path leads to the input."""
    value = x.clone().requires_grad_()
    y = module(value)
    if not y.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad((y * (torch.ones_like(y) if weight is None else weight)).sum(), value)[0]


def quantised_head(last: str = "Flatten") -> onnx.ModelProto:
    """Quantise, convolve, quantise, pool, quantise the scores; the input's range is [-2, 2]."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q0"], name="first"),
        helper.make_node("DequantizeLinear", ["q0", "sx", "zx"], ["x0"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["w0"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["b0"], axis=0),
        helper.make_node("Conv", ["x0", "w0", "b0"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "sc", "zc"], ["q1"], name="middle"),
        helper.make_node("DequantizeLinear", ["q1", "sc", "zc"], ["c1"]),
        helper.make_node("GlobalAveragePool", ["c1"], ["g"], name="pool"),
        helper.make_node("QuantizeLinear", ["g", "sg", "zc"], ["q2"], name="scores"),
        helper.make_node("DequantizeLinear", ["q2", "sg", "zc"], ["g2"]),
        helper.make_node(last, ["g2"], ["y"]),
    ]
    scales = np.array([0.02, 0.015, 0.01, 0.03], np.float32)
    constants = {
        "sx": np.array(4 / 255, np.float32),
        "zx": np.array(128, np.uint8),
        "w": RNG.integers(-60, 61, (4, 3, 3, 3)).astype(np.int8),
        "sw": scales,
        "zw": np.zeros(4, np.int8),
        "b": np.array([500, -200, 0, 900], np.int32),
        "sb": np.float32(4 / 255) * scales,
        "zb": np.zeros(4, np.int32),
        "sc": np.array(0.05, np.float32),
        "zc": np.array(0, np.uint8),
        "sg": np.array(0.02, np.float32),
    }
    return make_model(nodes, ("N", 3, 6, 6), constants, opset=17)


@pytest.mark.parametrize("op", ["Round", "Floor", "Ceil", "Sign"])
def test_steps_are_straight_through_unless_told(op: str) -> None:
    nodes = [helper.make_node(op, ["x"], ["r"], name="step"), helper.make_node("Mul", ["r", "k"], ["y"])]
    model = make_model(nodes, (1, 4), {"k": np.array([1, 2, 3, 4], np.float32)})
    x = torch.tensor([[-3.7, -0.2, 0.4, 2.6]])
    module = import_onnx(model, "y")
    assert torch.equal(module(x), torch.from_numpy(answers(model, x.numpy())))
    assert gradient(module, x).tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert [str(cut) for cut in module.cuts] == [f"{op} (step), straight-through"]
    exact = import_onnx(model, "y", {op: "exact"})
    assert torch.equal(exact(x), module(x))
    assert gradient(exact, x).eq(0).all()
    assert exact.cuts[0].ends
    by_name = import_onnx(model, "y", {"step": "exact"})
    assert by_name.cuts == exact.cuts


FORMULAS = {
    "remainder": (lambda x: x - 0.5 * torch.floor(x / 0.5), lambda x: torch.ones_like(x)),
    "signed power": (lambda x: torch.sign(x) * x.abs().sqrt(), lambda x: 0.5 / x.abs().sqrt()),
    "estimator": (lambda x: x - (x - torch.round(x)), lambda x: torch.ones_like(x)),
    "other estimator": (lambda x: x + (torch.round(x) - x), lambda x: torch.ones_like(x)),
}
GRAPHS = {
    "remainder": [("Div", "x", "h", "a"), ("Floor", "a", "b"), ("Mul", "b", "h", "c"), ("Sub", "x", "c", "y")],
    "signed power": [("Sign", "x", "s"), ("Abs", "x", "a"), ("Sqrt", "a", "b"), ("Mul", "b", "s", "y")],
    "estimator": [("Round", "x", "r"), ("Sub", "x", "r", "d"), ("Sub", "x", "d", "y")],
    "other estimator": [("Round", "x", "r"), ("Sub", "r", "x", "d"), ("Add", "x", "d", "y")],
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_step_that_meets_its_own_input_keeps_the_slope_of_both(name: str) -> None:
    nodes = [helper.make_node(op, list(names[:-1]), [names[-1]]) for op, *names in GRAPHS[name]]
    module = import_onnx(make_model(nodes, (1, 4), {"h": np.array(0.5, np.float32)}), "y")
    x = torch.tensor([[-2.2, -0.3, 0.9, 3.3]])
    value, slope = FORMULAS[name]
    torch.testing.assert_close(module(x), value(x))
    torch.testing.assert_close(gradient(module, x), slope(x))
    assert bool(module.cuts) == ("estimator" in name)


def test_clipped_signs_stop_where_networks_of_signs_do() -> None:
    module = import_onnx(one_op("Sign", (1, 3)), "y", {"Sign": "clipped"})
    assert gradient(module, torch.tensor([[-1.5, 0.5, 0.9]])).tolist() == [[0.0, 1.0, 1.0]]


def test_hardmax_goes_back_as_softmax() -> None:
    module = import_onnx(one_op("Hardmax", (2, 3)), "y")
    x = torch.from_numpy(f(2, 3))
    weight = torch.from_numpy(f(2, 3))
    assert module(x).sum(1).tolist() == [1.0, 1.0]
    value = x.clone().requires_grad_()
    expected = torch.autograd.grad((torch.softmax(value, 1) * weight).sum(), value)[0]
    torch.testing.assert_close(gradient(module, x, weight), expected)


def test_a_rule_that_does_not_exist_is_refused() -> None:
    model = one_op("Round", (1, 3))
    with pytest.raises(UsageError, match=r"Round .* no backward rule 'softmax': choose straight-through or exact"):
        import_onnx(model, "y", {"Round": "softmax"})
    with pytest.raises(UsageError, match=r"Relu .* no backward rule 'exact': it has none to choose from"):
        import_onnx(one_op("Relu", (1, 3)), "y", {"Relu": "exact"})
    with pytest.raises(UsageError, match="Florr: the graph has no such operator or node"):
        import_onnx(model, "y", {"Florr": "exact"})


def test_infinity_stays_infinity() -> None:
    module = import_onnx(one_op("Floor", (1, 2)), "y")
    assert module(torch.tensor([[float("inf"), -float("inf")]], requires_grad=True)).tolist() == [
        [float("inf"), -float("inf")]
    ]


@pytest.mark.parametrize("target", [UINT8, INT32])
def test_images_made_whole_inside_the_graph(target: int) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "k255"], ["m"]),
        helper.make_node("Clip", ["m", "low", "k255"], ["c"]),
        helper.make_node("Cast", ["c"], ["i"], name="to_bytes", to=target),
        helper.make_node("Transpose", ["i"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Cast", ["t"], ["f"], to=FLOAT),
        helper.make_node("Div", ["f", "k255"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    constants = {"k255": np.array(255, np.float32), "low": np.array(0, np.float32), "w": f(4, 2)}
    model = make_model(nodes, ("N", 4, 4), constants)
    x = RNG.uniform(0.1, 0.9, (3, 4, 4)).astype(np.float32)
    module = import_onnx(model, "y")
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach().numpy(), answers(model, x), rtol=1e-5, atol=1e-6)
    expected = torch.from_numpy(constants["w"].sum(1)).reshape(1, 4, 1).expand(3, 4, 4)
    torch.testing.assert_close(gradient(module, torch.from_numpy(x)), expected)
    assert [str(cut) for cut in module.cuts] == ["Cast (to_bytes), straight-through"]


def test_integer_arithmetic_of_32_bits_keeps_the_gradient() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=INT32),
        helper.make_node("Mul", ["i", "large"], ["m"]),
        helper.make_node("Sub", ["m", "one"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=FLOAT),
    ]
    constants = {"large": np.array(30_000_001, np.int32), "one": np.array(1, np.int32)}
    model = make_model(nodes, (1, 3), constants)
    x = torch.tensor([[1.7, -2.2, 69.9]])
    module = import_onnx(model, "y")
    assert torch.equal(module(x), torch.from_numpy(answers(model, x.numpy()))), "exact beyond 2^24"
    assert gradient(module, x).tolist() == [[30_000_000.0] * 3], "a float32"


def test_what_needs_true_integers_cuts() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], name="index", to=INT64),
        helper.make_node("Gather", ["table", "i"], ["g"]),
        helper.make_node("Cast", ["x"], ["b"], name="wraps", to=UINT8),
        helper.make_node("Add", ["b", "many"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["s"], to=FLOAT),
        helper.make_node("Add", ["g", "s"], ["y"]),
    ]
    constants = {"table": f(4), "many": np.array(254, np.uint8)}
    model = make_model(nodes, (1, 3), constants)
    x = np.array([[1.5, 0.2, 3.9]], np.float32)
    module = import_onnx(model, "y")
    np.testing.assert_array_equal(module(torch.from_numpy(x)).detach().numpy(), answers(model, x))
    told = [str(cut) for cut in module.cuts]
    assert told == ["Gather (g), ends the gradient", "Cast (wraps), ends the gradient"]


def test_a_quantised_network_keeps_its_gradient_in_every_form() -> None:
    module = import_onnx(quantised_head(), "y")
    x = torch.from_numpy(f(3, 3, 6, 6))
    weight = torch.from_numpy(f(3, 4))
    expected = gradient(module, x, weight)
    assert float(expected.abs().max()) > 1e-3
    one = module.graph_module((1, 3, 6, 6))

    def scores(sample: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = one(sample.unsqueeze(0))[0][0]
        return result

    each = torch.func.vmap(torch.func.grad(lambda s, w: (scores(s) * w).sum()))(x, weight)
    torch.testing.assert_close(each, expected)
    for traced in (make_fx(torch.func.vmap(scores))(x), torch.compile(torch.func.vmap(scores), backend="aot_eager")):
        value = x.clone().requires_grad_()
        found = torch.autograd.grad((traced(value) * weight).sum(), value)[0]
        torch.testing.assert_close(found, expected)


def test_the_gradient_stops_where_a_quantiser_saturates_but_not_at_scores() -> None:
    model = quantised_head()
    module = import_onnx(model, "y")
    rules = {cut.node: (cut.op, cut.rule) for cut in module.cuts}
    assert rules == {
        "first": ("QuantizeLinear", "clipped"),
        "middle": ("QuantizeLinear", "clipped"),
        "scores": ("QuantizeLinear", "straight-through"),
    }
    x = torch.from_numpy(f(2, 3, 6, 6)).clamp(-1.9, 1.9)
    inside = gradient(module, x)
    x[:, :, 2, 3] = 5.0
    outside = gradient(module, x)
    assert outside[:, :, 2, 3].eq(0).all()
    assert inside[:, :, 2, 3].abs().max() > 0
    free = import_onnx(model, "y", {"first": "straight-through"})
    assert gradient(free, x)[:, :, 2, 3].abs().max() > 0


def test_a_saturated_score_still_has_a_gradient() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Softmax", ["d"], ["y"]),
    ]
    constants = {"w": f(4, 3), "s": np.array(0.001, np.float32), "z": np.array(128, np.uint8)}
    model = make_model(nodes, (1, 4), constants)
    x = torch.from_numpy(10 * f(1, 4))
    pick = torch.tensor([[1.0, -2.0, 0.5]])
    assert gradient(import_onnx(model, "y"), x, pick).abs().max() > 0
    clipped = import_onnx(model, "y", {"QuantizeLinear": "clipped"})
    assert gradient(clipped, x, pick).eq(0).all()


def dynamic() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Two dynamically quantised layers, and the same in floats."""
    first, second = f(24, 32) / 5, f(32, 5) / 5
    nodes, plain, constants, floats = [], [], {}, {}
    for i, weight in enumerate((first, second)):
        x = "x" if i == 0 else "h0"
        scale = np.float32(np.abs(weight).max() / 63)  # 7 bits: of 8, pairs of products saturate on some processors
        constants |= {f"w{i}": np.rint(weight / scale).astype(np.int8), f"s{i}": scale, f"z{i}": np.array(0, np.int8)}
        constants |= {f"b{i}": np.zeros(weight.shape[1], np.float32) + np.float32(0.1)}
        floats |= {f"w{i}": constants[f"w{i}"].astype(np.float32) * scale, f"b{i}": constants[f"b{i}"]}
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [x], [f"q{i}", f"qs{i}", f"qz{i}"], name=f"dynamic{i}"),
            helper.make_node("MatMulInteger", [f"q{i}", f"w{i}", f"qz{i}", f"z{i}"], [f"m{i}"]),
            helper.make_node("Cast", [f"m{i}"], [f"f{i}"], to=FLOAT),
            helper.make_node("Mul", [f"qs{i}", f"s{i}"], [f"k{i}"]),
            helper.make_node("Mul", [f"f{i}", f"k{i}"], [f"r{i}"]),
            helper.make_node("Add", [f"r{i}", f"b{i}"], [f"a{i}"]),
        ]
        plain += [
            helper.make_node("MatMul", [x, f"w{i}"], [f"m{i}"]),
            helper.make_node("Add", [f"m{i}", f"b{i}"], [f"a{i}"]),
        ]
        end = helper.make_node("Relu" if i == 0 else "Identity", [f"a{i}"], ["h0" if i == 0 else "y"])
        nodes.append(end)
        plain.append(end)
    constants = {name: np.asarray(value) for name, value in constants.items()}
    return make_model(nodes, (1, 24), constants), make_model(plain, (1, 24), floats)


def test_dynamic_quantisers_pass_the_gradient_of_what_they_stand_for() -> None:
    quantised, plain = dynamic()
    module, source = import_onnx(quantised, "y"), import_onnx(plain, "y")
    session = runtime(quantised)
    for _ in range(4):
        x = f(1, 24)
        value = torch.from_numpy(x)
        np.testing.assert_allclose(module(value).numpy(), session.run(None, {"x": x})[0], rtol=1e-5, atol=1e-5)
        weight = torch.from_numpy(f(1, 5))
        found, expected = gradient(module, value, weight), gradient(source, value, weight)
        assert float(torch.cosine_similarity(found, expected).item()) > 0.95
        assert 0.8 < float(found.norm() / expected.norm()) < 1.25
        # Along a direction, ONNX Runtime changes as the gradient says, over steps of many quantiser steps.
        slopes = []
        for direction in f(24, 1, 24):
            step = 0.3 * direction / np.linalg.norm(direction)
            far, near = (session.run(None, {"x": x + sign * step})[0] for sign in (1, -1))
            measured = float(((far - near) * weight.numpy()).sum()) / 2
            slopes.append((measured, float((found.numpy() * step).sum())))
        measured, told = np.array(slopes).T
        assert np.corrcoef(measured, told)[0, 1] > 0.95
    assert {(cut.op, cut.rule) for cut in module.cuts} == {("DynamicQuantizeLinear", "clipped")}


def test_quantised_scores_fall_along_the_gradient_in_onnx_runtime() -> None:
    model = quantised_head()
    module, session = import_onnx(model, "y"), runtime(model)
    slopes = []
    for _ in range(8):
        x, weight = np.clip(f(1, 3, 6, 6), -1.5, 1.5), f(1, 4)
        told = gradient(module, torch.from_numpy(x), torch.from_numpy(weight)).numpy()
        for direction in f(8, 1, 3, 6, 6):
            step = 0.4 * direction / np.abs(direction).max()
            far, near = (session.run(None, {"x": x + sign * step})[0] for sign in (1, -1))
            slopes.append((float(((far - near) * weight).sum()) / 2, float((told * step).sum())))
    measured, expected = np.array(slopes).T
    assert np.corrcoef(measured, expected)[0, 1] > 0.9


@pytest.mark.parametrize("op", ["ArgMax", "Greater", "OneHot"])
def test_what_has_no_stand_in_ends_the_gradient(op: str) -> None:
    nodes = {
        "ArgMax": [helper.make_node("ArgMax", ["x"], ["i"], name="cut", axis=1)],
        "Greater": [helper.make_node("Greater", ["x", "half"], ["i"], name="cut")],
        "OneHot": [
            helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
            helper.make_node("OneHot", ["label", "depth", "values"], ["i"], name="cut"),
        ],
    }[op]
    constants = {"half": np.array(0.5, np.float32), "depth": np.array(3), "values": np.array([0, 1])}
    model = make_model([*nodes, helper.make_node("Cast", ["i"], ["y"], to=FLOAT)], (1, 3), constants)
    module = import_onnx(model, "y")
    cut = module.cuts[-1]
    assert (cut.op, cut.node, cut.ends, str(cut)) == (op, "cut", True, f"{op} (cut), ends the gradient")
