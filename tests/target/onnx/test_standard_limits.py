"""Variants that have no translation are named, not guessed at; half precision does not overflow inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import make_model, one_op

from robaudit.target.onnx import coverage, import_onnx

INT = onnx.TensorProto.INT64
LENGTH = np.array(0.4, np.float32)


def suppression() -> onnx.ModelProto:
    """Boxes from the data: how many remain, nobody knows before."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], axes=[2], keepdims=1),
        helper.make_node("Transpose", ["m"], ["s"], perm=[0, 2, 1]),
        helper.make_node("NonMaxSuppression", ["x", "s", "k", "t"], ["y"]),
    ]
    return make_model(nodes, (1, 6, 4), {"k": np.array([3]), "t": LENGTH}, outputs={"y": INT})


def adaptive() -> onnx.ModelProto:
    """Regions from the data, and as many samples as they are large."""
    nodes = [
        helper.make_node("Slice", ["x", "a", "b", "c"], ["part"]),
        helper.make_node("Reshape", ["part", "shape"], ["rois"]),
        helper.make_node("RoiAlign", ["x", "rois", "which"], ["y"]),
    ]
    held = {
        "a": np.array([0]),
        "b": np.array([1]),
        "c": np.array([2]),
        "shape": np.array([1, 4]),
        "which": np.array([0]),
    }
    return make_model(nodes, (1, 1, 4, 4), held)


def text_counts() -> onnx.ModelProto:
    more: dict[str, Any] = {"mode": "TF", "min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0}
    more |= {"ngram_counts": [0], "ngram_indexes": [0, 1], "pool_strings": ["a", "b"]}
    return one_op("TfIdfVectorizer", (4,), dtype=onnx.TensorProto.INT64, **more)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (one_op("NonZero", (2, 3), out_type=INT), "NonZero-17 (its input 0 depends on the data)"),
        (one_op("Unique", (2, 3)), "Unique-17 (its input 0 depends on the data)"),
        (suppression(), "NonMaxSuppression-17 (its input 0 depends on the data)"),
        (adaptive(), "RoiAlign-17 (the number of samples depends on the data)"),
        (text_counts(), "TfIdfVectorizer-17 (over strings)"),
        (one_op("Multinomial", (2, 3), dtype=onnx.TensorProto.INT32), "Multinomial-17"),
        (one_op("Conv", (1, 1, 2, 2, 2, 2), np.ones((1, 1, 1, 1, 1, 1), np.float32)), "Conv-17 (4 spatial dimensions)"),
        (one_op("Resize", (1, 1, 4, 4), None, np.float32([1, 1, 2, 2]), mode="lanczos"), "Resize-17 (mode lanczos)"),
    ],
)
def test_what_cannot_be_translated_is_named(model: onnx.ModelProto, told: str) -> None:
    assert coverage(model) == [told]


def test_half_precision_does_not_overflow_inside_a_norm() -> None:
    half = onnx.TensorProto.FLOAT16
    scale = np.ones(4, np.float16)
    model = one_op("RMSNormalization", (1, 4), scale, opset=23, out_type=half, dtype=half)
    (y,) = import_onnx(model).graph_module((1, 4), torch.float16)(torch.full((1, 4), 300.0, dtype=torch.float16))
    torch.testing.assert_close(y, torch.ones(1, 4, dtype=torch.float16))
