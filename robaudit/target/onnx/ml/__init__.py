"""Operators of the domain ai.onnx.ml, one file per family, as ONNX Runtime computes them.

Their weights are attributes; text (class names, categories) has no place among tensors: a label output of a
classifier whose labels are strings is the label's position in the node's list, and operators that read text
are refused where their result is needed.
"""

from robaudit.target.onnx.ml import (  # noqa: F401  # each registers its operators
    encoding,
    linear,
    scaling,
    svm,
    trees,
)
