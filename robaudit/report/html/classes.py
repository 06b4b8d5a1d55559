"""What became of each class, counted from the samples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from robaudit.audit.result.document import Rate, Result, Sample
from robaudit.report.words import plain
from robaudit.stats.rates import rate

__all__ = ["ClassRow", "class_name", "class_rows"]


@dataclass(frozen=True)
class ClassRow:
    """A class.

    Args:
        name: for people.
        drawn: samples of it that the worst case counts.
        clean: of those answered correctly; None in stability mode.
        standing: of those answered correctly and not broken.
        broken: number broken.
        answers: classes answered to the adversarial examples most often, with counts.
    """

    name: str
    drawn: int
    clean: Rate | None
    standing: Rate
    broken: int
    answers: str


def class_name(result: Result) -> Callable[[int | None], str]:
    """The name of a class by its number."""
    names = result.data.classes or ()

    def name(number: int | None) -> str:
        if number is None:
            return "unknown"
        return plain(names[number], 60) if 0 <= number < len(names) else f"class {number}"

    return name


def class_rows(result: Result) -> list[ClassRow]:
    """A row a class that was drawn, in the order of the model's outputs."""
    name = class_name(result)
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in result.samples:
        if sample.label is not None and sample.counted:
            groups[sample.label].append(sample)
    rows = []
    for label, samples in sorted(groups.items()):
        correct = [s for s in samples if s.correct]
        broken = [s for s in correct if s.broken_by is not None]
        most = Counter(s.adversarial_prediction for s in broken if s.adversarial_prediction is not None)
        ranked = sorted(most.items(), key=lambda item: (-item[1], item[0]))[:3]
        rows.append(
            ClassRow(
                name=name(label),
                drawn=len(samples),
                clean=rate(len(correct), len(samples)) if result.data.reference == "labels" else None,
                standing=rate(len(correct) - len(broken), len(samples)),
                broken=len(broken),
                answers=", ".join(f"{name(answer)} ({count})" for answer, count in ranked),
            )
        )
    return rows
