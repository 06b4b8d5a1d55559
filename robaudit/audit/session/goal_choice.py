"""The classes that a sample is to be made to answer, chosen from its clean answer before any attack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.audit.config.goals import AuditGoal, class_index
from robaudit.errors import UsageError

__all__ = ["Choice", "Chooser", "chooser"]

MOST_CLASSES = 100
"""Wrong classes that ``every`` tries without being told how many."""


FROM_SCORES = ("least-likely", "second-likely")


@dataclass(frozen=True)
class Choice:
    """The classes that a sample is to be made to answer, best first, or why the goal does not apply to it."""

    classes: tuple[int, ...]
    left_out: str | None = None


Chooser = Callable[[int, int, NDArray[Any], str], Choice]
"""(position in the data, label, clean scores [K], digest of the content) -> classes to reach."""


def chooser(
    goal: AuditGoal,
    *,
    seed: int,
    classes: int,
    names: Sequence[str] | None,
    given: Sequence[str] | None,
    no_scores: str | None,
) -> Chooser | None:
    """What decides the classes of each sample; None for an untargeted goal.

    Args:
        goal: as written.
        seed: of random classes.
        classes: number of classes K.
        names: of the classes, or None.
        given: text of the class given with each sample, empty where there is none; None: the data has none.
        no_scores: why the file has no scores, or None.

    Raises:
        UsageError: the goal does not fit the model or its data.
    """
    wrong = classes - 1
    if goal.targeted and wrong < 1:
        raise UsageError("the model knows one class, so that there is no wrong one to ask for")
    if goal.kind == "every" and goal.count is None and wrong > MOST_CLASSES:
        raise UsageError(
            f"the goal every would attack each sample {wrong} times; say how many of the likeliest classes with every:N"
        )
    needs_scores = goal.kind in FROM_SCORES or (goal.count is not None and goal.count < wrong)
    if needs_scores and no_scores is not None and classes > 2:
        text = goal.kind if goal.count is None else f"every:{goal.count}"
        raise UsageError(f"the goal {text} ranks classes by scores, and {no_scores}; use random, class:NAME or given")
    if goal.kind == "class":
        named = class_index(goal.name, names, classes, "the goal")
        return lambda index, label, scores, digest: _one(named, label)
    if goal.kind == "given":
        if given is None:
            raise UsageError(
                "the goal given needs a class for each sample: a third column target in the CSV of --labels, "
                "--target-column of a table, or an array target in the .npz"
            )
        classes_of = {text: class_index(text, names, classes, "a given target") for text in set(given) if text}
        wanted = [classes_of.get(text, -1) for text in given]
        return lambda index, label, scores, digest: _one(wanted[index], label)
    ranked: dict[str, Callable[[int, NDArray[Any], str], tuple[int, ...]]] = {
        "random": lambda label, scores, digest: (_random(seed, digest, sorted(_ranked(scores, label))),),
        "least-likely": lambda label, scores, digest: (_ranked(scores, label)[-1],),
        "second-likely": lambda label, scores, digest: (_ranked(scores, label)[0],),
        "every": lambda label, scores, digest: tuple(_ranked(scores, label)[: goal.count]),
    }
    if goal.kind == "untargeted":
        return None
    choose = ranked[goal.kind]
    return lambda index, label, scores, digest: Choice(choose(label, scores, digest))


def _one(wanted: int, label: int) -> Choice:
    if wanted < 0:
        return Choice((), "no class is given for it")
    return Choice((), "it is of the class asked for") if wanted == label else Choice((wanted,))


def _random(seed: int, digest: str, others: Sequence[int]) -> int:
    """One of the classes, the same at every place in the data."""
    from robaudit.threat.random import key_of  # torch: reports and replays do without

    return others[key_of("goal", seed, digest) % len(others)]


def _ranked(scores: NDArray[Any], label: int) -> list[int]:
    """Classes by falling score, the label left out; of equal ones the lower number first.

    A score of -inf rules a class out: such classes are not among them, unless there is no other.
    """
    ranked = [c for c in np.argsort(-scores, kind="stable").tolist() if c != label]
    return [c for c in ranked if scores[c] > -np.inf] or ranked
