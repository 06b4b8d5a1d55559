"""What was sent to an endpoint and answered, on disk before it is used: no query is ever paid twice.

The file is a list of records, each sealed with the run's key: what was not written by this run is not believed. A
charge is written before its request is sent, so that what a killed process had under way counts as spent.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import AuditError, ChangedFileError, FinalError
from robaudit.plural import counted
from robaudit.target.files.remote.endpoint import Price

__all__ = ["ANSWERS", "Answer", "Answers", "Caps", "SpentError", "Totals", "key_of", "totals_of"]

ANSWERS = "answers.bin"
"""Name of the file in a run directory."""
HEAD = struct.Struct("<1sI16s")
CHARGE, REFUND, ANSWER, SERVER = b"C", b"R", b"A", b"S"
KEY = 32
Answer = Mapping[str, NDArray[Any]]
"""One input's outputs by name, without the batch."""


class SpentError(FinalError):
    """Another request would go past what may be sent or spent."""


@dataclass(frozen=True)
class Caps:
    """What an audit may send and spend, over all its sessions; None: no limit."""

    queries: int | None = None
    cost: float | None = None


@dataclass
class Totals:
    """What was sent: inputs, requests and bytes of their bodies."""

    queries: int = 0
    requests: int = 0
    octets: int = 0

    def add(self, rows: int, octets: int, sign: int = 1) -> None:
        """One request more, or one less that was not billed."""
        self.queries += sign * rows
        self.requests += sign
        self.octets += octets if sign > 0 else 0

    def read(self, kind: bytes, payload: bytes) -> None:
        """The same of a record that says so."""
        rows, octets = json.loads(payload)
        self.add(rows, octets, 1 if kind == CHARGE else -1)

    def cost(self, price: Price) -> float:
        """Price of it at most: what may have been billed counts."""
        return price.amount * (self.queries if price.per == "query" else self.requests)


class Answers:
    """The record of an endpoint's answers.

    Args:
        path: of the file; None: memory alone, as ``inspect`` has no run directory.
        key: that seals its records.
        caps: what may be sent and spent.
        price: what the service charges; None: nothing.
    """

    def __init__(
        self, path: Path | None = None, key: bytes = b"", caps: Caps | None = None, price: Price | None = None
    ) -> None:
        self._key, self._caps, self._price = key, caps or Caps(), price
        self.totals = Totals()
        self.repeatable = False
        """Whether the server was found to answer alike each time, so that one answer stands for all."""
        self._known: dict[bytes, list[tuple[int, int]]] = {}
        self._taken: Counter[bytes] = Counter()
        self._server: bytes | None = None
        self._file = _opened(path)
        end = 0
        for kind, payload, place in _records(self._file, key):
            self._take(kind, payload, place)
            end = place + len(payload)
        self._file.truncate(end)  # what a killed process had half written

    def _take(self, kind: bytes, payload: bytes, place: int) -> None:
        if kind == ANSWER:
            self._known.setdefault(payload[:KEY], []).append((place + KEY, len(payload) - KEY))
        elif kind == SERVER:
            self._server = payload
        else:
            self.totals.read(kind, payload)

    def charge(self, rows: int, octets: int) -> None:
        """A request is about to be sent.

        Raises:
            SpentError: it would go past a cap.
        """
        after = Totals(self.totals.queries + rows, self.totals.requests + 1)
        if self._caps.queries is not None and after.queries > self._caps.queries:
            raise SpentError(
                f"--max-queries {self._caps.queries}: {self.totals.queries} were sent, and the next request has {rows};"
                " what is finished is kept, and the same command with a higher limit goes on"
            )
        if self._price is not None and self._caps.cost is not None and after.cost(self._price) > self._caps.cost:
            spent, unit = self.totals.cost(self._price), self._price.currency
            raise SpentError(
                f"--max-cost {self._caps.cost:g}: {spent:g} {unit} may have been billed, and the next request costs "
                f"{after.cost(self._price) - spent:g}; what is finished is kept, and the same command with a higher "
                "limit goes on"
            )
        self._write(CHARGE, json.dumps([rows, octets]).encode())
        self.totals.add(rows, octets)

    def refund(self, rows: int) -> None:
        """The last request was refused before it was answered, and so not billed."""
        self._write(REFUND, json.dumps([rows, 0]).encode())
        self.totals.add(rows, 0, sign=-1)

    def same_server(self, told: Mapping[str, Any], *, shown: str) -> None:
        """Hold an audit to the model that it began with.

        Raises:
            ChangedFileError: the server says that it is another model, or version, than in the session before.
        """
        content = json.dumps(told, sort_keys=True).encode()
        if self._server is not None and self._server != content:
            raise ChangedFileError(
                f"{shown} serves another model than when this audit began (its metadata differ); what is finished is "
                "of that one: --fresh begins again"
            )
        if self._server is None:
            self._write(SERVER, content)
            self._server = content

    def remember(self, key: bytes, answer: Answer) -> None:
        """Keep an answer; whoever asked for it takes it with :meth:`take`."""
        packed = _packed(answer)
        place = self._write(ANSWER, key + packed)
        self._known.setdefault(key, []).append((place + KEY, len(packed)))

    def count(self, key: bytes) -> int:
        """How many answers to the same query are kept."""
        return len(self._known.get(key, ()))

    def nth(self, key: bytes, place: int) -> dict[str, NDArray[Any]]:
        """One of them."""
        start, size = self._known[key][place]
        self._file.seek(start)
        return _unpacked(self._file.read(size))

    def take(self, key: bytes) -> dict[str, NDArray[Any]] | None:
        """The answer to a query, where nothing is to be paid for it: one that this process has not taken yet, else any
        of a server that answers alike each time."""
        kept, taken = self.count(key), self._taken[key]
        if taken < kept:
            self._taken[key] += 1
            return self.nth(key, taken)
        return self.nth(key, 0) if kept and self.repeatable else None

    def bill(self) -> str:
        """What was sent, in words, for a process that keeps no answers; an empty text where nothing was."""
        if not self.totals.queries:
            return ""
        price = self._price
        cost = "" if price is None else f", which may have cost {self.totals.cost(price):,.2f} {price.currency}"
        sent = f"{counted(self.totals.queries, 'input')} in {counted(self.totals.requests, 'request')}"
        return f"the endpoint was asked about {sent}{cost}; the answers are not kept, and an audit asks again"

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, kind: bytes, payload: bytes) -> int:
        """Append a record; where its payload begins."""
        try:
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(HEAD.pack(kind, len(payload), _seal(self._key, kind, payload)) + payload)
            self._file.flush()
        except OSError as error:
            raise FinalError(
                f"the answers cannot be kept ({error.strerror}), so that nothing more is asked; what is finished is "
                "kept"
            ) from error
        return place + HEAD.size


