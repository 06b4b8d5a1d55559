"""A process for what nobody vouches for: it is confined first, and imports and loads only then.

Only the standard library is imported here, so that the confinement comes before any other code, and before any
thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import parent_process, spawn
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, TypeVar

from robaudit.audit.process import sandbox
from robaudit.audit.process.said import Said
from robaudit.audit.process.sandbox import Mode
from robaudit.errors import AuditError, RobauditError, UsageError
from robaudit.streams import hold_standard
from robaudit.target.watch import BACKWARD, AtWork, Watch, Watched

__all__ = [
    "Answered",
    "Child",
    "Confinement",
    "CutOffError",
    "Failed",
    "deferred",
    "in_child",
    "no_answer",
    "not_loaded",
    "too_late",
    "unexpected",
]

T = TypeVar("T")
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ask an audit to stop; the last one that the terminal is gone."""
LOAD_SECONDS = 300.0
CALL_SECONDS = 60.0
FOLDERS = ("TMPDIR", "TEMP", "TMP", "CUDA_CACHE_PATH", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME")
"""Variables that name places for temporary files and caches."""
RUNTIMES = (("onnxruntime", "ONNX Runtime"), ("onnx", "the ONNX library"), ("torch", "PyTorch"), ("numpy", "NumPy"))
PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when its parent ends."""
LARGEST = 1 << 30
"""Bytes of a file that a child without a run directory may write."""


@dataclass(frozen=True)
class Confinement:
    """What a process may take.

    Args:
        seconds: for loading and the first run; None: no limit.
        call: seconds for one call of the model, unless it is known to be slow; None: no limit.
        first: seconds for the first call of each kind; None: as any other.
        memory: bytes; None: no limit. ``gpu``: it cannot be set in the kernel, because CUDA maps more than it uses.
        sandbox: whether it is without network, and without write access outside of ``writable``.
        writable: folders.
        scratch: for temporary files and the account of a crash.
    """

    seconds: float | None = LOAD_SECONDS
    call: float | None = CALL_SECONDS
    first: float | None = None
    memory: int | None = None
    gpu: bool = False
    sandbox: Mode = "off"
    writable: tuple[str, ...] = ()
    scratch: str = ""

    @property
    def crash(self) -> Path:
        """Where a crash is put down."""
        return Path(self.scratch) / "crash.txt"

    @property
    def pulse(self) -> Path:
        """Where the process says which call of the model is at work."""
        return Path(self.scratch) / "pulse"


OWN_VARIABLES = {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONSAFEPATH": "1"}
"""Of the processes that are started. Threads that spin while they wait make small models ten times slower where other
programs use the processors; a safe path does not import whatever lies beside a model in the working directory."""
_STARTING = threading.RLock()

NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "failed to map segment")
"""How torch, the system and its loader of libraries say that there is no memory."""


@dataclass(frozen=True)
class Failed:
    """The task ended with an error; ``usage``: the input was refused before the audit."""

    message: str
    usage: bool


class CutOffError(AuditError):
    """A process hung or crashed; ``why`` in words, and ``at_work``: what it was at."""

    def __init__(self, about: object, why: str, at_work: AtWork) -> None:
        super().__init__(f"{about}: {why}")
        self.why = why
        self.at_work = at_work


@dataclass(frozen=True)
class Answered:
    """What a function returned."""

    value: Any


def _enter(confinement: Confinement, task: bytes, connection: Connection, printed: Connection) -> None:
    """Entry point of the process: confine it, then unpickle and run ``function(connection, watch, *arguments)``."""
    # Ctrl-C, and the end of a terminal, go to the whole group; the parent decides.
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    _print_into(printed)
    _be_killed_with_parent()
    try:
        _confine(confinement)
    except Exception as error:
        with contextlib.suppress(OSError):
            connection.send(Failed(f"--sandbox: {error}" if confinement.sandbox == "required" else str(error), True))
        return
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        function, arguments = pickle.loads(task)  # imports what it needs, which may be more than the memory allowed
    except Exception as error:
        connection.send(unexpected(error))
        return
    function(connection, Watch(confinement.pulse, confinement.call, confinement.first), *arguments)


def _print_into(pipe: Connection) -> None:
    """What is printed, by Python or by the code of a runtime, goes to the parent alone, who cleans it."""
    to = os.open(os.devnull, os.O_WRONLY) if os.name == "nt" else pipe.fileno()
    for standard in (1, 2):
        os.dup2(to, standard)
    pipe.close()
    for name, standard in (("stdout", 1), ("stderr", 2)):
        # by lines, as a process that is killed writes nothing more
        stream = open(standard, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)


def _confine(confinement: Confinement) -> None:
    faulthandler.enable(confinement.crash.open("wb"))
    for name in FOLDERS:
        os.environ[name] = confinement.scratch
    with contextlib.suppress(ImportError):  # Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if not confinement.writable:
            _lower(resource.RLIMIT_FSIZE, LARGEST)
        if confinement.memory is not None and not confinement.gpu:
            _lower(resource.RLIMIT_DATA, confinement.memory)
    sandbox.confine(confinement.sandbox, (confinement.scratch, *confinement.writable), sockets=confinement.gpu)


def _lower(which: int, limit: int) -> None:
    import resource

    hard = resource.getrlimit(which)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(which, (limit, limit))


def _be_killed_with_parent() -> None:
    """Where the system can do it, whatever code is at work here then."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_with_parent() -> None:
    """End at once when the parent is gone, however it went."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


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
        context = multiprocessing.get_context("spawn")
        hold_standard()  # the pipes that follow must not be among them
        self.connection, theirs = context.Pipe()
        listening, printed = context.Pipe(duplex=False)
        task = pickle.dumps((function, arguments))
        self.process: SpawnProcess = context.Process(
            target=_enter, args=(self.confinement, task, theirs, printed), name="robaudit-worker"
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
        process: SpawnProcess | None = getattr(self, "process", None)
        if process is not None and process.is_alive():
            process.kill()
            process.join()
        self.connection.close()
        self.pulse.close()
        shutil.rmtree(self.confinement.scratch, ignore_errors=True)


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


def in_child(
    function: Callable[..., T],
    *arguments: Any,
    confinement: Confinement,
    about: object,
    told: Callable[[str], None] = lambda _: None,
    watched: bool = False,
) -> T:
    """Call a function in a confined process of its own.

    Args:
        function: found by name; ``arguments`` and what it returns are picklable.
        confinement: for the process; its time is that of the whole call, or until the function begins a part that can
            be skipped, or asks samples.
        about: the file that it is about, for errors.
        told: of each line that the process prints, cleaned and cut.
        watched: the function calls a model, and takes a ``watch`` that it tells of that.

    Raises:
        UsageError: the function raised it.
        CutOffError: it crashed, or the model hung, at something that the watch was told of.
        AuditError: it failed otherwise, crashed, or took more time or memory than it may.
    """
    child = Child(_answer, (function, arguments, watched), confinement)
    begun = False
    try:
        while not child.connection.poll(0.05):
            child.watch()
            for line in child.said.lines():
                told(line)
            at_work = child.pulse.at_work()
            begun = begun or bool(at_work.part or at_work.samples)
            if child.late() and not begun:
                child.process.kill()
                at_work, seconds = child.pulse.at_work(), confinement.seconds or 0
                if at_work.auxiliary:
                    raise CutOffError(about, too_late("it", seconds), at_work)
                raise AuditError(too_late(about, seconds, at_work))
            if child.pulse.overdue:
                child.process.kill()
                at_work = child.pulse.at_work()
                raise CutOffError(about, no_answer(at_work), at_work)
            if not child.process.is_alive() and not child.connection.poll(0):
                raise EOFError
        message = child.connection.recv()
    except (EOFError, OSError) as error:
        child.process.join()
        at_work, how = child.pulse.at_work(), child.ended()
        if begun or at_work.samples or at_work.auxiliary:
            raise CutOffError(about, f"{how} {at_work.words}".strip(), at_work) from error
        raise AuditError(not_loaded(about, how, at_work)) from error
    finally:
        child.close()
        for line in child.said.rest():
            told(line)
    if isinstance(message, Failed):
        raise (UsageError if message.usage else AuditError)(message.message)
    value: T = message.value
    return value


def too_late(about: object, seconds: float, at_work: AtWork | None = None) -> str:
    """The sentence for a file whose loading was cut off, amid what is known of ``at_work``."""
    late = f"{about} was not loaded and run once within {seconds:g} s"
    if at_work is not None and at_work.words and at_work.calling:
        late += f" (it did not answer, {at_work.words})"
    return f"{late}; give it more with --load-timeout SECONDS"


def no_answer(at_work: AtWork, who: str = "the model") -> str:
    """The sentence for a call of a model that was cut off."""
    where = f" {at_work.words}" if at_work.words else ""
    if at_work.backward:
        told = f"the gradient of {who} was not computed within {at_work.limit:.3g} s{where}"
        return f"{told} ({BACKWARD} times --call-timeout SECONDS, which allows more)"
    return f"{who} did not answer within {at_work.limit:.3g} s{where} (--call-timeout SECONDS allows more)"


def not_loaded(about: object, how: str, at_work: AtWork) -> str:
    """The sentence for a process that ended before anything was audited; ``how`` in words."""
    where = f" {at_work.words}" if at_work.words else ""
    return f"{about} could not be loaded: {how}{where}; nothing was audited"


def _answer(
    connection: Connection, watch: Watch, function: Callable[..., Any], arguments: tuple[Any, ...], watched: bool
) -> None:
    try:
        connection.send(Answered(function(*arguments, watch=watch) if watched else function(*arguments)))
    except RobauditError as error:
        connection.send(Failed(str(error), error.exit_code == 2))
    except Exception as error:
        connection.send(unexpected(error))


def unexpected(error: Exception) -> Failed:
    """The message for an error that is no sentence of ours."""
    text = " ".join(str(error).split())
    told = any(words in text for words in NO_MEMORY) or type(error).__name__ == "OutOfMemoryError"  # of torch
    if told or isinstance(error, MemoryError):
        more = f" ({text[-80:]})" if text else ""
        return Failed(f"the memory that is free, or allowed by --memory-limit, did not suffice{more}", False)
    return Failed(f"unexpected {type(error).__name__}: {text}", False)
