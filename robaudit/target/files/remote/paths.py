"""Paths into JSON: ``predictions[*].scores``."""

from __future__ import annotations

import re
from typing import Any

from robaudit.errors import AuditError

__all__ = ["follow", "parse_path"]

STEP = re.compile(r"\[(\*|\d+)\]|\.?([^.\[\]]+)")
Step = str | int | None
"""A key, a place in a list, or every place."""


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path; ``$`` alone is the answer itself.

    Raises:
        ValueError: it is no path.
    """
    rest = text.removeprefix("$")
    found: list[Step] = []
    place = 0
    while place < len(rest):
        match = STEP.match(rest, place)
        if match is None:
            raise ValueError(f"{text!r} is no path such as predictions[*].scores")
        inside, key = match.groups()
        found.append(key if inside is None else None if inside == "*" else int(inside))
        place = match.end()
    return tuple(found)


def follow(content: Any, text: str) -> Any:
    """What lies at a path; behind each ``[*]`` a list.

    Raises:
        AuditError: it leads nowhere.
    """
    return _follow(content, parse_path(text), text)


def _follow(content: Any, steps: tuple[Step, ...], text: str) -> Any:
    for place, step in enumerate(steps):
        if step is None:
            if not isinstance(content, list):
                raise AuditError(f"the answer has no list at [*] of the path {text}")
            return [_follow(item, steps[place + 1 :], text) for item in content]
        try:
            content = content[step]
        except (LookupError, TypeError):
            known = f"; there are {', '.join(map(str, list(content)[:8]))}" if isinstance(content, dict) else ""
            raise AuditError(f"the answer has no {step!r} on the path {text}{known}") from None
    return content
