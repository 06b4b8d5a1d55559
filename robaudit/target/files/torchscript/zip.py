"""Lists a zip archive that can be read in one way only, so that what is looked at is what PyTorch loads.

Parsers of zip files differ: in which table of contents they believe, in where an entry begins, in which of two entries
of one name they take. An archive is accepted only if its entries, its one table of contents and its end record cover
the file without a gap, and every number that stands in two places is the same in both.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import torch

from robaudit.errors import UsageError
from robaudit.target.files.held import HeldFile

__all__ = ["Entry", "Records", "plain_archive", "version_words"]

LOCAL, CENTRAL, DESCRIPTOR = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
END, END64, LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
FLAGS = 0x080E
"""Deflate's strength (2 bits), sizes after the data, names in UTF-8; not encryption, patches, or strong encryption."""
TRAILING, STORED, DEFLATED = 0x0008, 0, 8
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
ZIP64 = 0x0001
MOST = 64 * 2**20
"""Bytes of a table of contents."""
TEXT = 64 * 2**20
"""Bytes of a record of code or structure."""
RATIO = 1032
"""Deflate packs no better than this."""


class _OddError(Exception):
    """What is not as exporters write it."""


@dataclass(frozen=True)
class Entry:
    """An entry: its name, where its header begins, its sizes, and how it is packed."""

    name: str
    header: int
    size: int
    packed: int
    method: int
    flags: int
    crc: int


class Records:
    """Records of a TorchScript archive as PyTorch's own reader gives them.

    Args:
        held: the archive.
        entries: by the name of the record, without the archive's folder.
    """

    def __init__(self, held: HeldFile, entries: Mapping[str, Entry]) -> None:
        self.path, self.entries, self._words = held.path, entries, held.words
        self._reader: Any = self._asked(torch._C.PyTorchFileReader, held.loadable)

    def read(self, name: str) -> bytes:
        """A record of code or structure.

        Raises:
            UsageError: it is larger than any exporter makes it.
        """
        if self.entries[name].size > TEXT:
            raise UsageError(
                f"{self.path} holds the record {name} of {self.entries[name].size} bytes, more than any exporter writes"
            )
        found: bytes = self._asked(self._reader.get_record, name)
        if zlib.crc32(found) != self.entries[name].crc:  # PyTorch does not look
            raise UsageError(f"{self.path} is a damaged zip archive (the checksum of {name}); export the model again")
        return found

    def agree(self) -> None:
        """Raise where PyTorch lists, places or measures the records otherwise."""
        if sorted(self._asked(self._reader.get_all_records)) != sorted(self.entries):
            raise _OddError("PyTorch lists other entries in it")
        for name, entry in self.entries.items():
            if self._asked(self._reader.get_record_header_offset, name) != entry.header:
                raise _OddError(f"PyTorch finds {name!r} at another place")
            if self._asked(self._reader.get_record_size, name) != entry.size:
                raise _OddError(f"PyTorch finds another size of {name!r}")

    def _asked(self, function: Callable[..., Any], *arguments: str) -> Any:
        try:
            return function(*arguments)
        except MemoryError:
            raise
        except Exception as error:  # of its standard library too, and where its text quotes bytes that are no text
            line = self._words(error).strip().partition("\n")[0][:200]
            what = version_words(str(error)) or f"is a damaged zip archive ({line}); export the model again"
            raise UsageError(f"{self.path} {what}") from error


def version_words(error: str) -> str | None:
    """What is wrong with the version of an archive that PyTorch does not read; None where it says something else."""
    if re.search(r'Couldn.t parse the version|hasRecord\("version"\)|^stoull', error):
        return "does not state the version of its format as PyTorch writes it; export the model again"
    found = re.search(r"with version (-?\d+), but the (minimum|maximum) supported version for reading is (\d+)", error)
    if found is None:
        return None
    new = found[2] == "maximum"
    return (
        f"is of version {found[1]} of PyTorch's archive format, and PyTorch {torch.__version__} reads versions "
        f"{'up to' if new else 'from'} {found[3]}{'' if new else ' on'}; "
        f"{'install a newer PyTorch' if new else 'export the model again'}"
    )


