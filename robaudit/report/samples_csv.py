"""CSV of samples: a row each, for a spreadsheet or a data frame; text that a spreadsheet would run is defused."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from robaudit.audit.result.document import NORMS, Result, Sample
from robaudit.printable import printable
from robaudit.report.base import Format
from robaudit.report.paths import relative_path, without_folders

__all__ = ["COLUMNS", "FORMAT", "render"]

Cell: TypeAlias = str | int | float | None

COLUMNS = (
    "index",
    "id",
    "label",
    "label_name",
    "clean_prediction",
    "clean_correct",
    "broken",
    "broken_by",
    "adversarial_prediction",
    "adversarial_name",
    "distance",
    "distance_8bit",
    "smallest_distance",
    "smallest_by",
    "queries",
    "targets",
    "reached",
    "left_out",
    "error",
)
SIGNS = "=+@-" + "\uff1d\uff0b\uff20\uff0d" + "\ufe66\ufe62\ufe6b\ufe63"
"""How a cell starts that a spreadsheet takes for a formula: signs of any width, which some of them read alike."""
SPLITS = ";,|" + "\u037e\uff1b\uff0c\uff5c"
"""Where a cell may be split: the Greek question mark is a semicolon to whatever normalises text."""
RUNS = re.compile(rf'(?:^|(?<=[{SPLITS}]))(?=[\s"]*[{re.escape(SIGNS)}])')
"""Where a cell would run. Where the comma is the decimal mark, spreadsheets split at semicolons, within a cell too."""


def render(result: Result, run: Path | None = None) -> str:
    """A header and a row a sample, in data order; of several norms also how it fell in each; what was proved of it; and
    what it cost at each access."""
    norms = [norm for norm in NORMS if any(outcome.norm == norm for outcome in result.threats)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    extra = [f"{name}_{norm}" for norm in norms for name in ("broken_by", "distance")]
    certificates = [entry.id for entry in result.certified.certificates] if result.certified is not None else []
    extra += [f"{name}_{id}" for id in certificates for name in ("proved", "margin")]
    curves = [(each.norm, curve) for each in result.secrecy for curve in each.curves if curve.queries is not None]
    costs = {(norm, curve.access): curve.attacks for norm, curve in curves}
    extra += [f"queries_{access}_{norm}" if norms else f"queries_{access}" for norm, access in costs]
    writer.writerow([*COLUMNS, *extra])
    for sample in result.samples:
        told = _breaches(sample, norms), _proofs(sample, certificates), _costs(sample, costs.values())
        cells = (*_row(result, sample), *itertools.chain(*told))
        writer.writerow([_cell(value) for value in cells])
    return buffer.getvalue()


def _row(result: Result, sample: Sample) -> tuple[Cell, ...]:
    known = sample.clean_prediction is not None and sample.label is not None
    return (
        sample.index,
        relative_path(sample.id),
        sample.label,
        _name(result, sample.label),
        sample.clean_prediction,
        str(sample.correct).lower() if known else None,
        str(sample.broken_by is not None).lower(),
        sample.broken_by,
        sample.adversarial_prediction,
        _name(result, sample.adversarial_prediction),
        sample.distance,
        sample.distance_8bit,
        sample.smallest_distance,
        sample.smallest_by,
        sample.queries,
        " ".join(map(str, sample.targets)),
        " ".join(map(str, sample.reached)),
        sample.left_out,
        sample.error,
    )


def _breaches(sample: Sample, norms: Sequence[str]) -> list[Cell]:
    found = {breach.norm: breach for breach in sample.breaches}
    cells: list[Cell] = []
    for norm in norms:
        breach = found.get(norm)  # type: ignore[call-overload]
        cells += [breach.attack, breach.distance] if breach is not None else [None, None]
    return cells


def _proofs(sample: Sample, certificates: list[str]) -> list[Cell]:
    found = {entry.by: entry for entry in sample.certified}
    cells: list[Cell] = []
    for id in certificates:
        entry = found.get(id)
        cells += [str(entry.proved).lower(), entry.margin] if entry is not None else [None, None]
    return cells


def _costs(sample: Sample, cascades: Iterable[Sequence[str]]) -> list[Cell]:
    """Queries until it fell along each access's cascade; empty where it did not."""
    found = {price.attack: price.queries for price in sample.prices}
    return [next((found[attack] for attack in attacks if attack in found), None) for attacks in cascades]


def _name(result: Result, index: int | None) -> str | None:
    names = result.data.classes or ()
    return names[index] if index is not None and 0 <= index < len(names) else None


def _cell(value: Cell) -> str:
    """A cell: numbers so that they read back the same, text on one line and never a formula."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return repr(value)
    text = printable(" ".join(without_folders(value).split()))
    return RUNS.sub("'", text)  # what spreadsheets take as "this is text"; nothing before a sign hides it from them


FORMAT = Format(
    name="CSV",
    suffixes=(".csv",),
    help="a row for each sample",
    render=render,
)
