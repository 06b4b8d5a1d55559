"""Engine overhead: wall time of an attack over the bare cost of the same forwards and backwards.

    python benchmarks/engine_overhead.py [--repeats 7] [--efficientnet FILE]

Both sides run alternately in one process at the same batch size, on the CIFAR ResNet-2B and the MNIST LeNet-5, and on
the EfficientNet-Lite0 that export_efficientnet.py writes, on noise; the ratio of medians is printed, of the
processor's time where there is one thread. The attack is run on, so that both sides do the same number of model calls.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from pathlib import Path

import torch
from common import correct_samples, empty_pool, lenet5, resnet_2b
from torch import Tensor

from robaudit.attacks.registry import make_attack
from robaudit.engine.engine import Engine
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import UnitResult, plan_units
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.target import Target, ready
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

STEPS = 40
MEAN, STD = "127", "128"
clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def efficientnet(path: Path) -> tuple[Target, Tensor, Tensor]:
    """The network with 16 images of noise [16, 3, 224, 224] and the labels that it gives them."""
    target = open_target(path, overrides=SpecOverrides({"scale": 255.0, "mean": MEAN, "std": STD}, {}), device="cpu")
    x = torch.rand(16, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    target = ready(measure(target, x[:4]))
    return target, x, target.scores(x).argmax(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--efficientnet", type=Path)
    options = parser.parse_args()
    models = {"resnet-2b": resnet_2b, "lenet-5": lenet5}
    if options.efficientnet:
        models["efficientnet-lite0"] = partial(efficientnet, options.efficientnet)
    print(f"torch threads: {torch.get_num_threads()}")
    print("model              attack     batch  engine s  bare s  ratio")
    for model, data in models.items():
        target, x, y = data()
        large = x.shape[-1] > 100
        samples = {s.index: s for s in correct_samples(target, x, y)}
        # an eps at which nothing falls: every unit runs all its steps
        threat = ThreatModel(Norm.LINF, 1e-5)
        for name in ("pgd", "apgd-ce"):
            attack = make_attack(name, {"steps": STEPS // 8 if large else STEPS})
            for batch in (4, 8) if large else (32, 64):
                chosen = list(samples)[: 2 * batch]
                engine_times, bare_times = [], []
                for _ in range(options.repeats):
                    found: list[UnitResult] = []
                    engine = Engine(Oracle(target), batch, 0, empty_pool(x))
                    units = tuple(plan_units(attack, Goal.UNTARGETED, chosen, target.num_classes))
                    start = clock()
                    engine.run(Job(attack, threat, units, name), samples.__getitem__, found.append)
                    engine_times.append(clock() - start)
                    calls = sum(r.backwards for r in found) // batch
                    points = x[:batch].clone()
                    start = clock()
                    for _ in range(calls):
                        leaf = points.detach().requires_grad_()
                        logits = target.logits(leaf)
                        torch.autograd.grad(logits.sum(), leaf)
                    bare_times.append(clock() - start)
                engine_s, bare_s = statistics.median(engine_times), statistics.median(bare_times)
                print(f"{model:<18} {name:<10} {batch:>5}  {engine_s:8.3f}  {bare_s:6.3f}  {engine_s / bare_s:5.2f}")


if __name__ == "__main__":
    main()
