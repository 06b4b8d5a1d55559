"""What a process with a model in it prints: taken from its pipe, cleaned and cut.

The text is the model's: TorchScript may print, runtimes quote names from the file. It may be of any length and holds
whatever a terminal acts upon. Only the standard library is imported here.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from multiprocessing.connection import Connection

from robaudit.printable import plain, without_sequences

__all__ = ["Said"]

FIRST, LAST = 20, 3
"""Lines that are shown: as they come, and the last ones at the end, for the reason of a crash comes last."""
WIDTH = 300
"""Characters of a line."""
KEPT = 4096
"""Bytes of a line that are looked at, and of the end that are kept."""


class Said:
    """Reads what a process writes, as fast as it is written, so that the process never waits.

    Args:
        pipe: the end to read from.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._ready: deque[str] = deque()
        self._shown = self._left_out = 0
        self._line = b""
        self._tail = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def lines(self) -> list[str]:
        """Lines that came since the last call and are to be shown."""
        found = []
        while self._ready:
            found.append(self._ready.popleft())
        return found

    def rest(self, wait: float = 1.0) -> list[str]:
        """What is still to be shown of a process that has ended: how much was not, and the last lines.

        Args:
            wait: seconds at most; processes that it started may hold the pipe open.
        """
        self._thread.join(wait)
        if self._thread.is_alive():
            return self.lines()
        found = self.lines()
        if self._left_out:
            last = [line for line in map(_clean, self._tail.split(b"\n")[-LAST - 2 :]) if line][-LAST:]
            unseen = self._left_out - min(len(last), self._left_out)
            found += [f"… {unseen} more lines were not shown"] if unseen else []
            found += last
        elif self._line.strip():
            found.append(_clean(self._line))
        self._pipe.close()
        return [line for line in found if line]

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._pipe.fileno(), 1 << 16)
            except OSError:
                return
            if not part:
                return
            self._take(part)

    def _take(self, part: bytes) -> None:
        while self._shown < FIRST:
            line, end, part = part.partition(b"\n")
            self._line = (self._line + line)[:KEPT]
            if not end:
                return
            if text := _clean(self._line):
                self._ready.append(text)
                self._shown += 1
            self._line = b""
        self._left_out += part.count(b"\n")
        self._tail = (self._tail + part)[-KEPT:]


def _clean(line: bytes) -> str:
    return plain(without_sequences(line.decode("utf-8", "replace")), WIDTH)
