"""Defenses by name: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import robaudit.defenses
from robaudit.defenses.base import Defense
from robaudit.errors import UsageError
from robaudit.extensions import classes_by_id, made_of, parameters_of, words_of, written
from robaudit.target.inputs.meaning import InputMeaning

__all__ = [
    "chained",
    "defense_classes",
    "fitted",
    "make_defense",
    "named_files",
    "parse_chain",
    "parse_defense",
    "rooted",
    "words_of",
    "words_of_chain",
]

ENTRY_POINT = "robaudit.defenses"
NEXT = re.compile(r"\+(?=\s*[a-z][a-z0-9-]*\s*(?:[:+]|$))")
"""Between two defenses of a chain: a plus sign before a name, and not one in a number or a file's name."""


@functools.cache
def defense_classes() -> dict[str, type[Defense]]:
    """Every defense by id, ours first.

    Raises:
        UsageError: an installed package's defense cannot be imported, is no defense, or takes a used id.
    """
    return classes_by_id(Defense, "defense", robaudit.defenses, ENTRY_POINT)


def make_defense(id: str, parameters: Mapping[str, Any]) -> Defense:
    """A defense with its parameters checked.

    Raises:
        UsageError: unknown defense or parameter, or a value out of range, in one sentence.
    """
    defense: Defense = made_of("defense", defense_classes(), id, parameters)
    return defense


def parse_defense(text: str) -> Defense:
    """A defense as settings name it: ``bits``, with its first parameter ``bits:4``, or with parameters by name
    ``bits:depth=4``, several apart by commas.

    Raises:
        UsageError: as :func:`make_defense`, or it is written otherwise.
    """
    return make_defense(*written(text, "a defense is written as bits, bits:4 or bits:depth=4", lone=True))


def parse_chain(text: str) -> tuple[Defense, ...]:
    """Defenses in the order in which an input meets them, with plus signs between them: ``jpeg:75+bits:4``.

    Raises:
        UsageError: as :func:`parse_defense`.
    """
    return tuple(map(parse_defense, NEXT.split(text)))


def chained(texts: Sequence[str]) -> str:
    """The chain of several chains."""
    return "+".join(texts)


def words_of_chain(chain: Sequence[Defense], *, files: bool = True) -> str:
    """A chain as settings name it, with all parameters, or without those that name files."""
    words = []
    for one in chain:
        kept = {name: value for name, value in parameters_of(one).items() if files or name not in one.files}
        words.append(words_of(one.id, kept))
    return chained(words)


def fitted(defense: Defense, meaning: InputMeaning, *, trust: bool = False) -> Defense:
    """A defense, ready to stand before inputs of a meaning; ``trust``: see :meth:`Defense.ready`.

    Raises:
        UsageError: it does not apply to them, or needs what is not there.
    """
    if (why := defense.unsuited(meaning)) is not None:
        raise UsageError(f"the defense {defense.id} does not apply: {why}")
    return defense.ready(meaning, trust=trust)


def named_files(chain: Sequence[Defense]) -> list[Path]:
    """The files that defenses name."""
    return [Path(getattr(one, name)) for one in chain for name in one.files]


def rooted(text: str, folder: Path) -> str:
    """A chain whose files are named from a folder."""
    chain = [
        dataclasses.replace(one, **{name: str(folder / Path(getattr(one, name)).expanduser()) for name in one.files})  # type: ignore[type-var]
        for one in parse_chain(text)
    ]
    return words_of_chain(chain)
