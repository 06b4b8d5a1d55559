"""A process for what is not trusted: it is confined first, and imports and loads only then.

Only the standard library is imported here, so that the confinement comes before any other code, and before any
thread.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from robaudit.audit.process.confinement import Confinement
from robaudit.audit.process.inside import enter
from robaudit.audit.process.said import Said
from robaudit.audit.process.starting import deferred, started_apart, starting_context
from robaudit.errors import AuditError, UsageError
from robaudit.streams import hold_standard
from robaudit.target.running.watch import Watched

__all__ = ["Child"]

RUNTIMES = (("onnxruntime", "ONNX Runtime"), ("onnx", "the ONNX library"), ("torch", "PyTorch"), ("numpy", "NumPy"))


class Child:
    """A started process and the connection to it.

    Args:
        function: called there as ``function(connection, watch, *arguments)``; found by name.
        arguments: picklable.
        confinement: for it; its folder for temporary files is made here, and removed by ``close``.
    """

    def __init__(self, function: Callable[..., None], arguments: tuple[Any, ...], confinement: Confinement) -> None:
        scratch = ""
        try:
            scratch = tempfile.mkdtemp(prefix="robaudit-")
            self.confinement = replace(confinement, scratch=scratch)
            self.pulse = Watched(self.confinement.pulse)
        except OSError as error:
            shutil.rmtree(scratch, ignore_errors=True)
            why = error.strerror or error
            raise UsageError(
                f"temporary files cannot be written ({why}); name a folder for them with TMPDIR"
            ) from error
        self.too_large = False
        self._started = time.monotonic()
        context = starting_context()
        hold_standard()  # the pipes that follow must not be among them
        self.connection, theirs = context.Pipe()
        listening, printed = context.Pipe(duplex=False)
        task = pickle.dumps((function, arguments))
        self.process: BaseProcess = context.Process(
            target=enter, args=(self.confinement, task, theirs, printed), name="robaudit-worker"
        )
        try:
            if multiprocessing.current_process().daemon:
                raise AuditError(
                    "a model is loaded in a process of its own, which the worker of a multiprocessing.Pool may not "
                    "start; use threads, or concurrent.futures.ProcessPoolExecutor"
                )
            with deferred(), started_apart():
                self.process.start()
        except BaseException:
            self.close()
            raise
        theirs.close()
        printed.close()
        self.said = Said(listening)

    def begin_loading(self) -> None:
        """Another model is being loaded, which has the whole time for that."""
        self._started = time.monotonic()

    def late(self) -> bool:
        """Whether its time for loading is over."""
        seconds = self.confinement.seconds
        return seconds is not None and time.monotonic() - self._started > seconds

    def watch(self) -> None:
        """Look at the call that is at work; kill the process if it has taken more memory than it may."""
        self.pulse.look()
        limit = self.confinement.memory
        if limit is None or self.too_large:
            return
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            self.too_large = pages * os.sysconf("SC_PAGE_SIZE") > limit
        if self.too_large:
            self.process.kill()

    def ended(self) -> str:
        """How the process ended, in words: who crashed, and by which signal."""
        code = self.process.exitcode
        if self.too_large:
            size = f"{(self.confinement.memory or 0) / 2**30:.1f} GB of memory"
            return f"it took more than the {size} that are free, or allowed by --memory-limit"
        if code is None or code >= 0:
            return f"the process ended with exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        if name == "SIGKILL":
            return "SIGKILL, likely out of memory"
        return f"{self._culprit()} crashed ({name})"

    def _culprit(self) -> str:
        """The library whose code ran, from the innermost line of the crash's account."""
        try:
            account = self.confinement.crash.read_text(errors="replace")
        except OSError:
            return "the process"
        frames = re.findall(r'^\s*File "([^"]+)"', account.partition("Current thread")[2] or account, re.MULTILINE)
        for frame in frames[:3]:
            for package, name in RUNTIMES:
                if package in Path(frame).parts:
                    return name
        return "the process"

    def close(self) -> None:
        """End the process if it still runs, and remove its temporary files."""
        process: BaseProcess | None = getattr(self, "process", None)
        if process is not None and process.is_alive():
            process.kill()
            process.join()
        self.connection.close()
        self.pulse.close()
        shutil.rmtree(self.confinement.scratch, ignore_errors=True)
