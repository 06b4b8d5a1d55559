"""The result itself, as JSON."""

from __future__ import annotations

from pathlib import Path

from robaudit.audit.result.document import Result
from robaudit.report.base import Format

__all__ = ["FORMAT", "render"]


def render(result: Result, run: Path | None = None) -> str:
    """The whole result."""
    return result.to_json()


FORMAT = Format(
    name="JSON",
    suffixes=(".json",),
    help="the whole result, from which every other format can be made again",
    render=render,
)
