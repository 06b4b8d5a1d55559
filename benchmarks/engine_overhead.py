"""Engine overhead: wall time of an attack over the bare cost of the same forwards and backwards.

    python benchmarks/engine_overhead.py [--repeats 7]

Both sides run alternately in one process at the same batch size, on the CIFAR ResNet-2B and the MNIST LeNet-5; the
ratio of medians is printed. The attack is run on, so that both sides do the same number of model calls.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from common import correct_samples, empty_pool, lenet5, resnet_2b

from robaudit.attacks.registry import make_attack
from robaudit.engine.engine import Engine
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.judge import Judge
from robaudit.engine.units import UnitResult, plan_units
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

STEPS = 40
clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats: int = parser.parse_args().repeats
    print(f"torch threads: {torch.get_num_threads()}")
    print("model      attack     batch  engine s  bare s  ratio")
    for model, (target, x, y) in {"resnet-2b": resnet_2b(), "lenet-5": lenet5()}.items():
        samples = {s.index: s for s in correct_samples(target, x, y)}
        # an eps at which nothing falls: every unit runs all its steps
        threat = ThreatModel(Norm.LINF, 1e-5)
        for name in ("pgd", "apgd-ce"):
            attack = make_attack(name, {"steps": STEPS})
            for batch in (32, 64):
                chosen = list(samples)[: 2 * batch]
                engine_times, bare_times = [], []
                for _ in range(repeats):
                    found: list[UnitResult] = []
                    engine = Engine(Evaluator(target, batch), Judge(target), batch, 0, empty_pool(x))
                    units = plan_units(attack, Goal.UNTARGETED, chosen, 10)
                    start = clock()
                    engine.run(attack, threat, units, samples.__getitem__, found.append)
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
                print(f"{model:<10} {name:<10} {batch:>5}  {engine_s:8.3f}  {bare_s:6.3f}  {engine_s / bare_s:5.2f}")


if __name__ == "__main__":
    main()
