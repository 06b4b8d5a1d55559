"""The page of a comparison of defenses."""

from __future__ import annotations

from markupsafe import Markup, escape

from robaudit.audit.defenses.document import DefenseComparison
from robaudit.printable import printable
from robaudit.report.defenses import HEADS, comparison_facts, comparison_notes, comparison_rows
from robaudit.report.html.page import TEMPLATES, environment

__all__ = ["defenses_page"]


def defenses_page(found: DefenseComparison) -> str:
    """The whole page as HTML."""
    content = {
        "css": Markup((TEMPLATES / "style.css").read_text("utf-8")),
        "found": found,
        "facts": comparison_facts(found),
        "heads": HEADS,
        "rows": comparison_rows(found),
        "notes": comparison_notes(found),
        "command": escape(printable(found.command)),
    }
    return environment().get_template("defenses.html.j2").render(content).rstrip() + "\n"
