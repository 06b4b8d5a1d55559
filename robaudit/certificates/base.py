"""The contract of a certifier: prove, one sample at a time, that nothing in its ball is answered wrongly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robaudit.certificates.subject import Ball, Subject
from robaudit.threat.norms import Norm

__all__ = ["Ball", "Certifier", "Proof", "Question", "Subject"]


@dataclass(frozen=True)
class Question:
    """What is to be proved: no input in the ball around ``u`` is answered with one of the rivals.

    Args:
        u: [*shape] float64, the sample in u-space.
        label: the class that the file answers rightly.
        rivals: the other classes; of a targeted audit those that it is to be made to answer.
    """

    u: Tensor
    label: int
    rivals: tuple[int, ...]


@dataclass(frozen=True)
class Proof:
    """What a method found.

    Args:
        proved: whether no rival can be answered; False says nothing.
        margin: how far the label stays ahead of the best rival at least, less what rounding can take; in logits.
    """

    proved: bool
    margin: float


class Certifier(ABC):
    """A sound method: it may fail to prove what is true, and must never prove what is not.

    The program of the subject is the file's graph in float64, and the file runs in float32: a proof must leave room for
    what rounding can change (``Subject.roundoff``) and for the end of the file (``Subject.needed``).
    """

    id: ClassVar[str]
    norms: ClassVar[frozenset[Norm]]
    """Balls that it can bound."""

    def unsuited(self, subject: Subject, ball: Ball) -> str | None:
        """Why nothing can be proved of this file, such as an operator that the method does not know; or None."""
        return None

    @abstractmethod
    def prove(self, subject: Subject, question: Question, ball: Ball) -> Proof:
        """Bound one sample; the same for the same question, whatever was asked before."""
