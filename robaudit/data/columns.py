"""What the columns of delimited text are, by their names: which one holds the labels, which one only counts rows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from robaudit.data.class_names import Lookup
from robaudit.data.delimited import composed
from robaudit.data.numbers import as_number, few, is_missing, whole
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = [
    "FILES",
    "LABELS",
    "LISTED",
    "counts_rows",
    "first_twice",
    "key",
    "label_place",
    "listed",
    "named",
    "to_name",
]

LISTED = 12
"""Columns named in a message."""
FILES = (
    *(
        "file",
        "filename",
        "filepath",
        "path",
        "fullpath",
        "relativepath",
        "image",
        "imagefile",
        "imagename",
        "imagepath",
    ),
    *("imageid", "img", "imgname", "imgpath", "imgfile", "imgid", "picture", "photo", "fname", "id", "name", "sample"),
)
"""Names of the column with the files of images, the likeliest first."""
SURE = ("label", "labels", "class", "category", "classlabel", "labelname", "classname", "categoryname")
NUMBERED = ("labelid", "classid", "categoryid", "labelindex", "classindex", "labelidx", "classidx", "labelencoded")
LIKELY = ("target", "groundtruth", "gt", "truelabel", "outcome", "diagnosis", "species", "breed", "dx", "tag", "cls")
LABELS: Mapping[str, int] = {
    **dict.fromkeys((*SURE, *NUMBERED, "classes", "categories"), 0),
    **dict.fromkeys(("y", "ytrue", "targets", "targetname", *LIKELY), 1),
}
"""Names of the column with the labels, and how sure each is: 0 is surest."""
COUNTERS = ("", "id", "index", "idx", "row", "rowindex", "rownumber", "rownames", "uid", "uuid", "guid")
OF_ONE = re.compile(r"(^|[_\s-])id$|(?<=[a-z])I[dD]$")
"""The name of an identifier, such as ``patient_id``."""


def key(name: str) -> str:
    """A column's name without case, spaces and marks; empty for one that pandas made up."""
    short = re.sub(r"[\W_]+", "", name.casefold())
    return "" if re.fullmatch(r"unnamed\d+(level\d+)?", short) else short


def first_twice(names: Iterable[str]) -> str | None:
    """The first name that is there twice; empty names do not count."""
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            return name
        seen.add(name)
    return None


def listed(header: Sequence[str]) -> str:
    """The names of columns, for a message."""
    names = [name or "(no name)" for name in header[:LISTED]]
    return ", ".join(names) + (", ..." if len(header) > LISTED else "")


def named(header: Sequence[str], wanted: str, where: str) -> int:
    """Place of the column that the user names, in any case if that is unique.

    Raises:
        UsageError: there is none.
    """
    wanted = composed(wanted)  # as the header is
    if wanted in header:
        return list(header).index(wanted)
    places = [i for i, name in enumerate(header) if name.casefold() == wanted.casefold()]
    if len(places) != 1:
        hint = did_you_mean(wanted, header)
        raise UsageError(f"{where} has no column {wanted!r}{hint} (it has: {listed(header)})")
    return places[0]


def to_name(header: Sequence[str], columns: Sequence[Sequence[str]], among: Sequence[int]) -> str:
    """What to do where no name tells which column holds the labels: the very flag, where only one column can.

    Args:
        header: names of all columns.
        columns: their cells.
        among: places that may hold labels.
    """
    given = [i for i in among if key(header[i])]
    words = [i for i in given if any(as_number(cell) is None for cell in columns[i])]
    only = given if len(given) == 1 else words if len(words) == 1 else []
    flag = f"--label-column {shlex.quote(header[only[0]])}, if that is it" if only else "--label-column"
    return f"name it with {flag} (columns: {listed(header)})"


def counts_rows(name: str, cells: Sequence[str]) -> bool:
    """Whether a column only tells rows apart: by its name, with another whole number or name in every row."""
    given = [cell for cell in cells if not is_missing(cell)]
    if (key(name) not in COUNTERS and not OF_ONE.search(name)) or not few(len(cells) - len(given), len(cells)):
        return False
    numbers = [whole(cell) for cell in given]
    return len(set(given)) == len(given) and (None not in numbers or all(n is None for n in numbers))


def label_place(
    header: Sequence[str],
    columns: Sequence[Sequence[str]],
    among: Sequence[int],
    where: str,
    *,
    declared: Sequence[str] | None,
    sure_first: bool,
) -> tuple[int, list[int]] | None:
    """(place of the column with the labels, places of those that say the same otherwise); None where no name tells.

    Args:
        header: names of all columns.
        columns: their cells.
        among: places that may hold labels.
        where: they are, for messages.
        declared: names of the classes, which decide between a column of numbers and one of names.
        sure_first: a sure name wins over a likely one, as where no column is a feature.

    Raises:
        UsageError: several columns may hold the labels, and do not say the same.
    """
    ranks = {place: LABELS[key(header[place])] for place in among if key(header[place]) in LABELS}
    best = [place for place, rank in ranks.items() if not sure_first or rank == min(ranks.values())]
    if not best:
        return None
    if len(best) > 1 and any(not _same(columns[best[0]], columns[place]) for place in best[1:]):
        found = ", ".join(header[place] for place in best)
        raise UsageError(f"several columns of {where} may hold the labels ({found}); name one with --label-column")
    cells = {place: {cell for cell in columns[place] if not is_missing(cell)} for place in best}
    lookup = Lookup(declared or ())
    named = [place for place in best if cells[place] and all(lookup.find(cell) is not None for cell in cells[place])]
    numbers = [place for place in best if all(whole(cell) is not None for cell in cells[place])]
    place = (named or numbers or best)[0]
    return place, [other for other in best if other != place]


def _same(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two columns name the same classes, each in its own way."""
    pairs = {(a, b) for a, b in zip(first, second, strict=True) if not is_missing(a) and not is_missing(b)}
    numbers = [(whole(a), whole(b)) for a, b in pairs]
    if all(a is not None and b is not None for a, b in numbers):
        return all(a == b for a, b in numbers)
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
