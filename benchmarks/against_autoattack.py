"""`standard` against the original AutoAttack: what is left, model evaluations, wall time; same model, images, eps.

    python benchmarks/against_autoattack.py --autoattack CHECKOUT [--profile standard]

CHECKOUT is a copy of the authors' repository (github.com/fra31/auto-attack). Both run in this process, on the
same torch twin, with the same threads, one after the other, on the CIFAR ResNet-2B at 2/255 (300 images).
Counted are all searches; a backward counts 2. Also lists every sample that AutoAttack breaks and we do not.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from common import Counter, correct_samples, resnet_2b

from robaudit.attacks.base import StartingPool
from robaudit.audit.plan import plan_attacks, threat_model
from robaudit.audit.profile import ThreatSpec, load_profile
from robaudit.engine.engine import Engine
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.judge import Judge
from robaudit.engine.units import UnitResult, best_of, plan_units

EPS = "2/255"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoattack", type=Path, required=True)
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    sys.path.insert(0, str(options.autoattack))
    from autoattack import AutoAttack

    target, x, y = resnet_2b()
    samples = {s.index: s for s in correct_samples(target, x, y)}
    profile = load_profile(options.profile)
    profile = profile.model_copy(update={"threat": ThreatSpec(norm="linf", eps=EPS)})
    threat = threat_model(profile)
    plan = plan_attacks(profile, classes=10, shape=(3, 32, 32), no_gradient=None, surrogates=0)
    pool = StartingPool(x[:24], y[:24])

    print(f"torch threads {torch.get_num_threads()}, {len(samples)} of {len(x)} correct, eps {EPS}")
    print("attack         left   forward-equivalents   seconds")
    left, total, begin = list(samples), 0, time.perf_counter()
    for planned in plan:
        if planned.status != "ready":
            continue
        found: dict[int, list[UnitResult]] = {}

        def keep(result: UnitResult, found: dict[int, list[UnitResult]] = found) -> None:
            found.setdefault(result.unit.sample, []).append(result)

        start = time.perf_counter()
        engine = Engine(Evaluator(target, options.batch), Judge(target), options.batch, 0, pool)
        units = plan_units(planned.attack, threat.goal, left, 10)
        engine.run(planned.attack, threat, units, samples.__getitem__, keep)
        best = {index: best_of(results) for index, results in found.items()}
        left = [index for index in left if not best[index].success]
        cost = sum(r.forwards + 2 * r.backwards + r.queries for results in found.values() for r in results)
        total += cost
        print(f"{planned.key:<14}{len(left):>5}   {cost:>19,}   {time.perf_counter() - start:7.1f}")
    ours = time.perf_counter() - begin
    print(f"{options.profile:<14}{len(left):>5}   {total:>19,}   {ours:7.1f}")

    counter = Counter(target)
    attack = AutoAttack(counter, norm="Linf", eps=threat.eps, version="standard", device="cpu", verbose=False)
    start = time.perf_counter()
    adversarial = attack.run_standard_evaluation(x, y, bs=100)
    theirs = time.perf_counter() - start
    standing = (target.scores(adversarial).argmax(1) == y).nonzero()[:, 0].tolist()
    print(f"AutoAttack    {len(standing):>5}   {counter.equivalents:>19,}   {theirs:7.1f}")
    print(f"ours / AutoAttack: evaluations {total / counter.equivalents:.3f}, wall time {ours / theirs:.3f}")
    print(f"broken by AutoAttack alone: {sorted(set(left) - set(standing)) or 'none'}")
    print(f"broken by us alone: {sorted(set(standing) - set(left)) or 'none'}")


if __name__ == "__main__":
    main()
