"""Engine overhead: time of an attack over that of a loop by hand, and over the same forwards and backwards alone.

    OMP_NUM_THREADS=1 python benchmarks/engine_overhead.py [--models resnet-2b,...] [--repeats 9]

All three run alternately in one process at the same batch size, and do the same number of model calls, as ε is too
small for anything to fall. Printed are milliseconds a step and medians of the ratios within a round, of the process's
CPU time where there is one thread. The networks are those of the tables, and with ``--efficientnet`` another file of
that network, as export_efficientnet.py writes it; it is asked about noise.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from pathlib import Path

import lean_loops
import torch
from common import MODELS, correct_samples, empty_pool, lenet5, resnet_2b
from torch import Tensor

from robaudit.attacks.registry import make_attack
from robaudit.engine.engine import Engine
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import UnitResult, plan_units
from robaudit.memory import keep_freed_memory
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.target import Target, ready
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

STEPS = 40
EPS = 1e-5
MEAN, STD = "127", "128"
Data = tuple[Target, Tensor, Tensor]
clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def efficientnet(path: Path) -> Data:
    """The network with 16 images of noise [16, 3, 224, 224] and the labels that it gives them."""
    target = open_target(path, overrides=SpecOverrides({"scale": 255.0, "mean": MEAN, "std": STD}, {}), device="cpu")
    x = torch.rand(16, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    target = ready(measure(target, x[:4]))
    return target, x, target.scores(x).argmax(1)


def rounds(attack: str, data: Data, batch: int, repeats: int) -> list[tuple[float, float, float]]:
    """Seconds a step of the engine, of the loop by hand and of the model alone, in each round."""
    target, x, y = data
    samples = {s.index: s for s in correct_samples(target, x, y)}
    chosen = list(samples)[:batch]
    points, labels = x[chosen], y[chosen]
    steps = 8 if x.shape[-1] > 100 else STEPS
    job = make_attack(attack, {"steps": steps})
    units = tuple(plan_units(job, Goal.UNTARGETED, chosen, target.num_classes))
    found: list[UnitResult] = []

    def engine() -> None:
        found.clear()
        run = Engine(Oracle(target), batch, 0, empty_pool(x))
        run.run(Job(job, ThreatModel(Norm.LINF, EPS), units, attack), samples.__getitem__, found.append)

    sides = (
        engine,
        partial({"pgd": lean_loops.pgd, "apgd-ce": lean_loops.apgd}[attack], target.logits, points, labels, EPS),
        partial(lean_loops.bare, target.logits, points),
    )
    seen = []
    for i in range(repeats + 1):
        times = [0.0, 0.0, 0.0]
        for place in (0, 1, 2) if i % 2 else (2, 1, 0):
            start = clock()
            if place:
                sides[place](steps + 1)
            else:
                engine()
            times[place] = (clock() - start) / (steps + 1)
        seen.append((times[0], times[1], times[2]))
    assert all(result.backwards == steps + 1 for result in found), "a unit did not run all its steps"
    return seen[1:]  # the first warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="resnet-2b,lenet-5,efficientnet-lite0")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--efficientnet", type=Path, default=MODELS / "efficientnet_lite0.onnx")
    options = parser.parse_args()
    keep_freed_memory()  # as the worker of an audit does
    models = {
        "resnet-2b": resnet_2b,
        "lenet-5": lenet5,
        "efficientnet-lite0": partial(efficientnet, options.efficientnet),
    }
    print(f"torch threads: {torch.get_num_threads()}; milliseconds a step, and ratios")
    print("model              attack     batch  engine  by hand    bare  over by hand  over bare")
    for model in options.models.split(","):
        data = models[model]()
        for attack in ("pgd", "apgd-ce"):
            for batch in (8,) if data[1].shape[-1] > 100 else (64,):
                seen = rounds(attack, data, batch, options.repeats)
                engine, lean, bare = (1e3 * statistics.median(times) for times in zip(*seen, strict=True))
                over_lean, over_bare = (statistics.median(times[0] / times[i] for times in seen) for i in (1, 2))
                figures = f"{engine:8.2f} {lean:8.2f} {bare:7.2f} {over_lean:13.3f} {over_bare:10.3f}"
                print(f"{model:<18} {attack:<10} {batch:>5}{figures}", flush=True)


if __name__ == "__main__":
    main()
