"""What tests of defenses share: the meaning of inputs, images, and purifiers as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from robaudit.target.inputs.spec import InputSpec

SHAPE = (3, 12, 10)


def meaning(shape: tuple[int, ...] = SHAPE, **changes: object) -> InputSpec:
    kind = "image" if len(shape) == 3 else "vector"
    return InputSpec("x", shape, shape, kind, "nchw" if kind == "image" else "none", **changes)  # type: ignore[arg-type]


def images(count: int = 3, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """Smooth ones with an edge, as float32."""
    high, wide = shape[1:]
    rows, columns = np.mgrid[0:high, 0:wide] / max(high, wide)
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        turns = draw.uniform(0, 6, (shape[0], 3))
        image = np.stack([0.5 + 0.3 * np.sin(a * rows + b * columns + c) for a, b, c in turns])
        image[:, high // 2 :, : wide // 2] += 0.15
        found.append(image)
    return np.clip(np.stack(found), 0, 1).astype(np.float32)


def onnx_purifier(path: Path, *, shape: tuple[object, ...] = ("n", "c", "h", "w"), out: str = "scaled") -> Path:
    """x / 2 + 1/4 on any images; ``out``: ``rounded`` to whole numbers instead, ``summed`` over the width, or
    ``noisy``."""
    nodes = [helper.make_node("Mul", ["x", "half"], ["h"]), helper.make_node("Add", ["h", "quarter"], ["scaled"])]
    if out == "rounded":
        nodes = [helper.make_node("Round", ["x"], ["rounded"])]
    if out == "summed":
        nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["summed"], keepdims=1)]
    if out == "noisy":
        nodes = [helper.make_node("RandomUniformLike", ["x"], ["noisy"])]
    fixed = [
        helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("quarter", TensorProto.FLOAT, [], [0.25]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [3]),
    ]
    graph = helper.make_graph(
        nodes,
        "purifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["n", "a", "b", "d"])],
        fixed,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


class Softening(nn.Module):
    """A convolution over channels first, for a script."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layer(x))


def script_purifier(path: Path) -> Path:
    torch.manual_seed(0)
    torch.jit.script(Softening().eval()).save(str(path))
    return path
