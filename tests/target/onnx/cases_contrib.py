"""Gradient cases of ONNX Runtime's own operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from contrib_cases import FLOAT_CASES
from contrib_quantised_cases import QUANTISED_CASES
from gradient_case import GradientCase

# Variants of one operator whose gradients are checked; all are compared in value.
_ENOUGH = 6


def _chosen() -> Iterator[GradientCase]:
    seen: Counter[str] = Counter()
    for case in (*FLOAT_CASES, *QUANTISED_CASES):
        # LayerNormalization is an operator of ONNX's own, with cases of its own.
        if case.gradient and case.op != "LayerNormalization" and seen[case.op] < _ENOUGH:
            seen[case.op] += 1
            yield GradientCase(case.op, case.model(), case.input().astype(np.float64), case.domain)


CASES = list(_chosen())
_STRAIGHT = "rounds; compared with the function before rounding in test_contrib_gradients.py"
_ROUNDING = (
    *("QLinearAdd", "QLinearMul", "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax", "QLinearConcat"),
    *("QLinearWhere", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearReduceMean", "QLinearConv", "QGemm"),
    *("DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QuantizeLinear"),
)
NO_GRADIENT: dict[tuple[str, str], str] = {
    **{("com.microsoft", op): _STRAIGHT for op in _ROUNDING},
    ("com.microsoft", "NhwcMaxPool"): "takes quantised values alone; MaxPool has the gradient",
    ("com.microsoft", "Range"): "its inputs shape the graph",
    ("com.microsoft", "Unique"): "its size depends on the values, which must be known",
}
