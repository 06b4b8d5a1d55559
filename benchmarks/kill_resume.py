"""SIGKILL at random moments: is what a resumed audit says equal to what an unbroken one does?

    python benchmarks/kill_resume.py [--kills 50] [--samples 6] [--most 100] [--profiles quick ci ...] [--limit 600]

Each built-in profile audits a tiny float64 network, once unbroken and then killed at random moments and taken up again
until it ends, over and over until that many kills were made. The journal alone is what one process leaves to the next.
Sessions are forked from one process, so that a kill costs no start of a process; all of a session is killed, with
the worker's part in it. Compared are samples, outcomes, evaluations of every kind, points and distances of every unit
and of the result; and that no unit was computed twice. All exactly, but that distances and points may differ by the
rounding of sums over another batch (1e-12 of them).
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from robaudit.audit.config.profile import AttackSpec, Profile
from robaudit.audit.config.profile_files import list_profiles, load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.units import FinishedUnit
from robaudit.audit.outcome.build import Sessions, build_result
from robaudit.audit.session.session import Session

SHAPE, CLASSES, KEY = (1, 6, 6), 4, b"benchmark"
NOISE = 1e-12
"""Relative difference of distances and points that is the rounding of sums over another batch."""
STORY = ("started", "finished", "seconds", "resumed", "notes")
"""Fields of the result that tell how it came about."""


def make_files(folder: Path, count: int) -> tuple[Path, Path]:
    """A float64 network with one hidden layer as TorchScript, and samples that it answers, the first wrongly."""
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.Tanh(), nn.Linear(12, CLASSES)).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        module[1].weight[:, 9:] *= 0.02  # few features decide, so that some samples stand
        module[1].bias.copy_(-module[1].weight.sum(1) / 2)
        x = (0.5 + 0.2 * torch.randn((count, *SHAPE), generator=generator, dtype=torch.float64)).clip(0.05, 0.95)
        y = module(x).argmax(1)
    y[0] = (y[0] + 1) % CLASSES
    model, data = folder / "m.pt", folder / "d.npz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module, torch.zeros(2, *SHAPE, dtype=torch.float64)).save(str(model))
    np.savez(data, x=x.numpy().astype(np.float32), y=y.numpy())
    return model, data


def fork(work: Callable[[], None]) -> int:
    """Start work in a process group of its own."""
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 1
        try:
            work()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return child


def session(request: AuditRequest, folder: Path) -> None:
    """What a worker does: take up what the journal holds, and carry it as far as it goes."""
    journal = Journal(folder, key=KEY)
    journal.load()
    Session(request, folder, journal, lambda _: None, lambda: False).run()


def told(request: AuditRequest, folder: Path) -> tuple[Any, dict[Any, Any], Counter[Any]]:
    """The result without its story, each unit without its point's place, and how often it was journaled."""
    journal = Journal(folder, key=KEY)
    journal.load()
    sessions = Sessions(run_id="benchmark", started=datetime.now(UTC), seconds=0.0)
    result = build_result(request, journal, sessions).model_dump(mode="json")
    for name in STORY:
        result["run"].pop(name)
    for attack in result["attacks"]:
        attack.pop("seconds")
    units, times = {}, Counter[Any]()
    for record in journal.of(FinishedUnit):
        place = record.attack, record.sample, record.restart, record.aim
        point = journal.point(record)
        units[place] = (
            dataclasses.asdict(dataclasses.replace(record, point=None)),
            None if point is None else point.ravel().tolist(),
        )
        times[place] += 1
    return result, units, times


def counting(units: dict[Any, Any], others: dict[Any, Any]) -> dict[Any, Any]:
    """The units that count: one that ended beside a lower one's success was to be released, and is billed to nobody."""

    def released(place: tuple[Any, ...]) -> bool:
        return place not in others and any(
            other[:2] == place[:2] and other[2:] < place[2:] and record["success"]
            for other, (record, _) in units.items()
        )

    return {place: unit for place, unit in units.items() if not released(place)}


