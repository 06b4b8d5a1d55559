"""What a process sends and what becomes of it, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robaudit.errors import AuditError, path_words
from robaudit.target.running.watch import BACKWARD, AtWork

__all__ = ["Answered", "CutOffError", "Failed", "Underway", "no_answer", "not_loaded", "too_late", "unexpected"]

NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "failed to map segment")
"""How torch, the system and its loader of libraries say that there is no memory."""


@dataclass(frozen=True)
class Failed:
    """The task ended with an error; ``usage``: the input was refused before the audit."""

    message: str
    usage: bool


class CutOffError(AuditError):
    """A process hung or crashed; ``why`` in words, and ``at_work``: what it was at."""

    def __init__(self, about: object, why: str, at_work: AtWork) -> None:
        super().__init__(f"{about}: {why}")
        self.why = why
        self.at_work = at_work


@dataclass(frozen=True)
class Answered:
    """What a function returned."""

    value: Any


@dataclass(frozen=True)
class Underway:
    """What a function tells before it returns."""

    value: Any


def too_late(about: object, seconds: float, at_work: AtWork | None = None) -> str:
    """The sentence for a file whose loading was cut off, amid what is known of ``at_work``."""
    late = f"{about} was not loaded and run once within {seconds:g} s"
    if at_work is not None and at_work.words and at_work.calling:
        late += f" (it did not answer, {at_work.words})"
    return f"{late}; give it more with --load-timeout SECONDS"


def no_answer(at_work: AtWork, who: str = "the model") -> str:
    """The sentence for a call of a model that was cut off."""
    where = f" {at_work.words}" if at_work.words else ""
    if at_work.backward:
        told = f"the gradient of {who} was not computed within {at_work.limit:.3g} s{where}"
        return f"{told} ({BACKWARD} times --call-timeout SECONDS, which allows more)"
    return f"{who} did not answer within {at_work.limit:.3g} s{where} (--call-timeout SECONDS allows more)"


def not_loaded(about: object, how: str, at_work: AtWork) -> str:
    """The sentence for a process that ended before anything was audited; ``how`` in words."""
    where = f" {at_work.words}" if at_work.words else ""
    return f"{about} could not be loaded: {how}{where}; nothing was audited"


def unexpected(error: Exception) -> Failed:
    """The message for an error that is no sentence of ours."""
    text = " ".join(str(error).split())
    told = any(words in text for words in NO_MEMORY) or type(error).__name__ == "OutOfMemoryError"  # of torch
    if told or isinstance(error, MemoryError):
        more = f" ({text[-80:]})" if text else ""
        return Failed(f"the memory that is free, or allowed by --memory-limit, did not suffice{more}", False)
    if isinstance(error, OSError) and (words := path_words(error)) is not None:
        return Failed(words, False)
    return Failed(f"unexpected {type(error).__name__}: {text}", False)
