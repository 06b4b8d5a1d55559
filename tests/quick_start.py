"""Processes of tests start from one that has imported PyTorch, ONNX Runtime and robaudit already.

What a test is about is seldom how long these take to be imported. A process still begins where users' do, with the
variables, the path and the folder of the test, and is no copy of the test's own process. Tests of what comes before any
import, and of terminals, signals and untrusted files, start the installed command.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from command_line import ROBAUDIT

IMPORTED = (
    *("torch", "onnx", "onnxruntime", "scipy.stats", "sklearn", "robaudit.audit.run.worker"),
    *("robaudit.audit.session.session", "robaudit.cli.main", "robaudit.report.html.page"),
)
THREADS = "OMP_NUM_THREADS"
SERVER = ("_forkserver_address", "_forkserver_authkey")
"""Where the process is that others are copied from."""


class QuickProcess(ForkServerProcess):
    """One that is told its variables: those of the process that starts it, where it has none of its own."""

    environment: Mapping[str, str] | None = None

    def start(self) -> None:
        self._args = (dict(os.environ if self.environment is None else self.environment), self._target, self._args)
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
    before = os.environ.get(THREADS)
    os.environ[THREADS] = "1"  # read when PyTorch is imported, and pytest-xdist runs a process a core
    try:
        forkserver._forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ[THREADS]
        else:
            os.environ[THREADS] = before
    return context


def ran(
    arguments: Sequence[object],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """`robaudit ARGUMENTS` in a process of its own, to its end."""
    words, context = [str(argument) for argument in arguments], prepared()
    if context is None:
        command = [ROBAUDIT, *words]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    server = {name: getattr(forkserver._forkserver, name) for name in SERVER if hasattr(forkserver._forkserver, name)}
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("out", "err")]
        process = context.Process(target=commanded, args=(words, str(cwd or Path.cwd()), streams, server))
        process.environment = env
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout)
        out, err = (path.read_text("utf-8") for path in streams)
    return subprocess.CompletedProcess(words, process.exitcode or 0, out, err)


def commanded(words: list[str], folder: str, streams: list[Path], server: dict[str, Any]) -> None:
    """The command line, whose own processes come from the same place."""
    os.chdir(folder)
    for name, standard, path in zip(("stdout", "stderr"), (1, 2), streams, strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, standard)
        os.close(file)
        setattr(sys, name, open(standard, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))  # as an interpreter does
    for name, value in server.items():
        setattr(forkserver._forkserver, name, value)
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
    import robaudit.audit.process.child as child
    from robaudit.cli.main import main

    child.starting_context = prepared  # type: ignore[assignment]
    sys.argv = ["robaudit", *words]
    main()
