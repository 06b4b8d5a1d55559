"""An ONNX file that stands beside a model, a detector or a purifier: ONNX Runtime, and a torch twin for gradients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import UsageError
from robaudit.target.files.onnx.declared import dtype_of
from robaudit.target.files.onnx.runtime import ask, file_values, start, unsupported
from robaudit.target.files.onnx.source import read_onnx

if TYPE_CHECKING:
    from torch import nn

__all__ = ["OnnxPiece"]


class OnnxPiece:
    """A file of one input whose first output is the answer.

    Args:
        path: of the file.
        what: it is, for messages: ``detector``.

    Raises:
        UsageError: it keeps weights in other files, cannot be loaded, or has not one input.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._source = read_onnx(path)
        if self._source.external:
            raise UsageError(f"the {what} {path} keeps weights in other files; export it as one file")
        try:
            self._session = start(self._source, threads=1)
        except Exception as error:  # the runtime raises its own types
            why = unsupported(self._source.model, error)
            raise UsageError(f"ONNX Runtime cannot load the {what} {path}: {why}") from error
        if len(self._session.inputs) != 1:
            raise UsageError(f"the {what} {path} has {len(self._session.inputs)} inputs; it must have one")

    def ask(self, x: NDArray[Any]) -> NDArray[Any]:
        """What the file answers to one input [1, ...], which is repeated where the file wants more at a time."""
        given = self._session.inputs[0]
        size = given.shape[0] if given.shape and isinstance(given.shape[0], int) else 1
        values = file_values(np.repeat(x, size, axis=0), np.dtype(dtype_of(given.type)))
        found = np.asarray(ask(self._session, [self._session.outputs[0].name], given.name, values)[0])
        return found if size == 1 or found.ndim == 0 else found[:1]

    def twin(self) -> nn.Module:
        """The file's function in torch; may raise anything where there is none."""
        from robaudit.target.onnx import import_onnx

        twin = import_onnx(self._source.model, self._session.outputs[0].name)
        return twin.float_twin() if any(b.is_floating_point() for b in twin.buffers()) else twin
