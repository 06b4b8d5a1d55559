"""Delimited text as spreadsheets, data frames and R write it: one reader for tables, labels of images and ranges."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from robaudit.data.numbers import few
from robaudit.errors import UsageError, reason
from robaudit.files import open_regular
from robaudit.memory import afford

__all__ = ["Sheet", "check_size", "composed", "decode", "read_sheet"]

BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
MAGIC = {
    b"PK\x03\x04": "a zip archive, such as an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"SQLite": "a database",
}
DELIMITERS = ("\t", ";", "|", ",")
"""In the order in which equals are preferred: a comma may be a decimal comma."""
GROWTH = 25
"""Bytes of memory that a byte of text takes as rows of cells."""
PART = 2**24
"""Bytes unpacked together."""
LONGEST = 2**17
"""Characters of a cell that are kept; no number and no name has as many."""
LOOKED_AT = 1000
"""Rows that decide the delimiter."""
NAMED = 3
"""Broken lines that notes name."""
OPENED = re.compile(r' *"')
QUOTED = re.compile(r' *"(?:[^"]|"")*"')


@dataclass(frozen=True)
class Sheet:
    """Rows of text, before anyone says what the first of them is.

    Args:
        path: of the file.
        rows: (line in the file, cells without space around them); blank rows are skipped.
        delimiter: between cells.
        digest: SHA-256 of the file.
        comment: cells of the last comment line before the first row, which may be the header; None without one.
        notes: what is worth saying of how it was read.
        broken: what is wrong in lines that are no rows, as the end of a sentence, by their number; few are so.
    """

    path: Path
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    delimiter: str
    digest: str
    comment: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    broken: Mapping[int, str] = field(default_factory=dict)

    def broken_notes(self) -> list[str]:
        """Sentences about the lines that are no rows; none where all are."""
        first = list(self.broken.items())[:NAMED]
        more = len(self.broken) - len(first)
        told = [f"line {line} of {self.path.name} is skipped: it {flaw}" for line, flaw in first]
        return [*told, f"and {more} more such lines of {self.path.name}"] if more else told


def composed(text: str) -> str:
    """Text in Unicode normal form C, in which all names are compared: macOS stores file names decomposed."""
    return unicodedata.normalize("NFC", text)


def decode(raw: bytes, path: Path) -> tuple[str, str | None]:
    """(text, a sentence if its encoding had to be assumed): a byte order mark decides, else UTF-8, else code page 1252.

    Raises:
        UsageError: it is no text.
    """
    for magic, what in MAGIC.items():
        if raw.startswith(magic):
            raise UsageError(f"{path} cannot be read: it is {what}, not text; save it as CSV in UTF-8")
    encoding = next((name for mark, name in BOMS if raw.startswith(mark)), None)
    if encoding is None and b"\0" in raw[:4096]:  # UTF-16 without its mark, or no text
        even, odd = raw[:4096:2].count(0), raw[1:4096:2].count(0)
        most = 0.4 * min(len(raw) // 2, 2048)
        encoding = "utf-16-le" if odd > max(4 * even, most) else "utf-16-be" if even > max(4 * odd, most) else None
        few_nulls = b"\0" not in raw[:16] and raw[:4096].count(0) <= max(1, len(raw[:4096]) // 100)
        if encoding is None and not few_nulls:  # a few cost their cells alone
            raise UsageError(f"{path} cannot be read: it is no text; save it as CSV in UTF-8")
    try:
        text = raw.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise UsageError(f"{path} cannot be read: {error}; save it in UTF-8") from error
    else:
        return text, None
    try:
        return raw.decode("cp1252"), f"{path.name} is not UTF-8 and was read as code page 1252"
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} cannot be read: neither UTF-8 nor code page 1252; save it in UTF-8") from error


def read_sheet(path: Path, what: str = "table") -> Sheet:
    """Read delimited text, plain or compressed with gzip.

    The delimiter is the one of tab, semicolon, bar and comma that splits the first row and gives most rows the same
    number of cells; white space where none of them does.

    Args:
        path: of the file.
        what: it is, for messages.

    Raises:
        UsageError: it cannot be read, or holds nothing.
    """
    try:
        plain, digest = _content(path)
    except FileNotFoundError as error:
        raise UsageError(f"there is no {what} {path}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"the {what} {path} cannot be read: {reason(error)}") from error
    text, assumed = decode(plain, path)
    text, start, comment, named = _opening(composed(text))
    delimiter = named or _delimiter(text, path)
    rows, broken = _parse(text, delimiter, start)
    if broken and (not few(len(broken), len(rows) + len(broken)) or min(broken) < rows[0][0]):
        line, flaw = next(iter(broken.items()))
        raise UsageError(f"the {what} {path} cannot be read: line {line} {flaw}")
    if not rows:
        raise UsageError(f"the {what} {path} holds nothing")
    header = None if comment is None else tuple(cell.strip() for cell in comment.lstrip("# ").split(delimiter))
    return Sheet(path, rows, delimiter, digest, header, () if assumed is None else (assumed,), broken)


def check_size(path: Path) -> None:
    """Refuse a text whose rows would not fit into memory, without reading it.

    Raises:
        UsageError: it is so large, or no ordinary file.
        OSError: it cannot be opened.
    """
    with open_regular(path, peek=True) as file:
        _afford(file, path)


def _afford(file: IO[bytes], path: Path) -> None:
    afford(GROWTH * file.seek(0, os.SEEK_END), f"the text of {path}")
    file.seek(0)


def _content(path: Path) -> tuple[bytes, str]:
    """(text as bytes, unpacked; SHA-256 of the file).

    Raises:
        UsageError: it is no ordinary file, or its rows would not fit into memory.
        OSError, EOFError, zlib.error: it cannot be read.
    """
    with open_regular(path) as file:
        _afford(file, path)
        raw = file.read()
    digest = hashlib.sha256(raw).hexdigest()
    if not raw.startswith(b"\x1f\x8b"):
        return raw, digest
    parts, size = [], 0
    with gzip.open(io.BytesIO(raw)) as packed:
        while part := packed.read(PART):
            parts.append(part)
            size += len(part)
            afford(GROWTH * size, f"the text in {path}, of which {size / 2**20:.0f} MB are unpacked,")
    return b"".join(parts), digest


def _opening(text: str) -> tuple[str, int, str | None, str | None]:
    """(the rest, its first line, the last comment before it, the delimiter that Excel's line ``sep=`` names)."""
    comment = named = None
    line = 1
    while text:
        head, end, rest = text.partition("\n")
        found = re.fullmatch(r"sep=(.)\r?", head, re.IGNORECASE) if line == 1 else None
        if found is None and head.strip() and not head.startswith("#"):
            break
        named = found[1] if found else named
        comment = head if head.startswith("#") else comment
        text, line = rest if end else "", line + 1
    return text, line, comment, named


def _parse(
    text: str, delimiter: str, start: int = 1, most: int | None = None
) -> tuple[tuple[tuple[int, tuple[str, ...]], ...], dict[int, str]]:
    """(rows that hold anything, each with its line, without columns that hold nothing at the end; flaws of lines).

    A quotation mark that is not closed as it should be costs its line alone: the next line begins a row again.
    """
    lines = list(io.StringIO(text, newline=""))
    found: list[tuple[int, tuple[str, ...]]] = []
    broken: dict[int, str] = {}
    limit = csv.field_size_limit(max(len(text), 1))  # memory holds it all; one long cell shall cost its row alone
    try:
        at = 0
        while at < len(lines) and (most is None or len(found) < most):
            begin = at
            # spaces before a cell are dropped, so that a quotation mark behind them still begins one
            reader = csv.reader(
                (lines[i] for i in range(at, len(lines))), delimiter=delimiter, strict=True, skipinitialspace=True
            )
            try:
                for row in reader:
                    cells = tuple(cell.strip()[:LONGEST] for cell in row)
                    if any(cells):
                        found.append((start + at, cells))
                    at = begin + reader.line_num
                    if most is not None and len(found) >= most:
                        break
            except csv.Error as error:
                broken[start + at] = _flaw(lines[at], delimiter) or f"cannot be read ({error})"
                at += 1
    finally:
        csv.field_size_limit(limit)
    width = max((len(_stripped(cells)) for _, cells in found), default=0)
    return tuple((line, cells[:width]) for line, cells in found), broken


def _flaw(line: str, delimiter: str) -> str | None:
    """What is wrong with the quotation marks of a line, as the end of a sentence."""
    at, cell = 0, 1
    while True:
        whole = QUOTED.match(line, at)
        if whole is None and OPENED.match(line, at):
            return f"opens a quotation mark in column {cell} that is not closed"
        end = line.find(delimiter, at) if whole is None else whole.end()
        if whole is not None and line[end:].strip("\r\n") and line[end] != delimiter:
            return f"goes on behind the closing quotation mark of column {cell}"
        if end < 0 or end >= len(line):
            return None
        at, cell = end + 1, cell + 1


def _stripped(cells: Sequence[str]) -> Sequence[str]:
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return cells[:end]


def _delimiter(text: str, path: Path) -> str:
    order = DELIMITERS if ".tsv" in path.name.lower() else (*DELIMITERS[1:], "\t")
    first = text.partition("\n")[0]
    scored = [(_regular(text, one), -place, one) for place, one in enumerate(order) if one in first]
    if best := max((score for score in scored if score[0] > 0), default=None):
        return best[2]
    return " " if _regular(text, " ") == 1 else ","


def _regular(text: str, delimiter: str) -> float:
    """Share of rows with as many cells as most have; 0 where the first row is not split likewise.

    R leaves the name of its first column out, so that the first row may have one cell less.
    """
    widths = [len(cells) for _, cells in _parse(text, delimiter, most=LOOKED_AT)[0]]
    if not widths or widths[0] < 2:
        return 0.0
    usual, count = Counter(widths[1:] or widths).most_common(1)[0]
    return count / len(widths[1:] or widths) if usual - widths[0] in (0, 1) else 0.0