def plain_archive(held: HeldFile) -> Records:
    """The records of an archive that every parser reads alike.

    Raises:
        UsageError: it can be read in more than one way, or is damaged.
    """
    path = held.path
    try:
        entries = _entries(held.file)
        folders = {entry.name.partition("/")[0] for entry in entries}
        if len(folders) != 1 or any("/" not in entry.name for entry in entries):
            raise _OddError("its entries do not lie in one folder")
        names = [entry.name.partition("/")[2] for entry in entries]
        if len({name.lower() for name in names}) != len(names):  # PyTorch finds entries whatever their case
            raise _OddError("it holds two entries of the same name")
        records = Records(held, dict(zip(names, entries, strict=True)))
        records.agree()
    except _OddError as error:
        raise UsageError(
            f"{path} is no archive that torch.jit.save wrote ({error}), so what is checked may not be what is loaded; "
            "export the model again"
        ) from error
    except struct.error as error:
        raise UsageError(f"{path} is a damaged zip archive ({error}); export the model again") from error
    return records


def _entries(file: IO[bytes]) -> list[Entry]:
    """All entries in the order in which they lie in the file."""
    length = file.seek(0, 2)
    start, size, count, end = _contents(file, length)
    if size > MOST:
        raise _OddError("its table of contents is too large")
    table = _read(file, start, size)
    entries, place = [], 0
    while place < size:
        entry, place = _listed(table, place)
        entries.append(entry)
    if len(entries) != count or start + size != end:
        raise _OddError("its table of contents has not the stated length")
    entries.sort(key=lambda entry: entry.header)
    place = 0
    for entry, following in zip(entries, [*(e.header for e in entries[1:]), start], strict=True):
        if entry.header != place:
            raise _OddError("there are bytes outside of its entries")
        place = _end_of(file, entry, following)
    if place != start:
        raise _OddError("there are bytes outside of its entries")
    return entries


def _read(file: IO[bytes], place: int, size: int) -> bytes:
    file.seek(place)
    found = file.read(size)
    if len(found) != size:
        raise _OddError("it is cut off")
    return found


def _contents(file: IO[bytes], length: int) -> tuple[int, int, int, int]:
    """(start, size, entries, where it must end) of the table of contents."""
    if length < 22:
        raise _OddError("it is cut off")
    end = length - 22
    magic, disk, first, here, count, size, start, comment = struct.unpack("<4s4H2LH", _read(file, end, 22))
    if magic != END or comment:
        raise _OddError("bytes follow its end record")
    if disk or first or here != count:
        raise _OddError("it claims to lie on several disks")
    locator = _read(file, end - 20, 20) if end >= 20 else b""
    if not locator.startswith(LOCATOR):
        if FULL32 in (size, start) or count == FULL16:
            raise _OddError("its second end record is missing")
        return start, size, count, end
    _, disk, place, disks = struct.unpack("<4sLQL", locator)
    if disk or disks != 1 or place != end - 20 - 56:
        raise _OddError("its second end record is at another place")
    magic, rest, _, _, disk, first, here, wide_count, wide_size, wide_start = struct.unpack(
        "<4sQ2H2L4Q", _read(file, place, 56)
    )
    if magic != END64 or rest != 44 or disk or first or here != wide_count:
        raise _OddError("its second end record is damaged")
    for narrow, wide, full in ((count, wide_count, FULL16), (size, wide_size, FULL32), (start, wide_start, FULL32)):
        if narrow not in (wide, full):
            raise _OddError("its two end records differ")
    return wide_start, wide_size, wide_count, place


