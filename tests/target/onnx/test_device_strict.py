"""The program of a twin keeps to the accelerator: nothing is read back, nothing is copied between devices."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from device_strict import StrictError, strictly
from network_graphs import (
    IMAGE,
    convolutional,
    dynamically_quantised,
    masked,
    preprocessing,
    quantised,
    quantised_operators,
    transformer,
)
from onnx import helper
from onnx_graphs import make_model

from robaudit.target.onnx import import_onnx


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (convolutional, IMAGE),
        (transformer, IMAGE),
        (quantised, IMAGE),
        (quantised_operators, IMAGE),
        (dynamically_quantised, (1, *IMAGE[1:])),
        (preprocessing, (2, 8, 8, 3)),
        (masked, IMAGE),
    ],
)
def test_forward_and_backward_stay_on_the_device(build: Callable[[], onnx.ModelProto], shape: tuple[int, ...]) -> None:
    assert bool(strictly(import_onnx(build(), "y"), shape).any())


def test_a_choice_by_the_data_is_noticed() -> None:
    """The one thing that has to be read: the mode would not pass it over."""
    taken = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["a"])], "then", [], [helper.make_tensor_value_info("a", 1, None)]
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["b"])], "else", [], [helper.make_tensor_value_info("b", 1, None)]
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=taken, else_branch=other),
    ]
    model = make_model(nodes, (1, 4), {"zero": np.float32(0)})
    with pytest.raises(StrictError, match="read by the host"):
        strictly(import_onnx(model, "y"), (1, 4))


def test_a_constant_left_on_the_host_is_noticed() -> None:
    module = import_onnx(convolutional(), "y")
    program = module._general_program(torch.zeros(IMAGE), {})
    assert program is not None
    node = next(n for n in program.graph.nodes if n.op == "output")
    with program.graph.inserting_before(node):
        stray = program.graph.call_function(torch.ones, ((1, 5),))
        node.replace_input_with(node.args[0][0], program.graph.call_function(torch.add, (node.args[0][0], stray)))
    program.recompile()
    with pytest.raises(RuntimeError, match="device"):
        strictly(module, IMAGE)


def test_weights_never_ask_for_a_gradient() -> None:
    module = copy.deepcopy(import_onnx(convolutional(), "y"))
    assert not list(module.parameters())
    assert not any(buffer.requires_grad for buffer in module.buffers())
    program = module.graph_module(IMAGE)
    assert not any(tensor.requires_grad for tensor in (*program.parameters(), *program.buffers()))
