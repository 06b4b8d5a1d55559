"""Kills and signals to the whole command line: does the same command, given again, come to what an unbroken run says?

    python benchmarks/kill_command.py [--kills 50] [--modes curve ...] [--per-run 8] [--limit 600] [--seed 0]

Real ``robaudit scan`` processes (supervisor, worker, the helper of multiprocessing) audit a tiny float64 network. Each
is struck when its journal has come to a line that is drawn at random, plus a random moment, or at a random moment of
its start; then the same command is given again, until it ends. The blows:

- ``group``: SIGKILL of the whole process group; ``supervisor``, ``worker``: of that process alone;
- ``int``, ``term``, ``hup``: that signal to the group, as a terminal sends it; ``int twice``: again at once;
- ``stop``: SIGSTOP of the group for a moment, then SIGCONT.

Compared with the unbroken run are samples, outcomes, evaluations of every kind, distances and the evidence, of the
result and of every unit that counts; that nothing was computed twice; that no process and no lock is left after
each blow; and what the command said: its exit code, and no traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from kill_resume import STORY, counting, differing, make_files

ROBAUDIT = str(Path(sys.executable).with_name("robaudit"))
BLOWS = ("group", "group", "group", "group", "supervisor", "worker", "term", "hup", "int", "int twice", "stop")
"""Drawn from, most often the kill of all."""
WHITE = "[{id: fgsm}, {id: apgd-ce, steps: 12, restarts: 2}, {id: square, queries: 60}]"
SOME = "[clean, evidence]"
EVERY = "[clean, parity, determinism, batch-state, output-head, zero-gradient, unbounded, black-over-white, evidence]"
EARLY = 0.2
"""Share of the blows that fall at any moment since the start, the others at a line of the journal."""


@dataclass(frozen=True)
class Mode:
    """A kind of audit: its threat, attacks, checks and flags."""

    attacks: str
    threat: str = "{norm: linf, eps: 0.03}"
    checks: str = SOME
    flags: tuple[str, ...] = ()
    samples: int = 16
    surrogate: bool = False


MODES = {
    "until-decided": Mode(WHITE, flags=("--until-decided", "--gate", "robust_accuracy>=0.3"), samples=120),
    "curve": Mode(WHITE, flags=("--curve",)),
    "union": Mode(
        "[{id: fgsm}, {id: apgd-ce, steps: 10}, {id: square, queries: 40}, {id: sigma-zero, steps: 20}]",
        "{norm: linf, eps: 0.03, also: [{norm: l2, eps: 0.2}, {norm: l1, eps: 0.6}, {norm: l0, eps: 2}]}",
    ),
    "l2": Mode("[{id: apgd-ce, steps: 12}, {id: ddn, steps: 15}, {id: fab, steps: 10}]", "{norm: l2, eps: 0.2}"),
    "checks": Mode(WHITE, checks=EVERY),
    "blackbox": Mode("[{id: square, queries: 150}, {id: hopskipjump, queries: 150}]"),
    "transfer": Mode("[{id: transfer-mi-fgsm}, {id: square, queries: 30}]", surrogate=True),
    "goal": Mode(
        "[{id: apgd-ce, steps: 10}, {id: square, queries: 40}]", "{norm: linf, eps: 0.06}", flags=("--goal", "every:2")
    ),
    "stability": Mode(WHITE, flags=("--labels", "model")),
    "quick": Mode("", checks=""),
}


@dataclass
class Case:
    """Files of one mode, and the command."""

    mode: Mode
    folder: Path
    command: list[str] = field(default_factory=list)

    def prepare(self, name: str) -> None:
        self.folder.mkdir()
        model, data = make_files(self.folder, self.mode.samples)
        profile = "quick"
        if name != "quick":
            profile = str(self.folder / "p.yaml")
            Path(profile).write_text(
                f"name: tiny\nthreat: {self.mode.threat}\ndata: {{samples: {self.mode.samples}}}\n"
                f"attacks: {self.mode.attacks}\nchecks: {self.mode.checks}\n"
            )
        more = list(self.mode.flags)
        if self.mode.surrogate:
            other = self.folder / "other"
            other.mkdir()
            more += ["--surrogate", str(shutil.copy(make_files(other, 4)[0], self.folder / "s.pt"))]
        self.command = [ROBAUDIT, "scan", str(model), "--data", str(data), "--profile", profile, *more]
        for flag, value in (("mean", "0"), ("std", "1"), ("layout", "nchw"), ("domain", "0,1"), ("batch-size", "4")):
            self.command += [f"--{flag}", value]

    def start(self, run: Path) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        return subprocess.Popen(
            [*self.command, "--run-dir", str(run), "--no-progress"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def lines(run: Path) -> list[dict[str, Any]]:
    """Whole records of a journal that may be growing."""
    path = run / "journal.jsonl"
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def count_lines(run: Path) -> int:
    path = run / "journal.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def group_of(leader: int) -> list[int]:
    """Processes of a group that live, those that wait to be reaped not among them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == leader and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found


