"""Processes are started apart from the caller's script, and from its signals."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import spawn
from typing import Any

__all__ = ["OWN_VARIABLES", "SIGNALS", "deferred", "started_apart", "starting_context"]

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ask an audit to stop; the last one that the terminal is gone."""


OWN_VARIABLES = {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONSAFEPATH": "1"}
"""Of the processes that are started. Threads that spin while they wait make small models ten times slower where other
programs use the processors; a safe path does not import whatever lies beside a model in the working directory."""


_STARTING = threading.RLock()


def starting_context() -> Any:
    """Where processes come from: each is a new interpreter, which has imported nothing and shares nothing."""
    return multiprocessing.get_context("spawn")


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Signals wait; a process started meanwhile has them blocked, and so cannot die before it ignores them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start, which a process's first start causes, would unblock them
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextlib.contextmanager
def started_apart() -> Iterator[None]:
    """A process that this thread starts meanwhile does not run the caller's script again, as ``spawn`` would.

    It needs nothing of a script or notebook, which may have no ``if __name__ == "__main__"``, and may take long. Nor
    does it import what lies in the working directory. All of it is for robaudit's own command too, whose variables
    are set already.
    """
    caller, original = threading.get_ident(), spawn.get_preparation_data

    def prepared(name: str) -> dict[str, Any]:
        data = original(name)
        if threading.get_ident() == caller:
            for key in ("init_main_from_name", "init_main_from_path"):
                data.pop(key, None)
        return data

    with _STARTING:
        before = {name: os.environ.get(name) for name in OWN_VARIABLES}
        spawn.get_preparation_data = prepared
        os.environ.update({name: before[name] or value for name, value in OWN_VARIABLES.items()})
        try:
            yield
        finally:
            spawn.get_preparation_data = original
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
