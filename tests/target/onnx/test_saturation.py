"""Rounding into a range: values and gradients as written out, and what is saved for the way back."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import make_model
from torch import Tensor

from robaudit.target.onnx import import_onnx
from robaudit.target.onnx.saturation import replaced, saturated

RATIOS = [-300.0, -131.51, -131.5, -2.5, -0.5, 0.0, 0.5, 1.5, 124.5, 124.51, 1e30, -1e30, float("inf"), -float("inf")]


def written_out(ratio: Tensor) -> Tensor:
    value = torch.clamp(torch.round(ratio.detach()) + 131, 0, 255)
    path = torch.clamp(ratio, -131.5, 124.5)
    return value + (path - path.detach())


def test_it_is_what_it_says_written_out() -> None:
    ratio = torch.tensor(RATIOS, requires_grad=True)
    weight = torch.arange(1.0, len(RATIOS) + 1)
    expected = torch.autograd.grad((written_out(ratio) * weight).sum(), ratio)[0]
    value = saturated(ratio, 131.0, 0, 255, -131.5, 124.5)
    assert torch.equal(value, written_out(ratio))
    assert torch.equal(torch.autograd.grad((value * weight).sum(), ratio)[0], expected)
    assert ratio.tolist() == pytest.approx(RATIOS), "the input stays as it is"
    assert saturated(torch.tensor([float("nan")], requires_grad=True), 131.0, 0, 255, -131.5, 124.5).isnan().all()


def test_transforms_see_through_it() -> None:
    ratio = torch.tensor(RATIOS)
    each = torch.func.vmap(torch.func.grad(lambda r: 2 * saturated(r, 131.0, 0, 255, -131.5, 124.5)))(ratio)
    assert torch.equal(each, 2.0 * ((ratio >= -131.5) & (ratio <= 124.5)))


def test_a_value_takes_the_gradient_of_a_path_within_bounds() -> None:
    path = torch.tensor(RATIOS, requires_grad=True)
    value, weight = torch.arange(float(len(RATIOS))), torch.arange(1.0, len(RATIOS) + 1)
    found = replaced(value, path, -131.5, 124.5)
    assert torch.equal(found, value)
    (slope,) = torch.autograd.grad((found * weight).sum(), path)
    assert torch.equal(slope, weight * ((path >= -131.5) & (path <= 124.5)))
    each = torch.func.vmap(torch.func.grad(lambda v, p: 2 * replaced(v, p, -131.5, 124.5), 1))(value, path.detach())
    assert torch.equal(each, 2.0 * ((path >= -131.5) & (path <= 124.5)))
    wide = replaced(value.double(), path, -131.5, 124.5)
    assert wide.dtype == torch.float64
    assert torch.autograd.grad(wide.sum(), path)[0].dtype == torch.float32


def saved_bytes(model: onnx.ModelProto, x: Tensor) -> int:
    """What a forward pass holds on to for the way back, weights apart."""
    module = import_onnx(model, "y")
    module(x)
    weights = {buffer.untyped_storage().data_ptr() for buffer in module.graph_module(x.shape).buffers()}
    weights |= {buffer.untyped_storage().data_ptr() for buffer in module._general_program(x, {}).buffers()}
    found: dict[int, Tensor] = {}

    def hold(value: Tensor) -> Tensor:
        found[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda value: value):
        module(x.clone().requires_grad_())
    return sum(value.untyped_storage().nbytes() for place, value in found.items() if place not in weights)


def test_a_quantiser_saves_one_byte_a_number() -> None:
    nodes, last = [], "x"
    for i in range(4):
        nodes += [
            helper.make_node("QuantizeLinear", [last, f"s{i}", "z"], [f"q{i}"]),
            helper.make_node("DequantizeLinear", [f"q{i}", f"s{i}", "z"], [f"d{i}"]),
        ]
        last = f"d{i}"
    nodes.append(helper.make_node("Neg", [last], ["y"]))
    constants = {f"s{i}": np.array(0.01 + 0.003 * i, np.float32) for i in range(4)} | {"z": np.array(130, np.uint8)}
    x = torch.randn(2, 64, 32)
    assert 4 * x.numel() <= saved_bytes(make_model(nodes, ("N", 64, 32), constants), x) < 4 * x.numel() + 256
