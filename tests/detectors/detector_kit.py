"""What tests of detectors share: a model as they see it, of known answers, and detectors as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from robaudit.target.inputs.spec import InputSpec


def meaning(shape: tuple[int, ...] = (1, 6, 6)) -> InputSpec:
    kind = "image" if len(shape) == 3 else "vector"
    return InputSpec("x", shape, shape, kind, "nchw" if kind == "image" else "none")


class FakeView:
    """A model whose probabilities and features are functions of the points."""

    def __init__(self, probabilities: Callable[[Any], Any], features: Callable[[Any], Any] | None = None) -> None:
        self.meaning, self._probabilities, self._features = meaning(), probabilities, features

    def probabilities(self, u: np.ndarray) -> np.ndarray:
        return np.asarray(self._probabilities(u), dtype=np.float64)

    def features(self, u: np.ndarray, nodes: Sequence[str]) -> list[np.ndarray]:
        assert self._features is not None
        return [np.asarray(self._features(u), dtype=np.float64)]


class FakeSlope:
    """The same with a gradient."""

    def __init__(self, logits: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._logits = logits

    def log_probabilities(self, u: torch.Tensor) -> torch.Tensor:
        return self._logits(u).log_softmax(1)

    def features(self, u: torch.Tensor, nodes: Sequence[str]) -> list[torch.Tensor]:
        return [u.flatten(1)]


def onnx_detector(path: Path, weights: np.ndarray, *, out: str = "score") -> Path:
    """The sum of the weighted features, a number of each input; ``out``: ``label``, a whole number, or ``two``."""
    flat = weights.reshape(-1, 1).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["score"])]
    kind = TensorProto.FLOAT
    if out == "label":
        nodes.append(helper.make_node("Cast", ["score"], ["label"], to=TensorProto.INT64))
        kind = TensorProto.INT64
    if out == "two":
        nodes.append(helper.make_node("Concat", ["score", "score"], ["two"], axis=1))
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *weights.shape])],
        [helper.make_tensor_value_info(out, kind, ["N", None])],
        [numpy_helper.from_array(flat, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
