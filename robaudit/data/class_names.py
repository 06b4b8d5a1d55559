"""Class names, compared in one form."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.data.delimited import composed
from robaudit.data.numbers import whole

__all__ = ["LISTED", "Lookup", "clean", "find_class"]

LISTED = 20
"""Most names in a message, and among which the one that was meant is looked for."""


def clean(text: str) -> str:
    """A name in the form in which names are compared."""
    return composed(text).strip()


def _folded(text: str) -> str:
    return " ".join(clean(text).casefold().replace("_", " ").split())


class Lookup:
    """Declared names by their composed form, else by their number, else in any case if that is unique.

    Spaces may be underscores then, and of synonyms such as ``tench, Tinca tinca`` the first will do.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.exact: dict[str, list[int]] = {}
        self.number: dict[int, list[int]] = {}
        self.folded: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            self.exact.setdefault(clean(name), []).append(place)
            for key in dict.fromkeys((_folded(name), _folded(name.partition(",")[0]))):
                self.folded.setdefault(key, []).append(place)
            if (value := whole(name)) is not None:
                self.number.setdefault(value, []).append(place)

    def _places(self, text: str) -> list[int]:
        name, value = clean(text), whole(text)
        if name in self.exact:
            return self.exact[name]
        if value is not None and value in self.number:
            return self.number[value]
        places = self.folded.get(_folded(name), [])
        return places if len(places) == 1 else []

    def times(self, text: str) -> int:
        """How many classes have that name."""
        return len(self._places(text))

    def find(self, text: str) -> int | None:
        """Place of the one class with that name."""
        places = self._places(text)
        return places[0] if len(places) == 1 else None


def find_class(text: str, names: Sequence[str] | None, count: int) -> int | None:
    """The class that a name or a number names; a name comes first. None where there is none, or several.

    Args:
        text: as written.
        names: of the classes, or None; if all are numbers, a number is a name.
        count: number of classes, numbered from 0.
    """
    lookup = Lookup(names or ())
    number = whole(text)
    if lookup.times(text) or number is None or (names and all(whole(name) is not None for name in names)):
        return lookup.find(text)
    return number if 0 <= number < count else None