def key_of(values: NDArray[Any], *words: str) -> bytes:
    """What makes queries the same: the input's content, and how it is asked."""
    head = json.dumps([str(values.dtype), list(values.shape), *words]).encode()
    return hashlib.sha256(head + b"\0" + np.ascontiguousarray(values).tobytes()).digest()


def totals_of(path: Path, key: bytes) -> Totals | None:
    """What a run has sent, of all its sessions; None where it has no such file."""
    found = Totals()
    try:
        with path.open("rb") as file:
            for kind, payload, _ in _records(file, key, only=(CHARGE, REFUND)):
                found.read(kind, payload)
    except FileNotFoundError:
        return None
    return found


def _opened(path: Path | None) -> IO[bytes]:
    if path is None:
        return os.fdopen(os.memfd_create("answers"), "w+b") if hasattr(os, "memfd_create") else _temporary()
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.fdopen(os.open(path, flags, 0o600), "r+b")
    except OSError as error:
        raise AuditError(f"the answers cannot be kept in {path}: {error.strerror}") from error


def _temporary() -> IO[bytes]:
    import tempfile

    return tempfile.TemporaryFile()


def _records(file: IO[bytes], key: bytes, only: Sequence[bytes] = ()) -> Iterator[tuple[bytes, bytes, int]]:
    """(kind, payload, where it begins) of each record up to the first that this run did not write, or not whole."""
    file.seek(0)
    place = 0
    while len(head := file.read(HEAD.size)) == HEAD.size:
        kind, size, seal = HEAD.unpack(head)
        place += HEAD.size
        if only and kind not in only:
            file.seek(size, os.SEEK_CUR)
        else:
            payload = file.read(size)
            if len(payload) < size or not hmac.compare_digest(seal, _seal(key, kind, payload)):
                return
            yield kind, payload, place
        place += size


def _seal(key: bytes, kind: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, b"answers " + kind + payload, "sha256")[:16]


def _packed(answer: Answer) -> bytes:
    """Outputs as a line of JSON that says what they are, and their bytes."""
    head: list[list[Any]] = []
    parts: list[bytes] = []
    for name, array in answer.items():
        if array.dtype.kind in "OUS":
            head.append([name, "text", list(array.shape), [str(value) for value in array.ravel().tolist()]])
        else:
            head.append([name, str(array.dtype), list(array.shape), array.nbytes])
            parts.append(np.ascontiguousarray(array).tobytes())
    return b"".join([json.dumps(head).encode(), b"\n", *parts])


def _unpacked(packed: bytes) -> dict[str, NDArray[Any]]:
    head, _, rest = packed.partition(b"\n")
    found: dict[str, NDArray[Any]] = {}
    place = 0
    for name, kind, shape, content in json.loads(head):
        if kind == "text":
            found[name] = np.array(content, dtype=object).reshape(shape)
        else:
            found[name] = np.frombuffer(rest, kind, offset=place, count=content // np.dtype(kind).itemsize)
            found[name] = found[name].reshape(shape).copy()
            place += content
    return found
