"""Which class each sample is to be made to answer: decided once, from its clean answer, before any attack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.class_names import Lookup, find_class
from robaudit.data.numbers import whole
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["GOALS", "AuditGoal", "Choice", "Chooser", "chooser", "class_index", "parse_goal"]

GOALS: dict[str, str] = {
    "untargeted": "any wrong answer counts; the default, and the worst case",
    "random": "a wrong class drawn for each sample, keyed by the seed and the sample's content",
    "least-likely": "the wrong class with the lowest clean score",
    "second-likely": "the wrong class with the highest clean score",
    "class:NAME": "one class for all, by its name or number; samples of that class are left out",
    "given": "the class that the data gives with each sample (a third column `target` in the CSV of --labels, "
    "--target-column of a table, the array `target` in an .npz); samples without one are left out",
    "every": "every wrong class for each sample, each sought by itself; every:20 takes the 20 with the highest scores",
}
"""What each goal means."""

MOST_CLASSES = 100
"""Wrong classes that ``every`` tries without being told how many."""
LISTED = 20
"""Most class names in a message."""
FROM_SCORES = ("least-likely", "second-likely")


@dataclass(frozen=True)
class AuditGoal:
    """A goal as it was written.

    Args:
        kind: ``untargeted``, ``random``, ``least-likely``, ``second-likely``, ``class``, ``given`` or ``every``.
        name: of a class: its name or number.
        count: of ``every``: how many classes; None: all.
    """

    kind: str
    name: str = ""
    count: int | None = None

    @property
    def targeted(self) -> bool:
        """Whether a success must answer one certain class."""
        return self.kind != "untargeted"

    def said(self, names: Sequence[str] | None = None) -> str:
        """What a sample is made to answer, in words; of an untargeted goal any wrong class."""
        known = list(names or ())
        name = self.name
        if name not in known and (place := find_class(name, known, len(known))) is not None:
            name = f"{name} ({known[place]})"
        most = f"any of the {self.count} likeliest wrong classes" if self.count is not None else "any wrong class"
        return {
            "untargeted": "any wrong class",
            "random": "a wrong class drawn for it",
            "least-likely": "its least likely class",
            "second-likely": "its likeliest wrong class",
            "class": f"the class {name}",
            "given": "the class given for it",
            "every": f"{most}, each sought by itself",
        }[self.kind]


@dataclass(frozen=True)
class Choice:
    """The classes that a sample is to be made to answer, best first, or why the goal does not apply to it."""

    classes: tuple[int, ...]
    left_out: str | None = None


Chooser = Callable[[int, int, NDArray[Any], str], Choice]
"""(position in the data, label, clean scores [K], digest of the content) -> classes to reach."""

DIGITS = 9
"""Of a number of classes."""


def parse_goal(text: str) -> AuditGoal:
    """The goal that a text names.

    Raises:
        UsageError: none, with a suggestion.
    """
    kind, colon, rest = text.strip().partition(":")
    kind, rest = kind.strip(), rest.strip()
    if kind == "class":
        if not rest:
            raise UsageError("the goal class:NAME needs the name or the number of a class, such as class:3")
        return AuditGoal("class", name=rest)
    if kind == "every" and colon:
        if not rest.isdecimal() or len(rest) > DIGITS or int(rest) < 1:
            raise UsageError(f"the goal every:N takes a number of classes above 0, not {rest[:40]!r}")
        return AuditGoal("every", count=int(rest))
    if kind == "targeted":
        ways = ", ".join(name for name in GOALS if name != "untargeted")
        raise UsageError(f"the goal targeted must say which class to reach: {ways}")
    if colon or kind not in GOALS:
        raise UsageError(f"no goal is called {text!r}{did_you_mean(kind if colon else text, GOALS)}")
    return AuditGoal(kind)


def class_index(text: str, names: Sequence[str] | None, classes: int, where: str) -> int:
    """The class that a name or a number names; a name comes first.

    Raises:
        UsageError: there is no such class, with a suggestion.
    """
    if (found := find_class(text, names, classes)) is not None:
        return found
    known = list(names or ())
    if Lookup(known).times(text) > 1:
        raise UsageError(f"{where}: several classes are called {text!r}; give the number of one")
    if whole(text) is not None and not all(whole(name) is not None for name in known or "x"):
        raise UsageError(f"{where}: there is no class {text}; the model has {classes}, numbered from 0")
    if not known:
        raise UsageError(f"{where}: the names of the classes are not known, so {text!r} must be a class number")
    hint = did_you_mean(text, known)
    if len(known) > LISTED and not hint.startswith("; did you mean"):
        hint = f" (there are {len(known)} names)"
    raise UsageError(f"{where}: no class is called {text!r}{hint}")


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
