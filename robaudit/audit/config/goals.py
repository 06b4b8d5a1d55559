"""Which class each sample is to be made to answer: decided once, from its clean answer, before any attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robaudit.data.class_names import Lookup, find_class
from robaudit.data.numbers import whole
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["GOALS", "AuditGoal", "class_index", "parse_goal"]

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

LISTED = 20
"""Most class names in a message."""


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
