"""The order of convolution weights in memory: chosen by trial, without effect on the answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import make_model

from robaudit.target.onnx import import_onnx, layout

RNG = np.random.default_rng(8)


def network(width: int = 120) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "b"], ["d"], strides=[2, 2]),
        helper.make_node("Flatten", ["d"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"]),
    ]
    shapes = {"a": (width, 3, 3, 3), "b": (width, width, 3, 3), "w": (width * 4, 5)}
    held = {name: RNG.standard_normal(shape).astype(np.float32) / 10 for name, shape in shapes.items()}
    return make_model(nodes, ("N", 3, 6, 6), held)


def seconds(monkeypatch: pytest.MonkeyPatch, first: float, last: float) -> list[str]:
    """Let trials take this long; lists the order that each found."""
    tried: list[str] = []
    arrange = layout.arrange

    def arranged(weights: list[torch.Tensor], order: layout.Layout) -> None:
        tried.append(order)
        arrange(weights, order)

    def measured(run: object, x: torch.Tensor) -> float:
        run(x)  # type: ignore[operator]
        return last if tried[-1] == "channels last" else first

    monkeypatch.setattr(layout, "arrange", arranged)
    monkeypatch.setattr(layout, "_seconds", measured)
    return tried


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(1.0, 0.6, "channels last"), (1.0, 0.97, "channels first"), (1.0, 3.0, "channels first")],
)
def test_the_faster_order_is_kept(first: float, last: float, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds(monkeypatch, first, last)
    module = import_onnx(network(), "y")
    x = torch.rand(4, 3, 6, 6, requires_grad=True)
    before = module(x)
    (slope,) = torch.autograd.grad(before.square().sum(), x)
    assert module.optimise(x.detach()) == module.layout == expected
    orders = {w.is_contiguous(memory_format=torch.channels_last) for w in module._convolution_weights()}
    assert orders == {expected == "channels last"}
    after = module(x)
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(torch.autograd.grad(after.square().sum(), x)[0], slope)
    # Programs made later, and for other batch sizes, hold the same weights.
    torch.testing.assert_close(module.graph_module((1, 3, 6, 6))(x[:1])[0], before[:1])


def test_small_networks_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = seconds(monkeypatch, 1.0, 0.1)
    module = import_onnx(network(8), "y")
    assert module.optimise(torch.rand(2, 3, 6, 6)) == "channels first"
    assert tried == []


def test_networks_in_double_precision_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = seconds(monkeypatch, 1.0, 0.1)
    module = import_onnx(network(), "y").double()
    assert module.optimise(torch.rand(2, 3, 6, 6).double()) == "channels first"
    assert tried == []


def test_quantised_networks_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = seconds(monkeypatch, 1.0, 0.1)
    model = network()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0.1), "s"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.uint8(9), "z"))
    model.graph.node[0].input[0] = "dequantised"
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dequantised"]))
    model.graph.node.insert(0, helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]))
    assert import_onnx(model, "y").optimise(torch.rand(2, 3, 6, 6)) == "channels first"
    assert tried == []


def test_the_trial_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow model is run twice each way, the first time only to prepare."""
    clock: Iterator[float] = iter(range(0, 10_000, 5))
    monkeypatch.setattr(layout.time, "perf_counter", lambda: float(next(clock)))
    runs: list[torch.Tensor] = []
    module = import_onnx(network(), "y")

    def run(x: torch.Tensor) -> torch.Tensor:
        runs.append(x)
        return module(x)

    layout.choose(module._convolution_weights(), run, torch.rand(2, 3, 6, 6))
    assert len(runs) == 4


def test_trials_measure_forward_and_backward() -> None:
    module = import_onnx(network(), "y")
    seen: list[bool] = []

    def run(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.requires_grad)
        return module(x)

    with torch.inference_mode():
        assert module.optimise(torch.rand(2, 3, 6, 6), run) in ("channels first", "channels last")
    assert all(seen)
    assert len(seen) >= 4
