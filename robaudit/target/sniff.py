"""Tells what kind of file a model is by its first bytes; cheap enough to refuse bad input before anything is loaded."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from robaudit.errors import UsageError
from robaudit.target.confined import open_regular

__all__ = ["model_format"]

PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
FOREIGN = (
    (b"\x89HDF\r\n\x1a\n", 0, "an HDF5 (Keras) file"),
    (b"TFL3", 4, "a TensorFlow Lite file"),
    (b"GGUF", 0, "GGUF"),
)


def model_format(path: Path) -> Literal["onnx", "torchscript", "exported"]:
    """The format that a file can have; ``onnx`` is only a guess until it is parsed.

    Raises:
        UsageError: there is no such file, or it cannot be a model that robaudit reads.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give an ONNX or TorchScript file")
    try:
        with open_regular(path) as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    if not head:
        raise UsageError(f"{path} is empty; export the model again")
    if head.startswith(b"PK"):
        if _is_zip(path):
            return "exported" if _is_exported(path) else "torchscript"
        raise UsageError(f"{path} is a truncated zip archive; export the model again")
    if head.startswith(PICKLES):
        raise UsageError(
            f"{path} is a Python pickle, which can run any code and is never loaded; export the model to ONNX or "
            "TorchScript"
        )
    for magic, offset, name in FOREIGN:
        if head[offset:].startswith(magic):
            raise UsageError(f"{path} is {name}; export the model to ONNX or TorchScript")
    if head[8:9] == b"{" and head[5:8] == b"\0\0\0":
        raise UsageError(f"{path} is a safetensors file, which holds weights alone; export the model to ONNX")
    return "onnx"


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # of several disks, as it may pretend to be
        return False


def _is_exported(path: Path) -> bool:
    """Whether a zip archive is one of torch.export (.pt2)."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # damaged; loading says how
        return False
    return any(name.rpartition("/")[2] in ("archive_format", "serialized_exported_program.json") for name in names)
