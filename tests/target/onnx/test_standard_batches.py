"""Standard operators on batches: one program for every size, and vmap over the program for one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import answers, make_model
from torch import fx

from robaudit.target.onnx import passes
from robaudit.target.onnx.generalise import BATCH_SIZES, generalise
from robaudit.target.onnx.reading import read
from robaudit.target.onnx.tracing import Trace, trace

RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Model:
    name: str
    nodes: list[onnx.NodeProto]
    shape: tuple[int, ...]
    constants: dict[str, np.ndarray]
    opset: int = 23

    def proto(self) -> onnx.ModelProto:
        return make_model(self.nodes, ("N", *self.shape), self.constants, opset=self.opset)

    def __str__(self) -> str:
        return self.name


def f(*shape: int) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def i(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def one(op: str, shape: tuple[int, ...], *constants: np.ndarray, opset: int = 23, **attributes: Any) -> Model:
    held = {f"c{k}": value for k, value in enumerate(constants)}
    return Model(op, [helper.make_node(op, ["x", *held], ["y"], **attributes)], shape, held, opset)


def recurrent(op: str, gates: int, direction: str, **more: Any) -> Model:
    """Sequences to the last state; the batch comes second, as exporters write it."""
    count = 2 if direction == "bidirectional" else 1
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(op, ["t", "w", "r", "b"], ["", "h"], hidden_size=3, direction=direction, **more),
        helper.make_node("Transpose", ["h"], ["y"], perm=[1, 0, 2]),
    ]
    held = {"w": f(count, 3 * gates, 4), "r": f(count, 3 * gates, 3), "b": f(count, 6 * gates)}
    return Model(f"{op}-{direction}", nodes, (5, 4), held, 17)


def stateful() -> Model:
    """The first state is baked in, for one sample."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["t", "w", "r", "", "", "h"], ["", "last"], hidden_size=3, linear_before_reset=1),
        helper.make_node("Transpose", ["last"], ["y"], perm=[1, 0, 2]),
    ]
    return Model("stateful", nodes, (5, 4), {"w": f(1, 9, 4), "r": f(1, 9, 3), "h": f(1, 1, 3)}, 17)


def attention(**more: Any) -> Model:
    """Self-attention over projected tokens, grouped heads."""
    nodes = [helper.make_node("MatMul", ["x", name], [name.upper()]) for name in ("q", "k", "v")] + [
        helper.make_node("Attention", ["Q", "K", "V"], ["y"], q_num_heads=4, kv_num_heads=2, **more)
    ]
    return Model("Attention", nodes, (3, 5), {"q": f(5, 8), "k": f(5, 4), "v": f(5, 4)})


def linear_attention() -> Model:
    nodes = [helper.make_node("MatMul", ["x", name], [name.upper()]) for name in "qkvdb"]
    nodes.append(helper.make_node("LinearAttention", [*"QKV", "", *"DB"], ["y", "s"], q_num_heads=4, kv_num_heads=2))
    return Model(
        "LinearAttention", nodes, (3, 5), {"q": f(5, 8), "k": f(5, 4), "v": f(5, 4), "d": f(5, 2), "b": f(5, 2)}, 27
    )


def warped() -> Model:
    """A spatial transformer: positions from the image itself."""
    nodes = [
        helper.make_node("ReduceMean", ["x", "space"], ["m"], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["t"]),
        helper.make_node("Reshape", ["t", "matrix"], ["theta"]),
        helper.make_node("Shape", ["x"], ["size"]),
        helper.make_node("AffineGrid", ["theta", "size"], ["grid"]),
        helper.make_node("GridSample", ["x", "grid"], ["y"]),
    ]
    return Model("warped", nodes, (3, 4, 5), {"space": i(2, 3), "w": f(3, 6), "matrix": i(-1, 2, 3)}, 20)


