"""What the input means, searched on labelled samples where nobody says it.

Each candidate is judged as the audit counts: by the file's answers to drawn samples, one input at a time. One is
taken only when it wins significantly, and what is taken stays *assumed*.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from robaudit.audit.journal import Record
from robaudit.data.distinct import values_key
from robaudit.data.source import Dataset
from robaudit.errors import RobauditError, UnreadableSampleError
from robaudit.stats import lower_bound, paired_excess, paired_p
from robaudit.target.answers import predictions
from robaudit.target.candidates import Candidate, candidates, near, searched
from robaudit.target.meaning import ASSUMED
from robaudit.target.spec import InputSpec
from robaudit.target.target import Target
from robaudit.threat.random import key_of

__all__ = ["apply_meaning", "search_meaning"]

ALPHA = 0.05
"""Chance of taking a candidate over one that is as good or better, over all comparisons of a search (Bonferroni)."""
LOOKS = (25, 50, 100, 200)
"""Samples after which candidates that are significantly worse than the best are dropped; the last bounds the cost."""
HOPELESS = 50
"""Samples after which the search ends if no candidate does better than chance."""
EQUAL = 0.1
"""Candidates surely less far apart than this, as a share of the samples, serve equally well."""


@dataclass
class _Tried:
    """A candidate and the samples that it was tried on.

    Args:
        right: for each, whether the file's answer is the label.
        dropped: it fell behind significantly.
        fails: the file does not take such an input.
    """

    candidate: Candidate
    right: list[bool] = field(default_factory=list)
    dropped: bool = False
    fails: bool = False

    @property
    def standing(self) -> bool:
        return not self.dropped and not self.fails

    @property
    def count(self) -> int:
        return sum(self.right)

    def score(self) -> str:
        return f"{self.count} of {len(self.right)}"


def search_meaning(
    target: Target,
    data: Dataset,
    drawn: Sequence[int],
    seed: int,
    told: Callable[[str], None] = lambda _: None,
) -> Record | None:
    """Search what the target's input means, where that is assumed and the data has labels.

    Args:
        target: its spec says what is assumed, and is left as it was.
        data: in u-space.
        drawn: indices of the audit's samples, of which the first in a keyed order are used.
        seed: of that order.
        told: of what is done, in words.

    Returns:
        A journal record for :func:`apply_meaning`, or None where nothing is to be searched.
    """
    given = target.spec
    tried = [_Tried(candidate) for candidate in candidates(given)]
    if len(tried) < 2 or data.labels is None:
        return None
    order = _distinct(data, sorted(drawn, key=lambda index: (key_of("meaning", seed, data.ids[index]), index)))
    looks = [look for look in LOOKS if look < len(order)]
    looks.append(len(order))
    level = ALPHA / (len(looks) * (len(tried) - 1))
    told(f"what the input means: {len(tried)} candidates on up to {len(order)} samples")
    labels: list[int] = []
    try:
        for start, end in zip([0, *looks], looks, strict=False):
            labels += _try(target, given, tried, data, order[start:end])
            _drop(tried, level)
            left = [t for t in tried if t.standing]
            if all(_near(t, left[0]) and _like(t, left[0]) for t in left):
                break
            if end >= HOPELESS and _best(left).count <= _chance(labels, target.num_classes) * len(labels):
                break
    finally:
        target.spec = given
    return _record(target, given, tried, labels)


def _distinct(data: Dataset, order: Sequence[int]) -> list[int]:
    """As many of the first as the search may use, of equal samples the first alone: copies are no further evidence."""
    found: list[int] = []
    seen: set[bytes] = set()
    for index in order:
        if len(found) == LOOKS[-1]:
            break
        with contextlib.suppress(UnreadableSampleError):
            key = values_key(data.load(index))
            if key in seen:
                continue
            seen.add(key)
        found.append(index)
    return found


def _try(target: Target, given: InputSpec, tried: list[_Tried], data: Dataset, indices: Sequence[int]) -> list[int]:
    """Ask the file for samples, each read as every standing candidate has it; returns the labels of the readable."""
    points, labels = [], []
    assert data.labels is not None
    for index in indices:
        try:
            points.append(data.load(index))
            labels.append(int(data.labels[index]))
        except UnreadableSampleError:
            continue
    if not points:
        return []
    u = torch.from_numpy(np.stack(points)).to(target.device, target.dtype)
    for one in tried:
        if not one.standing:
            continue
        target.spec = one.candidate.spec(given)
        try:
            scores = target.scores(u, alone=True)
        except (RobauditError, RuntimeError, ValueError):
            one.fails = True
            continue
        one.right += [answer == label for answer, label in zip(predictions(scores).tolist(), labels, strict=True)]
    return labels


def _best(tried: Sequence[_Tried]) -> _Tried:
    """Most often right; of equals the simplest, which comes first."""
    return max(tried, key=lambda t: t.count)


def _pairs(a: _Tried, b: _Tried) -> tuple[int, int]:
    """Samples that only a, and only b, gets right."""
    both = list(zip(a.right, b.right, strict=True))
    return sum(x and not y for x, y in both), sum(y and not x for x, y in both)


def _drop(tried: list[_Tried], level: float) -> None:
    """Candidates that the best beats significantly, each tested on the same samples."""
    standing = [t for t in tried if t.standing]
    if not standing:
        return
    best = _best(standing)
    for other in standing:
        if other is not best and paired_p(*_pairs(best, other)) < level:
            other.dropped = True


def _like(a: _Tried, b: _Tried) -> bool:
    """Whether two read the channels and the layout alike."""
    return (a.candidate.swapped, a.candidate.layout) == (b.candidate.swapped, b.candidate.layout)


def _near(a: _Tried, b: _Tried) -> bool:
    return near(a.candidate.normalisation, b.candidate.normalisation)


def _equal(a: _Tried, b: _Tried) -> bool:
    """Whether two are so often right on the same samples that either serves."""
    wins, losses = _pairs(a, b)
    return bool(a.right) and max(paired_excess(*p, len(a.right)) for p in ((wins, losses), (losses, wins))) < EQUAL


def _choose(tried: list[_Tried]) -> tuple[_Tried | None, bool]:
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
    pick = default if default in left else _best(usual)
    for other in left:
        if _near(other, pick):
            continue
        twin = next(
            (t for t in left if _like(t, pick) and t.candidate.normalisation is other.candidate.normalisation), None
        )
        if twin is None or not _equal(pick, twin):
            return (pick if pick is default else None), False
    return pick, True


def _record(target: Target, given: InputSpec, tried: list[_Tried], labels: list[int]) -> Record:
    """What was found, as JSON values."""
    pick, wins = _choose(tried)
    sentence, hopeless = _sentence(tried, pick, wins, _chance(labels, target.num_classes))
    pick, wins = (None, False) if hopeless else (pick, wins)
    origin = f"{ASSUMED}: searched, "
    if pick is not None and wins:
        rival = _next(tried, pick, wins)
        origin += f"{pick.score()} right" + (f", next best {rival.score()}" if rival else "")
    else:
        origin += "no candidate wins"
    return {
        "kind": "meaning",
        "model": target.sha256,
        "taken": None if pick is None or pick is tried[0] else pick.candidate.name,
        "changes": {} if pick is None or pick is tried[0] else dict(pick.candidate.changes),
        "provenance": dict.fromkeys(searched(given), origin),
        "sentence": sentence,
        "samples": len(labels),
        "evaluations": sum(len(t.right) for t in tried),
        "alpha": ALPHA,
        "candidates": [
            {
                "name": t.candidate.name,
                "right": t.count,
                "of": len(t.right),
                "status": "not accepted" if t.fails else "taken" if t is pick else "left" if t.standing else "beaten",
            }
            for t in tried
        ],
    }


def _next(tried: list[_Tried], pick: _Tried, wins: bool) -> _Tried | None:
    """The best of those that the pick is ahead of, or, where it does not win, of all others."""
    others = [t for t in tried if t.right and t is not pick and not (_near(t, pick) and _like(t, pick))]
    if wins:
        others = [t for t in others if not (t.standing and _like(t, pick))]
    return max(others, key=lambda t: (t.count / len(t.right), t.standing), default=None)


def _chance(labels: Sequence[int], classes: int) -> float:
    """How often a model that sees nothing is right: by always naming the commonest class."""
    most = max(Counter(labels).values(), default=0)
    return max(1 / classes, most / len(labels) if labels else 1.0)


def _sentence(tried: list[_Tried], pick: _Tried | None, wins: bool, chance: float) -> tuple[str, bool]:
    """What was found, and whether no candidate is of any use."""
    default, best = tried[0], _best([t for t in tried if t.standing] or tried)
    start = f"what the input means was searched with {len(best.right)} labels: "
    if not best.right or lower_bound(best.count, len(best.right)) <= chance:
        found = f"best: {best.candidate.name}, {best.score()}" if best.right else "it accepts none of them"
        text = f"none of the {len(tried)} candidates makes the model right ({found}); give --mean, --std, --scale"
        return start + text, True
    if pick is None:
        left = "; ".join(f"{t.candidate.name}, {t.score()}" for t in tried if t.standing)
        text = f"{default.candidate.name} loses and stays all the same, since no candidate wins ({left}); "
        return start + text + "give --mean, --std, --scale, --channels", False
    text = f"{pick.candidate.name} is right on {pick.score()}"
    rival = _next(tried, pick, wins)
    if wins:
        same = [t.candidate.name for t in tried if t.standing and t is not pick and _like(t, pick)]
        text += f"; as good: {', '.join(same)}" if same else ""
        text += f"; next best: {rival.candidate.name}, {rival.score()}" if rival else ""
        return start + text, False
    text += " and stays, since no candidate is significantly better"
    return start + text + (f" (next: {rival.candidate.name}, {rival.score()})" if rival else ""), False


def apply_meaning(target: Target, record: Record) -> None:
    """Read the target's input as a record says; in provenance and facts it stays assumed."""
    changes: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in record["changes"].items()}
    provenance = {**target.spec.provenance, **record["provenance"]}
    target.spec = dataclasses.replace(target.spec, **changes, provenance=provenance)
    kept = ("taken", "sentence", "samples", "evaluations", "alpha", "candidates")
    target.facts["input search"] = {name: record[name] for name in kept}
