"""ONNX graph -> differentiable torch module, one file per operator family."""

from robaudit.target.onnx import (  # noqa: F401  # each registers its operators
    activation,
    control_flow,
    convolution,
    elementwise,
    indexing,
    linear,
    normalisation,
    pooling,
    quantisation,
    reduction,
    resize,
    sequence,
    shape,
)
from robaudit.target.onnx.module import OnnxModule, coverage, import_onnx

__all__ = ["OnnxModule", "coverage", "import_onnx"]
