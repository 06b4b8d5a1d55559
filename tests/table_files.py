"""A small model of raw features and a table for it, on disk."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NAMES = ("age", "income", "rate", "site")
LOW = np.array([18.0, 0.0, -1.0, 5.0])
HIGH = np.array([90.0, 50_000.0, 1.0, 5.0])
RANGES = "name,low,high,immutable,integer\nage,18,90,,yes\nincome,0,50000,yes,\nrate,-1,1,,\nsite,5,5,,\n"


def write_model(path: Path, dtype: int = TensorProto.FLOAT) -> Path:
    """A scaler and two linear layers, as a pipeline is exported: it takes raw units."""
    rng = np.random.default_rng(0)
    arrays = {
        "mean": ((LOW + HIGH) / 2).astype(np.float32),
        "std": np.maximum((HIGH - LOW) / 3.46, 1).astype(np.float32),
        "w1": rng.normal(size=(4, 16)).astype(np.float32),
        "b1": rng.normal(size=16).astype(np.float32),
        "w2": rng.normal(size=(16, 3)).astype(np.float32),
    }
    start = [helper.make_node("Cast", ["x"], ["raw"], to=TensorProto.FLOAT)]
    nodes = [
        *start,
        helper.make_node("Sub", ["raw", "mean"], ["c"]),
        helper.make_node("Div", ["c", "std"], ["s"]),
        helper.make_node("Gemm", ["s", "w1", "b1"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("MatMul", ["t", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("x", dtype, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def answers(model: Path, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    kind = {"tensor(float)": np.float32, "tensor(int64)": np.int64}[session.get_inputs()[0].type]
    found: np.ndarray = session.run(None, {"x": x.astype(kind)})[0].argmax(1)
    return found


def write_table(path: Path, model: Path, *, count: int = 30, names: Iterable[str] = "abc") -> np.ndarray:
    """Rows in raw units, labelled by the model, the labels as names; returns the rows."""
    rng = np.random.default_rng(1)
    x = LOW + rng.random((count, 4)) * (HIGH - LOW)
    x[:, 0] = np.round(x[:, 0])
    y = answers(model, x)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*NAMES, "label"])
        writer.writerows([*row, list(names)[label]] for row, label in zip(x.tolist(), y, strict=True))
    return x
