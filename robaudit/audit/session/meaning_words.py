"""What a search for an input's meaning comes to: the candidate to take, and the sentence that says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from robaudit.audit.journal.records.session import MeaningFound, MeaningTried
from robaudit.plural import counted
from robaudit.stats.rates import lower_bound, paired_excess, paired_p
from robaudit.target.head.answers import OPEN
from robaudit.target.head.scores import Head
from robaudit.target.inputs.candidates import Candidate, near, searched
from robaudit.target.inputs.meaning import ASSUMED
from robaudit.target.inputs.spec import InputSpec
from robaudit.target.reading.opened import OpenedTarget

__all__ = ["ALPHA", "Tried", "chance", "equal", "meaning_record", "pairs"]

ALPHA = 0.05
"""Chance of taking a candidate over one that is as good or better, over all comparisons of a search (Bonferroni)."""
EQUAL = 0.1
"""Candidates surely less far apart than this, as a share of the samples, serve equally well."""


@dataclass
class Tried:
    """A candidate and the samples that it was tried on.

    Args:
        head: what the output means under it; None: not measured yet.
        answers: for each sample, the class that the file answers, or OPEN.
        right: for each, whether that is the label.
        dropped: it fell behind significantly.
        fails: the file does not take such an input.
    """

    candidate: Candidate
    head: Head | None = None
    answers: list[int] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    dropped: bool = False
    fails: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return self.candidate.name

    @property
    def standing(self) -> bool:
        """Whether it is neither beaten nor refused by the file."""
        return not self.dropped and not self.fails

    @property
    def count(self) -> int:
        """Samples answered rightly."""
        return sum(self.right)

    def score(self) -> str:
        """In words."""
        return f"{self.count} of {len(self.right)}"

    def like(self, other: Tried) -> bool:
        """Whether both read the channels and the layout alike."""
        mine, its = self.candidate, other.candidate
        return (mine.swapped, mine.layout) == (its.swapped, its.layout)

    def near(self, other: Tried) -> bool:
        """Whether a model hardly tells their normalisations apart."""
        return near(self.candidate.normalisation, other.candidate.normalisation)


def pairs(a: Tried, b: Tried) -> tuple[int, int]:
    """Samples that only a, and only b, gets right."""
    both = list(zip(a.right, b.right, strict=True))
    return sum(x and not y for x, y in both), sum(y and not x for x, y in both)


def equal(a: Tried, b: Tried) -> bool:
    """Whether two are so often right on the same samples that either serves."""
    wins, losses = pairs(a, b)
    return bool(a.right) and max(paired_excess(*p, len(a.right)) for p in ((wins, losses), (losses, wins))) < EQUAL


def chance(labels: Sequence[int], classes: int) -> float:
    """How often a model that sees nothing is right: by always naming the commonest class."""
    most = max(Counter(labels).values(), default=0)
    return max(1 / classes, most / len(labels) if labels else 1.0)


def _choose(tried: list[Tried]) -> tuple[Tried | None, bool]:
    """The candidate to take, and whether it wins.

    The default stays unless it lost. Of those that are left, channel order and layout keep their defaults where these
    have not lost, and a normalisation wins if all others that are left are the same to the model.
    """
    left = [t for t in tried if t.standing]
    if not left:
        return None, False
    default = tried[0]
    usual = [t for t in left if not t.candidate.swapped] or left
    usual = [t for t in usual if t.candidate.layout == default.candidate.layout] or usual
    pick = default if default in left else max(usual, key=lambda t: t.count)
    for other in left:
        if other.near(pick):
            continue
        twin = next(
            (t for t in left if t.like(pick) and t.candidate.normalisation is other.candidate.normalisation), None
        )
        if twin is None or not equal(pick, twin):
            return (pick if pick is default else None), False
    return pick, True


def _exchanged(tried: Tried, labels: Sequence[int]) -> list[bool]:
    """Whether each answer is the label once the classes are exchanged, one for one.

    Which class stands for which is learned on one half of the samples and tried on the other, so that chance finds no
    order where there is none.
    """
    half = [list(range(start, len(tried.answers), 2)) for start in (0, 1)]
    found = [False] * len(tried.answers)
    for learned, asked in (half, half[::-1]):
        order: dict[int, int] = {}
        seen = Counter((tried.answers[i], labels[i]) for i in learned if tried.answers[i] != OPEN)
        for (answer, label), _ in sorted(seen.items(), key=lambda item: (-item[1], item[0])):
            if answer not in order and label not in order.values():
                order[answer] = label
        for i in asked:
            found[i] = order.get(tried.answers[i]) == labels[i]
    return found


def _other_order(tried: list[Tried], labels: Sequence[int], guessing: float) -> tuple[Tried, int] | None:
    """The candidate under which the answers follow the labels in another order of the classes, and how often.

    Only where that explains the labels significantly better than any candidate does as it stands.
    """
    best = max(tried, key=lambda t: (t.standing, t.count))
    found: tuple[Tried, int] | None = None
    for one in tried:
        right = _exchanged(one, labels)
        n = min(len(right), len(best.right))
        wins = sum(a and not b for a, b in zip(right[:n], best.right[:n], strict=True))
        losses = sum(b and not a for a, b in zip(right[:n], best.right[:n], strict=True))
        level = ALPHA / len(tried)
        if n == 0 or paired_p(wins, losses) >= level or lower_bound(sum(right), len(right), 1 - level) <= guessing:
            continue
        if found is None or sum(right) / len(right) > found[1] / len(found[0].right):
            found = one, sum(right)
    return found


def meaning_record(
    target: OpenedTarget, given: InputSpec, tried: list[Tried], labels: list[int], size: int
) -> MeaningFound:
    """What a search found.

    Args:
        target: which was asked.
        given: its spec before the search.
        tried: the candidates, the default first.
        labels: of the samples that were asked.
        size: of the data.
    """
    default = tried[0]
    guessing = chance(labels, target.num_classes)
    open_ = [name for name in searched(given) if name != "domain"]
    pick, wins, text = _found(tried, labels, guessing, f"give {', '.join(f'--{name}' for name in open_)}")
    start = f"what the input means was searched with {counted(len(labels), 'label')}"
    start += f" (of {size} samples, the classes in turn): " if len(labels) < size else ": "
    origin = f"{ASSUMED}: searched, "
    origin += f"{pick.score()} right{_others(tried, pick)}" if pick is not None and wins else "no candidate wins"
    return MeaningFound(
        model=target.sha256,
        taken=None if pick is None or pick is default else pick.name,
        changes={} if pick is None or pick is default else dict(pick.candidate.changes),
        provenance=dict.fromkeys(searched(given), origin),
        sentence=start + text,
        samples=len(labels),
        of=size,
        evaluations=sum(len(t.right) for t in tried),
        alpha=ALPHA,
        candidates=tuple(
            MeaningTried(
                name=t.name,
                right=t.count,
                of=len(t.right),
                status="not accepted" if t.fails else "taken" if t is pick else "left" if t.standing else "beaten",
            )
            for t in tried
        ),
    )


def _rival(tried: list[Tried], *, beaten: bool) -> Tried | None:
    """The best of those that lost, or of those that did not."""
    others = [t for t in tried if t.right and t.dropped == beaten and not t.fails]
    return max(others, key=lambda t: t.count / len(t.right), default=None)


def _others(tried: list[Tried], pick: Tried) -> str:
    """Those that labels cannot tell from the candidate that is taken, and the best that lost."""
    same = [t for t in tried if t.standing and t is not pick]
    rival = _rival(tried, beaten=True)
    text = f"; as good: {', '.join(t.name for t in same)}" if same else ""
    return text + (f"; next best: {rival.name}, {rival.score()}" if rival else "")


def _found(tried: list[Tried], labels: list[int], guessing: float, flags: str) -> tuple[Tried | None, bool, str]:
    """The candidate to take, whether it wins, and what was found in words; ``flags`` say what is open."""
    default = tried[0]
    best = max([t for t in tried if t.standing] or tried, key=lambda t: t.count)
    if not best.right:
        return None, False, f"none of the {len(tried)} candidates is accepted by the file; {flags}"
    if (order := _other_order(tried, labels, guessing)) is not None:
        one, right = order
        text = f"read as {one.name}, the model's answers follow the labels in another order of the classes ({right} of "
        text += f"{len(one.right)} once they are exchanged, {one.score()} as they stand): check the order of the "
        return (one, False, text + "classes (--classes, or the folders' names)")
    if lower_bound(best.count, len(best.right), 1 - ALPHA / len(tried)) <= guessing:
        text = f"none of the {len(tried)} candidates is surely right more often than naming one class always (best: "
        text += f"{best.name}, {best.score()}; one class: {round(guessing * len(best.right))})"
        if len(set(labels)) == 1:
            text = "all labels are of one class, which tells no candidate from another"
        return None, False, f"{text}; {default.name} stays; {flags}"
    pick, wins = _choose(tried)
    if pick is None:
        left = "; ".join(f"{t.name}, {t.score()}" for t in tried if t.standing)
        text = f"{default.name} loses and stays all the same, since no candidate wins ({left}); {flags}"
        return None, False, text
    text = f"{pick.name} is right on {pick.score()}"
    rival = _rival([t for t in tried if t is not pick], beaten=False)
    if not wins:
        text += " and stays, since no candidate is significantly better"
        return pick, False, text + (f" (next: {rival.name}, {rival.score()})" if rival else "")
    text += _others(tried, pick)
    if any(t.standing and not (t.near(pick) and t.like(pick)) for t in tried):
        text += f"; labels do not tell which of the equals is meant, and the figures may depend on it: {flags}"
    return pick, True, text
