"""Texts that other tools write beside a model, which are not trusted."""

from __future__ import annotations

from pathlib import Path

from robaudit.errors import UsageError
from robaudit.files import MIB, read_regular

__all__ = ["MOST", "read_beside"]

MOST = 16 * MIB
"""Bytes of such a file; names of many classes take a few."""


def read_beside(path: Path, most: int = MOST) -> str | None:
    """The text of a file beside a model; None where there is none, or it cannot be one: it says nothing then.

    Args:
        path: of it.
        most: bytes that it may have, no more than ``MOST``.
    """
    try:
        return read_regular(path, most).decode("utf-8-sig")
    except (OSError, ValueError, UsageError):
        return None
