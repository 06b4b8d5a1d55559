"""Gradient cases of ONNX Runtime's own operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from contrib_cases import FLOAT_CASES
from gradient_case import GradientCase

# Variants of one operator whose gradients are checked; all are compared in value.
_ENOUGH = 6


def _chosen() -> Iterator[GradientCase]:
    seen: Counter[str] = Counter()
    for case in FLOAT_CASES:
        # LayerNormalization is an operator of ONNX's own, with cases of its own.
        if case.gradient and case.op != "LayerNormalization" and seen[case.op] < _ENOUGH:
            seen[case.op] += 1
            yield GradientCase(case.op, case.model(), case.input(), case.domain)


CASES = list(_chosen())
NO_GRADIENT: dict[tuple[str, str], str] = {
    ("com.microsoft", "NhwcMaxPool"): "takes quantised values alone; MaxPool has the gradient",
    ("com.microsoft", "Range"): "its inputs shape the graph",
    ("com.microsoft", "Unique"): "its size depends on the values, which must be known",
}
