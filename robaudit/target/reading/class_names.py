"""Class names that are written down: in a file's own metadata, and in files beside it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robaudit.documents import parse_json
from robaudit.target.inputs.beside import read_beside

__all__ = ["ClassNames", "declared_names", "files_with_names", "names_in"]

KEYS = (
    "robaudit.classes", "names", "classes", "class_names", "labels", "label_names", "id2label", "label2id",
    "idx_to_class", "class_to_idx", "class_indices", "categories",
)  # fmt: skip
"""Where tools write class names, the most trusted first: ours, Ultralytics', and what is in use at large."""
LISTS = (
    "labels.txt", "classes.txt", "class_names.txt", "labels.json", "classes.json", "class_names.json",
    "class_indices.json", "imagenet_classes.txt", "imagenet_class_index.json", "synset.txt",
)  # fmt: skip
"""Files beside a model that hold nothing else; also with the model's own name before it, as in ``MODEL.labels.txt``."""
MOST = 2**20
"""Bytes of names that are read."""
LARGEST = 1e18
"""Number that is a name."""
NUMBERED = re.compile(r"(\d{1,9})[\s:,=]+(\S.*)")
SYNSET = re.compile(r"(n\d{8})\s+\S")


@dataclass(frozen=True)
class ClassNames:
    """Names of the classes.

    Args:
        names: in the order of the outputs; None where none were found that fit.
        origin: where.
        note: what was found and is not used, in words.
    """

    names: list[str] | None = None
    origin: str = ""
    note: str | None = None


def declared_names(path: Path, metadata: Mapping[str, str], count: int) -> ClassNames:
    """The first names found: in the metadata, in ``config.json`` beside the model or one folder above, in a list.

    Names by default (``LABEL_0``) say nothing. Those of another number are not used, which is told.

    Args:
        path: of the model.
        metadata: of the file itself.
        count: its classes.
    """
    note = None
    for origin, names in _found(path, metadata):
        if len(names) < 2 or all(name == f"LABEL_{i}" for i, name in enumerate(names)):
            continue  # one word, such as a count, is no list
        if len(names) == count:
            return ClassNames(names, origin, note)
        note = note or _misfit(origin, len(names), count)
    return ClassNames(note=note)


def files_with_names(path: Path) -> list[Path]:
    """Files beside a model that are looked at for names, whether they are there or not."""
    folders = path.parent, path.parent.absolute().parent
    return [*(folder / "config.json" for folder in folders), *(path.parent / name for name in _lists(path))]


def _lists(path: Path) -> tuple[str, ...]:
    return *(f"{path.stem}.{name}" for name in LISTS), *LISTS


def _misfit(origin: str, found: int, count: int) -> str:
    note = f"the {origin} has {found} class names and the model {count} classes: they are not used"
    if found + 1 == count:
        note += (
            "; a model with one more may count a background class first, so that every other number is one higher than "
            "in the list: say so with --classes"
        )
    return note


def _found(path: Path, metadata: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    folded = {key.lower(): value for key, value in metadata.items()}
    for key in KEYS:
        if key in folded and (names := names_in(folded[key])):
            yield f"metadata ({key})", names
    for folder, shown in ((path.parent, ""), (path.parent.absolute().parent, "../")):
        content = read_beside(folder / "config.json", MOST)
        values: Any = _value(content) if content is not None else None
        if isinstance(values, dict):
            nested = values.get("pretrained_cfg")
            for table in (values, nested if isinstance(nested, dict) else {}):
                for key in KEYS:
                    if key in table and (names := _names(table[key])):
                        yield f"{shown}config.json ({key})", names
    for name in _lists(path):
        content = read_beside(path.parent / name, MOST)
        if content is not None and (names := names_in(content)):
            yield f"file {name}", names


def _value(text: str) -> Any:
    """JSON, or a Python literal as ``str`` of a dictionary writes it; None for other text."""
    if len(text) > MOST:
        return None
    try:
        return parse_json(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def names_in(text: str) -> list[str] | None:
    """Class names in a text: JSON or a Python literal, else one a line, else separated by commas."""
    if text.lstrip()[:1] in ("{", "[", "("):
        return _names(_value(text))
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) == 1:
        lines = [name.strip() for name in re.split(r"[,;]", lines[0]) if name.strip()]
    return _unnumbered(lines) or None


def _unnumbered(lines: list[str]) -> list[str]:
    """Without the numbers 0, 1, 2 and so on, or WordNet's numbers alone where they begin each line."""
    matches = [NUMBERED.fullmatch(line) for line in lines]
    if all(matches) and [int(m[1]) for m in matches if m] == list(range(len(lines))):
        return [m[2].strip() for m in matches if m]
    synsets = [SYNSET.match(line) for line in lines]
    return [m[1] for m in synsets if m] if all(synsets) else lines


def _names(value: Any) -> list[str] | None:
    """Names in a list, or in a table from number to name or from name to number; None where that is not what it is."""
    if isinstance(value, str):
        return names_in(value) if value.strip() else None
    if isinstance(value, Mapping):
        return _from_table(list(value.items()))
    if not isinstance(value, Sequence) or not value:
        return None
    if all(isinstance(v, Mapping) and "name" in v for v in value):
        if all("id" in v for v in value):
            return _from_table([(v["id"], v["name"]) for v in value])
        value = [v["name"] for v in value]
    names = [_word(v) for v in value]
    return None if None in names else [name for name in names if name is not None]


def _from_table(table: Sequence[tuple[Any, Any]]) -> list[str] | None:
    """Names in the order of their numbers, first or last in each row; a number left out is a name itself."""
    ways = [
        {index: _name(v) for key, v in table if (index := _index(key)) is not None},
        {index: _name(key) for key, v in table if (index := _index(v)) is not None},
    ]
    whole = [way for way in ways if way and len(way) == len(table) and None not in way.values()]
    # {"1": 0, "2": 1} numbers classes that are called by numbers: no class is left out then
    found = next((way for way in whole if max(way) == len(way) - 1), whole[0] if whole else None)
    if found is None or max(found) > MOST:
        return None
    return [found.get(i) or str(i) for i in range(max(found) + 1)]


def _index(value: Any) -> int | None:
    """A class number; None for what is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else None


def _name(value: Any) -> str | None:
    """One class; of a list, such as ``["n01440764", "tench"]``, the first."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return _word(value)


def _word(value: Any) -> str | None:
    """A text, or a number of no more digits than a name can have; None for anything else."""
    if isinstance(value, int | float):
        return str(value) if abs(value) < LARGEST else None
    return value if isinstance(value, str) else None
