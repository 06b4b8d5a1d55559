"""An ONNX file in ONNX Runtime, with NumPy alone: the judge of an audit, and of a replay without torch."""

from __future__ import annotations

import contextlib
import ctypes
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from robaudit.errors import RobauditError, reason
from robaudit.files import open_regular
from robaudit.target.files.onnx.source import OnnxSource
from robaudit.target.inputs.several import FixedInput

__all__ = ["RuntimeMemoryError", "Session", "alone", "ask", "file_values", "refusing", "start", "unsupported"]

NO_MEMORY = ("failed to allocate memory", "out of memory", "bad_alloc", "alloc_failed")
"""What ONNX Runtime says, in lower case, when the memory of the CPU or GPU runs out."""


NARROW = "tensor(bfloat16)"


class RuntimeMemoryError(RobauditError):
    """The memory of ONNX Runtime ran out."""


@dataclass(frozen=True)
class Session:
    """A session of ONNX Runtime; ``narrow``: it takes or gives bfloat16, which NumPy lacks."""

    runtime: onnxruntime.InferenceSession
    narrow: bool

    @property
    def inputs(self) -> list[Any]:
        """As the runtime describes them; ``outputs`` likewise."""
        return list(self.runtime.get_inputs())

    @property
    def outputs(self) -> list[Any]:
        """As the runtime describes them."""
        return list(self.runtime.get_outputs())

    @property
    def provider(self) -> str:
        """What it computes with."""
        return str(self.runtime.get_providers()[0])


def start(
    source: OnnxSource,
    *,
    threads: int = 0,
    cuda: int | None = None,
    custom_ops: Sequence[Path] = (),
    optimised: bool = True,
) -> Session:
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
        with open_regular(library):  # it is still the one that the run is named by, and stays it meanwhile
            options.register_custom_ops_library(str(library))
    providers: list[Any] = ["CPUExecutionProvider"]
    if cuda is not None and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": cuda, "use_tf32": 0}))
    runtime = source.session(options, providers)
    return Session(runtime, any(v.type == NARROW for v in (*runtime.get_inputs(), *runtime.get_outputs())))


def unsupported(model: onnx.ModelProto, error: BaseException) -> str:
    """Why the runtime does not load a file, and what to do where that is known."""
    text = _too_new(error) or reason(error)
    narrow = any(t.data_type == onnx.TensorProto.BFLOAT16 for t in model.graph.initializer)
    narrow = narrow or any(i.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16 for i in model.graph.input)
    if narrow and "Could not find an implementation" in text:
        text += "; on processors it has few operators for bfloat16: export the model in float32 or float16"
    return text


def _too_new(error: BaseException) -> str | None:
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
    session: Session,
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
    feed = {name: values, **{other.declared.name: other.rows(len(values)) for other in fixed}}
    with refusing():
        if session.narrow:
            return _ask_narrow(session, outputs, feed)
        results: list[Any] = session.runtime.run(outputs, feed)
        return results


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """What the runtime raises within, which are types of its own, as :func:`ask` does."""
    try:
        yield
    except Exception as error:
        if any(words in str(error).lower() for words in NO_MEMORY):
            raise RuntimeMemoryError(str(error)) from error
        raise RobauditError(f"ONNX Runtime refuses the input: {reason(error)}") from error


def _ask_narrow(session: Session, outputs: list[str] | None, feed: dict[str, NDArray[Any]]) -> list[Any]:
    """The same where values are bfloat16, which NumPy lacks: they come and go as the bits of float32's upper half."""
    kinds = {given.name: given.type for given in session.inputs}
    given = {name: _to_runtime(values, kinds[name]) for name, values in feed.items()}
    names = outputs or [output.name for output in session.outputs]
    return [_from_runtime(value) for value in session.runtime.run_with_ort_values(names, given)]


def _to_runtime(values: NDArray[Any], kind: str) -> onnxruntime.OrtValue:
    if kind != NARROW:
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values))
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    upper = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # to the nearest, ties to even
    upper = np.where(np.isnan(values), np.uint16(0x7FC0), upper)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(upper, onnx.TensorProto.BFLOAT16)


def _from_runtime(value: onnxruntime.OrtValue) -> Any:
    if value.data_type() != NARROW:
        return value.numpy() if value.is_tensor() else value
    shape = value.shape()
    bits = np.frombuffer(ctypes.string_at(value.data_ptr(), 2 * math.prod(shape)), dtype=np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32).reshape(shape)


def alone(call: Callable[[NDArray[Any], int], NDArray[Any]], values: NDArray[Any], width: int) -> NDArray[Any]:
    """Answers [N, ...] to inputs that are asked one at a time, each filling the ``width`` rows of its call."""
    rows = (values[i : i + 1] for i in range(len(values)))
    return np.concatenate([call(np.repeat(row, width, axis=0) if width > 1 else row, width)[:1] for row in rows])
