"""Gradients through branches, loops and sequences."""

from __future__ import annotations

import control_graphs as graphs
import numpy as np
from gradient_case import GradientCase

X = np.random.default_rng(2).standard_normal((2, 6))
OF = {
    "If": "if on data",
    "Loop": "loop until",
    "Scan": "scan",
    "SplitToSequence": "sequence",
    "SequenceAt": "sequence",
    "SequenceInsert": "sequence",
    "SequenceErase": "sequence",
    "ConcatFromSequence": "sequence",
    "SequenceConstruct": "mapped",
    "SequenceMap": "mapped",
    "Optional": "optional",
}
CASES = [
    *[GradientCase(op, graphs.ALL[name], X) for op, name in OF.items()],
    GradientCase("If", graphs.ALL["if on data"], -np.abs(X)),
    GradientCase("Loop", graphs.ALL["loop until"], 20 * np.abs(X)),
    GradientCase("Loop", graphs.ALL["loop"], X),
]
NO_GRADIENT = {
    ("", "SequenceEmpty"): "holds nothing",
    ("", "SequenceLength"): "a count",
    ("", "OptionalHasElement"): "a truth value",
    ("", "OptionalGetElement"): "stands in a branch: see Optional",
}
