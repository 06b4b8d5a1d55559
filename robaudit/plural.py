"""Counts in sentences: "1 feature holds", "2 features hold", "1 of 20 rows lacks"."""

from __future__ import annotations

__all__ = ["counted", "part_of"]


def counted(count: int, noun: str, verb: str = "") -> str:
    """A count with its noun, and a verb behind it, in the number that it asks for.

    Args:
        count: how many.
        noun: singular, and behind a slash the plural where that has more than an s: ``copy/copies``.
        verb: singular and plural: ``holds/hold``.
    """
    return f"{count} {_of_number(noun, count)}{_verb(verb, count)}"


def part_of(count: int, whole: int, noun: str, verb: str = "") -> str:
    """The same of some of all: the noun goes with ``whole``, the verb with ``count``."""
    return f"{count} of {whole} {_of_number(noun, whole)}{_verb(verb, count)}"


def _of_number(noun: str, count: int) -> str:
    one, _, many = noun.partition("/")
    return one if count == 1 else many or f"{one}s"


def _verb(verb: str, count: int) -> str:
    one, _, many = verb.partition("/")
    return f" {one if count == 1 else many}" if verb else ""
