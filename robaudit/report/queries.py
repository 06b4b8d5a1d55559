"""What attacks by queries asked, in sentences: how many, and what a monitor of the service would have seen."""

from __future__ import annotations

from robaudit.audit.result.document import Attack, Queried, Result
from robaudit.report.words import count, duration, number, plain

__all__ = ["TITLE", "query_lines", "time_words"]

TITLE = "Queries of all samples that each attack was tried on, whether they fell or not"


def query_lines(result: Result) -> list[str]:
    """A line an attack that asked queries."""
    return [f"{plain(attack.id, 40)}: {_words(result, attack)}" for attack in result.attacks if attack.queried]


def _words(result: Result, attack: Attack) -> str:
    found = attack.queried
    assert found is not None
    words = [f"median {_short(found.median)}, mean {_short(found.mean)} a sample"]
    words += [f"{_share(found.bad, attack.queries)} bad (no success)"]
    if found.repeated:
        words.append(f"{count(found.repeated)} repeated")
    if found.watched:
        words.append(detector_words(found))
    if (taken := time_words(result, attack)) is not None:
        words.append(taken)
    return "; ".join(words)


def detector_words(found: Queried) -> str:
    """What a stateful detector flagged."""
    words = f"a detector of similar queries flags {_share(found.flagged, found.watched)} of the first ones"
    if found.median_first_flagged is None:
        return words
    return f"{words}, from the query {_short(found.median_first_flagged)} on (median), up to {found.burst} in a row"


def time_words(result: Result, attack: Attack) -> str | None:
    """How long successes would have taken an attacker at the rate of the service; None where that is not said."""
    served, found = result.threat_model.served, attack.queried
    if served is None or served.per_second is None or found is None or found.median_to_success is None:
        return None
    median, most = (duration(n / served.per_second) for n in (found.median_to_success, found.most_to_success or 0))
    return f"at {plain(served.rate or '', 20)} the median success takes {median}, the slowest {most}"


def _short(value: float) -> str:
    return count(round(value)) if value >= 100 or value == int(value) else number(value)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"
