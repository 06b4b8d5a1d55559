"""Rates and threat models in words."""

from __future__ import annotations

from robaudit.audit.result.document import Radius, Rate, Served, Threat, ThreatOutcome
from robaudit.plural import counted

__all__ = ["NORM_SIGNS", "ball", "ball_phrase", "percent", "served_phrase", "sets_phrase", "threat_phrase"]

NORM_SIGNS = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}


def percent(rate: Rate) -> str:
    """A rate in words: estimate, counts and interval."""
    if rate.estimate is None:
        return "unknown (no samples)"
    interval = f"{rate.confidence:.0%} interval {rate.low:.1%} to {rate.high:.1%}"
    return f"{rate.estimate:.1%} ({rate.k} of {rate.n}, {interval})"


def threat_phrase(threat: Threat) -> str:
    """The ball, such as ``L∞ ≤ 8/255``, or the union of several, and what may be changed."""
    return ball_phrase(threat) + sets_phrase(threat)


def ball_phrase(threat: Threat) -> str:
    """The ball alone, or the union of several."""
    balls = [ball(threat), *map(ball, threat.also)]
    return balls[0] if len(balls) == 1 else f"the union of {', '.join(balls[:-1])} and {balls[-1]}"


def sets_phrase(threat: Threat) -> str:
    """What may be changed beside the ball, such as ``, where only 10 of 100 features may change (mask m.png)``."""
    return "".join(f", where {one.words}" for one in threat.sets)


def ball(threat: Threat | Radius | ThreatOutcome) -> str:
    """One ball, such as ``L2 ≤ 0.5``."""
    features = " features" if threat.norm == "l0" else ""
    return f"{NORM_SIGNS[threat.norm]} ≤ {threat.eps_text}{features}"


def served_phrase(served: Served | None) -> str:
    """What an outsider gets, as further sentences of the threat model; empty where that is all."""
    if served is None:
        return ""
    told = [] if served.top is None else [f"of the {served.top} likeliest classes alone"]
    told += [] if served.decimals is None else [f"rounded to {counted(served.decimals, 'decimal')}"]
    told += [] if not served.noise else [f"with noise of standard deviation {served.noise:g}"]
    words = ""
    if told:
        words += f" Attacks by scores are told {served.numbers} {', '.join(told)}; the judge sees the file itself."
    if served.reject_below is not None:
        words += (
            f" The service rejects inputs whose top probability is below {served.reject_below:g}: they have no class, "
            "and are no success."
        )
    if served.duplicates == "free":
        words += " A query identical to an earlier one of its search is not charged."
    return words
