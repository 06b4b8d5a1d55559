"""Opens an ONNX file."""

from __future__ import annotations

from pathlib import Path

import torch

from robaudit.errors import RobauditError, UsageError
from robaudit.target.files.onnx.file import OnnxFile
from robaudit.target.files.onnx.runtime import unsupported
from robaudit.target.files.onnx.source import read_onnx

__all__ = ["open_onnx"]


def open_onnx(path: Path, device: torch.device, custom_ops: tuple[Path, ...] = ()) -> OnnxFile:
    """Parse and load an ONNX file.

    Raises:
        UsageError: it is no valid ONNX model, or its external data is missing or outside of its folder.
    """
    source = read_onnx(path)
    try:
        return OnnxFile(source, device, custom_ops)
    except RobauditError:
        raise
    except Exception as error:
        raise UsageError(f"ONNX Runtime cannot load {path}: {unsupported(source.model, error)}") from error
