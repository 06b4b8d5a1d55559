"""Loads thousands of damaged model files as an audit does, and looks for what must never happen.

Each file is read, run and differentiated in a confined process with limits of time and memory, which is started anew
when it dies. A file may be loaded, refused in a sentence, or end its process: all of that is well. It is a finding when
an exception comes out that is no sentence, when anything outside of the model's folder is opened (the kernel tells, by
inotify, whoever opens it), when a file is written, or when a process, a socket or a library is opened.

    python benchmarks/fuzz.py --files 20000 --report fuzz.json
    python benchmarks/fuzz.py --only 1234 --keep here     # one of them again; its file stays
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import random
import shutil
import site
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from robaudit.audit.process.child import Child
from robaudit.audit.process.confinement import Confinement
from robaudit.audit.process.messages import unexpected

KINDS = ("onnx bytes", "onnx structure", "torchscript bytes", "torchscript entries", "torchscript structure")
WEIGHTS = (3, 5, 1, 1, 0)
MEMORY = 3 * 2**30
PATIENCE = 10
"""Times the limit, in wall-clock seconds, after which a file that waits for something is given up too."""
WATCHED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "socket.bind")


@dataclass
class Outcome:
    """What became of one file: ok, refused, unexpected, crash, timeout; ``touched``: what it opened and may not."""

    status: str
    detail: str = ""
    touched: list[str] = field(default_factory=list)


def serve(connection: Connection, _: object, folder: str, scratch: str) -> None:
    """In the child: load every file that is named, and say what became of it."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    touched: list[str] = []
    watching = _watch(touched, (folder, scratch))
    connection.send(_audit(Path(folder) / "warm.onnx"))  # imports happen now
    while True:
        try:
            path = Path(connection.recv())
        except EOFError:
            return
        touched.clear()
        watching[0] = True
        outcome = _audit(path)
        watching[0] = False
        outcome.touched = touched[:20]
        connection.send(outcome)


def _watch(touched: list[str], free: tuple[str, ...]) -> list[bool]:
    own = (sys.prefix, sys.base_prefix, *site.getsitepackages())
    reads = tuple(os.path.realpath(p) + os.sep for p in (*free, *own, "/proc", "/sys", "/usr"))
    source = str(Path(__file__).parents[1]) + os.sep
    above = os.path.dirname(os.path.realpath(free[0]))
    names = ("config.json", "preprocessor_config.json", "processor_config.json")
    beside = {os.path.join(above, name) for name in names}
    on = [False]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not on[0]:
            return
        if event in WATCHED:
            touched.append(f"{event} {arguments[:1]}")
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            on[0] = False
            where = os.path.realpath(os.fsdecode(arguments[0]))
            on[0] = True
            writes = isinstance(arguments[1], str) and any(c in arguments[1] for c in "wax+")
            writes |= isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            # One component of a path at a time is opened in a folder that is open: its name alone is told.
            relative = not os.path.isabs(os.fsdecode(arguments[0]))
            # what Hugging Face's folders keep beside the one with the model is looked for there
            relative |= where in beside
            if not (relative or (where + os.sep).startswith((*reads, source)) or where == "/dev/null"):
                touched.append(f"open {where}")
            elif writes and not where.startswith((free[1], "/dev/null")):
                touched.append(f"write {where}")

    sys.addaudithook(hook)
    return on


def _audit(path: Path) -> Outcome:
    import torch

    from robaudit.errors import RobauditError
    from robaudit.target.inputs.spec import SpecOverrides
    from robaudit.target.load import open_target
    from robaudit.target.reading.measured import measure
    from robaudit.target.target import ready

    try:
        target = open_target(path, overrides=SpecOverrides(), device="cpu", sample_shape=(3, 8, 8))
        u = torch.rand(2, *target.spec.shape, generator=torch.Generator().manual_seed(0)).to(target.dtype)
        target = ready(measure(target, u))
        if target.gradient.available:
            leaf = u.clone().requires_grad_()
            torch.autograd.grad(target.logits(leaf).sum(), leaf, allow_unused=True)
        return Outcome("ok", "with gradient" if target.gradient.available else f"{target.gradient.reason}"[:80])
    except RobauditError as error:
        return Outcome("refused", " ".join(str(error).replace(str(path), "FILE").split()[:8]))
    except Exception as error:
        said = unexpected(error).message
        if not said.startswith("unexpected"):
            return Outcome("refused", " ".join(said.split()[:8]))
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "robaudit" in f.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return Outcome("unexpected", f"{type(error).__name__} in {where}: {' '.join(str(error).split())[:150]}")


def _used(pid: int | None) -> float:
    """Seconds of processor time that a process has used: a limit in them is the same on a busy machine."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Outside:
    """A folder that nothing may open; the kernel counts who does."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "secret.bin").write_bytes(bytes(range(256)) * 64)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0 or self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), 0x3C7) < 0:
            raise SystemExit("this system has no inotify, by which reads outside of the folder are seen")

    def opened(self) -> bool:
        """Whether anything in it was opened, read, written or made since the last call."""
        try:
            return bool(os.read(self._descriptor, 65536))
        except BlockingIOError:
            return False