def worker_of(leader: int) -> int | None:
    for process in group_of(leader):
        try:
            if b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
        except OSError:
            continue
    return None


def strike(blow: str, process: subprocess.Popen[str], draw: random.Random) -> bool:
    """Whether it fell."""
    leader = process.pid
    try:
        if blow == "group":
            os.killpg(leader, signal.SIGKILL)
        elif blow == "supervisor":
            os.kill(leader, signal.SIGKILL)
        elif blow == "worker":
            worker = worker_of(leader)
            if worker is None:
                return False
            os.kill(worker, signal.SIGKILL)
        elif blow == "stop":
            os.killpg(leader, signal.SIGSTOP)
            time.sleep(draw.uniform(0.1, 1.5))
            os.killpg(leader, signal.SIGCONT)
        else:
            name, _, twice = blow.partition(" ")
            os.killpg(leader, signal.Signals[f"SIG{name.upper()}"])
            if twice:
                time.sleep(draw.uniform(0, 0.3))
                if process.poll() is None:
                    os.killpg(leader, signal.SIGINT)
    except ProcessLookupError:
        return False
    return True


EXPECTED = {"group": {-9}, "supervisor": {-9}, "worker": {0, 3}, "stop": {0}}
"""Exit codes after a blow that fell in time; after a signal 130."""


def misbehaved(blow: str, code: int, err: str, leader: int, run: Path, calm: int) -> list[str]:
    """What is wrong with how a struck command ended."""
    wrong = []
    expected = {calm if code_ == 0 else code_ for code_ in EXPECTED.get(blow, {130})}
    if code not in {*expected, calm}:
        wrong.append(f"exit code {code} after {blow}: {err.strip()[-200:]!r}")
    if "Traceback" in err:
        wrong.append(f"a traceback after {blow}: {err.strip()[-300:]!r}")
    end = time.monotonic() + 5
    while (left := group_of(leader)) and time.monotonic() < end:
        time.sleep(0.02)
    if left:
        wrong.append(f"{len(left)} processes are left 5 s after {blow}")
        for process in left:
            os.kill(process, signal.SIGKILL)
    for name in ("run.lock", "worker.lock"):
        if (run / name).exists():
            lock = FileLock(run / name)
            try:
                lock.acquire(timeout=2)
                lock.release()
            except Timeout:
                wrong.append(f"{name} is held after {blow}")
    return wrong


def told(run: Path) -> tuple[Any, dict[Any, Any], Counter[Any]]:
    """The result without its story, its evidence, the units, and how often each was journaled."""
    result = json.loads((run / "result.json").read_text())
    for name in (*STORY, "id", "command", "elsewhere", "shown_again"):
        result["run"].pop(name, None)
    for name in ("digest", "earlier"):
        result.pop(name, None)
    for attack in result["attacks"]:
        attack.pop("seconds")
    result["run"].pop("batch_size", None)  # halved after a killed worker
    result["profile"]["settings"].pop("run_dir")
    if result["evidence"]["path"] is not None:
        with np.load(run / result["evidence"]["path"]) as archive:
            result["evidence"] = {name: archive[name].tolist() for name in archive.files}
    units, times = {}, Counter[Any]()
    points = (run / "points.bin").read_bytes() if (run / "points.bin").exists() else b""
    for record in lines(run):
        if record["kind"] == "unit":
            place = record["attack"], record["sample"], record["restart"], record["aim"]
            at, point = record.get("point"), None
            if at is not None:
                data = points[at["offset"] : at["offset"] + at["bytes"]]
                point = np.frombuffer(data, at["dtype"]).tolist()
            units[place] = {k: v for k, v in record.items() if k not in ("point", "seal")}, point
            times[place] += 1
    return result, units, times


