"""Labels that are numbers: the indices of classes, unless they cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from robaudit.data.class_names import LISTED, Lookup
from robaudit.data.numbers import LONGEST, as_number, few, is_missing, whole
from robaudit.errors import UsageError

__all__ = ["class_numbers", "share"]

BOOLEANS = {"false": 0, "true": 1}
NO_CLASS = "has the label -1, which means none"


def class_numbers(
    given: Mapping[int, str],
    count: int | None,
    declared: Sequence[str] | None,
    where: str,
    *,
    folders: bool,
) -> tuple[dict[str, int], dict[str, str], list[str] | None] | None:
    """(index of each text, why others have none, names in the order that is assumed); None where labels are names.

    Args:
        given: label of each sample that has one.
        count: of the model's classes.
        declared: names of the classes.
        where: the labels are, for messages.
        folders: they are names of folders, where 0.5 is a name.

    Raises:
        UsageError: numbers that cannot be class indices.
    """
    known = dict.fromkeys(given.values())
    if {name.casefold() for name in known} <= BOOLEANS.keys() and count in (None, 2):
        return {name: BOOLEANS[name.casefold()] for name in known}, {}, None
    values = {name: value for name in known if (value := whole(name)) is not None}
    odd = [name for name in given.values() if name not in values]
    for name in () if folders else odd:
        if _is_number(name):
            number = next(i for i, text in given.items() if text == name)
            raise UsageError(f"the labels in {where} must be whole numbers or names; number {number} is {name}")
    if odd and (not few(len(odd), len(given)) or (declared is None and len(known) == count)):
        return None
    reasons = {name: f"has the label {name[:40]!r}, and the others have numbers" for name in odd}
    distinct = sorted(set(values.values()))
    if count == 2 and distinct == [-1, 1]:
        return {name: int(value > 0) for name, value in values.items()}, reasons, ["-1", "1"]
    if count is not None and count > 2 and distinct == [*range(-1, count - 1)]:
        raise UsageError(
            f"the labels in {where} go from -1 to {count - 2}: -1 can be one of the {count} classes, or no label; "
            "declare the classes with --classes, or leave the label out where there is none"
        )
    reasons |= {name: NO_CLASS for name, value in values.items() if value == -1}
    values = {name: value for name, value in values.items() if value != -1}
    if not values:
        raise UsageError(f"every label in {where} is -1, which means none")
    if declared is not None and all(whole(name) is not None for name in declared):
        return *_among(values, reasons, given, declared, where), None
    wrong = [name for name, value in values.items() if value < 0 or (count is not None and value >= count)]
    shifted = max(values.values()) == count and min(values.values()) >= 1
    told = "" if count is None else f"the model has {count} classes"
    if wrong and (shifted or not share(wrong, given)):
        hint = "; do they start at 1? Then declare their names with --classes" if shifted else ""
        worst = min(wrong, key=lambda name: (values[name] >= 0, -abs(values[name])))
        raise UsageError(f"label {values[worst]} in {where} is out of range{told and ': '}{told}{hint}")
    reasons |= {name: f"has the label {name}{told and ', and '}{told}" for name in wrong}
    return {name: value for name, value in values.items() if name not in reasons}, reasons, None


def _among(
    values: Mapping[str, int], reasons: dict[str, str], given: Mapping[int, str], declared: Sequence[str], where: str
) -> tuple[dict[str, int], dict[str, str]]:
    """Numbers by declared names that are numbers.

    Raises:
        UsageError: one is not declared, and can be an index as well.
    """
    lookup = Lookup(declared)
    found = {name: place for name in values if (place := lookup.find(name)) is not None}
    stray = [name for name in values if name not in found]
    hint = f"the declared classes are {', '.join(declared[:LISTED])}"
    if not share(stray, given) or all(0 <= value < len(declared) for value in values.values()):
        raise UsageError(f"the label {stray[0]} in {where} is not declared: {hint}")
    return found, reasons | {name: f"has the label {name}, and {hint}" for name in stray}


def share(names: Sequence[str], given: Mapping[int, str]) -> bool:
    """Whether few samples have one of these labels, and hardly any the same: not a class that the model lacks."""
    counts = Counter(name for name in given.values() if name in names)
    return few(counts.total(), len(given)) and max(counts.values()) <= max(1, len(given) // 20)


def _is_number(text: str) -> bool:
    value = as_number(text, "comma" if "," in text else "point")
    return value is not None and not is_missing(text) and len(text) <= LONGEST
