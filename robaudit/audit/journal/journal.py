"""The journal: everything that an audit has finished, one JSON record a line, points in a file beside it.

Appending is all that ever happens to it, so a killed process leaves at worst one torn last line, which is
dropped on reading. A later record of the same thing replaces an earlier one; a retry takes back what lost samples cost.

Each line ends with a seal, a keyed digest of the line and of the seal before it. What was edited, inserted, removed or
moved is therefore found, and the journal counts as far as it is as it was written: the state of the audit at a moment
that there was. Whatever came later is computed again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.audit.journal.records import JOURNAL, POINTS, Record, fits
from robaudit.audit.ownfiles import open_own
from robaudit.engine.units import Unit, UnitResult, sample_of

__all__ = ["Journal", "Record", "unit_record", "unit_result"]


LONGEST = 2**28
"""Bytes of a line; that of the data names every sample."""
SEAL = b', "seal": "'
END = b'"}\n'
DIGITS = 64


@dataclass
class Journal:
    """Records of a run, in memory and, as long as the disk takes them, on disk.

    Args:
        folder: the run directory; None keeps everything in memory.
        listener: called with each new record, with its point if that could not be written, and why not.
        key: of the seals; nobody else can write a line that counts.
    """

    folder: Path | None
    listener: Callable[[Record, NDArray[Any] | None, str | None], None] | None = None
    records: list[Record] = field(default_factory=list)
    points: dict[int, NDArray[Any]] = field(default_factory=dict)
    """Points that could not be written, by the record's ``point.memory``."""
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
        """
        if self.folder is None or not os.path.lexists(self._file()):
            return None
        with open_own(self._file(), "r+b") as file:
            damage = self._read(file)
        if damage is not None:
            self.append({"kind": "note", "message": damage})
        return damage

    def reopened(self) -> Journal:
        """The same journal as it is on disk now."""
        journal = Journal(self.folder, key=self.key)
        journal.load()
        return journal

    def _read(self, file: IO[bytes]) -> str | None:
        blob = open_own(self._blob(), "rb") if os.path.lexists(self._blob()) else None
        try:
            number, good = 1, 0
            while line := file.readline(LONGEST):
                record = self._parse(line, blob)
                if record is None:
                    break
                good += len(line)
                number += 1
                self._add(record)
                self._last = _seal_of(line)
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

    def _parse(self, line: bytes, blob: IO[bytes] | None) -> Record | None:
        """The record of a line, None where it does not count."""
        whole = line.endswith(END) and line[: -DIGITS - len(END)].endswith(SEAL)
        if not whole or not hmac.compare_digest(_seal_of(line), self._seal(_body(line))):
            return None
        try:
            record = json.loads(_body(line))
        except (ValueError, RecursionError):
            return None
        if not fits(record):
            return None
        point = record.get("point")
        if point is not None and (blob is None or _digest_at(blob, point) != point["sha256"]):
            return None
        return dict(record)

    def _seal(self, body: bytes) -> bytes:
        """The seal of a record that follows the last."""
        return hmac.digest(self.key, self._last + b"\n" + body, "sha256").hex().encode()

    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / JOURNAL

    def _blob(self) -> Path:
        assert self.folder is not None
        return self.folder / POINTS

    def append(self, record: Record, point: NDArray[Any] | None = None) -> None:
        """Add a record; its point goes to disk first, so that a record never names one that is missing."""
        unwritten = None
        if point is not None:
            record = {**record, "point": {"shape": list(point.shape), "dtype": str(point.dtype)}}
        if self.folder is not None and self.failure is None:
            try:
                if point is not None:
                    record["point"] |= self._write_point(point)
                body = json.dumps(record).encode()
                seal = self._seal(body)
                with open_own(self._file(), "ab") as file:
                    file.write(body[:-1] + SEAL + seal + END)
                self._last = seal
            except OSError as error:
                self.failure = error.strerror or str(error)
        if point is not None and (self.folder is None or self.failure is not None):
            unwritten = point
        self._take(record, unwritten)
        if self.listener is not None:
            self.listener(record, unwritten, self.failure)

    def receive(self, record: Record, point: NDArray[Any] | None = None, failure: str | None = None) -> None:
        """Take a record that another process has written.

        Args:
            record: as it was given there.
            point: only if that process could not write it.
            failure: why it writes nothing more; None: the record is on disk.
        """
        self.failure = failure
        if failure is None:
            self._last = self._seal(json.dumps(record).encode())
        self._take(record, point)

    def _take(self, record: Record, point: NDArray[Any] | None) -> None:
        if point is not None:
            self.points[len(self.points)] = point
            record = {**record, "point": {**record["point"], "memory": len(self.points) - 1}}
        self._add(record)

    def _add(self, record: Record) -> None:
        if record["kind"] == "retry":
            self.records = _kept(self.records, record)
        self.records.append(record)

    def _write_point(self, point: NDArray[Any]) -> Record:
        data = np.ascontiguousarray(point).tobytes()
        with open_own(self._blob(), "ab") as file:
            offset = file.seek(0, os.SEEK_END)
            file.write(data)
        return {"offset": offset, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def point(self, record: Record) -> NDArray[Any] | None:
        """The point of a record, [*shape], or None if it has none."""
        info = record.get("point")
        if info is None:
            return None
        if "memory" in info:
            return self.points[info["memory"]]
        with open_own(self._blob(), "rb") as file:
            file.seek(info["offset"])
            data = file.read(info["bytes"])
        array: NDArray[Any] = np.frombuffer(data, dtype=info["dtype"]).reshape(info["shape"])
        return array

    def of(self, kind: str) -> Iterator[Record]:
        """All records of a kind, oldest first."""
        return (record for record in self.records if record["kind"] == kind)

    def last(self, kind: str, **match: Any) -> Record | None:
        """The newest record of a kind whose fields match, or None."""
        for record in reversed(self.records):
            if record["kind"] == kind and all(record.get(k) == v for k, v in match.items()):
                return record
        return None

    def keyed(self, kind: str, key: str) -> dict[Any, Record]:
        """The newest record of a kind for each value of a field."""
        return {record[key]: record for record in self.of(kind)}


def _kept(records: list[Record], retry: Record) -> list[Record]:
    """The records that count beside a retry: none that says of its samples that they are lost, or is of its checks."""
    lost = {record["sample"]: record["message"] for record in records if record["kind"] == "lost"}
    lost = {sample: lost[sample] for sample in retry["samples"] if sample in lost}

    def counts(record: Record) -> bool:
        kind = record["kind"]
        if kind == "lost":
            return record["sample"] not in lost
        if kind in ("clean", "unit", "check unit"):
            sample = record["index"] if kind == "clean" else sample_of(record["sample"])
            return record["error"] is None or record["error"] != lost.get(sample)
        return kind != "check" or record["id"] not in retry["checks"]

    return [record for record in records if counts(record)]


def _body(line: bytes) -> bytes:
    """What is sealed of a line: its record."""
    return line[: -len(SEAL) - DIGITS - len(END)] + b"}"


def _seal_of(line: bytes) -> bytes:
    return line[-DIGITS - len(END) : -len(END)]


def _digest_at(blob: IO[bytes], point: Record) -> str:
    """SHA-256 of the bytes that a record names as its point."""
    blob.seek(point["offset"])
    return hashlib.sha256(blob.read(point["bytes"])).hexdigest()


def unit_record(attack: str, result: UnitResult) -> Record:
    """The record of a finished unit; the point of a success is passed to :meth:`Journal.append` beside it."""
    fields = asdict(result)
    del fields["point"], fields["unit"]
    unit = result.unit
    place = {"sample": unit.sample, "restart": unit.restart, "target": unit.aim}
    return {"kind": "unit", "attack": attack, **place, **fields}


def unit_result(record: Record, point: NDArray[Any] | None = None) -> UnitResult:
    """The result that a record holds; its point is left on disk, unless it is given."""
    unit = Unit(record["restart"], record["target"], record["sample"])
    names = ("success", "prediction", "distance", "forwards", "backwards", "queries", "judged", "refused")
    return UnitResult(unit, error=record["error"], point=point, **{name: record[name] for name in names})
