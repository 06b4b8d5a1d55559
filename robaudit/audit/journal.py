"""The journal: everything that an audit has finished, one JSON record a line, points in a file beside it.

Appending is all that ever happens to it, so a killed process leaves at worst one torn last line, which is
dropped on reading. A later record of the same thing replaces an earlier one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.engine.units import Unit, UnitResult

__all__ = ["Journal", "Record", "unit_record", "unit_result"]

Record = dict[str, Any]


@dataclass
class Journal:
    """Records of a run, in memory and, as long as the disk takes them, on disk.

    Args:
        folder: the run directory; None keeps everything in memory.
        listener: told of each new record, with its point if that could not be written, and why not.
    """

    folder: Path | None
    listener: Callable[[Record, NDArray[Any] | None, str | None], None] | None = None
    records: list[Record] = field(default_factory=list)
    points: dict[int, NDArray[Any]] = field(default_factory=dict)
    """Points that could not be written, by the record's ``point.memory``."""
    failure: str | None = None
    """Why nothing more is written, or None."""

    def load(self) -> None:
        """Read what earlier sessions finished; a torn tail is cut off, so that appending goes on cleanly."""
        if self.folder is None or not self._file().exists():
            return
        size = self._blob().stat().st_size if self._blob().exists() else 0
        good = 0
        with self._file().open("rb") as file:
            for line in file:
                record = _parse(line)
                if record is None:
                    break
                point = record.get("point")
                if point is not None and point.get("offset", size) + point.get("bytes", 1) > size:
                    break  # later points would take the place of the one that is missing
                good += len(line)
                self.records.append(record)
        if good < self._file().stat().st_size:
            os.truncate(self._file(), good)

    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / "journal.jsonl"

    def _blob(self) -> Path:
        assert self.folder is not None
        return self.folder / "points.bin"

    def append(self, record: Record, point: NDArray[Any] | None = None) -> None:
        """Add a record; its point goes to disk first, so that a record never names one that is missing."""
        unwritten = None
        if point is not None:
            record = {**record, "point": {"shape": list(point.shape), "dtype": str(point.dtype)}}
        if self.folder is not None and self.failure is None:
            try:
                if point is not None:
                    record["point"] |= self._write_point(point)
                with self._file().open("ab") as file:
                    file.write(json.dumps(record).encode() + b"\n")
            except OSError as error:
                self.failure = error.strerror or str(error)
        if point is not None and (self.folder is None or self.failure is not None):
            unwritten = point
        self.receive(record, unwritten)
        if self.listener is not None:
            self.listener(record, unwritten, self.failure)

    def receive(self, record: Record, point: NDArray[Any] | None = None) -> None:
        """Take a record that another process has written; ``point`` only if it could not write that."""
        if point is not None:
            self.points[len(self.points)] = point
            record = {**record, "point": {**record["point"], "memory": len(self.points) - 1}}
        self.records.append(record)

    def _write_point(self, point: NDArray[Any]) -> Record:
        data = np.ascontiguousarray(point).tobytes()
        with self._blob().open("ab") as file:
            offset = file.seek(0, os.SEEK_END)
            file.write(data)
        return {"offset": offset, "bytes": len(data)}

    def point(self, record: Record) -> NDArray[Any] | None:
        """The point of a record, [*shape], or None if it has none."""
        info = record.get("point")
        if info is None:
            return None
        if "memory" in info:
            return self.points[info["memory"]]
        with self._blob().open("rb") as file:
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


def _parse(line: bytes) -> Record | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "kind" in record else None


def unit_record(attack: str, result: UnitResult) -> Record:
    """The record of a finished unit; the point of a success is passed to :meth:`Journal.append` beside it."""
    fields = asdict(result)
    del fields["point"], fields["unit"]
    unit = result.unit
    place = {"sample": unit.sample, "restart": unit.restart, "target": unit.target}
    return {"kind": "unit", "attack": attack, **place, **fields}


def unit_result(record: Record) -> UnitResult:
    """The result that a record holds, its point left on disk."""
    unit = Unit(record["restart"], record["target"], record["sample"])
    names = ("success", "prediction", "distance", "forwards", "backwards", "queries", "judged", "refused")
    return UnitResult(unit, error=record["error"], **{name: record[name] for name in names})
