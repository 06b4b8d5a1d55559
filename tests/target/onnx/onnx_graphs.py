"""Small ONNX graphs, and ONNX Runtime's answers to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

MODELS = Path(__file__).parents[3].parent / "shared" / "models"


def make_model(
    nodes: list[onnx.NodeProto],
    shape: tuple[int | str, ...],
    constants: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    outputs: dict[str, int] | None = None,
    dtype: int = onnx.TensorProto.FLOAT,
    domains: dict[str, int] | None = None,
) -> onnx.ModelProto:
    """A model with the input ``x`` and, unless said otherwise, the float output ``y``."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [
            helper.make_tensor_value_info(name, code, None)
            for name, code in (outputs or {"y": onnx.TensorProto.FLOAT}).items()
        ],
        [onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, v) for d, v in (domains or {}).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8 if opset < 20 else 10)


def one_op(
    op: str,
    shape: tuple[int, ...],
    *constants: np.ndarray | None,
    opset: int = 17,
    outputs: int = 1,
    out_type: int = onnx.TensorProto.FLOAT,
    dtype: int = onnx.TensorProto.FLOAT,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one operator on x; the first output is ``y``."""
    names = [f"c{i}" if value is not None else "" for i, value in enumerate(constants)]
    results = ["y"] + [f"y{i}" for i in range(1, outputs)]
    node = helper.make_node(op, ["x", *names], results, **attributes)
    held = {name: value for name, value in zip(names, constants, strict=True) if value is not None}
    return make_model([node], shape, held, opset=opset, outputs={"y": out_type}, dtype=dtype)


def runtime(model: onnx.ModelProto, *, optimise: bool = True) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def answers(model: onnx.ModelProto, x: np.ndarray, *, optimise: bool = True) -> np.ndarray:
    session = runtime(model, optimise=optimise)
    return session.run(None, {session.get_inputs()[0].name: x})[0]
