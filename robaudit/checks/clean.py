"""Clean accuracy: is the model fed what it expects, and read as it is meant?"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

from robaudit.checks.base import Bench, Check, Finding, Measured
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.stats.rates import interval, lower_bound, upper_bound
from robaudit.target.head.rule import shortest

__all__ = ["Clean", "best_split", "moved"]

SURE = 0.999
"""Confidence that another reading of the scores is better than guessing, before it is named."""
FEW = 3
"""Samples of a class, from which one that is never answered is worth a word."""
LISTED = 8
"""Classes in a message."""
STEADY = 0.8
"""Share of a class's samples with one answer, from which that answer is taken for the class's own number."""


class Clean(Check):
    """Fails where clean accuracy lies outside the interval of what is declared, or is no better than guessing.

    A wrong class order, input range or channel order shows here first, and so do answers that are off by one class,
    classes that have changed places, and scores of which the smallest, or another threshold, decides: then it names
    the --decision to declare. Warns where every sample gets the same answer. In stability mode there is no accuracy.
    """

    facts = CheckFacts(
        id="clean",
        title="The clean accuracy is not what was declared, or no better than guessing.",
        next_step="check labels, order of classes and preprocessing: `robaudit inspect` shows them",
        rule=CheckRule(
            "RA101",
            "CheckClean",
            "A wrong order of classes, range or channel order shows here first; then samples count as broken, or as "
            "standing, for no reason that an attacker has to do with.",
            "Check labels, order of classes and preprocessing: `robaudit inspect` shows them.",
            "error",
        ),
        fatal=True,
        doubts_evidence=True,
        after_time=True,
    )

    def measure(self, bench: Bench) -> Measured:
        """Count the samples answered correctly, and those that would be, were the scores read otherwise."""
        correct, drawn = bench.clean_counts()
        found = {
            "correct": correct,
            "shifts": list(bench.clean_shifts()),
            "drawn": drawn,
            "classes": bench.classes,
            "declared": bench.declared_accuracy,
            "stability": bench.stability,
        }
        if bench.stability:
            return found
        answers, labels = bench.clean_answers()
        found["same"] = answers[0] if len(set(answers)) == 1 else None
        found["largest_label"] = max((labels.count(label) for label in set(labels)), default=0)
        found["moved"] = moved(answers, labels)
        found["turned"] = [bench.target.opposite, bench.clean_smallest()]
        found["split"] = list(best_split(*bench.clean_numbers()))
        return found

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
        places = measured.get("moved") if measured["classes"] > 2 else None
        other = _moved_words(places) if places else _otherwise(measured)
        if declared is not None:
            low, high = interval(k, n)
            if not low <= declared <= high:
                return Finding(
                    "fail",
                    f"clean accuracy {k / n:.1%} is not the declared {declared:.1%} (95 % interval {low:.1%} to "
                    f"{high:.1%}); {other or CAUSES}",
                    k / n,
                    declared,
                )
            return Finding("pass", f"clean accuracy {k / n:.1%} agrees with the declared {declared:.1%}", k / n)
        if places:
            return Finding("fail", f"clean accuracy {k / n:.1%}; {other}", k / n)
        guessing = 1 / measured["classes"]
        if upper_bound(k, n) <= guessing or k == 0:
            return Finding(
                "fail",
                f"clean accuracy {k / n:.1%} is no better than guessing ({guessing:.1%}); {other or CAUSES}",
                k / n,
                guessing,
            )
        missed = n - measured.get("largest_label", n)
        if measured.get("same") is not None and missed >= FEW:
            text = f"every one of {n} samples gets the same answer, and {missed} or more are of another class"
            return Finding("fail" if other else "warn", f"{text}; {other or CAUSES}", k / n)
        return Finding("pass", f"clean accuracy {k / n:.1%}; none was declared to compare it with", k / n)


CAUSES = "check mean, std, scale, channel order and the order of the classes"


def _shifted(above: int, below: int, n: int) -> str:
    if above > below:
        return (
            f"{above} of {n} answers are the class after the label: does the model count a background class first "
            "(1,001 outputs for 1,000 classes), or from 1? Name its classes with --classes, or shift the labels"
        )
    return f"{below} of {n} answers are the class before the label: do the labels start at 1? Shift them"


def moved(answers: Sequence[int], labels: Sequence[int]) -> list[list[int]]:
    """Classes that have changed places among themselves: [label, answer] of each; empty where there are none.

    Samples of such a class have one answer, nearly all, which is another one's label. A model errs otherwise.

    Args:
        answers: class that the model answers, of each sample.
        labels: class of each.
    """
    groups: dict[int, list[int]] = {}
    for answer, label in zip(answers, labels, strict=True):
        groups.setdefault(label, []).append(answer)
    places: dict[int, int] = {}
    for label, said in groups.items():
        answer, times = Counter(said).most_common(1)[0]
        if len(said) >= FEW and times >= STEADY * len(said):
            places[label] = answer
    found: list[list[int]] = []
    for label in sorted(places):
        cycle, at = [label], places[label]
        while at in places and at not in cycle:
            cycle.append(at)
            at = places[at]
        if at == label and len(cycle) > 1:
            found.append([label, places[label]])
    return found


def _moved_words(places: Sequence[Sequence[int]]) -> str:
    pairs = ", ".join(f"{label} is answered {answer}" for label, answer in places[:LISTED])
    more = ", ..." if len(places) > LISTED else ""
    return (
        f"classes have changed places (number {pairs}{more}): the labels are numbered in another order than the "
        "outputs; name the classes in the order of the outputs with --classes, or, if the model errs so, declare its "
        "--clean-accuracy"
    )


def best_split(numbers: Sequence[float], labels: Sequence[int]) -> tuple[str, int]:
    """(the --decision that makes most of the labels right, how many), of one number for two classes; ("", 0): none."""
    rows = sorted((number, label) for number, label in zip(numbers, labels, strict=True) if math.isfinite(number))
    ones = sum(label == 1 for _, label in rows)
    best, found, passed = 0, "", 0
    for place, ((number, label), (after, _)) in enumerate(itertools.pairwise(rows), start=1):
        passed += label == 1
        if number == after:
            continue
        above = (place - passed) + (ones - passed)  # right, where what lies above is the second class
        for right, word in ((above, "above"), (len(rows) - above, "below")):
            if right > best:
                best, found = right, f"{word}:{shortest(_between(number, after))}"
    return found, best


def _between(low: float, high: float) -> float:
    """The shortest number between two."""
    for digits in range(1, 17):
        found = float(f"{(low + high) / 2:.{digits}g}")
        if low < found < high:
            return found
    return (low + high) / 2


def _otherwise(measured: Measured) -> str | None:
    """The declaration under which the answers would be better than guessing; None where there is none."""
    n = measured["drawn"]
    chance = max(1 / measured["classes"], measured.get("largest_label", 0) / n)
    for flag, right in (measured.get("turned", ("", 0)), measured.get("split", ("", 0))):
        if flag and right > measured["correct"] and lower_bound(right, n, SURE) > chance:
            return (
                f"{right} of {n} answers would be right with --decision {flag}: declare it if that is what the output "
                "means, such as a distance or another threshold"
            )
    return None
