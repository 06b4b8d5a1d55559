"""Clean accuracy: is the model fed what it expects?"""

from __future__ import annotations

from robaudit.checks.base import Bench, Check, Finding, Measured
from robaudit.stats import interval, upper_bound

__all__ = ["Clean"]


class Clean(Check):
    """Fails where clean accuracy lies outside the interval of what is declared, or is no better than guessing.

    A wrong class order, input range or channel order shows here first, and so do answers that are off by one class. In
    stability mode there is no accuracy.
    """

    id = "clean"

    def measure(self, bench: Bench) -> Measured:
        """Count the samples answered correctly."""
        correct, drawn = bench.clean_counts()
        return {
            "correct": correct,
            "shifts": list(bench.clean_shifts()),
            "drawn": drawn,
            "classes": bench.classes,
            "declared": bench.declared_accuracy,
            "stability": bench.stability,
        }

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the declared accuracy, else with guessing."""
        k, n, declared = measured["correct"], measured["drawn"], measured["declared"]
        if measured["stability"]:
            return Finding("skipped", "no labels, so no clean accuracy: the model's own answers are the reference")
        if n == 0:
            return Finding("fail", "no sample could be evaluated")
        above, below = measured.get("shifts", (0, 0))
        if measured["classes"] > 2 and 2 * max(above, below) > n and max(above, below) > k:
            return Finding("fail", _shifted(above, below, n), k / n)
        if declared is not None:
            low, high = interval(k, n)
            if not low <= declared <= high:
                return Finding(
                    "fail",
                    f"clean accuracy {k / n:.1%} is not the declared {declared:.1%} (95 % interval {low:.1%} to "
                    f"{high:.1%}); check mean, std, scale, channel order and the order of the classes",
                    k / n,
                    declared,
                )
            return Finding("pass", f"clean accuracy {k / n:.1%} agrees with the declared {declared:.1%}", k / n)
        guessing = 1 / measured["classes"]
        if upper_bound(k, n) <= guessing or k == 0:
            return Finding(
                "fail",
                f"clean accuracy {k / n:.1%} is no better than guessing ({guessing:.1%}); check mean, std, scale, "
                "channel order and the order of the classes",
                k / n,
                guessing,
            )
        return Finding("pass", f"clean accuracy {k / n:.1%}; none was declared to compare it with", k / n)


def _shifted(above: int, below: int, n: int) -> str:
    if above > below:
        return (
            f"{above} of {n} answers are the class after the label: does the model count a background class first "
            "(1,001 outputs for 1,000 classes), or from 1? Name its classes with --classes, or shift the labels"
        )
    return f"{below} of {n} answers are the class before the label: do the labels start at 1? Shift them"
