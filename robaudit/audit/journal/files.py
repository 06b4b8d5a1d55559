"""The files of a journal."""

from __future__ import annotations

__all__ = ["JOURNAL", "POINTS"]

JOURNAL, POINTS = "journal.jsonl", "points.bin"
