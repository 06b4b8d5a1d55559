import io
import pickle
import subprocess
import sys

import pytest

from robaudit.attacks.cost import Cost
from robaudit.audit.journal.events import (
    AttackFinished,
    AttackStarted,
    CheckFinished,
    Finished,
    Note,
    Phase,
    Plan,
    PlannedAttack,
    SampleError,
    UnitsFinished,
    silent,
)
from robaudit.report.progress import LiveProgress, NoProgress, PlainProgress, progress

EVENTS = [
    Phase("loading", "model.onnx"),
    Plan((PlannedAttack("pgd", "white-box", 100, Cost.gradients(4100)), PlannedAttack("square", "scores", 50)), 100),
    AttackStarted("pgd", 100, "white-box"),
    UnitsFinished("pgd", 0, 100, 0, 0),
    UnitsFinished("pgd", 40, 100, 7, 0),
    AttackFinished("pgd", "done", 60, 60, 40),
    AttackStarted("square", 40, "scores"),
    UnitsFinished("square", 20, 40, 3, 4000),
    AttackFinished("square", "failed", 3, 3, 37, "out of [red]luck[/red] \x1b[31m"),
    CheckFinished("parity", "fail", "lost"),
    CheckFinished("clean", "pass", "fine"),
    Note("batch halved", "warning"),
    Note("the disk is full", "error"),
    SampleError("cat\x1b[2J.png", "unreadable"),
    Finished(),
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Closed(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_events_travel_between_processes():
    assert pickle.loads(pickle.dumps(EVENTS)) == EVENTS
    assert [silent(event) for event in EVENTS] == [None] * len(EVENTS)


def test_plain_lines():
    stream, now = io.StringIO(), iter(range(0, 1000, 15))
    with PlainProgress(stream, clock=lambda: next(now)) as show:
        for event in EVENTS:
            show(event)
    assert stream.getvalue().splitlines() == [
        "loading: model.onnx",
        "plan: 2 attacks on 100 samples, at most 4100 forwards, 4100 backwards; unknown: what square needs",
        "[1/2] pgd (white-box)",
        "  pgd: 0 of 100 units, 0 broken",
        "  pgd: 40 of 100 units, 7 broken, about 22 s left",
        "pgd: 60 newly broken, 40 still standing",
        "[2/2] square (scores)",
        "  square: 20 of 40 units, 3 broken",
        "square failed: out of [red]luck[/red] \N{REPLACEMENT CHARACTER}[31m",
        "check parity fail: lost",
        "warning: batch halved",
        "error: the disk is full",
        "sample cat\N{REPLACEMENT CHARACTER}[2J.png: unreadable",
    ]


def test_plain_lines_about_one_attack_are_seconds_apart():
    stream = io.StringIO()
    with PlainProgress(stream, clock=iter([0, 0, *(i / 100 for i in range(500))]).__next__) as show:
        show(AttackStarted("pgd", 300, "white-box"))
        for done in range(300):
            show(UnitsFinished("pgd", done, 300, 0, 0))
    assert stream.getvalue() == "pgd (white-box)\n"


def test_a_terminal_gets_bars_and_lines_that_stay():
    stream = Terminal()
    show = progress(stream)
    assert isinstance(show, LiveProgress)
    with show:
        for event in EVENTS:
            show(event)
    text = stream.getvalue()
    assert "pgd: 60 newly broken, 40 still standing" in text
    assert "out of [red]luck[/red]" in text
    assert "\x1b[31mx" not in text
    assert "cat\x1b[2J" not in text


def test_the_stream_and_the_flags_choose():
    assert type(progress(io.StringIO())) is PlainProgress
    assert type(progress(io.StringIO(), enabled=False)) is NoProgress
    assert type(progress(Terminal(), enabled=False)) is NoProgress


def test_no_progress_still_says_errors():
    stream = io.StringIO()
    with progress(stream, enabled=False) as show:
        for event in EVENTS:
            show(event)
    assert stream.getvalue() == "error: the disk is full\n"


@pytest.mark.parametrize("make", [PlainProgress, NoProgress])
def test_a_closed_stream_never_raises(make):
    with make(Closed()) as show:
        for event in EVENTS:
            show(event)


def test_ascii_streams_get_ascii():
    raw = io.BytesIO()
    with PlainProgress(io.TextIOWrapper(raw, encoding="ascii")) as show:
        show(Note("L∞ ≤ 8/255"))
    assert raw.getvalue() == b"Linf <= 8/255\n"


def test_verbose_tells_of_checks_that_pass():
    stream = io.StringIO()
    with progress(stream, verbose=True) as show:
        show(CheckFinished("clean", "pass", "fine"))
    assert stream.getvalue() == "check clean pass: fine\n"


def test_what_tells_of_progress_needs_no_torch():
    told = "import sys, robaudit.report.progress, robaudit.audit.run.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], timeout=60, check=False).returncode == 0
