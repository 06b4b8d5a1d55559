"""Find the radii of threats.py: those at which the profile ``quick``, without its queries, breaks about half.

``python -m benchmarks.nets.calibrate --cache DIR`` prints, of each net and norm, the radius and what is left there.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from benchmarks.common import attacked, correct_samples, traits
from robaudit.attacks.base import StartingPool
from robaudit.audit.config.profile import ThreatSpec
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.plan.attacks import plan_attacks, threat_model
from robaudit.engine.units import Sample
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.target import Target, ready

from .cases import cases
from .registry import NETS
from .threats import NORMS, SPARSE

__all__ = ["calibrated"]

GUESS = {"linf": 0.06, "l2": 0.8, "l1": 6.0, "l0": 6.0}
MOST = {"linf": 1.0, "l2": math.inf, "l1": math.inf, "l0": math.inf}
WINDOW = (0.35, 0.65)
ROUNDS = 7
SAMPLES = 50


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nets.calibrate", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder that `python -m benchmarks.nets` filled")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(NETS))
    args = parser.parse_args()
    for net, path, x, y, _ in cases(args.cache):
        if net.name not in args.only:
            continue
        target = open_target(path, device="cpu", sample_shape=tuple(x.shape[1:]))
        target = ready(measure(target, x[:8]))
        samples = {sample.index: sample for sample in correct_samples(target, x, y)[:SAMPLES]}
        found = {
            norm: calibrated(target, samples, norm, StartingPool(x[:24], y[:24]))
            for norm in NORMS[: 4 if net.name in SPARSE else 2]
        }
        radii = ", ".join(f'"{eps:g}"' for eps, _ in found.values())
        left = ", ".join(f"{share:.0%}" for _, share in found.values())
        sys.stdout.write(f'    "{net.name}": ({radii}),  # {left}\n')
        sys.stdout.flush()


def calibrated(target: Target, samples: dict[int, Sample], norm: str, pool: StartingPool) -> tuple[float, float]:
    """(the radius, the share of the samples that is left there) nearest to one half, in two digits."""
    low, high = 0.0, math.inf
    eps, best = GUESS[norm], (GUESS[norm], 1.0)
    for _ in range(ROUNDS):
        share = left(target, samples, norm, eps, pool)
        if abs(share - 0.5) <= abs(best[1] - 0.5):
            best = eps, share
        if WINDOW[0] <= share <= WINDOW[1]:
            break
        low, high = (eps, high) if share > 0.5 else (low, eps)
        middle = 3 * eps if math.isinf(high) else high / 3 if low == 0 else math.sqrt(low * high)
        rounded = max(1.0, round(middle)) if norm == "l0" else float(f"{min(middle, MOST[norm]):.2g}")
        if rounded in (low, high, eps):
            break
        eps = rounded
    return best


def left(target: Target, samples: dict[int, Sample], norm: str, eps: float, pool: StartingPool) -> float:
    """Share that the profile's white-box attacks leave."""
    threat = ThreatSpec.model_validate({"norm": norm, "eps": eps})
    profile = load_profile("quick").model_copy(update={"threat": threat})
    standing = dict(samples)
    for planned in plan_attacks(profile, traits(target)):
        if planned.status == "ready" and planned.attack.id != "square" and standing:
            found = attacked(target, planned.attack, threat_model(profile), standing, pool=pool, how=planned.how)
            standing = {index: sample for index, sample in standing.items() if not found[index].success}
    return len(standing) / len(samples)


if __name__ == "__main__":
    main()
