"""A disk that is full from the first byte, from the second page, and so forth: what does the command say and lose?

    sudo python benchmarks/full_disk.py [--modes blackbox curve ...] [--step 1] [--limit 600]

``robaudit scan`` audits a tiny float64 network into a file system in memory of a given size, at first of one page, then
of one more, until all fits; and likewise of one file, of two, and so forth. Whatever was to be written when the room
ended is thereby found, without knowing where. After each the disk grows, and the same command is given again.

Wrong are: a traceback, an exit code other than 2 (nothing was begun), 3 (not all was kept) or that of an audit with
room, a full disk that is not named, and a second run whose samples, evaluations, distances or evidence are not those of
an audit that had room from the start. Mounting needs root.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kill_command import MODES, Case, told
from kill_resume import counting, differing

PAGE = os.sysconf("SC_PAGE_SIZE")
ROOMY = "size=64m,nr_inodes=10000"


def mount(disk: Path, room: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", room, "tmpfs", disk], check=True)


def scan(case: Case, disk: Path) -> tuple[int, str, str]:
    """The exit code, and what was said to stdout and to stderr."""
    case_of_disk = Case(case.mode, case.folder, [*case.command, "-o", str(disk / "r.json"), "-o", str(disk / "r.html")])
    process = case_of_disk.start(disk / "run")
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def used(disk: Path) -> tuple[int, int]:
    """Pages and inodes in use."""
    told_by_system = os.statvfs(disk)
    return told_by_system.f_blocks - told_by_system.f_bfree, told_by_system.f_files - told_by_system.f_ffree


def faults_of(code: int, out: str, err: str, calm: int) -> list[str]:
    """What is wrong with how a command on a small disk ended."""
    said = " ".join((out + err).split())
    wrong = []
    if "Traceback" in said:
        wrong.append(f"a traceback: {err.strip()[-300:]!r}")
    if code not in (2, 3, calm):
        wrong.append(f"exit code {code}: {err.strip()[-300:]!r}")
    if code != calm and "No space left on device" not in said:
        wrong.append(f"exit code {code}, and the full disk is not named: {err.strip()[-300:]!r}")
    if code == 2 and len(err.strip().splitlines()) > 3:
        wrong.append(f"more than a sentence: {err.strip()[:300]!r}")
    return wrong


def of_mode(name: str, options: argparse.Namespace, folder: Path) -> bool:
    """One mode; prints its line, and whether nothing was wrong."""
    disk = folder / "disk"
    disk.mkdir()
    case = Case(MODES[name], folder / name)
    case.prepare(name)
    mount(disk, ROOMY)
    try:
        calm, _, err = scan(case, disk)
        assert (disk / "run/result.json").exists(), err
        expected, expected_units, _ = told(disk / "run")
        pages, inodes = used(disk)
    finally:
        subprocess.run(["umount", "-l", disk])
    rooms = [f"size={PAGE * n},nr_inodes=10000" for n in range(1, pages + 2, options.step)]
    rooms += [f"size=64m,nr_inodes={n}" for n in range(2, inodes + 2)]
    codes, wrong, begun, tried = Counter[int](), [], time.monotonic(), 0
    for room in rooms:
        if time.monotonic() - begun > options.limit:
            break
        mount(disk, room)
        try:
            code, out, err = scan(case, disk)
            faults = faults_of(code, out, err, calm)
            codes[code] += 1
            mount(disk, f"remount,{ROOMY}")
            again, _, err = scan(case, disk)
            if again != calm:
                faults.append(f"exit code {again} with room again: {err.strip()[-300:]!r}")
            else:
                found, units, _ = told(disk / "run")
                faults += differing(expected, found)
                faults += differing(counting(expected_units, units), counting(units, expected_units))
        finally:
            subprocess.run(["umount", "-l", disk])
        tried += 1
        wrong += [f"{room}: {text}" for text in faults]
    said = ", ".join(f"{count} of {code}" for code, count in sorted(codes.items()))
    verdict = "nothing wrong" if not wrong else f"{len(wrong)} wrong"
    print(f"| {name} | {pages} | {inodes} | {tried} of {len(rooms)} | {said} | {verdict} |", flush=True)
    for text in wrong:
        print(f"  {text}", flush=True)
    return not wrong


def main() -> int:
    """All modes; 0 where nothing was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--modes", nargs="*", default=None)
    parser.add_argument("--step", type=int, default=1, help="pages from one size to the next")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of a mode, after which no size is begun")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("mounting needs root")
    print("| mode | pages of a run | inodes | sizes tried | exit codes | outcome |")
    print("|-|-|-|-|-|-|")
    good = True
    for name in options.modes or MODES:
        folder = Path(tempfile.mkdtemp(prefix="robaudit-disk-"))
        good &= of_mode(name, options, folder)
        shutil.rmtree(folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
