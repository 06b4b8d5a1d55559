"""Draws the README's picture of a report, from the run of a demo.

    robaudit demo && python docs/report_picture.py robaudit-demo/.robaudit/fashion_robust/result.json

The report is what the terminal shows, without the parts on the input and the environment, so that it fits beside text.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from robaudit.audit.stored.file import load_result
from robaudit.report.terminal import render_text

__all__ = ["picture"]

WIDTH = 88
FILE = Path(__file__).parent / "images" / "report.svg"
FIRST, LAST = "Threat", "What this does not say"
"""The part that is drawn begins with the one line, and ends before the other."""


def picture(path: Path) -> str:
    """The picture as SVG, which loads nothing.

    Args:
        path: of the result.
    """
    text = render_text(load_result(path), width=WIDTH, color=True)
    lines = Text.from_ansi(text).split("\n")
    begin = next(place for place, line in enumerate(lines) if line.plain.startswith(FIRST))
    end = next(place for place, line in enumerate(lines) if line.plain == LAST)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), legacy_windows=False)
    for line in (lines[0], Text(), *lines[begin:end]):
        console.print(line, soft_wrap=False)
    svg = console.export_svg(title="robaudit", theme=MONOKAI, unique_id="report")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(picture(Path(sys.argv[1])), "utf-8")
