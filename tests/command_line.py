"""The command line as tests use it: in this process (the fixtures in conftest.py), or as a user starts it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

ROBAUDIT = str(Path(sys.executable).with_name("robaudit"))


class Outcome(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


Command: TypeAlias = Callable[..., Outcome]


def refused(outcome: Outcome, *words: str) -> None:
    """A usage error of one sentence, and nothing on stdout."""
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.err.startswith("robaudit: error: ")
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err
