"""The one rule of what may be shown of text that came from a file, the data, a model or a runtime.

No control, direction or invisible character gets to a terminal or into a report; JSON escapes them, so that reading it
gives the same text. Only the standard library is needed here.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

__all__ = ["is_printable", "json_text", "plain", "printable", "without_sequences"]

UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of Unicode: controls, formats (direction, joiners), surrogates, private, unassigned, separators."""
SEQUENCES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"  # strings: titles, links, the clipboard
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, the cursor, erasing
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
"""What terminals act upon (ECMA-48, section 8.3 and 5.4)."""


def is_printable(text: str) -> bool:
    """Whether no character of it is replaced by :func:`printable`."""
    return not any(unicodedata.category(c) in UNSAFE for c in text)


def printable(text: str) -> str:
    """Text with each control, direction or invisible character replaced; blanks stay as they are."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in UNSAFE else c for c in text)


def plain(text: object, limit: int = 500) -> str:
    """Text on one line without control, direction or invisible characters, cut at ``limit``."""
    safe = printable(" ".join(str(text).split()))
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def without_sequences(text: str) -> str:
    """Text without whole control sequences, of which :func:`printable` would leave the visible part."""
    return SEQUENCES.sub("", text)


def json_text(content: Any) -> str:
    """JSON, indented by 2 and ended by a newline, in which every character that may not be shown is escaped.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(c if c == "\n" or unicodedata.category(c) not in UNSAFE else _escape(c) for c in text)


def _escape(letter: str) -> str:
    """As JSON does, in units of UTF-16."""
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
