"""Models of one ai.onnx.ml operator, and the comparison of the twin with ONNX Runtime on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from onnx_graphs import runtime

from robaudit.target.onnx import import_onnx

ML = "ai.onnx.ml"
TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.int32): TensorProto.INT32,
}


def ml_model(
    op: str,
    outputs: dict[str, int],
    columns: int,
    *,
    version: int = 3,
    dtype: int = TensorProto.FLOAT,
    **attributes: Any,
) -> onnx.ModelProto:
    """The input x is [N, columns]."""
    node = helper.make_node(op, ["x"], list(outputs), domain=ML, **attributes)
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info("x", dtype, ["N", columns])],
        [helper.make_tensor_value_info(name, code, None) for name, code in outputs.items()],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(ML, version)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def classifier(op: str, columns: int, **attributes: Any) -> onnx.ModelProto:
    """Outputs: the label, and the scores ``y``."""
    kind = TensorProto.STRING if "classlabels_strings" in attributes else TensorProto.INT64
    return ml_model(op, {"label": kind, "y": TensorProto.FLOAT}, columns, **attributes)


def assert_as_runtime(model: onnx.ModelProto, x: np.ndarray, *, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """All outputs equal ONNX Runtime's; text is compared by its position among the node's labels."""
    session = runtime(model)
    expected = session.run(None, {"x": x})
    value_in = torch.from_numpy(x)
    # The program of this very shape; how a module runs batches is tested elsewhere, and takes longer.
    program = import_onnx(model).graph_module(value_in.shape, value_in.dtype)
    for value, found in zip(expected, program(value_in), strict=True):
        mine = found.numpy()
        if value.dtype == object:
            labels = [
                b.decode() for a in model.graph.node[0].attribute if a.name == "classlabels_strings" for b in a.strings
            ]
            np.testing.assert_array_equal([labels[i] for i in mine], value)
        elif value.dtype.kind in "iu":
            np.testing.assert_array_equal(mine, value)
        else:
            assert mine.dtype == value.dtype
            np.testing.assert_allclose(mine, value, rtol=rtol, atol=atol)
