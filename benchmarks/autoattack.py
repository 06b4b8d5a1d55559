"""Profiles against the original AutoAttack: what is left, model evaluations, wall time; same model, images, ε.

    OMP_NUM_THREADS=1 python benchmarks/autoattack.py --autoattack CHECKOUT [--case resnet-2 ...] [--profile quick ...]

CHECKOUT is a copy of the authors' repository (github.com/fra31/auto-attack). All sides run in this process, on the
same torch twin, with the same threads, one after the other; each image stands or falls for itself. Counted are the
rows of all searches as the model sees them, a backward as two forwards; judging on the file alone is not counted.
Seconds of the processor stand beside those of the wall, for a machine that is shared; they compare at one thread.
Prints a Markdown table, and the images that AutoAttack alone breaks and that a profile alone does.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from common import Counter, attacked, correct_samples, fashion, lenet5, resnet_2b
from torch import Tensor

from robaudit.attacks.base import StartingPool
from robaudit.audit.config.profile import ThreatSpec
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.plan.attacks import TargetTraits, plan_attacks, threat_model
from robaudit.engine.units import Sample
from robaudit.target.target import Target

Data = tuple[Target, Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """A model with its images, and a threat model."""

    data: Callable[[], Data]
    norm: str
    eps: str


CASES = {
    "resnet-2": Case(resnet_2b, "linf", "2/255"),
    "resnet-8": Case(resnet_2b, "linf", "8/255"),
    "resnet-l2": Case(resnet_2b, "l2", "0.25"),
    "resnet-l1": Case(resnet_2b, "l1", "3"),
    "lenet": Case(lambda: lenet5(count=1000), "linf", "0.3"),
    "fashion": Case(fashion, "linf", "0.1"),
    "fashion-l2": Case(fashion, "l2", "0.5"),
    "lenet-undefended": Case(lambda: lenet5(count=500, kind="cln"), "linf", "0.3"),
    "fashion-undefended": Case(lambda: fashion("clean"), "linf", "0.1"),
}
NAMES = {"linf": "Linf", "l2": "L2", "l1": "L1"}


@dataclass(frozen=True)
class Outcome:
    """What one side leaves, and what that takes."""

    left: set[int]
    evaluations: int
    seconds: float
    processor: float


def run_profile(name: str, case: Case, data: Data, samples: dict[int, Sample], batch: int, verbose: bool) -> Outcome:
    """Every attack of a profile on what still stands."""
    target, x, y = data
    threat = ThreatSpec.model_validate({"norm": case.norm, "eps": case.eps})
    profile = load_profile(name).model_copy(update={"threat": threat})
    plan = plan_attacks(profile, TargetTraits(target.num_classes, target.spec.shape))
    counter = Counter(target)
    left, start, processor = dict(samples), time.perf_counter(), time.process_time()
    for planned in plan:
        if planned.status != "ready" or not left:
            continue
        results = attacked(
            target,
            planned.attack,
            threat_model(profile),
            left,
            batch=batch,
            pool=StartingPool(x[:24], y[:24]),
            model=counter,
            how=planned.how,
        )
        left = {index: sample for index, sample in left.items() if not results[index].success}
        if verbose:
            print(
                f"  {name} {planned.key}: {len(left)} left, {counter.equivalents:,} evaluations, "
                f"{time.perf_counter() - start:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    seconds = time.perf_counter() - start
    return Outcome(set(left), counter.equivalents, seconds, time.process_time() - processor)


def run_authors(case: Case, data: Data, samples: dict[int, Sample], version: str) -> Outcome:
    """The authors' code on the images that are answered correctly."""
    from autoattack import AutoAttack

    target, x, y = data
    kept = torch.tensor(sorted(samples))
    counter = Counter(target)
    eps = ThreatSpec.model_validate({"norm": case.norm, "eps": case.eps}).radius
    attack = AutoAttack(counter, norm=NAMES[case.norm], eps=eps, version=version, seed=0, device="cpu", verbose=False)
    start, processor = time.perf_counter(), time.process_time()
    adversarial = attack.run_standard_evaluation(x[kept], y[kept], bs=100)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    standing = target.scores(adversarial).argmax(1) == y[kept]
    return Outcome(set(kept[standing].tolist()), counter.equivalents, seconds, processor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoattack", type=Path, required=True)
    parser.add_argument("--case", action="append", choices=list(CASES), help="repeatable; default: all in L-infinity")
    parser.add_argument("--profile", action="append", help="repeatable; default: autoattack, standard, quick")
    parser.add_argument("--version", choices=["standard", "plus", "rand"], default="standard", help="of the authors'")
    parser.add_argument("--samples", type=int, help="first images only")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--verbose", action="store_true", help="a line for each attack of a profile")
    options = parser.parse_args()
    sys.path.insert(0, str(options.autoattack))

    print(f"torch threads {torch.get_num_threads()}\n")
    print(
        "| model, ε | images, correct | | left | evaluations | share | s | share | CPU s | share | it only | we only |"
    )
    print("|-|-|-|-|-|-|-|-|-|-|-|-|")
    for name in options.case or [name for name, case in CASES.items() if case.norm == "linf"]:
        case = CASES[name]
        target, x, y = case.data()
        data = (target, x[: options.samples], y[: options.samples])
        samples = {sample.index: sample for sample in correct_samples(*data)}
        where = f"| {name}, {case.norm} {case.eps} | {len(data[1])}, {len(samples)} |"
        theirs = run_authors(case, data, samples, options.version)
        label = "AutoAttack, the authors' code" + ("" if options.version == "standard" else f", {options.version}")
        print(
            f"{where} {label} | {len(theirs.left)} | {theirs.evaluations:,} | 1 "
            f"| {theirs.seconds:.1f} | 1 | {theirs.processor:.1f} | 1 | | |"
        )
        for profile in options.profile or ["autoattack", "standard", "quick"]:
            ours = run_profile(profile, case, data, samples, options.batch, options.verbose)
            missed, won = sorted(ours.left - theirs.left), sorted(theirs.left - ours.left)
            print(
                f"{where} `{profile}` | {len(ours.left)} | {ours.evaluations:,} "
                f"| 1/{theirs.evaluations / max(ours.evaluations, 1):.1f} | {ours.seconds:.1f} "
                f"| 1/{theirs.seconds / ours.seconds:.1f} | {ours.processor:.1f} "
                f"| 1/{theirs.processor / ours.processor:.1f} | {missed or 'none'} | {won or 'none'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
