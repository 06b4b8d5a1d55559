"""Each attack of AutoAttack against the authors' code, in equal steps: what is left of the same images.

    python benchmarks/autoattack_parts.py --autoattack CHECKOUT [--model resnet|lenet|fashion] [--norm linf|l2|l1]

CHECKOUT is a copy of the authors' repository (github.com/fra31/auto-attack). Every attack sees all images that are
answered correctly. Both sides run on the same torch twin, one after the other. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import Counter, attacked, correct_samples, fashion, lenet5, resnet_2b
from torch import Tensor

from robaudit.attacks.registry import make_attack
from robaudit.engine.units import Sample
from robaudit.target.target import Target
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm

MODELS: dict[str, Callable[[], tuple[Target, Tensor, Tensor]]] = {
    "resnet": resnet_2b,
    "lenet": lambda: lenet5(count=400),
    "fashion": fashion,
}
EPS = {
    "resnet": {"linf": 2 / 255, "l2": 0.25, "l1": 3.0},
    "lenet": {"linf": 0.3, "l2": 1.5, "l1": 8.0},
    "fashion": {"linf": 0.1, "l2": 1.0, "l1": 8.0},
}
NAMES = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def theirs(name: str, model: Counter, norm: str, eps: float, options: argparse.Namespace) -> Any:
    """The authors' attack."""
    from autoattack.autopgd_base import APGDAttack, APGDAttack_targeted
    from autoattack.square import SquareAttack

    common = {"norm": NAMES[norm], "eps": eps, "seed": options.seed, "device": "cpu"}
    steps = {"n_iter": options.steps, "use_largereps": norm == "l1"}
    if name == "apgd-t":
        return APGDAttack_targeted(model, n_target_classes=options.targets, **steps, **common)
    if name == "square":
        return SquareAttack(model, n_queries=options.queries - 1, resc_schedule=False, **common)
    return APGDAttack(model, n_restarts=1, loss=name.removeprefix("apgd-"), **steps, **common)


def ours(name: str, norm: str, options: argparse.Namespace) -> Any:
    """The same of ours."""
    if name == "square":
        return make_attack(name, {"queries": options.queries, "schedule": 10_000})
    more = {"targets": options.targets} if name == "apgd-t" else {}
    return make_attack(name, {"steps": options.steps, "wide_start": norm == "l1"} | more)


def compare(target: Target, x: Tensor, y: Tensor, samples: dict[int, Sample], options: argparse.Namespace) -> None:
    """A row for each attack and norm."""
    kept = torch.tensor(sorted(samples))
    for norm in [options.norm] if options.norm else list(NAMES):
        eps = EPS[options.model][norm]
        for name in options.attacks.split(","):
            start = time.perf_counter()
            results = attacked(
                target, ours(name, norm, options), ThreatModel(Norm(norm), eps), samples, seed=options.seed
            )
            mine, first = {i for i, r in results.items() if not r.success}, time.perf_counter() - start
            cost = sum(r.forwards + 2 * r.backwards + r.queries for r in results.values())

            counter = Counter(target)
            attack = theirs(name, counter, norm, eps, options)
            start = time.perf_counter()
            adversarial = torch.cat([attack.perturb(x[part], y[part]) for part in kept.split(100)])
            second = time.perf_counter() - start
            standing = target.scores(adversarial).argmax(1) == y[kept]
            other = set(kept[standing].tolist())
            print(
                f"| {options.model} {norm} {eps:.4g} | {name} | {len(kept)} | {len(mine)} | {len(other)} "
                f"| {len(mine - other)} | {len(other - mine)} | {cost:,} | {counter.equivalents:,} "
                f"| {first:.1f} | {second:.1f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoattack", type=Path, required=True)
    parser.add_argument("--model", choices=list(MODELS), default="resnet")
    parser.add_argument("--norm", choices=list(NAMES))
    parser.add_argument("--attacks", default="apgd-ce,apgd-dlr,apgd-t,square")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--targets", type=int, default=3)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=150, help="images, of which the wrong ones are left out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.path.insert(0, str(options.autoattack))
    target, x, y = MODELS[options.model]()
    x, y = x[: options.samples], y[: options.samples]
    print("| model, norm, ε | attack | images | left, ours | left, authors' | by them alone | by us alone "
          "| evaluations, ours | authors' | s, ours | authors' |")  # fmt: skip
    print("|-|-|-|-|-|-|-|-|-|-|-|")
    compare(target, x, y, {s.index: s for s in correct_samples(target, x, y)}, options)


if __name__ == "__main__":
    main()
