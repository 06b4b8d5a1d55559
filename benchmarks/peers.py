"""Each white-box attack against its best public implementations, in equal steps, on the same samples.

    pip install adv-lib foolbox torchattacks adversarial-robustness-toolbox cloudpickle scipy
    python benchmarks/peers.py [--models fashion-robust ...] [--only ead,cw-l0] [--count 150] [--seeds 5]

Prints a Markdown table. Points of both sides are judged by the file, one at a time. For attacks with a budget: share
of the samples that fall within ε, mean over the seeds, and by how many points ours is better, with the standard error
of that over the seeds. For minimal-norm attacks: median distance (a failure counts as infinite), the ratio of ours to
theirs, and ``per sample`` the geometric mean of that ratio where both found a point. Gradients are the mean number of
backwards for each sample. ``weaker`` marks what is behind by more than 0.5 points or 2 %. Ours stops where a
sample has fallen, most others do not.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from common import MODELS, Counter, attacked, correct_samples
from minimal_norm import model_and_data
from peer_rows import Row, rows

from robaudit.attacks.base import Stop
from robaudit.attacks.registry import make_attack
from robaudit.engine.units import Sample
from robaudit.target.target import Target
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm, distance

PACKAGES = ("torch", "adv-lib", "foolbox", "torchattacks", "adversarial-robustness-toolbox", "scipy")
EPS = {
    "fashion-robust": {Norm.LINF: 0.1, Norm.L2: 1.0, Norm.L1: 6.0},
    "fashion-clean": {Norm.LINF: 0.02, Norm.L2: 0.25, Norm.L1: 2.0},
    "lenet5": {Norm.LINF: 0.3, Norm.L2: 1.5, Norm.L1: 8.0},
}


def ours(target: Target, samples: list[Sample], row: Row, eps: float | None, seed: int) -> tuple[np.ndarray, float]:
    """[N] distances, infinite where it failed (within eps, where given), and gradients a sample."""
    counter = Counter(target)
    threat = ThreatModel(row.norm, 1e9, minimal=True) if eps is None else ThreatModel(row.norm, eps)
    attack = make_attack(row.attack, row.parameters)
    found = attacked(target, attack, threat, {s.index: s for s in samples}, seed=seed, model=counter)
    results = [found[s.index] for s in samples]
    sizes = [r.distance if r.success and r.distance is not None else np.inf for r in results]
    return np.array(sizes), counter.backwards / len(samples)


def theirs(target: Target, samples: list[Sample], row: Row, eps: float | None, seed: int) -> tuple[np.ndarray, float]:
    """The same of the other implementation; a point a little outside of the ball still counts."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    x = torch.from_numpy(np.stack([s.u for s in samples]))
    y = torch.tensor([s.label for s in samples])
    counter = Counter(target)
    points = row.run(counter, x, y, eps or 0.0).detach().float().clamp(0, 1)
    fooled = torch.cat([target.scores(p[None], alone=True) for p in points]).argmax(1) != y
    size = distance(row.norm, points - x)
    counts = fooled if eps is None else fooled & (size <= eps * (1 + 1e-4) + 1e-6)
    return torch.where(counts, size, float("inf")).numpy(), counter.backwards / len(samples)


def line(target: Target, samples: list[Sample], model: str, row: Row, seeds: int) -> str:
    """One row of the table."""
    head = f"| {model} | {row.norm} | {row.attack} | {row.peer} |"
    samples = samples[: max(round(row.share * len(samples)), 10)]
    in_ball = make_attack(row.attack, row.parameters).stop is Stop.FIRST_SUCCESS
    eps = EPS[model][row.norm] if in_ball else None
    runs = range(seeds if row.random else 1)
    start = time.monotonic()
    try:
        other = [theirs(target, samples, row, eps, seed) for seed in runs]
    except ImportError as error:
        return f"{head} not installed: {error.name or error} | | | | | |"
    except Exception as error:  # a peer that breaks is a row of the table, not the end of it
        return f"{head} fails: {type(error).__name__} {str(error)[:80]} | | | | | |".replace("\n", " ")
    middle = time.monotonic()
    own = [ours(target, samples, row, eps, seed) for seed in runs]
    print(f"{row.attack} {row.peer}: {middle - start:.0f} s, ours {time.monotonic() - middle:.0f} s", file=sys.stderr)
    gradients = f"{np.mean([g for _, g in other]):.0f} / {np.mean([g for _, g in own]):.0f}"
    if in_ball:
        rates = np.array([[100 * np.isfinite(a[0]).mean() for a in side] for side in (other, own)])
        gain = rates[1] - rates[0]
        error = gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else 0.0
        mark = "weaker" if gain.mean() < -0.5 else ""
        body = f"{rates[0].mean():.1f} % | {rates[1].mean():.1f} % | {gain.mean():+.1f} ± {error:.1f} points | |"
    else:
        their, our = other[0][0], own[0][0]
        both = np.isfinite(our) & np.isfinite(their)
        mean = np.exp(np.mean(np.log(our[both] / their[both]))) if both.any() else np.nan
        one, two = np.median(their), np.median(our)
        ratio = 1.0 if one == two else two / one
        mark = "weaker" if ratio > 1.02 else ""
        fails = f" ({np.isinf(their).sum()} / {np.isinf(our).sum()} fail)" if not both.all() else ""
        body = f"{one:.4g} | {two:.4g} | {ratio:.3f} | {mean:.3f}{fails} |"
    return f"{head} {body} {gradients} of {len(samples)} | {mark} |"


def versions() -> Iterator[str]:
    """Of the peers, as installed."""
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} missing"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=list(EPS), choices=list(EPS))
    parser.add_argument("--only", help="attacks, separated by commas")
    parser.add_argument("--norms", nargs="*", default=[str(n) for n in Norm], choices=[str(n) for n in Norm])
    parser.add_argument("--peers", default="", help="only implementations whose name holds this")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    print(f"{', '.join(versions())}; {torch.get_num_threads()} threads\n")
    print("| model | norm | ours | theirs | theirs | ours | difference | per sample | gradients | |")
    print("|-|-|-|-|-|-|-|-|-|-|")
    for name in options.models:
        if name == "lenet5" and not MODELS.is_dir():
            print("lenet5 is left out: there are no shared models beside the repository", file=sys.stderr)
            continue
        target, x, y = model_and_data(name, None, options.count)
        samples = correct_samples(target, x, y)
        for row in rows(options.steps):
            if str(row.norm) not in options.norms:
                continue
            if (not options.only or row.attack in options.only.split(",")) and options.peers in row.peer:
                print(line(target, samples, name, row, options.seeds), flush=True)


if __name__ == "__main__":
    main()
