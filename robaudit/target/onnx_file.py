"""An ONNX file: the ONNX Runtime session that judges, and the torch twin that is differentiated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.errors import RobauditError, UnsupportedOperatorError, UsageError
from robaudit.target.discover import FileInput
from robaudit.target.head import FileOutput
from robaudit.target.onnx import OnnxModule, import_onnx
from robaudit.target.onnx_source import OnnxSource, read_onnx

__all__ = ["OnnxFile", "open_onnx"]

NUMERIC = ("float16", "float32", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64")
SHAPE_ONLY = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Dropout")
NO_MEMORY = ("failed to allocate memory", "out of memory", "bad_alloc", "alloc_failed")
"""What ONNX Runtime says, in lower case, when the memory of the CPU or GPU runs out."""
LINEAR = ("Gemm", "MatMul", "Conv", "BatchNormalization")


class OnnxFile:
    """Runs an ONNX file.

    Args:
        source: the file, read and checked.
        device: that attacks run on; the judge uses CUDA only if that is the device and the provider works.

    Raises:
        UsageError: it has no input that can be attacked, or several.
    """

    format = "onnx"

    def __init__(self, source: OnnxSource, device: torch.device) -> None:
        self.path = source.path
        self.model = source.model
        self.device = device
        self.session = _session(source, device)
        self.input = self._only_input()
        self.outputs = [FileOutput(o.name, _shape(o.shape), _dtype(o.type)) for o in self.session.get_outputs()]
        self.metadata: dict[str, str] = {p.key: p.value for p in self.model.metadata_props}
        self.twin: OnnxModule | None = None
        self.no_gradient: str | None = None
        self._output = ""
        self._dtype = np.dtype(self.input.dtype)

    def _only_input(self) -> FileInput:
        """The one input that is data."""
        inputs = self.session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(f"{i.name} {i.shape}" for i in inputs)
            raise UsageError(f"{self.path} has {len(inputs)} inputs ({names}); only models with one can be audited yet")
        declared = inputs[0]
        shape, dtype = _shape(declared.shape), _dtype(declared.type)
        if shape is None or len(shape) < 2:
            raise UsageError(f"the input {declared.name!r} of {self.path} has no batch and feature dimensions")
        if dtype not in NUMERIC:
            raise UsageError(
                f"the input {declared.name!r} of {self.path} is of type {dtype}; robaudit perturbs numbers only"
            )
        return FileInput(declared.name, shape, dtype, _image_type(self.model, declared.name))

    def facts(self) -> dict[str, Any]:
        """What ``inspect`` shows."""
        operators = Counter(node.op_type for node in self.model.graph.node)
        return {
            "opset": ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in self.model.opset_import),
            "producer": f"{self.model.producer_name} {self.model.producer_version}".strip(),
            "operators": dict(operators.most_common()),
            "judge": f"ONNX Runtime {onnxruntime.__version__}, {self.session.get_providers()[0]}",
            "outputs": [
                f"{o.name} {'x'.join('N' if d is None else str(d) for d in o.shape or ())}" for o in self.outputs
            ],
        }

    @property
    def unbounded(self) -> bool:
        """Whether the operator that makes the chosen output can give any number, so that they are logits."""
        makers = {name: node for node in self.model.graph.node for name in node.output}
        weights = {tensor.name for tensor in self.model.graph.initializer}
        name = self._output
        while (node := makers.get(name)) is not None:
            biased = node.op_type == "Add" and len(weights.intersection(node.input)) == 1
            if node.op_type not in SHAPE_ONLY and not biased:
                return node.op_type in LINEAR
            name = next(i for i in node.input if i not in weights)
        return False

    def import_twin(self, output: str) -> None:
        """Choose the output and build the twin; a graph that cannot be translated leaves black box alone."""
        self._output = output
        try:
            twin = import_onnx(self.model, output)
            if any(b.dtype in (torch.float16, torch.bfloat16) for b in twin.buffers()):
                twin = twin.float_twin()
            self.twin = twin.to(self.device)
        except UnsupportedOperatorError as error:
            self.no_gradient = f"unavailable: {error.operator}"
        except Exception as error:  # an odd graph may break the importer anywhere; the file still answers
            self.no_gradient = f"unavailable: {' '.join(str(error).split())[:200] or type(error).__name__}"

    def run(self, x: Tensor, *, width: int | None = None) -> Tensor:
        """The output at file precision, without gradient.

        Args:
            x: [N, *file_shape] in the file's units.
            width: rows of one call, each of which holds one input repeated; None: all inputs in one call.

        Returns:
            [N, ...], half precision widened to float32.

        Raises:
            RobauditError: the runtime refuses the input, or does not return one row an input.
            OutOfMemoryError: the runtime says that its memory ran out.
        """
        values = self._values(x)
        if width is None:
            result = self._call(values, len(values))
        else:
            rows = (values[i : i + 1] for i in range(len(values)))
            if width > 1:
                rows = (np.repeat(row, width, axis=0) for row in rows)
            result = np.concatenate([self._call(row, width)[:1] for row in rows])
        if result.dtype == np.float16:
            result = result.astype(np.float32)
        return torch.from_numpy(result).to(self.device)

    def _values(self, x: Tensor) -> NDArray[Any]:
        """As the file's type; whole numbers are rounded and kept in their type's range."""
        values: NDArray[Any] = x.detach().cpu().numpy()
        if self._dtype.kind in "iu":
            limits = np.iinfo(self._dtype)
            values = np.clip(np.rint(np.nan_to_num(values)), limits.min, limits.max)
        return np.ascontiguousarray(values, dtype=self._dtype)

    def _call(self, values: NDArray[Any], rows: int) -> NDArray[Any]:
        try:
            result = np.asarray(self.session.run([self._output], {self.input.name: values})[0])
        except Exception as error:  # the runtime raises its own types
            if any(words in str(error).lower() for words in NO_MEMORY):
                raise torch.OutOfMemoryError(str(error)) from error
            raise RobauditError(f"ONNX Runtime refuses the input: {' '.join(str(error).split())[:300]}") from error
        if result.ndim < 2 or len(result) != rows:
            shape = "x".join(map(str, result.shape))
            raise RobauditError(f"the output {self._output} of {rows} inputs has shape {shape}, not one row an input")
        return result

    def differentiable(self, x: Tensor) -> Tensor:
        """The twin's output for a batch in the file's layout and units; where the file rounds, so does the twin.

        The gradient goes through the rounding as if it were not there.
        """
        assert self.twin is not None
        if self._dtype.kind in "iu":
            x = x + (x.round() - x).detach()
        result = self.twin(x)
        assert isinstance(result, Tensor)
        return result


def open_onnx(path: Path, device: torch.device) -> OnnxFile:
    """Parse and load an ONNX file.

    Raises:
        UsageError: it is no valid ONNX model, or its external data is missing or outside of its folder.
    """
    source = read_onnx(path)
    try:
        return OnnxFile(source, device)
    except UsageError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"ONNX Runtime cannot load {path}: {reason}") from error


def _session(source: OnnxSource, device: torch.device) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()  # OMP_NUM_THREADS governs both runtimes
    onnxruntime.set_default_logger_severity(4)
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0, "use_tf32": 0}))
    return source.session(options, providers)


def _shape(shape: list[Any] | None) -> tuple[int | None, ...] | None:
    return None if shape is None else tuple(d if isinstance(d, int) and d > 0 else None for d in shape)


def _dtype(text: str) -> str:
    """NumPy name of a type such as ``tensor(float)``."""
    inner = text.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64", "bfloat16": "bfloat16"}.get(inner, inner)


def _image_type(model: onnx.ModelProto, name: str) -> dict[str, Any]:
    """What is known where the input is typed as an image (ONNX IR: type denotation, standard metadata)."""
    found: dict[str, Any] = {}
    declared = next(entry for entry in model.graph.input if entry.name == name)
    if declared.type.denotation == "IMAGE":
        names = [d.denotation for d in declared.type.tensor_type.shape.dim]
        if "DATA_CHANNEL" in names:
            found["layout"] = "nchw" if names.index("DATA_CHANNEL") == 1 else "nhwc"
    metadata = {p.key: p.value for p in model.metadata_props}
    if metadata.get("Image.BitmapPixelFormat") in ("Rgb8", "Bgr8"):
        found["channels"] = metadata["Image.BitmapPixelFormat"][:3].lower()
    ranges = {"NominalRange_0_255": (255.0, 0.0), "Normalized_0_1": (1.0, 0.0), "Normalized_1_1": (2.0, 1.0)}
    if metadata.get("Image.NominalPixelRange") in ranges:
        scale, mean = ranges[metadata["Image.NominalPixelRange"]]
        found |= {"scale": scale, "mean": (mean,) if mean else (), "std": ()}
    return found
