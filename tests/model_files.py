"""Small model files on disk, ONNX and TorchScript, for tests of loading and of bad input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

FLOAT = TensorProto.FLOAT
Shape = Sequence[int | str]


def weight(classes: int, features: int, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    """[features, classes], with columns that sum to zero so that every class occurs."""
    found = np.random.default_rng(seed).normal(size=(features, classes))
    return (found - found.mean(0)).astype(dtype)


def write_onnx(
    path: Path,
    nodes: list[onnx.NodeProto],
    shape: Shape,
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    outputs: Mapping[str, tuple[Shape | None, int]] | None = None,
    dtype: int = FLOAT,
    metadata: Mapping[str, str] | None = None,
    domains: Mapping[str, int] | None = None,
    denotation: Sequence[str] = (),
    extra_inputs: Mapping[str, tuple[Shape, int]] | None = None,
) -> Path:
    """A model with the input ``x`` and, unless said otherwise, the float output ``y`` of any shape."""
    x = helper.make_tensor_value_info("x", dtype, list(shape))
    if denotation:
        x.type.denotation = "IMAGE"
        for dim, name in zip(x.type.tensor_type.shape.dim, denotation, strict=True):
            dim.denotation = name
    declared = outputs or {"y": (None, FLOAT)}
    graph = helper.make_graph(
        nodes,
        "test",
        [x, *(helper.make_tensor_value_info(n, t, list(s)) for n, (s, t) in (extra_inputs or {}).items())],
        [helper.make_tensor_value_info(n, t, None if s is None else list(s)) for n, (s, t) in declared.items()],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", 17)] + [helper.make_opsetid(d, v) for d, v in (domains or {}).items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, path)
    return path


def linear_onnx(
    path: Path,
    shape: Shape = ("N", 3, 4, 4),
    classes: int = 5,
    *,
    end: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
    dtype: int = FLOAT,
    output: str = "y",
    denotation: Sequence[str] = (),
) -> Path:
    """Flatten and a matrix, then unary operators such as Softmax; the first dimension may be fixed."""
    kinds = {FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16}
    features = int(np.prod([d for d in shape[1:] if isinstance(d, int)]))
    names = ["logits_", *(f"end{i}" for i in range(len(end)))]
    names[-1] = output
    chain = [
        helper.make_node(op, [a], [b], **({"axis": 1} if "Soft" in op else {}))
        for op, a, b in zip(end, names, names[1:], strict=False)
    ]
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], [names[0]]),
        *chain,
    ]
    constants = {"w": weight(classes, features, dtype=kinds[dtype])}
    batch = shape[0]
    outputs = {output: ((batch, classes), dtype)}
    return write_onnx(
        path, nodes, shape, constants, outputs=outputs, metadata=metadata, dtype=dtype, denotation=denotation
    )


class Net(nn.Module):
    """A small smooth convolutional classifier of 3 x 8 x 8 images."""

    def __init__(self, classes: int = 4, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(channels, 6, 3, stride=2)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(6 * 9, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(torch.tanh(self.conv(x))).flatten(1))


def script(path: Path, module: nn.Module, example: Tensor | None = None, *, freeze: bool = False) -> Path:
    """Save a module by tracing where an example is given, else by scripting."""
    module = module.eval()
    made = torch.jit.script(module) if example is None else torch.jit.trace(module, example, check_trace=False)
    torch.jit.save(torch.jit.freeze(made) if freeze else made, str(path))
    return path
