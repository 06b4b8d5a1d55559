"""The page of several audits of one model side by side."""

from __future__ import annotations

from markupsafe import Markup, escape

from robaudit.printable import printable
from robaudit.report.html.page import TEMPLATES, environment
from robaudit.report.several import SideBySide

__all__ = ["several_page"]


def several_page(page: SideBySide) -> str:
    """The whole page as HTML."""
    content = {
        "css": Markup((TEMPLATES / "style.css").read_text("utf-8")),
        "page": page,
        "found": page.found,
        "figures": range(1, len(page.heads) - 1),
        "command": escape(printable(page.found.command)),
    }
    return environment().get_template("several.html.j2").render(content).rstrip() + "\n"