def _listed(table: bytes, place: int) -> tuple[Entry, int]:
    """An entry of the table of contents, and where the next begins."""
    magic, _, _, flags, method, _, _, crc, packed, size, named, more, said, disk, _, _, header = struct.unpack_from(
        "<4s6H3L5H2L", table, place
    )
    after = place + 46 + named + more + said
    if magic != CENTRAL or after > len(table):
        raise _OddError("its table of contents is damaged")
    name = _name(table[place + 46 : place + 46 + named])
    if flags & ~FLAGS or method not in (STORED, DEFLATED) or disk:
        raise _OddError(f"{name!r} is encrypted, or packed in an unknown way")
    extra = _wide(table[place + 46 + named : after - said])
    size, packed, header = _widened([size, packed, header], extra)
    if (method == STORED and size != packed) or size > RATIO * packed:
        raise _OddError(f"the sizes of {name!r} cannot be")
    return Entry(name, header, size, packed, method, flags, crc), after


def _name(raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _OddError("the name of an entry is no text") from error
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise _OddError(f"an entry has the odd name {name!r}")
    return name


def _wide(extra: bytes) -> bytes | None:
    """The field of 64-bit numbers among an entry's extra fields, which must be whole."""
    found, place = None, 0
    while place < len(extra):
        if place + 4 > len(extra):
            raise _OddError("an extra field is cut off")
        kind, size = struct.unpack_from("<2H", extra, place)
        content = extra[place + 4 : place + 4 + size]
        if len(content) != size or (kind == ZIP64 and found is not None):
            raise _OddError("an extra field is cut off or double")
        found = content if kind == ZIP64 else found
        place += 4 + size
    return found


def _widened(numbers: list[int], extra: bytes | None) -> list[int]:
    """Numbers of 32 bits, those that are full replaced in order by those of the extra field."""
    wide = [] if extra is None else list(struct.unpack(f"<{len(extra) // 8}Q", extra[: len(extra) // 8 * 8]))
    found = []
    for number in numbers:
        if number == FULL32:
            if not wide:
                raise _OddError("a large size is missing")
            number = wide.pop(0)
        found.append(number)
    if wide:
        raise _OddError("an extra field holds numbers that are stated elsewhere")
    return found


def _end_of(file: IO[bytes], entry: Entry, following: int) -> int:
    """Where an entry ends, its own header found to say the same; ``following``: where the next one begins."""
    magic, _, flags, method, _, _, crc, packed, size, named, more = struct.unpack(
        "<4s5H3L2H", _read(file, entry.header, 30)
    )
    name = _read(file, entry.header + 30, named)
    extra = _read(file, entry.header + 30 + named, more)
    if magic != LOCAL or name != entry.name.encode() or (flags, method) != (entry.flags, entry.method):
        raise _OddError(f"the header of {entry.name!r} differs from the table of contents")
    wide = _wide(extra)
    end: int = entry.header + 30 + named + more + entry.packed
    if end > following:
        raise _OddError(f"{entry.name!r} reaches into what follows it")
    if not flags & TRAILING:
        size, packed = _widened([size, packed], wide)
        if (size, packed, crc) != (entry.size, entry.packed, entry.crc):
            raise _OddError(f"the header of {entry.name!r} differs from the table of contents")
        return end
    known = {(0, 0), (FULL32, FULL32), (entry.size, entry.packed)}
    if (size, packed) not in known or crc not in (0, entry.crc):
        raise _OddError(f"the header of {entry.name!r} differs from the table of contents")
    trailer = _read(file, end, following - end) if following - end in (16, 24) else b""
    expected = (DESCRIPTOR, entry.crc, entry.packed, entry.size)
    if len(trailer) not in (16, 24) or struct.unpack("<4sL2L" if len(trailer) == 16 else "<4sL2Q", trailer) != expected:
        raise _OddError(f"the sizes behind {entry.name!r} differ from the table of contents")
    return following
