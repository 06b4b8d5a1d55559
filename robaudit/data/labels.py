"""From what a label says to the class it means: one rule for folders, tables, CSV files and arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robaudit.data.class_names import LISTED, Lookup, clean
from robaudit.data.class_numbers import class_numbers, share
from robaudit.data.numbers import WORDS, is_missing, whole
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["Labels", "resolve_labels"]

SORTED = "sorted, assumed"
SYNSET = re.compile(r"n\d{8}")
"""A WordNet number, in whose order ImageNet's classes stand whatever they are called."""


@dataclass(frozen=True)
class Labels:
    """The classes of all samples.

    Args:
        index: [N] int64, -1 for a sample that has none.
        names: of the classes in the order of the model's outputs, or None.
        order: declared, numeric, ``column order, assumed`` or ``sorted, assumed``.
        problems: why a sample has none, as the end of a sentence.
        notes: what was assumed, a sentence each.
    """

    index: NDArray[np.int64]
    names: list[str] | None
    order: str
    problems: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def resolve_labels(
    texts: Sequence[str | None],
    *,
    declared: Sequence[str] | None,
    num_classes: int | None,
    where: str,
    columns: Sequence[str] | None = None,
    empty: Sequence[str] | None = None,
) -> Labels:
    """The class of each sample.

    Declared names, else whole numbers (the class indices), else booleans, else all names in sorted order. A label that
    cannot be costs its sample alone as long as few are so.

    Args:
        texts: label of each sample as it is written; None where another reason than the label rules the sample out.
        declared: names of the classes in the order of the model's outputs.
        num_classes: of the model.
        where: the labels are, for messages.
        columns: names of the classes in the order of one-hot columns.
        empty: names of folders without a sample, where labels are the names of folders.

    Raises:
        UsageError: there is no label; most do not fit; or nothing tells the order of the names.
    """
    cleaned = ["" if text is None else clean(text) for text in texts]
    problems = {i: "has no label" for i, text in enumerate(texts) if text is not None and is_missing(text)}
    missing = _not_classes(cleaned, declared, num_classes)
    given = {i: text for i, text in enumerate(cleaned) if text and text.lower() not in missing}
    problems = {i: reason for i, reason in problems.items() if i not in given}
    known, found = _known(given, declared, where)
    names = list(declared) if declared is not None else None
    notes: list[str] = []
    reasons: dict[str, str] = {}
    if len(found) == len(known):
        order = "declared"
    elif columns is not None and declared is None:
        found, order, names = _by_columns(columns, num_classes, where), "column order, assumed", list(columns)
        notes = ["class numbers follow the order of the columns, which is assumed"]
    elif (numbers := class_numbers(given, num_classes, declared, where, folders=empty is not None)) is not None:
        found, reasons, assumed = numbers
        order = SORTED if assumed is not None else "numeric"
        if assumed is not None:
            names = names or assumed
            notes = [f"the labels {', '.join(assumed)} were taken as the classes in this order, which is assumed"]
    elif declared is not None and (found or not all(map(SYNSET.fullmatch, known)) or len(known) != num_classes):
        order, reasons = "declared", _undeclared(given, found, declared, where)
    else:
        found = _sorted({clean(text): text for text in texts if text}, given, empty or (), num_classes, where)
        order, names = SORTED, names or sorted(found, key=found.__getitem__)
        notes = ["class numbers follow the sorted class names, which is assumed"]
    problems |= {i: reasons[name] for i, name in given.items() if name in reasons}
    index = _placed(len(texts), {i: found[name] for i, name in given.items() if name not in reasons})
    _check_range(index, num_classes, where)
    return Labels(index, names, order, problems, notes)


def _placed(count: int, classes: Mapping[int, int]) -> NDArray[np.int64]:
    """[count] the class of each sample, -1 where it has none."""
    index = np.full(count, -1, dtype=np.int64)
    index[list(classes)] = list(classes.values())
    return index


def _known(given: Mapping[int, str], declared: Sequence[str] | None, where: str) -> tuple[list[str], dict[str, int]]:
    """(all labels, the places of those that are declared names).

    Raises:
        UsageError: there is no label, or one is declared twice.
    """
    if not given:
        raise UsageError(f"{where} holds no label")
    known = list(dict.fromkeys(given.values()))
    lookup = Lookup(declared or ())
    twice = next((name for name in known if lookup.times(name) > 1), None)
    if twice is not None:
        raise UsageError(f"the class {twice!r} in {where} is declared twice; name the classes by number")
    return known, {name: place for name in known if (place := lookup.find(name)) is not None}


def _not_classes(texts: Sequence[str], declared: Sequence[str] | None, num_classes: int | None) -> set[str]:
    """The marks of missing labels; a word such as ``none`` is a class where it is declared or makes up the number."""
    words = {text for text in texts if text.lower() in WORDS}
    named = {text for text in texts if not is_missing(text)}
    lookup = Lookup(declared or ())
    if declared is not None:
        words = {word for word in words if lookup.find(word) is not None}
    elif len(named | words) != num_classes or all(whole(text) is not None for text in named):
        words = set()
    return {text.lower() for text in texts if is_missing(text)} - {word.lower() for word in words}


def _by_columns(columns: Sequence[str], num_classes: int | None, where: str) -> dict[str, int]:
    if num_classes is not None and len(columns) != num_classes:
        raise UsageError(
            f"{where} is one-hot in {len(columns)} columns ({', '.join(columns[:LISTED])}) and the model has "
            f"{num_classes} classes; declare the names of all with --classes"
        )
    return {clean(name): place for place, name in enumerate(columns)}


def _undeclared(
    given: Mapping[int, str], found: Mapping[str, int], declared: Sequence[str], where: str
) -> dict[str, str]:
    """Why labels that nobody declared are no class.

    Raises:
        UsageError: many samples have one.
    """
    unknown = [name for name in dict.fromkeys(given.values()) if name not in found]
    hints = {name: did_you_mean(name, declared) if len(declared) <= LISTED else "" for name in unknown}
    among = f"not among the {len(declared)} declared ones"
    if not share(unknown, given):
        raise UsageError(f"the class {unknown[0]!r} in {where} is {among}{hints[unknown[0]]}")
    return {name: f"has the label {name!r}, which is {among}{hints[name]}" for name in unknown}


def _sorted(
    written: Mapping[str, str], given: Mapping[int, str], empty: Sequence[str], count: int | None, where: str
) -> dict[str, int]:
    """Index of each name in sorted order, of folders without a sample too.

    Raises:
        UsageError: fewer names than classes, or names whose order depends on how their accents are encoded.
    """
    known = set(given.values())
    written = {clean(name): name for name in empty} | {name: written[name] for name in known}
    every = sorted(written)
    names = every if count is None or len(every) == count else sorted(known)
    if count is not None and len(names) != count:
        listed = ", ".join(every[:LISTED]) + (", ..." if len(every) > LISTED else "")
        raise UsageError(
            f"{where} has {len(every)} classes by name and the model has {count}, so their order is unknown (classes: "
            f"{listed}); name them by class number, or declare their names with --classes"
        )
    if names != sorted(names, key=written.__getitem__):
        raise UsageError(
            f"the order of the classes in {where} depends on how accents are encoded; declare the names with --classes"
        )
    return {name: place for place, name in enumerate(names)}


def _check_range(index: NDArray[np.int64], count: int | None, where: str) -> None:
    if count is not None and index.size and index.max() >= count:
        raise UsageError(f"label {index.max()} in {where} is out of range: the model has {count} classes")
