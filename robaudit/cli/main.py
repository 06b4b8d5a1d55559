"""The entry point of the ``robaudit`` command: little is imported before it knows what an interrupt means.

An audit handles interrupts itself while its worker is at work (:mod:`robaudit.audit.run.supervisor`). Before, after and
in every other command, the first Ctrl-C, SIGTERM or SIGHUP (the terminal is gone) ends what is done, and the second
ends the process at once. Once the exit code is known, none changes it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from types import FrameType
from typing import Any

__all__ = ["main"]

FAILED, INTERRUPTED = 3, 130
ALWAYS = (signal.SIGINT, signal.SIGTERM)
HANDLED = (*ALWAYS, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


class _Interrupts:
    """What a signal does, as a handler."""

    def __init__(self) -> None:
        self.count = 0
        self.code: int | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.code is not None or self.count > 1:
            os._exit(INTERRUPTED if self.code is None else self.code)
        raise KeyboardInterrupt

    def lost(self, about: Any) -> None:
        """As ``sys.unraisablehook``: an interrupt in a place that cannot pass it on is one all the same."""
        if issubclass(about.exc_type, KeyboardInterrupt):
            os._exit(INTERRUPTED if self.code is None else self.code)
        sys.__unraisablehook__(about)

    def install(self) -> None:
        """Handle the signals; SIGHUP as it is where the caller ignores it (``nohup``)."""
        sys.unraisablehook = self.lost
        with contextlib.suppress(ValueError):  # not the main thread
            for signum in HANDLED:
                if signum in ALWAYS or signal.getsignal(signum) is not signal.SIG_IGN:
                    signal.signal(signum, self)
            atexit.register(self._ignore)  # runs last, as it comes first; the interpreter would restore the defaults

    def _ignore(self) -> None:
        for signum in HANDLED:
            if signal.getsignal(signum) is self:
                signal.signal(signum, signal.SIG_IGN)


def main() -> None:
    """Run the command line, and exit with its code."""
    interrupts = _Interrupts()
    interrupts.install()
    try:
        from robaudit.cli.app import run

        code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception:
        if not interrupts.count:  # else the interrupt of an import, as another error
            raise
        code = INTERRUPTED
    if interrupts.count and code == FAILED:  # it came as another error
        code = INTERRUPTED
    interrupts.code = code
    sys.exit(code)


if __name__ == "__main__":
    main()
