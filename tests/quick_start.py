"""Processes with a model in them start from one that has imported PyTorch and ONNX Runtime already.

What a test is about is not how long these take to be imported. A process still begins with :func:`enter`, which
confines it, has the variables and the path of the test, and is no copy of the test's own process. Tests of what comes
before any import ask for `slow_start`, and start as users' do.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

IMPORTED = ("torch", "onnx", "onnxruntime", "robaudit.audit.run.worker", "robaudit.audit.session.session")


class QuickProcess(ForkServerProcess):
    """One that is told the variables of the process that starts it."""

    def start(self) -> None:
        self._args = (dict(os.environ), self._target, self._args)
        self._target = entered
        super().start()


class QuickContext(ForkServerContext):
    """In place of the context in which processes are started from nothing."""

    Process = QuickProcess


def entered(environment: dict[str, str], target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    target(*arguments)


def prepared() -> QuickContext | None:
    """The context, where the system has it."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return None
    context = QuickContext()
    context.set_forkserver_preload(list(IMPORTED))
    return context
