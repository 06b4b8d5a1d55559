"""Scores of a file as probabilities of its classes, and features of its nodes, as detectors see them; no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import UsageError
from robaudit.target.files.onnx.features import NodeFeatures
from robaudit.target.files.onnx.runtime import file_values
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.target.inputs.several import FixedInput

__all__ = ["NodesOfFile", "shares"]


def shares(scores: NDArray[Any], kind: str) -> NDArray[np.float64]:
    """[N, K] scores of a kind (logits, probabilities, log-probabilities, sigmoids, labels) as probabilities.

    Each row by itself; NaN where it names no class.
    """
    exact = scores.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        if kind in ("logits", "log-probabilities"):
            exact = np.exp(exact - exact.max(1, keepdims=True))
        found: NDArray[np.float64] = exact / exact.sum(1, keepdims=True)
    return np.where(np.isnan(found).any(1, keepdims=True), np.nan, found)


class NodesOfFile:
    """The features of an ONNX file's nodes at points of u-space; sessions are begun when they are asked for.

    Args:
        path: of the file; ``scores``, the name of the output that holds them.
        meaning: of its input.
        width: rows of a call that the file insists on, or None.
        fixed: its other inputs.
        threads: of one operator.
        custom_ops: libraries of custom operators.
    """

    def __init__(
        self,
        path: Path,
        scores: str,
        meaning: InputMeaning,
        width: int | None,
        fixed: Sequence[FixedInput] = (),
        *,
        threads: int = 1,
        custom_ops: Sequence[Path] = (),
    ) -> None:
        self._path, self._meaning, self._width = path, meaning, width
        dtype = "float32" if meaning.dtype == "bfloat16" else meaning.dtype
        self._dtype = np.dtype(dtype)
        self._begin: Callable[[tuple[str, ...]], NodeFeatures] = lambda nodes: NodeFeatures(
            path, nodes, scores, meaning.name, fixed, threads=threads, custom_ops=custom_ops
        )
        self._asked: dict[tuple[str, ...], NodeFeatures] = {}

    def __call__(self, u: NDArray[Any], nodes: Sequence[str], *, alone: bool) -> list[NDArray[np.float64]]:
        """[N, D] of each node; ``alone``: one input a run."""
        key = tuple(nodes)
        if key not in self._asked:
            if not _is_onnx(self._path):
                raise UsageError(f"features of named nodes are taken of ONNX files, and {self._path} is none")
            self._asked[key] = self._begin(key)
        run = self._asked[key]
        values = file_values(self._meaning.file_array(u), self._dtype)
        if not alone and self._width is None:
            return run(values)
        width = self._width or 1
        rows = [[one[:1] for one in run(np.repeat(row[None], width, axis=0))] for row in values]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _is_onnx(path: Path) -> bool:
    from robaudit.target.files.sniff import model_format

    return model_format(path) == "onnx"
