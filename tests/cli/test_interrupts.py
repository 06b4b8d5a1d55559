"""Ctrl-C, SIGTERM and SIGHUP before and after an audit, where no worker is at work: one exit code, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AMID = "print('ready', flush=True); time.sleep(20); return 0"
SWALLOWED = """
    class Thing: pass
    thing = Thing()
    weakref.finalize(thing, lambda: (print('ready', flush=True), time.sleep(20)))
    del thing
    time.sleep(20)
    return 0
"""
AS_ANOTHER_ERROR = """
    try: print('ready', flush=True); time.sleep(20)
    except KeyboardInterrupt: return 3
"""
TWICE = """
    try: print('ready', flush=True); time.sleep(20)
    except KeyboardInterrupt: print('ready', flush=True); time.sleep(20)
    return 0
"""
AFTER = "atexit.register(lambda: (print('ready', flush=True), time.sleep(1))); return 4"


def ended(body: str, *signals: signal.Signals, before: str = "") -> tuple[int, str]:
    """Exit code and stderr of the entry point on commands that do something else; a signal at each ``ready``."""
    code = (
        "import atexit, sys, time, types, weakref, signal\n"
        f"{before}\n"
        "fake = types.ModuleType('robaudit.cli.app')\n"
        f"def run():\n    {body.strip()}\n"
        "fake.run = run\nsys.modules['robaudit.cli.app'] = fake\n"
        "from robaudit.cli.main import main\nmain()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for signum in signals:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signum)
        _, err = process.communicate(timeout=15)
    return process.returncode, err


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_command_that_is_interrupted_says_nothing(signum: signal.Signals) -> None:
    # SIGHUP is ignored where the tests run under nohup
    before = "signal.signal(signal.SIGHUP, signal.SIG_DFL)" if signum == signal.SIGHUP else ""
    assert ended(AMID, signum, before=before) == (130, "")


@pytest.mark.parametrize("body", [SWALLOWED, AS_ANOTHER_ERROR])
def test_an_interrupt_that_something_else_catches_counts(body: str) -> None:
    assert ended(body, signal.SIGINT) == (130, "")


def test_a_second_interrupt_ends_at_once() -> None:
    assert ended(TWICE, signal.SIGINT, signal.SIGTERM) == (130, "")


@pytest.mark.parametrize("signum", SIGNALS)
def test_an_interrupt_at_the_end_changes_no_exit_code(signum: signal.Signals) -> None:
    assert ended(AFTER, signum) == (4, "")


def test_a_hangup_that_the_caller_ignores_is_ignored() -> None:
    body = "print('ready', flush=True); time.sleep(0.5); return 4"
    assert ended(body, signal.SIGHUP, before="signal.signal(signal.SIGHUP, signal.SIG_IGN)") == (4, "")
