"""The module as a whole: batches, shapes, folding, errors, gradients that end."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import answers, make_model, one_op, runtime

from robaudit.errors import RobauditError, UnsupportedOperatorError
from robaudit.target.onnx import OnnxModule, coverage, import_onnx

RNG = np.random.default_rng(3)
FLOAT, INT = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def f(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def singles(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return np.concatenate([answers(model, x[i : i + 1]) for i in range(len(x))])


def baked_reshape() -> onnx.ModelProto:
    """As the dynamo exporter writes it: batch 1 is part of the shape."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["flat"], allowzero=1),
        helper.make_node("Gemm", ["flat", "v"], ["y"]),
    ]
    constants = {"w": f(4, 3, 3, 3), "v": f(4 * 36, 5), "shape": np.array([1, -1])}
    return make_model(nodes, (1, 3, 6, 6), constants, opset=18)


def dynamic_quantised() -> onnx.ModelProto:
    """The scale is taken over the whole batch: direct batching would mix samples."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["c"], to=FLOAT),
        helper.make_node("Mul", ["s", "ws"], ["k"]),
        helper.make_node("Mul", ["c", "k"], ["y"]),
    ]
    weight = RNG.integers(-9, 9, (6, 4)).astype(np.int8)
    return make_model(nodes, ("N", 6), {"w": weight, "ws": np.array(0.1, np.float32)}, opset=13)


def batch_in_the_shape() -> onnx.ModelProto:
    """Shape arithmetic and an Expand to the batch size, as for a class token."""
    nodes = [
        helper.make_node("Shape", ["x"], ["dims"]),
        helper.make_node("Gather", ["dims", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["to"], axis=0),
        helper.make_node("Expand", ["token", "to"], ["tokens"]),
        helper.make_node("Concat", ["tokens", "x"], ["all"], axis=1),
        helper.make_node("Concat", ["n1", "minus"], ["flat"], axis=0),
        helper.make_node("Reshape", ["all", "flat"], ["y"]),
    ]
    constants = {
        "zero": np.array(0),
        "axes": np.array([0]),
        "rest": np.array([1, 4]),
        "minus": np.array([-1]),
        "token": f(1, 1, 4),
    }
    return make_model(nodes, ("N", 3, 4), constants)


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize(
    ("build", "shape", "expected"),
    [
        (baked_reshape, (3, 6, 6), "vmap"),
        (dynamic_quantised, (6,), "vmap"),
        (batch_in_the_shape, (3, 4), "direct"),
    ],
    ids=["baked", "dynamic", "expand"],
)
def test_any_batch_gives_what_each_sample_gets_alone(build, shape, expected, batch) -> None:  # type: ignore[no-untyped-def]
    model = build()
    module = import_onnx(model, "y")
    x = f(batch, *shape)
    y = module(torch.from_numpy(x))
    assert module.batching == expected
    np.testing.assert_allclose(y.numpy(), singles(model, x), rtol=1e-4, atol=1e-5)


def test_a_batch_of_gradients_is_each_samples_own() -> None:
    module = import_onnx(baked_reshape(), "y")
    x = torch.from_numpy(f(3, 3, 6, 6)).requires_grad_()
    (together,) = torch.autograd.grad(module(x)[:, 0].sum(), x)
    for i in range(3):
        one = x[i : i + 1].detach().requires_grad_()
        (alone,) = torch.autograd.grad(module(one)[:, 0].sum(), one)
        torch.testing.assert_close(together[i : i + 1], alone)


def test_shapes_leave_nothing_in_the_program() -> None:
    module = import_onnx(batch_in_the_shape())
    called = [str(node.target) for node in module.graph_module((5, 3, 4)).graph.nodes if node.op.startswith("call")]
    assert len(called) == 3  # broadcast, concatenate, reshape
    module(torch.zeros(2, 3, 4))
    programs = len(module._programs)
    for batch in (4, 5, 9):
        module(torch.zeros(batch, 3, 4))
    assert len(module._programs) == programs, "one program serves every batch size"


def test_running_reads_nothing_back_from_the_device() -> None:
    """On the meta device values do not exist: any host read would fail."""
    module = import_onnx(batch_in_the_shape()).to("meta")
    (y,) = module.graph_module((5, 3, 4))(torch.empty(5, 3, 4, device="meta"))
    assert y.shape == (5, 16)


def test_an_unknown_operator_is_named_with_domain_and_opset() -> None:
    nodes = [helper.make_node("Strange", ["x"], ["h"], domain="acme"), helper.make_node("Relu", ["h"], ["y"])]
    model = make_model(nodes, (1, 3), domains={"acme": 2})
    with pytest.raises(UnsupportedOperatorError) as raised:
        import_onnx(model)
    assert raised.value.operator == "acme::Strange-2"
    assert coverage(model) == ["acme::Strange-2"]


def test_coverage_tells_an_untranslated_variant() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["shape"], to=INT),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    (told,) = coverage(make_model(nodes, (2,)))
    assert "Reshape-17" in told
    assert "depends on the data" in told


def test_nodes_may_come_in_any_order_and_functions_are_inlined() -> None:
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    nodes = [helper.make_node("Relu", ["h"], ["y"]), helper.make_node("Twice", ["x"], ["h"], domain="local")]
    model = make_model(nodes, (1, 3), domains={"local": 1})
    model.functions.append(function)
    torch.testing.assert_close(
        import_onnx(model, "y")(torch.tensor([[1.0, -1.0, 2.0]])), torch.tensor([[2.0, 0.0, 4.0]])
    )


def test_batch_norm_pad_and_bias_disappear() -> None:
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"]),
        helper.make_node("Conv", ["p", "w"], ["c"], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], epsilon=1e-3),
        helper.make_node("Flatten", ["n"], ["f"]),
        helper.make_node("MatMul", ["f", "a"], ["l"]),
        helper.make_node("Add", ["d", "l"], ["y"]),
    ]
    constants = {
        "pads": np.array([0, 0, 0, 1, 0, 0, 1, 1]),
        "w": f(4, 2, 3, 3),
        **{name: f(4) for name in "gbm"},
        "v": np.abs(f(4)) + 0.5,
        "a": f(4 * 9, 3),
        "d": f(3),
    }
    shape = (2, 2, 6, 5)
    model = make_model(nodes, shape, constants)
    module = import_onnx(model, "y")
    called = [str(n.target) for n in module.graph_module(shape).graph.nodes if n.op.startswith("call")]
    assert len(called) == 4, called  # the uneven rest of the padding, conv, reshape, linear
    x = f(*shape)
    np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), answers(model, x), rtol=1e-4, atol=1e-5)


def test_training_mode_batch_norm_is_not_batched_directly() -> None:
    statistics = [f(3), f(3), f(3), np.abs(f(3)) + 1]
    model = one_op("BatchNormalization", (1, 3, 4, 4), *statistics, opset=15, training_mode=1, outputs=3)
    module = import_onnx(model, "y")
    x = f(3, 3, 4, 4)
    y = module(torch.from_numpy(x))
    assert module.batching == "vmap"
    np.testing.assert_allclose(y.numpy(), singles(model, x), rtol=1e-4, atol=1e-5)


def quantised_conv() -> onnx.ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["d", "wd"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "os", "oz"], ["qc"]),
        helper.make_node("DequantizeLinear", ["qc", "os", "oz"], ["y"]),
    ]
    constants = {
        "s": np.array(0.02, np.float32),
        "z": np.array(120, np.uint8),
        "w": RNG.integers(-90, 90, (4, 3, 3, 3)).astype(np.int8),
        "ws": np.array([0.01, 0.02, 0.03, 0.04], np.float32),
        "wz": np.zeros(4, np.int8),
        "os": np.array(0.2, np.float32),
        "oz": np.array(3, np.int8),
    }
    return make_model(nodes, ("N", 3, 6, 6), constants, opset=13)


def test_quantisers_match_and_pass_the_gradient_straight_through() -> None:
    model = quantised_conv()
    module = import_onnx(model, "y")
    x = f(3, 3, 6, 6)
    expected = answers(model, x, optimise=False)
    value = torch.from_numpy(x).requires_grad_()
    y = module(value)
    assert np.mean(np.abs(y.detach().numpy() - expected) > 1e-4) < 0.01, "but for ties of the rounding"
    assert [(cut.op, cut.rule) for cut in module.cuts] == [
        ("QuantizeLinear", "clipped"),
        ("QuantizeLinear", "straight-through"),
    ]
    y.sum().backward()
    assert value.grad is not None
    assert float(value.grad.abs().max()) > 0.1
    far = torch.full((1, 3, 6, 6), 100.0, requires_grad=True)  # beyond the range: the gradient stops
    module(far).sum().backward()
    assert far.grad is not None
    assert float(far.grad.abs().max()) == 0.0


@pytest.mark.parametrize(("code", "limit"), [(onnx.TensorProto.UINT16, 65535), (onnx.TensorProto.INT16, 32767)])
def test_the_zero_points_type_says_the_range(code: int, limit: int) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    zero = np.array(0, helper.tensor_dtype_to_np_dtype(code))
    model = make_model(nodes, (1, 2), {"s": np.array(1.0, np.float32), "z": zero}, opset=21)
    y = import_onnx(model, "y")(torch.tensor([[1e6, 7.0]]))
    assert y.tolist() == [[float(limit), 7.0]]


def test_cuts_are_named_only_where_values_flow() -> None:
    nodes = [
        helper.make_node("Round", ["x"], ["r"], name="steps"),
        helper.make_node("Greater", ["x", "zero"], ["mask"], name="mask"),
        helper.make_node("Where", ["mask", "r", "x"], ["y"]),
        helper.make_node("ArgMax", ["x"], ["label"], name="best", axis=1),
    ]
    model = make_model(nodes, (1, 3), {"zero": np.array(0, np.float32)}, outputs={"y": FLOAT, "label": INT})
    steps, best = "Round (steps), straight-through", "ArgMax (best), ends the gradient"
    assert list(map(str, import_onnx(model).cuts)) == [steps, best]
    assert list(map(str, import_onnx(model, "y").cuts)) == [steps]


def test_a_choice_among_constants_ends_the_gradient() -> None:
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["mask"]),
        helper.make_node("Where", ["mask", "one", "zero"], ["y"], name="votes"),
    ]
    constants = {"zero": np.array(0, np.float32), "one": np.array(1, np.float32)}
    module = import_onnx(make_model(nodes, (1, 3), constants), "y")
    assert [str(cut) for cut in module.cuts] == ["Where (votes), ends the gradient"]


def test_outputs_come_by_name_or_alone() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("ArgMax", ["y"], ["label"], axis=1)]
    model = make_model(nodes, ("N", 3), outputs={"y": FLOAT, "label": INT})
    module, x = import_onnx(model), torch.from_numpy(f(4, 3))
    both = module(x)
    assert list(both) == module.output_names == ["y", "label"]
    module.output_name = "y"
    torch.testing.assert_close(module(x), both["y"])
    expected = runtime(model).run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(both["label"].numpy(), expected[1])


def test_other_inputs_are_fixed_for_the_batch() -> None:
    nodes = [helper.make_node("Mul", ["x", "gain"], ["h"]), helper.make_node("TopK", ["h", "k"], ["y", "_"])]
    model = make_model(nodes, ("N", 4))
    model.graph.input.append(helper.make_tensor_value_info("gain", FLOAT, [1, 4]))
    model.graph.input.append(helper.make_tensor_value_info("k", INT, [1]))
    module, x, gain = import_onnx(model, "y"), torch.from_numpy(f(3, 4)), torch.from_numpy(f(1, 4))
    for k in (2, 3):
        y = module(x, gain=gain, k=torch.tensor([k]))
        torch.testing.assert_close(y, (x * gain).topk(k).values)
    with pytest.raises(ValueError, match="by name"):
        module(x)


def test_constants_are_frozen_and_follow_the_module() -> None:
    module = import_onnx(baked_reshape(), "y")
    assert not list(module.parameters())
    assert list(module.buffers())
    assert not any(buffer.requires_grad for buffer in module.buffers())
    x = torch.from_numpy(f(2, 3, 6, 6))
    single = module(x)
    assert torch.equal(copy.deepcopy(module).float()(x), single)
    assert isinstance(module.double(), OnnxModule)
    double = module(x)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single)


def test_a_half_precision_file_has_a_float_twin() -> None:
    half = onnx.TensorProto.FLOAT16
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"]),
        helper.make_node("Cast", ["h"], ["c"], to=FLOAT),
        helper.make_node("Softmax", ["c"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=half),
    ]
    model = make_model(nodes, ("N", 4), {"w": f(4, 3).astype(np.float16)}, outputs={"y": half}, dtype=half)
    module, x = import_onnx(model, "y"), f(3, 4).astype(np.float16)
    y = module(torch.from_numpy(x))
    assert y.dtype == torch.float16
    np.testing.assert_allclose(y.numpy(), answers(model, x), rtol=1e-2, atol=1e-3)
    twin = module.float_twin()
    assert twin(torch.from_numpy(x)).dtype == torch.float32
    np.testing.assert_allclose(twin(torch.from_numpy(x)).numpy(), y.float().numpy(), rtol=1e-2, atol=1e-3)


def test_the_first_call_may_be_made_in_inference_mode() -> None:
    module = import_onnx(batch_in_the_shape(), "y")
    with torch.inference_mode():
        module(torch.zeros(2, 3, 4))
    x = torch.zeros(2, 3, 4, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_error_function_formula_becomes_one_gelu(order: int) -> None:
    inner = [
        helper.make_node("Div", ["x", "root"], ["d"]),
        helper.make_node("Erf", ["d"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["g"]),
    ]
    last = [[("x", "g"), ("h", "half")], [("x", "half"), ("h", "g")], [("half", "g"), ("x", "h")]][order]
    products = [helper.make_node("Mul", list(pair), [out]) for pair, out in zip(last, ("h", "y"), strict=True)]
    values = {"root": 2.0**0.5, "one": 1.0, "half": 0.5}
    constants = {name: np.array(value, np.float32) for name, value in values.items()}
    model = make_model([*inner, *products], ("N", 4), constants)
    module, x = import_onnx(model, "y"), f(3, 4)
    called = [n for n in module.graph_module((3, 4)).graph.nodes if n.op.startswith("call")]
    assert len(called) == 1
    np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), answers(model, x), rtol=1e-5, atol=1e-6)


def test_an_operator_that_does_not_fit_its_inputs_is_named() -> None:
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], name="bad")
    model = make_model([node], (1, 3), {"shape": np.array([2, 2])})
    (told,) = coverage(model)
    assert "Reshape-17 (node bad)" in told
    with pytest.raises(RobauditError, match="node bad"):
        import_onnx(model)(torch.zeros(1, 3))


def test_what_vmap_refuses_runs_sample_by_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no batching rule")

    model = baked_reshape()
    module, x = import_onnx(model, "y"), f(3, 3, 6, 6)
    monkeypatch.setattr(torch.func, "vmap", refuse)
    y = module(torch.from_numpy(x))
    assert module.batching == "loop"
    np.testing.assert_allclose(y.numpy(), singles(model, x), rtol=1e-4, atol=1e-5)