def broken_run(
    case: Case, run: Path, blows: int, length: int, calm: int, took: float, draw: random.Random
) -> tuple[Counter[str], list[str]]:
    """One audit, struck up to so often and then left alone; which blows fell, and what went wrong on the way."""
    done, wrong = Counter[str](), []
    while True:
        before = count_lines(run)
        process = case.start(run)
        begun = time.monotonic()
        blow = draw.choice(BLOWS) if sum(done.values()) < blows else None
        if blow is not None:
            early = draw.random() < EARLY
            moment = begun + draw.uniform(0, took) if early else begun + 600
            goal = before + 1 + int(draw.random() ** 2 * max(length - before, 1))
            while process.poll() is None and time.monotonic() < moment:
                if not early and count_lines(run) >= goal:
                    time.sleep(draw.uniform(0, 0.05))
                    break
                time.sleep(0.002)
            fell = process.poll() is None and strike(blow, process, draw)
        try:
            _, err = process.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return done, [*wrong, f"the command hung after {blow}"]
        if blow is None or not fell:
            if process.returncode != calm:
                wrong.append(f"exit code {process.returncode} without a blow: {err.strip()[-200:]!r}")
                return done, wrong
            return done, wrong
        done[blow] += 1
        wrong += misbehaved(blow, process.returncode, err, process.pid, run, calm)
        if process.returncode == calm and not (run / "result.json").exists():
            return done, [*wrong, "it ended well and left no result"]


def of_mode(name: str, options: argparse.Namespace, folder: Path) -> bool:
    """One mode; prints its line, and whether all was equal."""
    draw = random.Random(f"{options.seed} {name}")
    case = Case(MODES[name], folder / name)
    case.prepare(name)
    start = time.monotonic()
    process = case.start(folder / "whole")
    _, err = process.communicate(timeout=300)
    took, calm = time.monotonic() - start, process.returncode
    assert (folder / "whole/result.json").exists(), err
    expected, expected_units, _ = told(folder / "whole")
    length = count_lines(folder / "whole")
    done, runs, wrong, twice, begun = Counter[str](), 0, [], 0, time.monotonic()
    while sum(done.values()) < options.kills and time.monotonic() - begun < options.limit:
        run = folder / f"run{runs}"
        left = min(options.per_run, options.kills - sum(done.values()))
        fell, faults = broken_run(case, run, left, length, calm, took, draw)
        done += fell
        runs += 1
        if not (run / "result.json").exists():
            wrong += faults or ["no result"]
            continue
        found, units, times = told(run)
        faults += differing(expected, found)
        faults += differing(counting(expected_units, units), counting(units, expected_units))
        twice += sum(times.values()) - len(times)
        wrong += faults
        if not faults:
            shutil.rmtree(run)
    blows = ", ".join(f"{count} {blow}" for blow, count in done.most_common())
    verdict = "all equal" if not wrong else f"{len(wrong)} differ"
    cells = (name, f"{took:.1f}", len(expected_units), sum(done.values()), blows, runs, verdict, twice)
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
    for text in dict.fromkeys(wrong):
        print(f"  {text}", flush=True)
    return not wrong and twice == 0


def main() -> int:
    """All modes; 0 where every broken run was equal to the unbroken one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--modes", nargs="*", default=None)
    parser.add_argument("--per-run", type=int, default=8, help="most blows to one audit")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of a mode, after which no audit is begun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None, help="folder for the runs that differ")
    options = parser.parse_args()
    print("| mode | unbroken, s | units | blows | of them | resumed runs | outcome | units twice |")
    print("|-|-|-|-|-|-|-|-|")
    good = True
    for name in options.modes or MODES:
        folder = Path(tempfile.mkdtemp(prefix="robaudit-kill-"))
        fine = of_mode(name, options, folder)
        good &= fine
        if not fine and options.keep is not None:
            options.keep.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, options.keep / name, dirs_exist_ok=True)
        shutil.rmtree(folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
