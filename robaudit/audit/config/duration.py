"""Durations as people write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from robaudit.errors import UsageError

if TYPE_CHECKING:
    pass

__all__ = ["parse_duration"]

PART = re.compile(r"(\d+(?:\.\d+)?)\s*(h|min|m|s)?", re.IGNORECASE)


FACTORS = {"h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}


LONGEST = 10 * 365 * 86400.0


def parse_duration(text: str) -> float:
    """Seconds of ``90s``, ``10m``, ``1h30m`` or a plain number of seconds.

    Raises:
        UsageError: it is not one of these, or nothing.
    """
    seconds, rest = 0.0, text.strip()
    while rest:
        part = PART.match(rest)
        if part is None or (part[2] is None and (seconds > 0 or part.end() < len(rest))):
            raise UsageError(f"a time budget is written as 90s, 10m or 1h30m, not {text!r}")
        seconds += float(part[1]) * FACTORS[(part[2] or "s").lower()]
        rest = rest[part.end() :].lstrip()
    if not 0 < seconds <= LONGEST:
        raise UsageError(f"a time budget is above 0 and at most ten years, and not {text[:40]!r}")
    return seconds
