"""What a random model's draws say: whether it is mostly fooled at a point, and who survives further tries.

A random model answers an input anew each time, so that one answer proves nothing. A point is judged on :data:`DRAWS`
answers of its own, which no search has seen, by exact binomial bounds (:mod:`robaudit.stats.rates`).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import comb

from robaudit.stats.rates import CONFIDENCE, lower_bound, upper_bound

__all__ = [
    "CHECKED",
    "DRAWS",
    "FIRST",
    "JUDGED",
    "TRIES",
    "WITHOUT",
    "few",
    "hardly",
    "mean_survival",
    "mostly",
    "survival",
]

DRAWS = 50
"""Answers to a point that judge it."""
WITHOUT, JUDGED, CHECKED = (range(first, first + DRAWS) for first in (1, 101, 201))
"""Numbers of the draws that answer a sample as it is, that judge a candidate, and that check what was judged."""
FIRST = 10
"""Of those that judge, so many are asked first; see :func:`few`."""
TRIES = (1, 10, 100)
"""How often attackers show the same point, of whom a report tells."""


def mostly(k: int, m: int) -> bool:
    """Whether more than half of all draws fool for sure, as k of m did: one-sided 95 % bound above 1/2."""
    return m > 0 and lower_bound(k, m) > 0.5


def hardly(k: int, m: int, among: int = 1) -> bool:
    """Whether less than half of all draws fool for sure, as k of m did: one-sided 95 % bound below 1/2.

    ``among``: of so many that are looked at, none is to be called so by chance; the error is shared out evenly.
    """
    return m > 0 and upper_bound(k, m, 1 - (1 - CONFIDENCE) / max(1, among)) < 0.5


def few(k: int) -> bool:
    """Whether so few of the :data:`FIRST` draws fool that the others are not asked: fewer than 4.

    Where the rule of :func:`mostly` would hold, at 0.64 and more, that happens in 3 % of the cases.
    """
    return k < 4


def survival(k: int, m: int, tries: int) -> float:
    """Chance that so many draws all answer rightly, of which k of m were wrong.

    Up to m tries without bias: the share of all choices of so many of the m draws that hold none of the k (the
    hypergeometric probability of 0). Beyond, (1 - k / m) to the power of the tries, which is too high on average.
    """
    if not 0 <= k <= m or m < 1 or tries < 1:
        raise ValueError(f"{k} of {m} draws and {tries} tries tell of no chance")
    if tries <= m:
        return comb(m - k, tries) / comb(m, tries)
    return float((1 - k / m) ** tries)


def mean_survival(draws: Iterable[tuple[int, int]], lost: int, tries: int) -> float:
    """Mean chance to survive so many tries over samples with (wrong draws, draws), and ``lost`` others that cannot.

    Raises:
        ValueError: there is no sample.
    """
    chances = [survival(k, m, tries) for k, m in draws]
    return sum(chances) / (len(chances) + lost) if chances or lost else _none()


def _none() -> float:
    raise ValueError("there is no sample to survive")
