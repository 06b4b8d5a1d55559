"""Which files an ONNX model keeps weights in, and what they hold: cheap, without a runtime."""

from __future__ import annotations

import os
from pathlib import Path

from robaudit.errors import UsageError
from robaudit.files import open_regular, sha256_of, steady
from robaudit.target.files.confined import opened_within
from robaudit.target.files.sniff import PROTOBUF

WORD = b"location"
PART = 2**22
"""Bytes looked at together."""

__all__ = ["digests", "may_have_weights_elsewhere", "named_files"]


def may_have_weights_elsewhere(path: Path) -> bool:
    """Whether an ONNX model could name other files; a search for the word, nothing is parsed.

    False for a file that cannot be a model: it is too large, or cannot be read.
    """
    try:
        with open_regular(path, peek=True) as file:
            if file.read(2) == b"PK" or file.seek(0, os.SEEK_END) > PROTOBUF:  # a zip archive, or too large
                return False
            file.seek(0)
            tail = b""
            while part := file.read(PART):
                if WORD in tail + part:
                    return True
                tail = part[1 - len(WORD) :]
    except (OSError, UsageError):
        pass
    return False


def named_files(path: Path) -> list[str]:
    """Files that a model keeps weights in, as it names them; none where it is no ONNX model."""
    from robaudit.target.files.onnx.source import parse, tensors

    try:
        model = parse(path)
        return sorted(
            {
                e.value
                for t in tensors(path, model)
                for e in t.external_data
                if e.key == "location" and isinstance(e.value, str)
            }
        )
    except UsageError:
        return []


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of every file that a model keeps weights in, by the name in the model.

    Files that may not be read are left out: loading the model refuses them in words. Parses the file; for a process
    of its own.
    """
    found = {}
    for location in named_files(path):
        try:
            with opened_within(path, location) as file, steady(file, path.parent / location):
                found[location] = sha256_of(file)
        except (UsageError, OSError):
            continue
    return found
