"""Which of the scores decides, where the user says so."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from robaudit.errors import UsageError

__all__ = ["Rule", "parse_rule", "shortest"]


@dataclass(frozen=True)
class Rule:
    """How scores decide on a class.

    Args:
        kind: of one score a class the largest or the smallest wins; one number says the second of two classes where it
            is above, or below, the threshold.
        threshold: of the last two; in the file's own numbers.
    """

    kind: Literal["largest", "smallest", "above", "below"]
    threshold: float | None = None

    def __str__(self) -> str:
        return self.kind if self.threshold is None else f"{self.kind}:{shortest(self.threshold)}"


def shortest(number: float) -> str:
    """A number in the fewest digits that tell it from all others."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def parse_rule(text: str) -> Rule:
    """``largest``, ``smallest``, ``above:T`` or ``below:T``.

    Raises:
        UsageError: it is not one of these.
    """
    if text in ("largest", "smallest"):
        return Rule("largest" if text == "largest" else "smallest")
    found = re.fullmatch(r"(above|below):(.+)", text)
    try:
        threshold = math.nan if found is None else float(found[2])
    except ValueError:
        threshold = math.nan
    if found is None or not math.isfinite(threshold):
        raise UsageError(f"a decision is largest, smallest, above:NUMBER or below:NUMBER, not {text!r}")
    return Rule("above" if found[1] == "above" else "below", threshold)
