"""The metrics that a gate may look at: their names, and what they mean. docs/gates.md says the same for users."""

from __future__ import annotations

import re
from dataclasses import dataclass

from robaudit.attacks.names import canonical
from robaudit.audit.result.document import NORMS
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = [
    "FAMILIES",
    "OF_COMPARISON",
    "OF_NORM",
    "Family",
    "Metric",
    "is_sequential",
    "parse_metric",
]

OF_COMPARISON = ("regression", "clean_regression", "newly_broken")
"""Metrics of the comparison with a baseline."""
OF_NORM = ("robust_accuracy", "stability")
"""Metrics of the worst case, which may name a norm and a radius."""


@dataclass(frozen=True)
class Family:
    """Metrics of one kind.

    Args:
        pattern: how they are written; what is in capitals is the user's to fill in.
        unit: share (between 0 and 1), distance, count, or verdict (it passes or fails by itself).
        interval: how its one-sided bounds are found; none: the value itself decides.
        words: what it is.
    """

    pattern: str
    unit: str
    interval: str
    words: str


BINOMIAL = "binomial"
"""Clopper and Pearson's bounds of a share."""
ORDER = "order statistics"
"""Binomial bounds of a median."""

FAMILIES = (
    Family("robust_accuracy", "share", BINOMIAL, "samples that stand against all attacks, of all drawn; needs labels"),
    Family("robust_accuracy.NORM", "share", BINOMIAL, "the same of one norm, where the audit is of several"),
    Family("robust_accuracy@EPS", "share", BINOMIAL, "the same at another radius, from the curve (`--curve`)"),
    Family("robust_accuracy.NORM@EPS", "share", BINOMIAL, "the same of one of several norms"),
    Family("stability", "share", BINOMIAL, "samples whose answer stands, of all drawn, where there are no labels"),
    Family("stability.NORM", "share", BINOMIAL, "the same of one norm, where the audit is of several"),
    Family("stability@EPS", "share", BINOMIAL, "the same at another radius, from the curve"),
    Family("stability.NORM@EPS", "share", BINOMIAL, "the same of one of several norms"),
    Family("certified_accuracy", "share", BINOMIAL, "samples proved to stand, of all drawn: a lower bound"),
    Family("certified_accuracy.NORM", "share", BINOMIAL, "the same of one norm, where the audit is of several"),
    Family("clean_accuracy", "share", BINOMIAL, "samples classified correctly without an attack"),
    Family(
        "class.NAME.robust_accuracy", "share", BINOMIAL, "robust accuracy of the samples of a class, by name or place"
    ),
    Family("class.NAME.stability", "share", BINOMIAL, "stability of the samples that the model puts into a class"),
    Family("class.NAME.clean_accuracy", "share", BINOMIAL, "samples of a class that are classified correctly"),
    Family(
        "attack.ID.robust_accuracy", "share", BINOMIAL, "what stands against this attack alone; it must have seen all"
    ),
    Family("attack.ID.rate_alone", "share", BINOMIAL, "the same, with labels or without"),
    Family("attack.ID.cumulative_robust_accuracy", "share", BINOMIAL, "what stands after it and those before it"),
    Family("attack.ID.success_rate", "share", BINOMIAL, "samples that it broke, of those that it was tried on"),
    Family("attack.ID.median_distance", "distance", ORDER, "median distance over the samples that it broke"),
    Family("attack.ID.mean_queries", "count", "none", "queries that it spent on a sample, in the mean"),
    Family("median_distance", "distance", ORDER, "median over the samples answered correctly of the smallest distance"),
    Family("median_distance.NORM", "distance", ORDER, "the same of one of several norms"),
    Family("curve_area", "share", "bounded mean", "mean accuracy over all radii from 0 to the threat model's"),
    Family("curve_area.NORM", "share", "bounded mean", "the same of one of several norms"),
    Family("median_queries", "count", ORDER, "median of the queries spent on a sample, by all attacks"),
    Family("pairs_reached", "share", "none", "pairs of sample and class that were reached (goal `every`)"),
    Family("coverage", "share", "none", "attacks that ran to their end, of those that apply"),
    Family("validity", "verdict", "none", "no check of the audit failed"),
    Family("check.ID", "verdict", "none", "this check ran and did not fail"),
    Family("regression", "share", "paired", "loss of robust accuracy (or stability) against the baseline"),
    Family("clean_regression", "share", "paired", "loss of clean accuracy against the baseline"),
    Family("newly_broken", "count", "none", "samples that stood in the baseline and do not stand now"),
)
"""All of them; `attacks.` and `checks.` are taken for `attack.` and `check.` too."""

