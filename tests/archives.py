"""TorchScript archives that were packed again, some so that two readers find two things in them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

NET = "__torch__.model_files.Net"
HOSTILE = f"""  def __setstate__(self: {NET},
    state: Dict[str, Any]) -> NoneType:
    ops.aten.save([1, 2], "OUT")
    return None
  def __getstate__(self: {NET}) -> Dict[str, Any]:
    return annotate(Dict[str, Any], {{}})
"""
"""Runs when the archive is loaded."""


def rezipped(source: Path, change: Callable[[str, bytes], bytes] = lambda _, content: content, **how: int) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(made, "w", **how) as new:
        for info in old.infolist():
            new.writestr(info.filename, change(info.filename, old.read(info)))
    return made.getvalue()


def end(content: bytes) -> tuple[int, int, int]:
    """(entries, size, start) of the table of contents, as the end record states them."""
    return struct.unpack("<HLL", content[-12:-2])


def moved(table: bytes, by: int) -> bytes:
    """A table of contents whose entries lie elsewhere."""
    made, place = bytearray(table), 0
    while place < len(made):
        name, extra, comment = struct.unpack_from("<3H", made, place + 28)
        header = struct.unpack_from("<L", made, place + 42)[0]
        struct.pack_into("<L", made, place + 42, header + by)
        place += 46 + name + extra + comment
    return bytes(made)


def two_tables(source: Path, out: Path) -> bytes:
    """PyTorch reads the table that the end record points at; Python the one just before the end record.

    Args:
        source: of ``model_files.Net``.
        out: written when PyTorch loads what is made.
    """
    shown = rezipped(source)
    hostile = HOSTILE.replace("OUT", str(out)).encode()
    loaded = rezipped(source, lambda name, text: text + hostile if name.endswith("model_files.py") else text)
    count, size, start = end(loaded)
    _, _, shown_start = end(shown)
    entries, table = loaded[:start], loaded[start : start + size]
    # Python takes the offset between the stated and the found table for bytes put before the archive
    before = size + shown_start
    other = moved(shown[shown_start : shown_start + size], start + size - before)
    made = entries + table + shown[:shown_start] + other
    return made + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, start, 0)
