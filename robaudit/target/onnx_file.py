"""An ONNX file: the ONNX Runtime session that judges, and the torch twin that is differentiated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from torch import Tensor

from robaudit.errors import RobauditError, UnsupportedOperatorError, UsageError
from robaudit.target.discover import FileInput
from robaudit.target.head import FileOutput
from robaudit.target.onnx import OnnxModule, import_onnx

__all__ = ["OnnxFile", "open_onnx"]


class OnnxFile:
    """Runs an ONNX file.

    Args:
        path: of the file.
        model: parsed, with its external data.
        device: that attacks run on; the judge uses CUDA only if that is the device and the provider works.
    """

    format = "onnx"

    def __init__(self, path: Path, model: onnx.ModelProto, device: torch.device) -> None:
        self.path = path
        self.model = model
        self.device = device
        self.session = _session(path, device)
        self.outputs = [FileOutput(o.name, _shape(o.shape), _dtype(o.type)) for o in self.session.get_outputs()]
        self.metadata: dict[str, str] = {p.key: p.value for p in model.metadata_props}
        self.twin: OnnxModule | None = None
        self.no_gradient: str | None = None
        self._output = ""

    @property
    def input(self) -> FileInput:
        """The one input that is data.

        Raises:
            UsageError: there are several, or none.
        """
        inputs = self.session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(f"{i.name} {i.shape}" for i in inputs)
            raise UsageError(f"{self.path} has {len(inputs)} inputs ({names}); only models with one can be audited yet")
        declared = inputs[0]
        shape = _shape(declared.shape)
        if shape is None or len(shape) < 2:
            raise UsageError(f"the input {declared.name!r} of {self.path} has no batch and feature dimensions")
        return FileInput(declared.name, shape, _dtype(declared.type), _image_type(self.model))

    def facts(self) -> dict[str, Any]:
        """What ``inspect`` shows."""
        operators = Counter(node.op_type for node in self.model.graph.node)
        return {
            "opset": ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in self.model.opset_import),
            "producer": f"{self.model.producer_name} {self.model.producer_version}".strip(),
            "operators": dict(operators.most_common()),
            "judge": f"ONNX Runtime {onnxruntime.__version__}, {self.session.get_providers()[0]}",
        }

    def import_twin(self, output: str) -> None:
        """Build the twin; an operator without a translation leaves black box alone."""
        self._output = output
        try:
            twin = import_onnx(self.model, output)
            if any(b.dtype in (torch.float16, torch.bfloat16) for b in twin.buffers()):
                twin = twin.float_twin()
            self.twin = twin.to(self.device)
        except UnsupportedOperatorError as error:
            self.no_gradient = f"unavailable: {error.operator}"
        except RobauditError as error:
            self.no_gradient = f"unavailable: {error}"

    def run(self, x: Tensor) -> Tensor:
        """The output for a batch in the file's layout, at file precision."""
        declared = self.session.get_inputs()[0]
        dtype = np.dtype(_dtype(declared.type))
        values = x.detach().cpu().numpy()
        values = np.rint(values).astype(dtype) if dtype.kind in "iu" else values.astype(dtype)
        try:
            (result,) = self.session.run([self._output], {declared.name: np.ascontiguousarray(values)})
        except Exception as error:  # the runtime raises its own types
            raise RobauditError(f"ONNX Runtime refuses the input: {' '.join(str(error).split())[:300]}") from error
        if result.dtype == np.float16:
            result = result.astype(np.float32)
        return torch.from_numpy(np.asarray(result)).to(self.device)

    def differentiable(self, x: Tensor) -> Tensor:
        """The twin's output for a batch in the file's layout."""
        assert self.twin is not None
        result = self.twin(x)
        assert isinstance(result, Tensor)
        return result


def open_onnx(path: Path, device: torch.device) -> OnnxFile:
    """Parse and load an ONNX file.

    Raises:
        UsageError: it is no valid ONNX model, or its external data is missing or outside of its folder.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{path} is no ONNX model, or is truncated; export it again") from error
    if not model.graph.node or not model.graph.output:
        raise UsageError(f"{path} is no ONNX model, or holds no graph; export it again")
    _load_external(path, model)
    try:
        return OnnxFile(path, model, device)
    except UsageError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"ONNX Runtime cannot load {path}: {reason}") from error


def _load_external(path: Path, model: onnx.ModelProto) -> None:
    folder = path.parent.resolve()
    for tensor in onnx.external_data_helper._get_all_tensors(model):
        if not onnx.external_data_helper.uses_external_data(tensor):
            continue
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        file = (folder / location).resolve()
        if Path(location).is_absolute() or not file.is_relative_to(folder):
            raise UsageError(f"{path} wants weights from {location!r}, outside of its folder; refused")
        if not file.is_file():
            raise UsageError(f"{path} needs its external data {location!r} beside it, which is missing")
    try:
        onnx.load_external_data_for_model(model, str(folder))
    except Exception as error:
        raise UsageError(f"the external data of {path} cannot be read: {' '.join(str(error).split())}") from error


def _session(path: Path, device: torch.device) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()  # OMP_NUM_THREADS governs both runtimes
    onnxruntime.set_default_logger_severity(4)
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


def _shape(shape: list[Any] | None) -> tuple[int | None, ...] | None:
    return None if shape is None else tuple(d if isinstance(d, int) and d > 0 else None for d in shape)


def _dtype(text: str) -> str:
    """NumPy name of a type such as ``tensor(float)``."""
    inner = text.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64", "bfloat16": "bfloat16"}.get(inner, inner)


def _image_type(model: onnx.ModelProto) -> dict[str, Any]:
    """Layout and channel order where the input is typed as an image (ONNX IR, type denotation and metadata)."""
    found: dict[str, Any] = {}
    if model.graph.input and model.graph.input[0].type.denotation == "IMAGE":
        names = [d.denotation for d in model.graph.input[0].type.tensor_type.shape.dim]
        if "DATA_CHANNEL" in names:
            found["layout"] = "nchw" if names.index("DATA_CHANNEL") == 1 else "nhwc"
    metadata = {p.key: p.value for p in model.metadata_props}
    if metadata.get("Image.BitmapPixelFormat") in ("Rgb8", "Bgr8"):
        found["channels"] = metadata["Image.BitmapPixelFormat"][:3].lower()
    ranges = {"NominalRange_0_255": (255.0,), "Normalized_0_1": (1.0,)}
    if metadata.get("Image.NominalPixelRange") in ranges:
        found["scale"] = ranges[metadata["Image.NominalPixelRange"]][0]
    return found
