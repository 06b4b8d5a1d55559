"""Writing to stdout in an encoding that it takes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = [
    "chosen_format",
    "columns",
    "config_words",
    "for_a_reader",
    "model_says",
    "say",
    "write_json",
    "write_lines",
]


def chosen_format(value: str) -> str:
    """``text`` or ``json``.

    Raises:
        UsageError: anything else.
    """
    from robaudit.errors import UsageError

    if value not in ("text", "json"):
        raise UsageError(f"--format is text or json, not {value!r}")
    return value


def config_words(config: str) -> str:
    """Which ``robaudit.yaml`` counts: it may have come with the model."""
    from robaudit.report.words import plain

    return f"settings from {plain(config)}"


def columns() -> int | None:
    """Width of the terminal; None where there is none, and lines may be as long as they are."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@contextlib.contextmanager
def for_a_reader() -> Iterator[None]:
    """A reader who has seen enough (``| head``) closes the pipe; that changes no verdict, and no exit code."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_lines(lines: Iterable[str]) -> None:
    """Lines, each character that stdout does not take as the nearest that it does; none that may not be shown."""
    from robaudit.printable import printable
    from robaudit.report.nearest import fitted

    text = "".join(f"{printable(line.rstrip())}\n" for line in lines)
    sys.stdout.write(fitted(text, getattr(sys.stdout, "encoding", None)))


def say(text: str) -> None:
    """A line on stderr, whatever names it quotes."""
    from robaudit.printable import plain

    with contextlib.suppress(OSError):  # nobody listens
        sys.stderr.write(f"{plain(text, 2000)}\n")


def model_says(line: str) -> None:
    """A line that the process with the model in it printed."""
    say(f"model: {line}")


def write_json(content: Any) -> None:
    """A JSON value, indented; text beyond ASCII is escaped, so that it fits any encoding."""
    sys.stdout.write(json.dumps(content, indent=2, allow_nan=False).replace("\x7f", "\\u007f") + "\n")
