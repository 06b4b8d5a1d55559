"""The range of each feature of a table: the box in which its perturbations are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.columns import first_twice
from robaudit.data.delimited import read_sheet
from robaudit.data.numbers import as_number, few, style_of
from robaudit.documents import read_yaml
from robaudit.errors import UsageError
from robaudit.files import MIB
from robaudit.suggest import did_you_mean

__all__ = ["Ranges", "observed_ranges", "read_ranges"]

MOST = MIB
"""Bytes of YAML; a table of so many features is better described in CSV."""
COLUMNS = ("name", "low", "high", "immutable", "integer")
YES = {"1": True, "true": True, "yes": True, "y": True, "x": True}
NO = {"": False, "0": False, "false": False, "no": False, "n": False}


@dataclass(frozen=True)
class Ranges:
    """Features in the order in which the model takes them.

    Args:
        names: of the columns.
        low, high: smallest and largest value, in the file's units; equal for a feature that is constant.
        immutable: the attacker cannot change it.
        integer: it holds whole numbers alone.
        guessed: names of those whose ends were taken from the data, as nobody says them.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    immutable: tuple[bool, ...]
    integer: tuple[bool, ...]
    guessed: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def observed(self) -> bool:
        """Whether all were taken from the data."""
        return len(self.guessed) == len(self.names)

    @property
    def fixed(self) -> tuple[int, ...]:
        """Places of the features that never change: immutable or constant."""
        rows = zip(self.low, self.high, self.immutable, strict=True)
        return tuple(i for i, (low, high, immutable) in enumerate(rows) if immutable or low == high)

    def ordered(self, names: Sequence[str], where: str, rest: Ranges) -> Ranges:
        """The same in the order of a table's columns.

        Args:
            names: of the columns.
            where: they are.
            rest: as observed, for the columns that have no range here.

        Raises:
            UsageError: a range has no column.
        """
        known, mine, others = set(names), _places(self.names), _places(rest.names)
        for name in self.names:
            if name not in known:
                raise UsageError(f"the ranges name {name!r}, which is no feature of {where}{did_you_mean(name, names)}")
        told = [(self, mine[n]) if n in mine else (rest, others[n]) for n in names]
        return Ranges(
            tuple(names),
            low=tuple(ranges.low[place] for ranges, place in told),
            high=tuple(ranges.high[place] for ranges, place in told),
            immutable=tuple(ranges.immutable[place] for ranges, place in told),
            integer=tuple(ranges.integer[place] for ranges, place in told),
            guessed=tuple(name for name in names if name not in mine),
        )

    def check(self, values: NDArray[Any], row: Callable[[int], str]) -> dict[int, str]:
        """Values that cannot be what their ranges say: few cost their rows alone. NaN and infinity say nothing.

        Args:
            values: [N, F].
            row: names a row.

        Returns:
            Why a row cannot be used, as the end of a sentence.

        Raises:
            UsageError: many rows hold a value outside of its range, or one that is not whole and should be.
        """
        low, high = np.array(self.low), np.array(self.high)
        slack = 1e-6 * np.where(high > low, high - low, np.maximum(np.abs(low), 1.0))
        finite = np.isfinite(values)
        out = ((values < low - slack) | (values > high + slack)) & finite
        broken = (values != np.floor(values)) & np.array(self.integer) & finite
        found: dict[int, tuple[str, str, str]] = {}
        for i, j in np.argwhere(out | broken).tolist():
            span = f"outside of its range [{self.low[j]:g}, {self.high[j]:g}]"
            why = span if out[i, j] else "and its range says whole numbers"
            found.setdefault(i, (self.names[j], f"{values[i, j]:g}", why))
        if found and not few(len(found), len(values)):
            first = min(found)
            name, value, why = found[first]
            more = f" ({len(found)} of {len(values)} rows are so)" if len(found) > 1 else ""
            raise UsageError(f"{row(first)}: {name} is {value}, {why}{more}")
        return {i: f"has {value} for {name}, {why}" for i, (name, value, why) in found.items()}


