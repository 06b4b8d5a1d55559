"""A graph's twin, and the one with a smooth backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx_graphs import make_model

from robaudit.target.onnx import OnnxModule, import_onnx

__all__ = ["twins"]


def twins(nodes: list[onnx.NodeProto], shape: tuple[int, ...], **constants: Any) -> tuple[OnnxModule, OnnxModule]:
    """The twin of a graph from x to y, and the one with a smooth backward; Python's numbers become float32."""
    arrays = {n: value if hasattr(value, "dtype") else np.asarray(value, np.float32) for n, value in constants.items()}
    plain = import_onnx(make_model(nodes, ("n", *shape), arrays), "y")
    smooth = plain.smoothed()
    assert smooth is not None
    return plain, smooth
