"""How many classes a file tells, and what they are called."""

from __future__ import annotations

from typing import Any

import onnx
from torch import Tensor

from robaudit.errors import UsageError
from robaudit.target.files.model_file import ModelFile
from robaudit.target.outputs.peel import Tail
from robaudit.target.outputs.wiring import Wiring
from robaudit.target.reading.class_names import ClassNames, declared_names
from robaudit.target.reading.interface import Interface

__all__ = ["class_names_of", "label_classes"]


def label_classes(
    file: ModelFile,
    tail: Tail,
    answer: Tensor | None,
    values: tuple[Any, ...] | None,
    interface: Interface,
    *,
    sure: bool,
) -> int:
    """K of a file that returns labels: of what they are decided on, of their names, else as the user says.

    ``sure``: the names are those of the label output itself.

    Raises:
        UsageError: none of them tells.
    """
    if tail.decision in ("above", "below"):
        return 2
    width = int(answer.flatten(1).shape[1]) if answer is not None and tail.decision in ("argmax", "argmin") else 1
    if width > 1 and not sure:
        return width
    if values:
        return len(values)
    count = _inferred(file.wiring, tail) or interface.classes
    if count is None:
        raise UsageError(
            f"{file.path} returns labels only, and nothing in it tells how many classes there are; name them with "
            "--classes"
        )
    return count


def _inferred(wiring: Wiring | None, tail: Tail) -> int | None:
    """Columns of the tensor that a label is decided on, by ONNX shape inference."""
    if wiring is None or tail.decision not in ("argmax", "argmin"):
        return None
    try:
        model = onnx.shape_inference.infer_shapes(wiring.model)
    except Exception:  # a file may be too large for it, or odd
        return None
    for entry in (*model.graph.value_info, *model.graph.output):
        dims = entry.type.tensor_type.shape.dim
        if entry.name == tail.tensor and len(dims) > 1 and dims[1].dim_value > 1:
            return int(dims[1].dim_value)
    return None


def class_names_of(file: ModelFile, values: tuple[Any, ...] | None, count: int) -> ClassNames:
    """Names that are declared in the file's metadata or beside it, else what the graph itself calls its classes."""
    found = declared_names(file.path, file.metadata, count)
    if found.names is not None or values is None or len(values) != count or list(values) == list(range(count)):
        return found
    return ClassNames([str(value) for value in values], "the file's graph", found.note)