def _places(names: Sequence[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


def observed_ranges(names: Sequence[str], values: NDArray[np.float64], where: str) -> Ranges:
    """From the lowest to the highest value of each column; NaN and infinity left out.

    Raises:
        UsageError: a column without a value.
    """
    finite = np.isfinite(values)
    for name, any_value in zip(names, np.any(finite, axis=0), strict=True):
        if not any_value:
            raise UsageError(f"the column {name!r} of {where} holds no value")
    low = np.where(finite, values, np.inf).min(0)
    high = np.where(finite, values, -np.inf).max(0)
    no = (False,) * len(names)
    return Ranges(tuple(names), tuple(low.tolist()), tuple(high.tolist()), no, no, guessed=tuple(names))


def read_ranges(path: Path) -> Ranges:
    """Ranges as CSV with the columns name, low, high and, if wanted, immutable and integer; or as YAML, a map from
    name to ``[low, high]`` or to a map of those keys.

    Raises:
        UsageError: the file cannot be read or understood.
    """
    rows = _from_yaml(path) if path.suffix.lower() in (".yaml", ".yml") else _from_csv(path)
    if not rows:
        raise UsageError(f"{path} holds no range")
    names = [name for _, name, _ in rows]
    twice = first_twice(names)
    if twice is not None:
        raise UsageError(f"{path} gives the range of {twice!r} twice")
    found = [_row(*row) for row in rows]
    low, high, immutable, integer = zip(*found, strict=True)
    return Ranges(tuple(names), low, high, immutable, integer)


def _from_csv(path: Path) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(place in the file, name of the feature, content) of each range."""
    sheet = read_sheet(path, "ranges")
    if sheet.broken:  # a range that is not read would be taken from the data
        line, flaw = next(iter(sheet.broken.items()))
        raise UsageError(f"the ranges {path} cannot be read: line {line} {flaw}")
    header = [cell.lower() for cell in sheet.rows[0][1]]
    unknown = next((cell for cell in header if cell not in COLUMNS), None)
    if unknown is not None or not {"name", "low", "high"} <= set(header):
        what = f"not {unknown!r}" if unknown is not None else f"and it has {', '.join(header) or 'none'}"
        raise UsageError(f"{path} must have the columns name,low,high and may have immutable,integer, {what}")
    rows: list[tuple[str, str, Mapping[str, Any]]] = []
    decimals = (cell for _, cells in sheet.rows[1:] for cell in cells[1:] if "," in cell or "." in cell)
    style = style_of(decimals, str(path))
    for at, cells in sheet.rows[1:]:
        place = f"line {at} of {path}"
        row: dict[str, Any] = dict(zip(header, cells, strict=False))
        if len(cells) > len(header) or not row.get("name"):
            raise UsageError(f"{place}: {','.join(cells)!r} is no row of {','.join(header)}")
        for key in ("low", "high"):
            number = as_number(row.get(key, ""), style)
            row[key] = row.get(key, "") if number is None or math.isnan(number) else number
        rows.append((place, row.pop("name"), row))
    return rows


def _from_yaml(path: Path) -> list[tuple[str, str, Mapping[str, Any]]]:
    """As :func:`_from_csv`."""
    document = read_yaml(path, MOST)
    content = document.content
    if not isinstance(content, dict):
        raise UsageError(f"{path} must map the name of each feature to [low, high]")
    rows: list[tuple[str, str, Mapping[str, Any]]] = []
    for name, value in content.items():
        if isinstance(value, list) and len(value) == 2:
            value = {"low": value[0], "high": value[1]}
        if not isinstance(value, dict) or not set(value) <= set(COLUMNS[1:]):
            place = document.where((name,))
            raise UsageError(f"{place}: {name} must be [low, high], or low, high, immutable and integer")
        rows.append((document.where((name,)), str(name), value))
    return rows


def _row(place: str, name: str, content: Mapping[str, Any]) -> tuple[float, float, bool, bool]:
    ends = []
    for key in ("low", "high"):
        try:
            ends.append(float(content[key]))
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"{place}: {key} of {name!r} must be a number, not {content.get(key, '')!r}") from None
    low, high = ends
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise UsageError(f"{place}: the range [{low:g}, {high:g}] of {name!r} must be finite, low first")
    flags = {}
    for key in ("immutable", "integer"):
        text = str(content.get(key, "")).strip().lower()
        if text not in YES | NO:
            raise UsageError(f"{place}: {key} of {name!r} must be yes or no, not {content[key]!r}")
        flags[key] = (YES | NO)[text]
    if flags["integer"] and not (low.is_integer() and high.is_integer()):
        raise UsageError(f"{place}: the range [{low:g}, {high:g}] of {name!r} must end on whole numbers")
    return low, high, flags["immutable"], flags["integer"]
