"""Texts that a PyTorch archive carries beside its code (``_extra_files``): class names, preprocessing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import IO

from robaudit.documents import parse_json

__all__ = ["extra_files"]

MOST = 2**20
"""Bytes of a text that is read."""
FEW = 32
"""Texts that are read."""


def extra_files(file: Path | IO[bytes]) -> dict[str, str]:
    """What an archive says of itself, by key: the keys of a JSON table, such as Ultralytics' ``config.txt``; else a
    text by its name without suffix. Empty where there is nothing, or it cannot be read.
    """
    found: dict[str, str] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if _is_extra(entry)]
            for entry in entries[:FEW]:
                text = archive.read(entry).decode("utf-8-sig")
                name = entry.filename.rpartition("/")[2]
                found |= _table(text) if text.lstrip().startswith("{") and _table(text) else {_stem(name): text}
    except Exception:  # damaged archives break zipfile in many ways; loading says how
        return found
    return found


def _is_extra(entry: zipfile.ZipInfo) -> bool:
    parts = entry.filename.split("/")
    return "extra" in parts[:-1] and 0 < entry.file_size <= MOST


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0] if name.lower().endswith((".txt", ".json")) else name


def _table(text: str) -> dict[str, str]:
    try:
        content = parse_json(text)
    except ValueError:
        return {}
    if not isinstance(content, dict) or all(key.isdecimal() for key in content):
        return {}  # a table from number to name is one text
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in content.items()}
