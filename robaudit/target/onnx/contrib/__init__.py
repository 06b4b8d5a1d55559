"""ONNX Runtime's contrib operators, which its optimiser and its transformers tools write into files."""

from robaudit.target.onnx.contrib import (  # noqa: F401  # each registers its operators
    activation,
    attention,
    convolution,
    legacy,
    normalisation,
    products,
    rotary,
    tensors,
)
