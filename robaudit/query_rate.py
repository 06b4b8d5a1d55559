"""How fast a service answers, as people write it: ``60/min``."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator

from robaudit.errors import UsageError

__all__ = ["QueryRate", "parse_query_rate"]

TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(s|sec|second|min|minute|h|hour|d|day)\s*")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_query_rate(text: str) -> float:
    """Queries in a second of ``2/s``, ``60/min``, ``1000/h`` or ``5000/day``.

    Raises:
        UsageError: it is not one of these, or nothing.
    """
    found = TEXT.fullmatch(text)
    count = 0.0 if found is None else float(found[1])
    if found is None or not 0 < count < math.inf:
        raise UsageError(f"a rate of queries is written as 2/s, 60/min, 1000/h or 5000/day, not {text[:40]!r}")
    return count / SECONDS[found[2][0]]


def _checked(text: str) -> str:
    try:
        parse_query_rate(text)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return text


QueryRate = Annotated[str, AfterValidator(_checked)]
"""A rate of queries, as it was written."""