def differing(first: Any, second: Any, where: str = "") -> list[str]:
    """Where two JSON values differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        keys = first.keys() | second.keys()
        return [text for k in sorted(keys, key=str) for text in differing(first.get(k), second.get(k), f"{where}.{k}")]
    if isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        return [
            text for i, pair in enumerate(zip(first, second, strict=True)) for text in differing(*pair, f"{where}[{i}]")
        ]
    if isinstance(first, float) and isinstance(second, float) and math.isclose(first, second, rel_tol=NOISE):
        return []
    return [] if first == second else [f"{where}: {str(first)[:80]} is {str(second)[:80]} after a resume"]


def shortened(profile: Profile, samples: int, most: int) -> Profile:
    """The profile on a few samples, no step count or budget of its attacks above ``most``; otherwise as it is."""

    def short(spec: AttackSpec) -> AttackSpec:
        content = spec.model_dump(mode="json")
        cut = {k: min(v, most) for k, v in content.items() if k in ("steps", "queries") and isinstance(v, int)}
        return AttackSpec.model_validate({**content, **cut})

    data = profile.data.model_copy(update={"samples": samples})
    return profile.model_copy(update={"data": data, "attacks": tuple(map(short, profile.attacks))})


def of_profile(name: str, kills: int, samples: int, most: int, folder: Path, draw: random.Random, limit: float) -> bool:
    """One profile; prints its line, and whether all was equal."""
    model, data = make_files(folder, samples)
    profile = shortened(load_profile(name), samples, most)
    values = {"mean": (0.0,), "std": (1.0,), "layout": "nchw", "domain": (0.0, 1.0)}
    request = AuditRequest(model=model, data=data, profile=profile, input_values=values, batch_size=8)
    whole = folder / "whole"
    whole.mkdir()
    start = time.monotonic()
    _, code = os.waitpid(fork(lambda: session(request, whole)), 0)
    length = time.monotonic() - start
    assert code == 0, f"{name}: the unbroken run failed"
    expected, expected_units, _ = told(request, whole)
    done, runs, wrong, twice, begun = 0, 0, [], 0, time.monotonic()

    def enough() -> bool:
        return done >= kills or time.monotonic() - begun > limit

    while not enough():
        run = folder / f"run{runs}"
        run.mkdir()
        while True:
            child = fork(lambda run=run: session(request, run))
            end = time.monotonic() + draw.uniform(0, length)
            ended = (0, 0)
            while time.monotonic() < end and ended[0] == 0 and not enough():
                time.sleep(0.005)
                ended = os.waitpid(child, os.WNOHANG)
            if not ended[0] and enough():
                ended = os.waitpid(child, 0)
            if ended[0]:
                assert ended[1] == 0, f"{name}: a resumed run failed"
                break
            os.killpg(child, signal.SIGKILL)
            if os.waitpid(child, 0)[1] == 0:
                break
            done += 1
        runs += 1
        found, units, times = told(request, run)
        counted = differing(counting(expected_units, units), counting(units, expected_units))
        wrong += [*differing(expected, found), *counted]
        twice += sum(times.values()) - len(times)
        shutil.rmtree(run)
    counted = len(expected_units)
    evaluations = sum(u["forwards"] + u["backwards"] + u["queries"] for u, _ in expected_units.values())
    verdict = "all equal" if not wrong else f"{len(wrong)} differ"
    print(
        f"| {name} | {length:.1f} | {counted} | {evaluations} | {done} | {runs} | {verdict} | {twice} |",
        flush=True,
    )
    for text in dict.fromkeys(wrong):
        print(f"  {text}")
    return not wrong and twice == 0


def main() -> int:
    """All profiles; 0 where every resumed run was equal to the unbroken one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--samples", type=int, default=6)
    parser.add_argument("--most", type=int, default=100, help="most steps, and queries, of an attack")
    parser.add_argument("--profiles", nargs="*", default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of a profile, after which no kill is added")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| profile | unbroken, s | units | evaluations | kills | resumed runs | outcome | units twice |")
    print("|-|-|-|-|-|-|-|-|")
    good = True
    for name in options.profiles or list_profiles():
        with tempfile.TemporaryDirectory(prefix="robaudit-kill-") as folder:
            draw = random.Random(f"{options.seed} {name}")
            good &= of_profile(name, options.kills, options.samples, options.most, Path(folder), draw, options.limit)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
