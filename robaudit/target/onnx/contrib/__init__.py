"""ONNX Runtime's contrib operators, which its optimiser and its transformers tools write into files."""

from robaudit.target.onnx.contrib import (  # noqa: F401  # each registers its operators
    activation,
    attention,
    convolution,
    legacy,
    lstm,
    normalisation,
    packed_weights,
    products,
    quantised,
    quantised_products,
    rotary,
    tensors,
)
