"""Progress of a running audit on stderr: live bars on a terminal, plain lines elsewhere.

An observer never raises: a display that breaks (a closed pipe) falls silent, and the audit goes on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from robaudit.attacks.cost import Cost
from robaudit.audit.journal.events import (
    AttackFinished,
    AttackStarted,
    CheckFinished,
    Event,
    Finished,
    ModelOutput,
    Note,
    Phase,
    Plan,
    SampleError,
    UnitsFinished,
)
from robaudit.plural import counted
from robaudit.report.nearest import fitted
from robaudit.report.words import count, duration, evaluations_words, plain

__all__ = ["LiveProgress", "NoProgress", "PlainProgress", "progress"]

INTERVAL = 10.0
"""Seconds between two plain lines about one attack."""


class NoProgress:
    """Shows nothing but errors, where ``errors`` is set."""

    def __init__(self, stream: TextIO, *, errors: bool = True) -> None:
        self._stream = stream
        self._errors = errors

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, event: Event, /) -> None:
        """Take note of an event."""
        try:
            self._show(event)
        except (OSError, ValueError):
            self._show = self._ignore  # type: ignore[method-assign]

    def close(self) -> None:
        """Take the display down."""

    def _ignore(self, event: Event) -> None:
        pass

    def _show(self, event: Event) -> None:
        if self._errors and isinstance(event, Note) and event.level == "error":
            self._line(f"error: {event.message}")
        if isinstance(event, ModelOutput):
            self._line(describe(event, []))

    def _line(self, text: str) -> None:
        line = text[: len(text) - len(text.lstrip(" "))] + plain(text)
        self._stream.write(fitted(line, getattr(self._stream, "encoding", None)) + "\n")
        self._stream.flush()


class PlainProgress(NoProgress):
    """A line for each event, and one every ten seconds while an attack runs."""

    def __init__(self, stream: TextIO, *, verbose: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._verbose = verbose
        self._clock = clock
        self._started = self._last = clock()
        self._first_done = 0
        self._planned: list[str] = []

    def _show(self, event: Event) -> None:
        if isinstance(event, UnitsFinished):
            self._units(event)
            return
        if isinstance(event, Plan):
            self._planned = [attack.id for attack in event.attacks]
        if isinstance(event, AttackStarted):
            self._started = self._last = self._clock()
            self._first_done = -1
        text = describe(event, self._planned, verbose=self._verbose)
        if text:
            self._line(text)

    def _units(self, event: UnitsFinished) -> None:
        now = self._clock()
        if self._first_done < 0:
            self._first_done, self._started = event.done, now
        if now - self._last < INTERVAL or event.done >= event.total:
            return
        self._last = now
        new = event.done - self._first_done
        left = (now - self._started) / new * (event.total - event.done) if new > 0 else None
        eta = f", about {duration(left)} left" if left is not None else ""
        self._line(f"  {event.id}: {event.done} of {event.total} units, {event.broken} broken{eta}")


class LiveProgress(NoProgress):
    """Bars with the time left, below the lines that stay."""

    def __init__(self, stream: TextIO, console: Console, *, verbose: bool = False) -> None:
        super().__init__(stream)
        self._verbose = verbose
        self._console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self._bars.start()
        self._task = self._bars.add_task("starting", total=None, note="")
        self._planned: list[str] = []

    def close(self) -> None:
        """Take the bars down."""
        with contextlib.suppress(OSError, ValueError):
            self._bars.stop()

    def _line(self, text: str) -> None:
        self._console.print(Text(plain(text)))

    def _show(self, event: Event) -> None:
        if isinstance(event, UnitsFinished):
            note = f"{event.broken} broken" + (f", {count(event.queries)} queries" if event.queries else "")
            self._bars.update(self._task, completed=event.done, total=event.total, note=note)
            return
        if isinstance(event, Finished):
            self.close()
            return
        if isinstance(event, Plan):
            self._planned = [attack.id for attack in event.attacks]
        if isinstance(event, Phase | AttackStarted):
            total = event.units if isinstance(event, AttackStarted) else None
            self._bars.remove_task(self._task)
            self._task = self._bars.add_task(plain(describe(event, self._planned), 60), total=total, note="")
            return
        text = describe(event, self._planned, verbose=self._verbose)
        if text:
            self._line(text)


def describe(event: Event, planned: list[str], *, verbose: bool = False) -> str:
    """An event on one line; empty for one that says nothing by itself."""
    match event:
        case Phase():
            return event.name + (f": {event.detail}" if event.detail else "")
        case Plan():
            known = sum((attack.most for attack in event.attacks if attack.most is not None), start=Cost())
            unknown = [attack.id for attack in event.attacks if attack.most is None]
            words = evaluations_words(known.forwards, known.backwards, known.queries)
            told = f", at most {words}" if known != Cost() else ""
            told += f"; unknown: what {', '.join(unknown)} needs" if unknown else ""
            return f"plan: {counted(len(event.attacks), 'attack')} on {counted(event.samples, 'sample')}{told}"
        case AttackStarted():
            place = f"[{planned.index(event.id) + 1}/{len(planned)}] " if event.id in planned else ""
            return f"{place}{event.id} ({event.access})"
        case AttackFinished():
            if event.status not in ("done", "partial"):
                return f"{event.id} {event.status}" + (f": {event.reason}" if event.reason else "")
            partial = " (partial)" if event.status == "partial" else ""
            return f"{event.id}{partial}: {event.newly_broken} newly broken, {event.remaining} still standing"
        case CheckFinished():
            if event.status in ("pass", "skipped") and not verbose:
                return ""
            return f"check {event.id} {event.status}: {event.message}"
        case Note():
            return event.message if event.level == "info" else f"{event.level}: {event.message}"
        case ModelOutput():
            return f"model: {event.text}"
        case SampleError():
            return f"sample {event.sample_id}: {event.message}"
        case _:
            return ""


def progress(stream: TextIO, *, enabled: bool = True, verbose: bool = False) -> NoProgress:
    """The observer that fits a stream; a context manager that takes the display down.

    Args:
        stream: stderr.
        enabled: False (``--no-progress``, ``-q``) shows errors alone.
        verbose: tell of checks that pass, too.
    """
    if not enabled:
        return NoProgress(stream)
    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveProgress(stream, console, verbose=verbose)
    return PlainProgress(stream, verbose=verbose)