BY_PATTERN = {family.pattern: family for family in FAMILIES}
CHECK = re.compile(r"[a-z][a-z0-9_-]*")
"""The id of a check, which another package may bring."""
PLACEHOLDERS = ("NAME", "ID")
IN_NORMS = "|".join((*OF_NORM, "certified_accuracy", "median_distance", "curve_area"))
WORST = re.compile(rf"({IN_NORMS})(?:\.([^@]*))?(?:@(.*))?", re.DOTALL)
FIELDS = {
    head: tuple(p.split(".")[2] for p in BY_PATTERN if p.startswith(f"{head}.") and p.count(".") == 2)
    for head in ("class", "attack")
}


@dataclass(frozen=True)
class Metric:
    """A metric by its parts.

    Args:
        family: what it is.
        name: without norm, radius and subject: ``robust_accuracy`` of ``class.cat.robust_accuracy``.
        subject: the class, attack or check, or None.
        norm: or None.
        eps: the radius as it was written, or None.
    """

    family: Family
    name: str
    subject: str | None = None
    norm: str | None = None
    eps: str | None = None

    @property
    def head(self) -> str:
        """class, attack, check, or the name where there is no subject."""
        return self.family.pattern.partition(".")[0] if self.subject is not None else self.name

    @property
    def canonical(self) -> tuple[str, str, str | None, str | None, str | None]:
        """The same for every way to write it."""
        return self.head, self.name, self.subject, self.norm, self.eps


def is_sequential(text: str) -> bool:
    """Whether a gate on the metric can end a sequential audit: a share of all samples, at the audit's own radius."""
    metric = parse_metric(text)
    return metric.name in (*OF_NORM, "clean_accuracy") and metric.subject is None and metric.eps is None


def parse_metric(text: str) -> Metric:
    """The metric that a name means. The class, the attack, and whether the radius is a number are not looked at.

    Raises:
        UsageError: no result has it, with a suggestion.
    """
    head, _, rest = text.partition(".")
    head = {"attacks": "attack", "checks": "check", "classes": "class"}.get(head, head)
    if head == "check":
        if not CHECK.fullmatch(rest):  # whether the audit has it is asked where its checks are known
            raise UsageError(f"the metric {text!r} is not check.ID")
        return Metric(BY_PATTERN["check.ID"], rest, rest)
    if head in FIELDS:
        return _of_subject(text, head, rest)
    found = WORST.fullmatch(text)
    if found is not None:
        return _of_worst_case(text, *found.groups())
    if text in BY_PATTERN and not any(word in text.split(".") for word in PLACEHOLDERS):
        return Metric(BY_PATTERN[text], text)
    raise UsageError(f"no result has the metric {text!r}{did_you_mean(text, _spellings(rest))}")


def _of_subject(text: str, head: str, rest: str) -> Metric:
    """A class's name, and an attack's, may hold dots."""
    subject, _, field = rest.rpartition(".")
    if subject and field in FIELDS[head]:
        pattern = f"{head}.{'NAME' if head == 'class' else 'ID'}.{field}"
        return Metric(BY_PATTERN[pattern], field, canonical(subject) if head == "attack" else subject)
    options = [f"{head}.{subject or rest or 'NAME'}.{name}" for name in FIELDS[head]]
    shape = f"{head}.{'NAME' if head == 'class' else 'ID'}.FIELD"
    raise UsageError(f"the metric {text!r} is not {shape}{did_you_mean(text, options)}")


def _of_worst_case(text: str, name: str, norm: str | None, eps: str | None) -> Metric:
    if norm is not None and norm not in NORMS:
        raise UsageError(f"{name} is that of a norm, {', '.join(NORMS)}, not of {norm!r}{did_you_mean(norm, NORMS)}")
    pattern = name + (".NORM" if norm is not None else "") + ("@EPS" if eps is not None else "")
    if pattern not in BY_PATTERN:
        why = "at the radii of the audit alone" if name == "certified_accuracy" else "of all radii"
        raise UsageError(f"{name} is {why}, so that {text!r} cannot name one")
    return Metric(BY_PATTERN[pattern], name, None, norm, eps)


def _spellings(rest: str) -> list[str]:
    """All patterns, with the user's own subject where there is one."""
    subject = rest.rpartition(".")[0] or rest
    return [re.sub(r"\b(NAME|ID)\b", lambda _: subject, p) if subject else p for p in BY_PATTERN if "@" not in p]
