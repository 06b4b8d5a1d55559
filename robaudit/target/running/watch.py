"""What a process says of the call of a model that is at work in it, so that another can end one that never ends.

A few bytes of memory that both processes map, in a file, as a model at work need not let any other code of its process
run. Only the standard library is imported here.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["BACKWARD", "RUNNING", "UNWATCHED", "AtWork", "Watch", "Watched"]

SIZE = 1 << 16
HEAD = struct.Struct("<QddQQ")
"""Number of the last change, seconds that the call at work may take and usually takes (both 0: none), whether it is a
backward pass, bytes of text."""
AUXILIARY = 32
"""Bytes of the key of an auxiliary model, between head and text."""
START = HEAD.size + AUXILIARY
NAMED, LONGEST = 8, 200
"""Most samples that are named, and characters of a name."""
ROOM = (SIZE - 8000 - START) // 24
"""Most samples that are told."""
PATIENCE = 20.0
"""How many times as long as usual a call may take: a slow model is no model that hangs."""
BACKWARD = 5
"""How many times as long as a forward pass a backward pass may take: it needs at most about that many times the
operations (the cheap gradient principle: Griewank, Walther 2008, "Evaluating Derivatives"), or its own
:data:`PATIENCE`."""
LONG = 3.0
"""Seconds that nobody who wants to stop waits for a call that usually takes less."""
RUNNING = " ran"
"""Follows the key of an attack where a process tells that it is at work."""
RECENT = 9
"""Calls of which the usual time is the median."""


class Watch:
    """Told of each call by those who call a model.

    Args:
        path: the file that :class:`Watched` made; None: nobody looks.
        seconds: that a call may take, unless the model is known to be slow; None: no limit.
        first: seconds that the first call of each kind may take, which may compile; None: as any other.
    """

    def __init__(self, path: Path | None = None, seconds: float | None = None, first: float | None = None) -> None:
        self._memory: mmap.mmap | None = None
        if path is not None:
            with path.open("r+b") as file:
                self._memory = mmap.mmap(file.fileno(), SIZE)
        self._seconds = math.inf if seconds is None else seconds
        self._first = self._seconds if first is None else max(first, self._seconds)
        self._recent: dict[object, deque[float]] = {}
        self._back: tuple[float, int, deque[float]] | None = None
        self._number = self._deep = 0
        self._text = b""
        self.blamed = ""
        """Key of the auxiliary model at work; empty: the one under audit."""
        self._name: Callable[[int], str] = lambda index: f"number {index}"

    def call_samples(self, name: Callable[[int], str]) -> None:
        """Learn the names of samples by their indices."""
        if self._memory is not None:
            self._name = name

    @contextmanager
    def about(self, doing: str, samples: Sequence[int] = (), part: str = "") -> Iterator[None]:
        """What the calls that follow are for.

        Args:
            doing: in words that follow "while": ``it was measured``.
            samples: indices of those whose inputs, or points near them, are asked.
            part: name of the part of the work that can be skipped; empty: none.
        """
        if self._memory is None:
            yield
            return
        before, at_work = self._text, self.blamed
        known = sorted(set(samples))[:ROOM]
        names = [self._name(index)[:LONGEST] for index in known[:NAMED]]
        self._say(json.dumps([doing[:200], names, known, part[:200]]).encode())
        try:
            yield
        finally:
            self._say(before)
            self.blame(at_work)

    @contextmanager
    def auxiliary(self, key: str) -> Iterator[None]:
        """What follows is the work of an auxiliary model, such as a surrogate, and not of the one under audit.

        Args:
            key: of it, in ASCII.
        """
        before = self.blamed
        self.blame(key)
        try:
            yield
        finally:
            self.blame(before)

    def blame(self, key: str) -> None:
        """From here on an auxiliary model is at work; empty: the one under audit."""
        if self._memory is not None and key != self.blamed:
            self._memory[HEAD.size : START] = key.encode()[:AUXILIARY].ljust(AUXILIARY, b"\0")
        self.blamed = key

    @contextmanager
    def call(self, rows: int, kind: object) -> Iterator[None]:
        """A call at work.

        Args:
            rows: inputs that it answers.
            kind: of the call: what is called.
        """
        if self._memory is None or self._deep:
            yield
            return
        recent = self._recent.setdefault(kind, deque(maxlen=RECENT))
        usual = _median(recent) * rows
        self._deep, self._back = 1, None
        self._tell(self._limit(recent, usual), usual)
        begin = time.perf_counter()
        try:
            yield
        finally:
            recent.append((time.perf_counter() - begin) / max(rows, 1))
            self._deep = 0
            self._tell(0.0, 0.0)

    @property
    def looks(self) -> bool:
        """Whether anybody looks."""
        return self._memory is not None

    def begin_backward(self, rows: int, kind: object) -> None:
        """A backward pass begins; one that raises is over with the next call, or with what it was for.

        Args:
            rows: inputs whose gradients it computes.
            kind: of the forward calls that it goes back through.
        """
        if self._memory is None:
            return
        self.end_backward()  # of another part of an ensemble
        forward = self._recent.get(kind, deque())
        recent = self._recent.setdefault((kind, "backward"), deque(maxlen=RECENT))
        usual = _median(recent) * rows
        limit = max(BACKWARD * self._limit(forward, _median(forward) * rows), self._limit(recent, usual))
        self._back = time.perf_counter(), rows, recent
        self._tell(limit, usual, backward=True)

    def end_backward(self) -> None:
        """It has reached the input."""
        if self._back is not None:
            begin, rows, recent = self._back
            recent.append((time.perf_counter() - begin) / max(rows, 1))
            self._back = None
            self._tell(0.0, 0.0)

    def _limit(self, recent: Sequence[float], usual: float) -> float:
        """Seconds that a call may take: more before the first of its kind, and where calls usually take long."""
        return max(self._seconds if recent else self._first, PATIENCE * usual)

    def _tell(self, limit: float, usual: float, *, backward: bool = False) -> None:
        assert self._memory is not None
        self._number += 1
        HEAD.pack_into(self._memory, 0, self._number, limit, usual, backward, len(self._text))

    def _say(self, text: bytes) -> None:
        assert self._memory is not None
        self._text, self._back = text, None
        self._memory[START : START + len(text)] = text
        self._tell(0.0, 0.0)


def _median(recent: Sequence[float]) -> float:
    """Of the seconds that an input took lately; 0 where none is known."""
    return sorted(recent)[len(recent) // 2] if recent else 0.0


UNWATCHED = Watch()


@dataclass(frozen=True)
class AtWork:
    """What a process was at.

    Args:
        doing: in words that follow "while"; empty: unknown.
        names: of the first samples.
        samples: indices of those asked.
        limit: seconds that the call might take.
        calling: a call of a model was at work.
        backward: it was a backward pass.
        part: name of the part of the work that can be skipped; empty: none.
        auxiliary: key of the auxiliary model that was at work; empty: the model under audit.
    """

    doing: str = ""
    names: tuple[str, ...] = ()
    samples: tuple[int, ...] = ()
    limit: float = 0.0
    calling: bool = False
    backward: bool = False
    part: str = ""
    auxiliary: str = ""

    @property
    def words(self) -> str:
        """Which input it was, or what for: ``on the sample cat.png, while it was measured``."""
        told = [f"on the sample {self.names[0]}"] if len(self.samples) == 1 else []
        if len(self.samples) > 1:
            more = ", …" if len(self.samples) > len(self.names) else ""
            told = [f"on one of {len(self.samples)} samples ({', '.join(self.names)}{more})"]
        return ", ".join([*told, *([f"while {self.doing}"] if self.doing else [])])


class Watched:
    """The other side.

    Args:
        path: of the file to make.
    """

    def __init__(self, path: Path) -> None:
        with path.open("w+b") as file:
            file.write(bytes(SIZE))  # takes the room: on a full disk a page that is not there yet ends the process
            file.flush()
            self._memory = mmap.mmap(file.fileno(), SIZE)
        self._number = 0
        self._last = time.monotonic()
        self.busy = 0.0
        """Seconds that the call at work has taken, those in which this process itself was stopped left out."""

    def look(self) -> None:
        """Take note of the time; to be called again and again."""
        number, limit, _, _, _ = HEAD.unpack_from(self._memory)
        now = time.monotonic()
        passed, self._last = min(now - self._last, 1.0), now
        same = number == self._number and limit > 0
        self.busy = self.busy + max(passed, 0.0) if same else 0.0
        self._number = number

    @property
    def overdue(self) -> bool:
        """Whether the call at work has taken longer than it may."""
        _, limit, _, _, _ = HEAD.unpack_from(self._memory)
        return bool(limit > 0 and self.busy > limit)

    def stalled(self, seconds: float = LONG) -> bool:
        """Whether the call at work takes longer than that, and far longer than calls of its kind do."""
        _, limit, usual, _, _ = HEAD.unpack_from(self._memory)
        return bool(limit > 0 and self.busy > max(seconds, 5 * usual))

    def at_work(self) -> AtWork:
        """What the process is at, or was when it ended."""
        _, limit, _, backward, size = HEAD.unpack_from(self._memory)
        text = bytes(self._memory[START : START + min(size, SIZE - START)])
        back = limit > 0 and bool(backward)
        known = AtWork(limit=float(limit), calling=limit > 0, backward=back, auxiliary=self._auxiliary())
        try:
            doing, names, samples, part = json.loads(text)
            named = tuple(map(str, names)), tuple(map(int, samples))
            return replace(known, doing=str(doing), names=named[0], samples=named[1], part=str(part))
        except (ValueError, TypeError):  # none was named, or the process was killed amid writing
            return known

    def _auxiliary(self) -> str:
        return bytes(self._memory[HEAD.size : START]).rstrip(b"\0").decode("ascii", "replace")

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
