"""Tensors inside an ONNX graph, by name: the shipped file's own, in ONNX Runtime and NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from robaudit.errors import UsageError, reason
from robaudit.suggest import did_you_mean
from robaudit.target.files.onnx.runtime import Session, ask, start
from robaudit.target.files.onnx.source import read_onnx
from robaudit.target.inputs.several import FixedInput
from robaudit.target.outputs.wiring import Wiring

__all__ = ["NodeFeatures", "tensors_named"]

LINEAR = ("Gemm", "MatMul", "FusedGemm", "FusedMatMul", "Conv", "FusedConv")
LISTED = 40
"""Names that a sentence may list."""


def tensors_named(wiring: Wiring, nodes: Sequence[str], scores: str, path: Path) -> list[str]:
    """The tensors that nodes of a graph make, each named by itself or by its node.

    Args:
        wiring: of the graph.
        nodes: names; none: the input of the last linear layer before the scores.
        scores: name of the output that holds them.
        path: of the file, for messages.

    Raises:
        UsageError: there is no such node, or no linear layer.
    """
    if not nodes:
        return [_before_last_linear(wiring, scores, path)]
    made = {name for node in wiring.model.graph.node for name in node.output if name}
    of = {node.name: node.output[0] for node in wiring.model.graph.node if node.name and node.output}
    for name in nodes:
        if name not in made and name not in of:
            known = sorted({*made, *of})
            hint = (
                did_you_mean(name, known) if len(known) <= LISTED else did_you_mean(name, known).partition("; known")[0]
            )
            raise UsageError(f"{path} has no node {name!r}{hint}")
    return [name if name in made else of[name] for name in nodes]


def _before_last_linear(wiring: Wiring, scores: str, path: Path) -> str:
    open_, seen = [scores], {scores}
    while open_:
        node = wiring.maker(open_.pop(0))
        if node is None:
            continue
        given = [name for name in node.input if name and not wiring.is_constant(name)]
        if node.op_type in LINEAR and given and wiring.maker(given[0]) is not None:
            return str(given[0])
        open_ += [name for name in given if name not in seen]
        seen.update(given)
    raise UsageError(f"{path} has no linear layer behind another one, whose input could be taken; name nodes")


class NodeFeatures:
    """Asks a file for tensors of its graph.

    Args:
        path: of the file.
        nodes: see :func:`tensors_named`, as ``scores`` is.
        scores: name of the output that holds the scores.
        input: name of the input that is given.
        fixed: the other inputs.
        threads: of one operator; 0: as many as there are processors.
        custom_ops: libraries of custom operators.

    Raises:
        UsageError: there is no such node, or the runtime does not give it.
    """

    def __init__(
        self,
        path: Path,
        nodes: Sequence[str],
        scores: str,
        input: str,
        fixed: Sequence[FixedInput] = (),
        *,
        threads: int = 1,
        custom_ops: Sequence[Path] = (),
    ) -> None:
        self._path, self._nodes, self._input, self._fixed = path, list(nodes), input, fixed
        source = read_onnx(path)
        wiring = Wiring(source.model)
        self.tensors = tensors_named(wiring, nodes, scores, path)
        if source.weights:
            raise UsageError(f"{path} is too large to be asked for tensors inside (more than 2 GB)")
        model = onnx.ModelProto()
        model.CopyFrom(wiring.model)
        given = {output.name for output in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.tensors if name not in given)
        try:
            self._session: Session = start(
                replace(source, model=model, content=model.SerializeToString()), threads=threads, custom_ops=custom_ops
            )
        except Exception as error:  # the runtime raises its own types
            raise UsageError(
                f"ONNX Runtime cannot give {', '.join(self.tensors)} of {path}: {reason(error)}"
            ) from error

    def __call__(self, values: NDArray[Any]) -> list[NDArray[np.float64]]:
        """[N, D] of each tensor, for values [N, ...] of the input in the file's type."""
        found = []
        results = ask(self._session, self.tensors, self._input, values, self._fixed)
        for name, value in zip(self.tensors, results, strict=True):
            array = np.asarray(value)
            if array.dtype.kind not in "fiub" or array.ndim == 0 or len(array) != len(values):
                raise UsageError(f"the node {name!r} of {self._path} does not hold numbers of each input by itself")
            found.append(array.reshape(len(array), -1).astype(np.float64))
        return found
