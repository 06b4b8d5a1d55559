"""Throughput of query attacks: inputs a second through the engine over those of the bare runtime at the same batch.

    python benchmarks/throughput.py [--model FILE] [--batch 16] [--queries 40] [--repeats 5] [--attacks square rays]

Both sides run alternately in one process on EfficientNet-Lite0 (of the shared models, or the file named) on smooth
noise, on as many inputs, in calls of the same size; the ratio of medians is printed. The figure after it is the share
of the engine's own time that was spent inside the runtime's calls, which hardly depends on what else the machine does.
The radius is one at which nothing falls, so that every unit spends all its queries. With OMP_NUM_THREADS=1 the
processor's time is taken.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from common import MODELS, correct_samples

from robaudit.attacks.base import StartingPool
from robaudit.attacks.registry import make_attack
from robaudit.engine.engine import Engine
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle, Purpose
from robaudit.engine.units import UnitResult, plan_units
from robaudit.memory import keep_freed_memory
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.target import ready
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
"""The processor's own time, where there is one thread: other work on the machine does not lengthen it."""


class Inside:
    """Time spent in the runtime's calls, and their inputs."""

    def __init__(self) -> None:
        self.seconds, self.calls, self.rows = 0.0, 0, 0
        real = onnxruntime.InferenceSession.run

        def run(session: Any, outputs: Any, feed: Any, *rest: Any) -> Any:
            start = clock()
            try:
                return real(session, outputs, feed, *rest)
            finally:
                self.seconds += clock() - start
                self.calls += 1
                self.rows += len(next(iter(feed.values())))

        onnxruntime.InferenceSession.run = run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODELS / "efficientnet_lite0.onnx")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--attacks", nargs="+", default=["square", "hopskipjump", "rays"])
    options = parser.parse_args()
    keep_freed_memory()  # as the worker of an audit does
    target = open_target(options.model, overrides=SpecOverrides({"scale": options.scale}, {}), device="cpu")
    coarse = torch.rand(2 * options.batch, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    x = torch.nn.functional.interpolate(coarse, target.spec.shape[1:], mode="bicubic").clamp(0, 1)
    target = ready(measure(target, x[:2]))
    labels = target.scores(x).argmax(1)
    samples = {s.index: s for s in correct_samples(target, x, labels)}
    others = StartingPool(1 - x, target.scores(1 - x).argmax(1))
    threat = ThreatModel(Norm.LINF, 1e-5)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    bare = onnxruntime.InferenceSession(str(options.model), settings, providers=["CPUExecutionProvider"])
    name, feed = bare.get_inputs()[0].name, np.ascontiguousarray(x[: options.batch].numpy())
    bare_run = onnxruntime.InferenceSession.run
    inside = Inside()
    print("attack        batch  queries  engine/s  bare/s  ratio  inside  rows a call")
    for id in options.attacks:
        attack = make_attack(id, {"queries": options.queries})
        units = tuple(plan_units(attack, Goal.UNTARGETED, list(samples), target.num_classes))
        rates, bare_rates, shares = [], [], []
        for _ in range(options.repeats):
            found: list[UnitResult] = []
            oracle = Oracle(target)
            engine = Engine(oracle, options.batch, 0, others)
            inside.seconds, inside.calls, inside.rows = 0.0, 0, 0
            start = clock()
            engine.run(Job(attack, threat, units, id), samples.__getitem__, found.append)
            spent = clock() - start
            asked = oracle.asked[Purpose.SEARCH]
            rates.append(asked / spent)
            shares.append(inside.seconds / spent)
            packed = inside.rows / inside.calls
            times = max(1, asked // options.batch)
            start = clock()
            for _ in range(times):
                bare_run(bare, None, {name: feed})
            bare_rates.append(times * options.batch / (clock() - start))
        rate, raw = statistics.median(rates), statistics.median(bare_rates)
        line = f"{id:<13} {options.batch:>5} {options.queries:>8} {rate:9.1f} {raw:7.1f} {rate / raw:6.3f}"
        print(f"{line} {statistics.median(shares):7.3f} {packed:8.1f}", flush=True)


if __name__ == "__main__":
    main()
