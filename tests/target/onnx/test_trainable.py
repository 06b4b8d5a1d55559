"""A graph as a function of its weights: which they are, and that it is the file's own function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
import trainable_graphs as graphs
from onnx import helper
from onnx_graphs import answers, make_model
from torch import Tensor
from trainable_graphs import CASES, Case

from robaudit.target.onnx.trainable import Network, untrained
from robaudit.target.running.trainable import Untrainable


def network(model: onnx.ModelProto, shape: tuple[int, ...], *, norms: bool | None = None) -> Network:
    return Network(untrained(model, "y"), torch.zeros(1, *shape[1:]), {}, norms=norms)


def seeded(seed: int = 0) -> Callable[[str, tuple[int, ...]], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda _, shape: torch.randn(shape, generator=generator)


def first(made: Network, x: Tensor, seed: int = 0) -> dict[str, Tensor]:
    normal = seeded(seed)
    return made.scaled({**{w.name: w.first(normal) for w in made.weights}, **made.statistics}, x)


def held(model: onnx.ModelProto, made: Network) -> dict[str, Tensor]:
    """The state in which a network is the file itself."""
    constants = untrained(model, "y").constants
    return {name: constants[name.rstrip("*")] for name in [w.name for w in made.weights] + list(made.statistics)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_weights_are_found_and_what_is_none_stays(case: Case) -> None:
    made = network(case.model, case.shape)
    assert {w.name.rstrip("*"): w.shape for w in made.weights} == case.weights
    assert len(made.statistics) == case.statistics


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_with_the_weights_of_the_file_it_answers_as_the_file(case: Case) -> None:
    made = network(case.model, case.shape)
    x = torch.rand(case.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = made.answer(held(case.model, made), x).numpy()
    expected = np.concatenate([answers(case.model, x[i : i + 1].numpy()) for i in range(len(x))], _batch(case))
    assert found.reshape(len(x), -1) == pytest.approx(_rows(expected, case).reshape(len(x), -1), abs=2e-5)


def _batch(case: Case) -> int:
    return 2 if any(n.op_type in ("LSTM", "GRU") for n in case.model.graph.node) else 0


def _rows(values: np.ndarray, case: Case) -> np.ndarray:
    return np.moveaxis(values, _batch(case), 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_weight_has_a_gradient_and_none_depends_on_others_in_the_batch(case: Case) -> None:
    made = network(case.model, case.shape)
    x = torch.rand(case.shape, generator=torch.Generator().manual_seed(2))
    state = first(made, x)
    leaves = {w.name: (state[w.name] + 0.01).requires_grad_() for w in made.weights}
    answer = made.answer({**state, **leaves}, x)
    weighing = torch.randn(answer.shape, generator=torch.Generator().manual_seed(3))
    gradients = torch.autograd.grad((answer * weighing).sum(), list(leaves.values()))
    assert all(bool(g.any()) and bool(g.isfinite().all()) for g in gradients)
    alone = torch.cat([made.answer(state, x[i : i + 1]) for i in range(len(x))])
    assert made.answer(state, x) == pytest.approx(alone, abs=1e-6)


def test_constants_of_nodes_are_weights_as_initialisers_are() -> None:
    w, b = graphs.f(4, 2, 3, 3), graphs.f(4)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(w)),
        helper.make_node("Constant", [], ["b"], value_floats=b.tolist()),
        helper.make_node("Conv", ["x", "w", "b"], ["y"]),
    ]
    made = network(make_model(nodes, ("N", 2, 6, 6)), (1, 2, 6, 6))
    assert {w.name.rstrip("*"): w.shape for w in made.weights} == {"w": (4, 2, 3, 3), "b": (4,)}


@pytest.mark.parametrize("turned", [True, False])
def test_matrices_have_what_is_added_after_them_as_their_bias(turned: bool) -> None:
    model = graphs.general_product(turned=turned)
    made = network(model, (1, 5))
    assert [w.shape for w in made.weights] == [(6, 5), (6,), (4, 6), (4,)]
    x = torch.rand(3, 5)
    assert made.answer(held(model, made), x).numpy() == pytest.approx(answers(model, x.numpy()), abs=1e-5)


def test_vectors_that_a_tool_joined_become_weights_of_their_own_and_shared_matrices_stay_shared() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "k", "zero"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "k", "zero"], ["y"], pads=[1] * 4),
    ]
    made = network(make_model(nodes, ("N", 2, 6, 6), {"k": graphs.f(2, 2, 3, 3), "zero": graphs.f(2)}), (1, 2, 6, 6))
    assert [w.shape for w in made.weights] == [(2, 2, 3, 3), (2,), (2,)]


@pytest.mark.parametrize("operators", [False, True])
def test_of_a_quantised_file_the_weights_are_the_dequantised_ones_and_a_merged_rectifier_stays(operators: bool) -> None:
    model = graphs.quantised(operators=operators)
    made = network(model, graphs.IMAGE)
    assert [w.shape for w in made.weights] == [(4, 2, 3, 3), (4,)]
    x = torch.rand(graphs.IMAGE, generator=torch.Generator().manual_seed(1)) * 3
    answer = made.answer(held(model, made), x).detach().numpy()
    expected = answers(model, x.numpy())
    assert (expected.max(0) < 0.05 * 250).all()  # the bytes hold more
    assert (expected > 0.5).any()
    assert (expected == 0).any()  # some are cut off at 0
    assert answer == pytest.approx(expected, abs=0.05)


def test_a_deep_graph_without_norms_gets_them_back_and_a_shallow_one_does_not() -> None:
    shape = graphs.IMAGE
    assert len(network(graphs.deep(10), shape).statistics) == 20
    assert not network(graphs.deep(3), shape).statistics
    assert not network(graphs.deep(10, other_norm=True), shape).statistics
    assert len(network(graphs.deep(3), shape, norms=True).statistics) == 6


def test_norms_look_at_the_batch_in_training_alone() -> None:
    made = network(graphs.deep(10), graphs.IMAGE)
    x = torch.rand(16, *graphs.IMAGE[1:], generator=torch.Generator().manual_seed(1))
    state = first(made, x)
    answer, seen = made.lesson(state, x)
    assert set(seen) == set(made.statistics)
    assert made.answer({**state, **seen}, x) == pytest.approx(answer.detach(), abs=1e-4)
    alone = torch.cat([made.answer(state, x[i : i + 1]) for i in range(16)])
    assert made.answer(state, x) == pytest.approx(alone, abs=1e-5)
    assert not torch.allclose(made.lesson(state, x[:8])[0], answer[:8], atol=1e-3)


def test_of_a_fixed_batch_layers_are_scaled_in_place_of_norms() -> None:
    """Ten layers of small filters let next to nothing through; scaled, what comes out has variance 1."""
    made = network(graphs.deep(10, batch=1), graphs.IMAGE)
    assert not made.watches_batches
    x = torch.rand(16, *graphs.IMAGE[1:], generator=torch.Generator().manual_seed(1))
    normal = seeded()
    plain = {w.name: w.first(normal) for w in made.weights}
    assert float(made.answer(plain, x).std()) < 0.01
    assert float(made.answer(made.scaled(plain, x), x).std()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("model", [graphs.deep(10), graphs.deep(10, batch=1), graphs.deep(2)])
def test_a_few_steps_lower_the_loss(model: onnx.ModelProto) -> None:
    made = network(model, graphs.IMAGE)
    x = torch.rand(12, *graphs.IMAGE[1:], generator=torch.Generator().manual_seed(1))
    y = torch.arange(12) % 3
    state = first(made, x)
    leaves = [state[w.name].requires_grad_() for w in made.weights]
    optimiser = torch.optim.Adam(leaves, lr=3e-3)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(made.lesson(state, x)[0], y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_first_weights_follow_the_seed() -> None:
    made = network(graphs.deep(3), graphs.IMAGE)
    x = torch.rand(graphs.IMAGE)
    one, same, other = first(made, x, 1), first(made, x, 1), first(made, x, 2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(made.answer(one, x), made.answer(other, x))


def no_weights() -> onnx.ModelProto:
    return make_model([helper.make_node("GlobalAveragePool", ["x"], ["y"])], ("N", 2, 6, 6))


def by_the_data() -> onnx.ModelProto:
    def branch(name: str, op: str) -> onnx.GraphProto:
        made = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [made])

    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch("a", "Relu"), else_branch=branch("b", "Neg")),
    ]
    return make_model(nodes, (1, 2, 6, 6), {"zero": np.float32(0)})


def tree() -> onnx.ModelProto:
    """One decision on the first of the numbers that a layer makes."""
    stump = helper.make_node(
        "TreeEnsembleRegressor",
        ["h"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
    )
    nodes = [helper.make_node("Gemm", ["x", "w"], ["h"]), stump]
    return make_model(nodes, ("N", 2), {"w": graphs.f(2, 3)}, domains={"ai.onnx.ml": 3})


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (tree(), "TreeEnsembleRegressor keeps what it has learned in a table, or is no layer of a network"),
        (no_weights(), "it holds no weights that can be trained"),
        (by_the_data(), r"its data choose or repeat its operators \(If\)"),
    ],
)
def test_what_has_nothing_to_train_is_refused_in_one_sentence(model: onnx.ModelProto, why: str) -> None:
    with pytest.raises(Untrainable, match=f"^{why}$"):
        network(model, (1, 2, 6, 6))