def best() -> Model:
    """The features at the place of the largest score."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("TopK", ["scores", "k"], ["top", "places"], axis=1),
        helper.make_node("GatherND", ["x", "places"], ["y"], batch_dims=1),
    ]
    return Model("best", nodes, (5, 3), {"w": f(3, 1), "k": i(2)}, 17)


def unpooled() -> Model:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p", "i"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("MaxUnpool", ["p", "i"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    return Model("unpooled", nodes, (2, 4, 4), {}, 17)


def spectrum() -> Model:
    nodes = [
        helper.make_node("Unsqueeze", ["x", "last"], ["s"]),
        helper.make_node("STFT", ["s", "step", "window"], ["f"]),
        helper.make_node("ReduceL2", ["f", "last"], ["y"], keepdims=0),
    ]
    return Model("spectrum", nodes, (12,), {"last": i(-1), "step": np.array(3), "window": f(6)}, 18)


MODELS = [
    *[
        recurrent(op, gates, d)
        for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4))
        for d in ("reverse", "bidirectional")
    ],
    recurrent("LSTM", 4, "forward", clip=0.3),
    recurrent("GRU", 3, "forward", linear_before_reset=1),
    attention(),
    attention(is_causal=1, softcap=0.5),
    linear_attention(),
    warped(),
    best(),
    unpooled(),
    spectrum(),
    one("Col2Im", (8, 6), i(3, 4), i(2, 2), opset=18),
    one("LpPool", (2, 5, 5), kernel_shape=[2, 2]),
    one("CenterCropPad", (2, 5, 4), i(4, 6), opset=18, axes=[2, 3]),
    one("GroupNormalization", (4, 3, 3), f(4), f(4), num_groups=2),
    one("InstanceNormalization", (4, 3, 3), f(4), f(4)),
    one("LRN", (4, 3, 3), size=3, opset=17),
    one("CumSum", (4, 3), np.array(1), opset=17, exclusive=1),
    one("ReduceLogSumExp", (4, 3), i(2)),
    one("Pad", (2, 4, 4), i(0, 0, 1, 1, 0, 0, 1, 1), opset=17, mode="reflect"),
    one("Resize", (2, 4, 4), f(0), np.float32([1, 1, 1.5, 0.7]), opset=17, mode="linear"),
]


def traced(model: Model, batch: int) -> Trace:
    graph = passes.prepare(read(model.proto()))
    return trace(graph, {"x": torch.empty(batch, *model.shape, device="meta")}, ["y"], {})


def program(made: Trace) -> fx.GraphModule:
    return fx.GraphModule(made.constants, made.graph)


def test_a_state_for_one_sample_is_every_samples() -> None:
    model = stateful()
    general = program(generalise([traced(model, batch) for batch in BATCH_SIZES]))
    x = f(3, *model.shape)
    (y,) = general(torch.from_numpy(x))
    singles = [answers(model.proto(), row[None]) for row in x]
    np.testing.assert_allclose(y.numpy(), np.concatenate(singles), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_one_program_serves_all_batch_sizes(model: Model) -> None:
    general = program(generalise([traced(model, batch) for batch in BATCH_SIZES]))
    for batch in (1, 4):
        x = f(batch, *model.shape)
        (y,) = general(torch.from_numpy(x))
        if model.opset > 24:  # newer than ONNX Runtime
            alone = program(traced(model, 1))
            torch.testing.assert_close(y, torch.cat([alone(row[None])[0] for row in torch.from_numpy(x)]))
            continue
        np.testing.assert_allclose(y.numpy(), answers(model.proto(), x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_program_for_one_sample_maps_over_a_batch(model: Model) -> None:
    alone = program(traced(model, 1))
    x = torch.from_numpy(f(3, *model.shape)).requires_grad_()
    mapped = torch.func.vmap(lambda sample: alone(sample.unsqueeze(0))[0][0])(x)
    rows = torch.cat([alone(x[k : k + 1])[0] for k in range(3)])
    torch.testing.assert_close(mapped, rows, rtol=1e-4, atol=1e-5)
    weight = torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
    (one,) = torch.autograd.grad((mapped * weight).sum(), x)
    (other,) = torch.autograd.grad((rows * weight).sum(), x)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
