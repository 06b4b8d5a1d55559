"""Numbers as spreadsheets and data frames write them: missing values, decimal commas, thousands, booleans."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Literal

from robaudit.errors import UsageError

__all__ = ["LONGEST", "MISSING", "WORDS", "Style", "as_number", "few", "is_missing", "style_of", "whole"]

WORDS = frozenset({"nan", "na", "n/a", "null", "none"})
"""Marks of a missing value that can be the name of a class as well."""
MISSING = WORDS | frozenset(
    {"", "?", "<na>", "-nan", "#n/a", "#n/a n/a", "#na", "nat", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
    | {f"#{error}" for error in ("div/0!", "value!", "ref!", "num!", "name?", "null!")}
)
"""As pandas, R and Excel write them, in lower case."""
LONGEST = 300
"""Characters of a whole number."""
BOOLEANS = {"true": 1.0, "false": 0.0}
PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d*(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
POINT_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+", re.ASCII)
COMMA_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)
BOTH_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+\.\d*", re.ASCII)

Style = Literal["point", "comma"]
"""The decimal mark; the other one may part thousands."""


def is_missing(text: str) -> bool:
    """Whether a cell says that there is no value."""
    return text.strip().lower() in MISSING


def few(bad: int, total: int) -> bool:
    """Whether so few are bad that they cost themselves alone; more of them mean that the whole is misunderstood."""
    return 2 * bad < total and bad <= max(1, total // 5)


def style_of(cells: Iterable[str], where: str) -> Style:
    """The decimal mark of a file, from all its cells that should be numbers.

    Raises:
        UsageError: cells contradict each other, or a number can be read in two ways.
    """
    comma = point = unclear = pointed = None
    grouped = False
    for cell in cells:
        if "," in cell:
            if COMMA_THOUSANDS.fullmatch(cell):
                unclear = unclear or cell
                if cell.count(",") > 1:
                    point = point or cell
            elif BOTH_THOUSANDS.fullmatch(cell):
                point = point or cell
            elif COMMA.fullmatch(cell):
                comma = comma or cell
                grouped |= "." in cell
        elif "." in cell:
            if not POINT_THOUSANDS.fullmatch(cell):
                if cell.count(".") == 1 and PLAIN.fullmatch(cell):
                    point = point or cell
            elif cell.count(".") > 1:
                comma, grouped = comma or cell, True
            else:
                pointed = pointed or cell
    if comma and point:
        raise UsageError(f"{where} writes numbers both as {point} and as {comma}; write all with a decimal point")
    doubtful = (pointed if not grouped else None) if comma else (None if point else unclear)
    if doubtful:
        raise UsageError(
            f"{where} holds {doubtful}, which can be a decimal number or one with thousands apart; write numbers with "
            "a decimal point and nothing between thousands"
        )
    return "comma" if comma else "point"


def as_number(text: str, style: Style = "point") -> float | None:
    """A cell as a number, NaN where it is missing; None where it is none."""
    cell = text.strip().replace("\N{MINUS SIGN}", "-")
    if cell.lower() in MISSING:
        return math.nan
    if style == "comma" and (COMMA.fullmatch(cell) or POINT_THOUSANDS.fullmatch(cell)):
        cell = cell.replace(".", "").replace(",", ".")
    elif style == "point" and (COMMA_THOUSANDS.fullmatch(cell) or BOTH_THOUSANDS.fullmatch(cell)):
        cell = cell.replace(",", "")
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def whole(text: str) -> int | None:
    """The whole number that a label is, such as 2, 2.0, 2,0 or 2.000e+00; None where it is none."""
    cell = text.strip().replace("\N{MINUS SIGN}", "-")
    if len(cell) > LONGEST:
        return None
    if re.fullmatch(r"[+-]?\d+(,0+)?", cell, re.ASCII):
        return int(cell.partition(",")[0])
    if not PLAIN.fullmatch(cell):
        return None
    value = float(cell)
    return int(value) if value.is_integer() else None
