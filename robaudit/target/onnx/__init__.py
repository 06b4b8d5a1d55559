"""ONNX graph -> differentiable torch module, one file per operator family."""

from robaudit.target.onnx import (  # noqa: F401  # each registers its operators
    activation,
    attention,
    casting,
    contrib,
    control_flow,
    convolution,
    elementwise,
    indexing,
    linear,
    losses,
    ml,
    ngrams,
    normalisation,
    pooling,
    quantisation,
    randomness,
    recurrent,
    reduction,
    resize,
    rounding,
    sampling,
    selection,
    sequence,
    shape,
    signal,
)
from robaudit.target.onnx.importing import coverage, import_onnx
from robaudit.target.onnx.module import OnnxModule

__all__ = ["OnnxModule", "coverage", "import_onnx"]
