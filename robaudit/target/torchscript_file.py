"""A TorchScript archive: it is both the judge and what is differentiated."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robaudit.errors import RobauditError, UsageError
from robaudit.target.head import FileOutput

__all__ = ["TorchScriptFile", "open_torchscript"]

ALLOWED = {"torch", "ops", "prim", "aten", "quantized", "torchvision", "annotate", "CONSTANTS", "self"}
FORBIDDEN = ("from_file", "__setstate__", "torch.save", "torch.load", "ops.prims", "open(")
OPERATOR = re.compile(r"\bops\.([A-Za-z_][\w]*)\.")


class TorchScriptFile:
    """Runs a TorchScript module.

    Args:
        path: of the archive.
        module: loaded, in evaluation mode.
        device: that it runs on.
    """

    format = "torchscript"

    def __init__(self, path: Path, module: torch.jit.ScriptModule, device: torch.device) -> None:
        self.path = path
        self.module = module
        self.device = device
        self.metadata: dict[str, str] = {}
        self.no_gradient: str | None = None
        parameters = [p.dtype for p in module.parameters() if p.dtype.is_floating_point]
        self.dtype = parameters[0] if parameters else torch.float32

    def probe(self, x: Tensor) -> FileOutput:
        """Try an input and describe the output.

        Raises:
            UsageError: the module refuses it, or returns no tensor.
        """
        try:
            with torch.no_grad():
                result = self.module(x.to(self.device, self.dtype))
        except Exception as error:
            reason = str(error).strip().splitlines()[-1][:300]
            raise UsageError(
                f"{self.path} does not take an input of shape {tuple(x.shape[1:])}: {reason}; give the right size with "
                "--resize or --data"
            ) from error
        if not isinstance(result, Tensor):
            raise UsageError(f"{self.path} returns {type(result).__name__}, not one tensor of class scores")
        return FileOutput("output", (None, *result.shape[1:]), str(result.dtype).removeprefix("torch."))

    def facts(self) -> dict[str, Any]:
        """What ``inspect`` shows."""
        kinds: dict[str, int] = {}
        for node in self.module.inlined_graph.nodes():
            kinds[node.kind()] = kinds.get(node.kind(), 0) + 1
        return {"operators": kinds, "judge": f"torch {torch.__version__}, {self.device}"}

    def run(self, x: Tensor) -> Tensor:
        """The output for a batch in the file's layout, at file precision."""
        with torch.no_grad():
            return self._call(x)

    def differentiable(self, x: Tensor) -> Tensor:
        """The same with a gradient."""
        return self._call(x)

    def _call(self, x: Tensor) -> Tensor:
        try:
            result: Tensor = self.module(x.to(self.dtype))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise RobauditError(f"the TorchScript module fails on the input: {lines[-1][:300]}") from error
        return result.float() if result.dtype in (torch.float16, torch.bfloat16) else result


def open_torchscript(path: Path, device: torch.device, *, trust: bool) -> TorchScriptFile:
    """Load a TorchScript archive whose code has been scanned.

    Raises:
        UsageError: it is no TorchScript archive, or its code is not known to be harmless and not trusted.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        code = [n for n in names if "/code/" in n and n.endswith(".py")]
        if not code:
            if any(n.endswith("data.pkl") for n in names):
                raise UsageError(
                    f"{path} is a pickled state_dict or module, not TorchScript; export the model with "
                    "torch.jit.script or torch.jit.trace and save it with torch.jit.save, or export it to ONNX"
                )
            if any(n.endswith(("models/model.json", "archive_format")) for n in names):
                raise UsageError(
                    f"{path} is a torch.export archive (.pt2), which can run commands at load; export to ONNX"
                )
            raise UsageError(f"{path} is a zip archive but no TorchScript; export it with torch.jit.save")
        if not trust:
            for name in code:
                _scan(path, archive.read(name).decode("utf-8", "replace"))
    try:
        module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except Exception as error:
        reason = str(error).strip().splitlines()[-1][:300]
        raise UsageError(f"{path} cannot be loaded as TorchScript: {reason}") from error
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return TorchScriptFile(path, module, device)


def _scan(path: Path, text: str) -> None:
    """Refuse code that can touch files at load, or call operators of unknown libraries."""
    for word in FORBIDDEN:
        if word in text:
            raise UsageError(
                f"{path} holds code that uses {word.rstrip('(')}, which can read or change files when it is loaded; "
                "give --trust-model if you trust its author"
            )
    for namespace in OPERATOR.findall(text):
        if namespace not in ALLOWED:
            raise UsageError(
                f"{path} calls operators of {namespace!r}, which robaudit does not know; give --trust-model if you "
                "trust its author"
            )
