"""An ONNX file in ONNX Runtime, with NumPy alone: the judge of an audit, and of a replay without torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from robaudit.errors import RobauditError, reason
from robaudit.target.inputs import FixedInput
from robaudit.target.onnx_source import OnnxSource

__all__ = ["RuntimeMemoryError", "alone", "ask", "file_values", "start", "too_new"]

NO_MEMORY = ("failed to allocate memory", "out of memory", "bad_alloc", "alloc_failed")
"""What ONNX Runtime says, in lower case, when the memory of the CPU or GPU runs out."""


class RuntimeMemoryError(RobauditError):
    """The memory of ONNX Runtime ran out."""


def start(
    source: OnnxSource,
    *,
    threads: int = 0,
    cuda: int | None = None,
    custom_ops: Sequence[Path] = (),
    optimised: bool = True,
) -> onnxruntime.InferenceSession:
    """A session of a file.

    Args:
        source: the file, read and checked.
        threads: of one operator; 0: as many as there are processors.
        cuda: number of the GPU, used where the runtime can; None: the processor alone.
        custom_ops: libraries of custom operators.
        optimised: with the runtime's optimisations.
    """
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    onnxruntime.set_default_logger_severity(4)
    for library in custom_ops:
        options.register_custom_ops_library(str(library))
    providers: list[Any] = ["CPUExecutionProvider"]
    if cuda is not None and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": cuda, "use_tf32": 0}))
    return source.session(options, providers)


def too_new(error: BaseException) -> str | None:
    """What to do about a file of a newer version than the runtime knows; None where that is not what fails it."""
    found = re.search(r"IR version: (\d+), max supported IR version: (\d+)", str(error))
    what = f"is of version {found[1]} of the ONNX format (IR), and this" if found else ""
    known = f"versions up to {found[2]}" if found else ""
    later = re.search(r"Opset (\d+) is under development.*?for domain (\S+) is till opset (\d+)", str(error), re.DOTALL)
    if later:
        what, known = f"uses opset {later[1]} of {later[2]}, and this", f"opsets up to {later[3]}"
    if not what:
        return None
    return (
        f"it {what} ONNX Runtime {onnxruntime.__version__} knows {known}; export the model for an older version, or "
        "install a newer onnxruntime"
    )


def file_values(x: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Inputs as the file's type; whole numbers are rounded and kept in their type's range."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        x = np.clip(np.rint(np.nan_to_num(x)), limits.min, limits.max)
    return np.ascontiguousarray(x, dtype=dtype)


def ask(
    session: onnxruntime.InferenceSession,
    outputs: list[str] | None,
    name: str,
    values: NDArray[Any],
    fixed: Sequence[FixedInput] = (),
) -> list[Any]:
    """The outputs (None: all) for values of the attacked input and those that keep theirs.

    Raises:
        RuntimeMemoryError: the memory ran out.
        RobauditError: the runtime refuses the input.
    """
    feed = {other.declared.name: other.rows(len(values)) for other in fixed}
    try:
        results: list[Any] = session.run(outputs, {name: values, **feed})
    except Exception as error:  # the runtime raises its own types
        if any(words in str(error).lower() for words in NO_MEMORY):
            raise RuntimeMemoryError(str(error)) from error
        raise RobauditError(f"ONNX Runtime refuses the input: {reason(error)}") from error
    return results


def alone(call: Callable[[NDArray[Any], int], NDArray[Any]], values: NDArray[Any], width: int) -> NDArray[Any]:
    """Answers [N, ...] to inputs that are asked one at a time, each filling the ``width`` rows of its call."""
    rows = (values[i : i + 1] for i in range(len(values)))
    return np.concatenate([call(np.repeat(row, width, axis=0) if width > 1 else row, width)[:1] for row in rows])
