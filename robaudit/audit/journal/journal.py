"""The journal: everything that an audit has finished, one JSON record a line, points in a file beside it.

Appending is all that ever happens to it, so a killed process leaves at worst one torn last line, which is
dropped on reading. A later record of the same thing replaces an earlier one; a retry takes back what lost samples cost.

Each line ends with a seal, a keyed digest of the line and of the seal before it. What was edited, inserted, removed or
moved is therefore found, and the journal counts as far as it is as it was written: the state of the audit at a moment
that there was. Whatever came later is computed again. The first line tells the version of the records: those of another
version are not read at all.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.audit.journal.files import JOURNAL, POINTS
from robaudit.audit.journal.records.base import InMemory, Point, Pointed
from robaudit.audit.journal.records.kinds import VERSION, AnyPointed, AnyRecord, Header, R, decoded, encoded
from robaudit.audit.journal.records.samples import Retry
from robaudit.audit.journal.records.session import Remark
from robaudit.audit.journal.retries import kept_beside
from robaudit.audit.ownfiles import open_own
from robaudit.errors import UsageError

__all__ = ["Journal", "OtherVersionError"]


LONGEST = 2**28
"""Bytes of a line; that of the data names every sample."""
SEAL = b', "seal": "'
END = b'"}\n'
DIGITS = 64
HEADER = Header(version=VERSION)


class OtherVersionError(UsageError):
    """The records are of another version."""


@dataclass
class Journal:
    """Records of a run, in memory and, as long as the disk takes them, on disk.

    Args:
        folder: the run directory; None keeps everything in memory.
        listener: called with each new record, with its point if that could not be written, and why not.
        key: of the seals; nobody else can write a line that counts.
    """

    folder: Path | None
    listener: Callable[[AnyRecord, NDArray[Any] | None, str | None], None] | None = None
    records: list[AnyRecord] = field(default_factory=list)
    points: dict[int, NDArray[Any]] = field(default_factory=dict)
    """Points that could not be written, by their places (:class:`InMemory`)."""
    failure: str | None = None
    """Why nothing more is written, or None."""
    key: bytes = b""
    _last: bytes = b""
    """The seal of the last line on disk."""

    def load(self) -> str | None:
        """Read what earlier sessions finished; what does not count is cut off, so that appending goes on cleanly.

        Returns:
            What was not as it was written, in a sentence, which goes into the journal too; None where all was.

        Raises:
            OSError: the journal cannot be read or written.
            OtherVersionError: its records are of another version.
        """
        if self.folder is None or not os.path.lexists(self._file()):
            return None
        with open_own(self._file(), "r+b") as file:
            damage = self._read(file)
        if damage is not None:
            self.append(Remark(message=damage))
        return damage

    def reopened(self) -> Journal:
        """The same journal as it is on disk now."""
        journal = Journal(self.folder, key=self.key)
        journal.load()
        return journal

    def _read(self, file: IO[bytes]) -> str | None:
        number, good = 0, 0
        blob = open_own(self._blob(), "rb") if os.path.lexists(self._blob()) else None
        try:
            while line := file.readline(LONGEST):
                number += 1
                if number == 1:
                    _check_version(line)
                record = self._parse(line, blob, first=number == 1)
                if record is None:
                    break
                good += len(line)
                self._last = _seal_of(line)
                if not isinstance(record, Header):
                    self._add(record)
        finally:
            if blob is not None:
                blob.close()
        if not line:
            return None
        lost, torn = 1, not line.endswith(b"\n")
        while more := file.readline(LONGEST):
            lost, torn = lost + 1, not more.endswith(b"\n")
        file.truncate(good)
        if lost == 1 and torn:
            return "the last record of the journal was cut off, as by a kill or a full disk; it is computed again"
        records = f"{lost} records from there on are" if lost > 1 else "that record is"
        return f"line {number} of the journal, or what it names, is not as it was written: {records} computed again"

    def _parse(self, line: bytes, blob: IO[bytes] | None, *, first: bool) -> AnyRecord | Header | None:
        """The record of a line, None where it does not count."""
        whole = line.endswith(END) and line[: -DIGITS - len(END)].endswith(SEAL)
        if not whole or not hmac.compare_digest(_seal_of(line), self._seal(_body(line))):
            return None
        record = decoded(_body(line))
        if isinstance(record, Header) != first:
            return None
        if isinstance(record, Pointed) and record.point is not None and not _lies_in(blob, record.point):
            return None
        return record

    def _seal(self, body: bytes) -> bytes:
        """The seal of a record that follows the last."""
        return hmac.digest(self.key, self._last + b"\n" + body, "sha256").hex().encode()

    def _sealed(self, body: bytes) -> bytes:
        """The line of a record that follows the last, which it is from then on."""
        self._last = self._seal(body)
        return body[:-1] + SEAL + self._last + END

    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / JOURNAL

    def _blob(self) -> Path:
        assert self.folder is not None
        return self.folder / POINTS

    def append(self, record: AnyRecord, point: NDArray[Any] | None = None) -> None:
        """Add a record; its point goes to disk first, so that a record never names one that is missing.

        Args:
            record: what happened.
            point: [*shape] what a record that may have one (:class:`Pointed`) keeps beside it.
        """
        if self.folder is not None and self.failure is None:
            last = self._last
            try:
                if point is not None:
                    record = _pointing(record, self._write_point(point))
                lines = b"" if last else self._sealed(encoded(HEADER))
                lines += self._sealed(encoded(record))
                with open_own(self._file(), "ab") as file:
                    file.write(lines)
            except OSError as error:
                self._last = last
                self.failure = error.strerror or str(error)
        unwritten = point if self.folder is None or self.failure is not None else None
        self._take(record, unwritten)
        if self.listener is not None:
            self.listener(record, unwritten, self.failure)

    def receive(self, record: AnyRecord, point: NDArray[Any] | None = None, failure: str | None = None) -> None:
        """Take a record that another process has written.

        Args:
            record: as it was given there.
            point: only if that process could not write it.
            failure: why it writes nothing more; None: the record is on disk.
        """
        self.failure = failure
        if failure is None:
            if not self._last:  # the other one has begun the journal
                self._sealed(encoded(HEADER))
            self._sealed(encoded(record))
        self._take(record, point)

    def _take(self, record: AnyRecord, point: NDArray[Any] | None) -> None:
        if point is not None:
            place = len(self.points)
            self.points[place] = point
            record = _pointing(record, InMemory(place))
        self._add(record)

    def _add(self, record: AnyRecord) -> None:
        if isinstance(record, Retry):
            self.records = kept_beside(record, self.records)
        self.records.append(record)

    def _write_point(self, point: NDArray[Any]) -> Point:
        data = np.ascontiguousarray(point).tobytes()
        with open_own(self._blob(), "ab") as file:
            offset = file.seek(0, os.SEEK_END)
            file.write(data)
        digest = hashlib.sha256(data).hexdigest()
        return Point(shape=point.shape, dtype=str(point.dtype), offset=offset, bytes=len(data), sha256=digest)

    def point(self, record: Pointed) -> NDArray[Any] | None:
        """The point of a record, [*shape], or None if it has none."""
        place = record.point
        if place is None:
            return None
        if isinstance(place, InMemory):
            return self.points[place.place]
        with open_own(self._blob(), "rb") as file:
            file.seek(place.offset)
            data = file.read(place.bytes)
        array: NDArray[Any] = np.frombuffer(data, dtype=place.dtype).reshape(place.shape)
        return array

    def of(self, kind: type[R]) -> Iterator[R]:
        """All records of a kind, oldest first."""
        return (record for record in self.records if isinstance(record, kind))

    def last(self, kind: type[R], **match: Any) -> R | None:
        """The newest record of a kind whose fields match, or None."""
        for record in reversed(self.records):
            if isinstance(record, kind) and all(getattr(record, name) == value for name, value in match.items()):
                return record
        return None

    def keyed(self, kind: type[R], field: str) -> dict[Any, R]:
        """The newest record of a kind for each value of a field."""
        return {getattr(record, field): record for record in self.of(kind)}


def _check_version(line: bytes) -> None:
    """Refuse records that mean something else than this program would read in them.

    Args:
        line: the first; one that was cut off says nothing, and all that follows it is lost in any case.

    Raises:
        OtherVersionError: it tells another version, or none.
    """
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(first, dict) or "kind" not in first:
        return
    version = first.get("version") if first["kind"] == HEADER.kind else None
    if version != VERSION:
        told = f"version {version}" if isinstance(version, int) else "a version that it does not tell"
        raise OtherVersionError(
            f"another robaudit wrote it: its records are of {told}, and this one reads version {VERSION}"
        )


def _pointing(record: AnyRecord, point: Point | InMemory) -> AnyPointed:
    """A record with the place of its point."""
    assert isinstance(record, Pointed)
    return replace(record, point=point)


def _body(line: bytes) -> bytes:
    """What is sealed of a line: its record."""
    return line[: -len(SEAL) - DIGITS - len(END)] + b"}"


def _seal_of(line: bytes) -> bytes:
    return line[-DIGITS - len(END) : -len(END)]


def _lies_in(blob: IO[bytes] | None, point: Point | InMemory) -> bool:
    """Whether the file of points holds what a record names, as it was written."""
    if blob is None or isinstance(point, InMemory):
        return False
    blob.seek(point.offset)
    return hashlib.sha256(blob.read(point.bytes)).hexdigest() == point.sha256
