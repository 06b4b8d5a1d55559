"""Branches, loops, sequences and optionals against ONNX Runtime."""

from __future__ import annotations

import control_graphs as graphs
import numpy as np
import onnx
import pytest
import torch
from onnx_graphs import answers

from robaudit.errors import UnsupportedOperatorError
from robaudit.target.onnx import coverage, import_onnx

X = np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32)
BIG = np.abs(X) + 0.5


@pytest.mark.parametrize("name", graphs.ALL)
@pytest.mark.parametrize("x", [X, -X, BIG, 20 * BIG, X[:1], -X[:1]], ids=lambda x: f"{len(x)}:{x[0, 0]:.2f}")
def test_program_for_a_shape_answers_as_onnx_runtime(name: str, x: np.ndarray) -> None:
    model = graphs.ALL[name]
    module = import_onnx(model, "y")
    found = module.graph_module(x.shape)(torch.from_numpy(x))[0]
    expected = answers(model, x) if len(model.graph.output) == 1 else answers_of(model, x, "y")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def answers_of(model: onnx.ModelProto, x: np.ndarray, output: str) -> np.ndarray:
    from onnx_graphs import runtime

    return runtime(model).run([output], {"x": x})[0]


@pytest.mark.parametrize("name", ["if on data", "if on shape", "loop until", "loop", "mapped", "sequence", "optional"])
def test_each_sample_of_a_batch_gets_what_it_gets_alone(name: str) -> None:
    model = graphs.ALL[name]
    module = import_onnx(model, "y")
    x = np.concatenate([X, BIG, -BIG, 20 * BIG])
    expected = np.concatenate([answers(model, row[None]) for row in x])
    np.testing.assert_allclose(module(torch.from_numpy(x)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "way"),
    [("if on data", "loop"), ("if on shape", "vmap"), ("if on a constant", "direct"), ("loop", "direct")],
)
def test_batches_run_in_the_fastest_way_that_is_right(name: str, way: str) -> None:
    module = import_onnx(graphs.ALL[name], "y")
    assert module.calibrate_batching((6,)) == way


def test_constant_condition_leaves_one_branch() -> None:
    program = import_onnx(graphs.ALL["if on a constant"], "y").graph_module((2, 6))
    assert not any("relu" in str(node.target) for node in program.graph.nodes)
    assert any("tanh" in str(node.target) for node in program.graph.nodes)


def test_operators_of_a_branch_never_taken_are_not_needed() -> None:
    model = graphs.if_on(graphs.ON_CONSTANT)
    branch = next(a.g for n in model.graph.node if n.op_type == "If" for a in n.attribute if a.name == "then_branch")
    next(n for n in branch.node if n.op_type == "Relu").op_type = "NoSuchOperator"
    assert coverage(model) == []
    other = graphs.if_on(graphs.ON_DATA)
    branch = next(a.g for n in other.graph.node if n.op_type == "If" for a in n.attribute if a.name == "then_branch")
    next(n for n in branch.node if n.op_type == "Relu").op_type = "NoSuchOperator"
    assert coverage(other) == ["NoSuchOperator-17"]


def test_weights_inside_a_branch_follow_the_module() -> None:
    module = import_onnx(graphs.if_on(graphs.ON_DATA), "y").double()
    x = torch.from_numpy(X).double()
    assert module(x).dtype == torch.float64


def test_branches_of_different_shapes_are_refused() -> None:
    model = graphs.parsed(
        """g (float[N,6] x) => (float[N,M] y) {
        z = Constant<value_float=0.0>() s = ReduceSum<keepdims=0>(x) c = Greater(s, z)
        y = If (c) <then_branch = t () => (float[N,6] a) { a = Relu(x) },
          else_branch = e () => (float[N,12] a) { a = Concat<axis=1>(x, x) }> }"""
    )
    with pytest.raises(UnsupportedOperatorError, match="different shapes"):
        import_onnx(model, "y").graph_module((2, 6))


def test_names_that_two_branches_share_do_not_meet() -> None:
    """Both branches call their product h, as exporters do."""
    model = graphs.if_on(graphs.ON_DATA)
    module = import_onnx(model, "y")
    for x in (BIG[:1], -BIG[:1]):
        np.testing.assert_allclose(module(torch.from_numpy(x)), answers(model, x), rtol=1e-5, atol=1e-6)


def test_any_value_inside_the_graph_can_be_the_output() -> None:
    model = graphs.parsed(
        "g (float[N,6] x) => (float[N,6] y) { a = Tanh(x) b = Exp(a) y = Softmax<axis=1>(b) z = NoSuchOperator(b) }"
    )
    assert torch.allclose(import_onnx(model, "a")(torch.from_numpy(X)), torch.tanh(torch.from_numpy(X)))
    with pytest.raises(ValueError, match="no value 'q'"):
        import_onnx(model, "q")