class Fuzzer:
    """Makes files and has them loaded.

    Args:
        base: an empty folder to work in.
        seed: of everything.
        limit: seconds of processor time for a file.
        sandbox: confine the children as --sandbox does.
        kinds: of files to make; empty: those of WEIGHTS.
    """

    def __init__(self, base: Path, seed: int, limit: float, *, sandbox: bool, kinds: tuple[str, ...] = ()) -> None:
        from fuzz_seeds import ONNX_SEEDS, torchscript_seeds

        self.seed, self.limit, self.sandbox = seed, limit, sandbox
        self.weights = [int(kind in kinds) for kind in KINDS] if kinds else WEIGHTS
        self.outside = Outside(base / "outside")
        self.folder = base / "model"
        self.folder.mkdir()
        (self.folder / "weights.bin").write_bytes(bytes(4096))
        (self.folder / "link.bin").symlink_to("../outside/secret.bin")
        (self.folder / "up").symlink_to("../outside", target_is_directory=True)
        os.mkfifo(self.folder / "pipe")
        self.onnx = [make().SerializeToString() for make in ONNX_SEEDS.values()]
        self.archives = list(torchscript_seeds().values())
        (self.folder / "warm.onnx").write_bytes(self.onnx[0])
        self.kept = {*os.listdir(self.folder), "m.onnx", "m.pt"}
        self.child: Child | None = None

    def file(self, index: int) -> tuple[str, Path]:
        """Make one file: its kind and where it lies."""
        from fuzz_mutations import mutate_archive, mutate_bytes, mutate_onnx
        from fuzz_scripts import mutate_script

        rng = random.Random(f"{self.seed}:{index}")
        (kind,) = rng.choices(KINDS, self.weights)
        seed = rng.choice(self.onnx if kind.startswith("onnx") else self.archives)
        outside = str(self.folder.parent / "outside")
        if kind.endswith("bytes"):
            content = mutate_bytes(seed, rng)
        else:
            mutate = {"onnx structure": mutate_onnx, "torchscript structure": mutate_script}.get(kind, mutate_archive)
            content = mutate(seed, rng, outside)
        path = self.folder / ("m.onnx" if kind.startswith("onnx") else "m.pt")
        path.write_bytes(content)
        return kind, path

    def load(self, path: Path) -> Outcome:
        """Have a file loaded in the child; a new child where the last one died."""
        if self.child is None:
            confinement = Confinement(seconds=None, memory=MEMORY, sandbox="required" if self.sandbox else "off")
            self.child = Child(serve, (str(self.folder), str(self.folder.parent / "scratch")), confinement)
            if self.child.connection.recv().status != "ok":
                raise SystemExit("an undamaged model is not loaded")
        child = self.child
        self.outside.opened()
        start, end = _used(child.process.pid), time.monotonic() + PATIENCE * self.limit
        child.connection.send(str(path))
        outcome = None
        try:
            while not child.connection.poll(0.2):
                child.watch()
                if _used(child.process.pid) - start > self.limit or time.monotonic() > end:
                    outcome = Outcome("timeout")
                    break
                if not child.process.is_alive():
                    raise EOFError
            outcome = outcome or child.connection.recv()
        except (EOFError, OSError):
            child.process.join()
            outcome = Outcome("crash", child.ended())
        if not isinstance(outcome, Outcome):
            raise SystemExit(f"the child cannot start: {outcome}")
        if outcome.status in ("timeout", "crash"):
            self.stop()
        if self.outside.opened():
            outcome.touched.append("outside of the folder")
        if made := set(os.listdir(self.folder)) - self.kept:
            outcome.touched.append(f"made {sorted(made)}")
        return outcome

    def stop(self) -> None:
        """End the child."""
        if self.child is not None:
            self.child.close()
            self.child = None


def fuzz(
    base: Path,
    indices: range,
    seed: int = 0,
    limit: float = 10.0,
    *,
    sandbox: bool = True,
    keep: Path | None = None,
    kinds: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Load the files of these numbers; the figures, and every finding."""
    fuzzer = Fuzzer(base, seed, limit, sandbox=sandbox, kinds=kinds)
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    details: dict[str, Counter[str]] = {}
    findings: list[dict[str, Any]] = []
    start = time.monotonic()
    try:
        for index in indices:
            kind, path = fuzzer.file(index)
            outcome = fuzzer.load(path)
            counts[kind][outcome.status] += 1
            details.setdefault(outcome.status, Counter())[outcome.detail] += 1
            if outcome.touched or outcome.status in ("unexpected", "crash", "timeout"):
                found = {"index": index, "kind": kind, "status": outcome.status, "detail": outcome.detail}
                findings.append(found | {"touched": outcome.touched})
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, keep / f"{index}{path.suffix}")
            if (index - indices.start) % 500 == 499:
                print(
                    f"{index + 1 - indices.start} files, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True
                )
    finally:
        fuzzer.stop()
    return {
        "files": len(indices),
        "seed": seed,
        "seconds": round(time.monotonic() - start),
        "counts": {kind: dict(found) for kind, found in counts.items()},
        "opened what it may not": sum(bool(f["touched"]) for f in findings),
        "most frequent": {status: dict(found.most_common(25)) for status, found in details.items()},
        "findings": findings,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of one file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=10.0, help="seconds of processor time for a file")
    parser.add_argument("--kind", action="append", choices=KINDS, help="of files to make; repeatable")
    parser.add_argument("--no-sandbox", action="store_true", help="where the system has none")
    parser.add_argument("--keep", type=Path, help="folder for the files that were findings")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    indices = range(given.first, given.first + given.files) if given.only is None else range(given.only, given.only + 1)
    kinds = tuple(given.kind or ())
    with tempfile.TemporaryDirectory() as base:
        how = {"sandbox": not given.no_sandbox, "keep": given.keep, "kinds": kinds}
        report = fuzz(Path(base), indices, given.seed, given.limit, **how)
    text = json.dumps(report, indent=1)
    print(text if given.report is None else json.dumps(report["counts"], indent=1))
    if given.report is not None:
        given.report.write_text(text)
    bad = [f for f in report["findings"] if f["touched"] or f["status"] == "unexpected"]
    with contextlib.suppress(BrokenPipeError):
        print(f"{len(bad)} findings", file=sys.stderr)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
