"""One self-contained HTML page: no network, no script, to read, to print, and to attach to a review."""

from __future__ import annotations

from pathlib import Path

from robaudit.audit.result.document import Result
from robaudit.report.base import Format

__all__ = ["FORMAT", "render"]


def render(result: Result, run: Path | None = None) -> str:
    """The page.

    Args:
        result: to report.
        run: the folder that holds the result and its evidence; without it the page says that there are no pictures.
    """
    from robaudit.report.html.page import page

    return page(result, run)


FORMAT = Format(
    name="HTML",
    suffixes=(".html",),
    help="one page that loads nothing, with charts and pictures; prints well",
    render=render,
    evidence=True,
)
