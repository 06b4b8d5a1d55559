"""The result itself, as JSON."""

from __future__ import annotations

from robaudit.audit.result.document import Result

__all__ = ["SUFFIXES", "render"]

SUFFIXES = (".json",)


def render(result: Result) -> str:
    """The whole result."""
    return result.to_json()
