"""Tells what kind of file a model is by its first bytes; cheap enough to refuse bad input before anything is loaded."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Literal

from robaudit.errors import UsageError
from robaudit.target.files.confined import open_regular
from robaudit.target.files.foreign import HEAD, of_content, of_folder
from robaudit.target.files.remote.endpoint import is_endpoint, read_endpoint

__all__ = ["PROTOBUF", "check_file", "model_format"]

PROTOBUF = 2**31 - 1
"""Bytes that one protobuf message, and so an ONNX file, can have."""


def model_format(path: Path) -> Literal["onnx", "torchscript", "exported", "endpoint"]:
    """The format that a file can have; ``onnx`` is only a guess until it is parsed.

    Raises:
        UsageError: there is no such file, or it cannot be a model that robaudit reads.
    """
    head, size = check_file(path)
    if not head:
        raise UsageError(f"{path} is empty; export the model again")
    if head.startswith(b"PK"):
        if _is_zip(path):
            return "exported" if _is_exported(path) else "torchscript"
        raise UsageError(f"{path} is a truncated zip archive; export the model again")
    if is_endpoint(path):
        read_endpoint(path)
        return "endpoint"
    if (words := of_content(head)) is not None:
        raise UsageError(f"{path} is {words}")
    if size > PROTOBUF:
        raise UsageError(
            f"{path} has {size / 2**30:.1f} GB, and an ONNX file holds 2 GB at most; export it with external data"
        )
    return "onnx"


def check_file(path: Path) -> tuple[bytes, int]:
    """The first bytes of a file, and its size.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    if path.is_dir():
        raise UsageError(f"{path} is {of_folder(path)}")
    try:
        with open_regular(path, peek=True) as file:
            return file.read(HEAD), file.seek(0, os.SEEK_END)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def _is_zip(path: Path) -> bool:
    try:
        with open_regular(path, peek=True) as file:
            return zipfile.is_zipfile(file)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
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
