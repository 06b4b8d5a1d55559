"""What breaks the PGD-trained MNIST LeNet-5 at L∞ 0.3 without gradients, and what one attack adds to another."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

import blackbox_peers as peers
import numpy as np
from blackbox_data import load
from blackbox_loading import checkout
from blackbox_meter import Case, Outcome, ours, theirs

from robaudit.threat.norms import Norm

__all__ = ["robust"]

RESTARTS = 5
SCORES = {
    "square": ("square", 2500, {}),
    "square, another seed": ("square", 2500, {}),
    "signhunter": ("signhunter", 1600, {}),
    "nattack": ("nattack", 2000, {}),
    "nes": ("nes", 2000, {}),
    "bandits": ("bandits", 2000, {}),
    "simba": ("simba", 1600, {}),
}
LABELS = {
    "rays": ("rays", 3000, {}),
    "rays, early 0": ("rays", 3000, {"early": 0}),
    "rays, early 0, no stripes": ("rays", 3000, {"early": 0, "stripes": False}),
    "rays, no stripes": ("rays", 3000, {"stripes": False}),
    "rays, another seed": ("rays", 3000, {}),
    "hopskipjump": ("hopskipjump", 3000, {}),
    "geoda": ("geoda", 3000, {}),
}
MIXES = (
    ("square", "square, another seed"),
    ("square", "signhunter"),
    ("signhunter", "square"),
    ("rays", "rays, early 0, no stripes"),
    ("rays", "hopskipjump"),
    ("rays", "geoda"),
)


def robust(options: argparse.Namespace) -> None:
    """Print what each attack breaks alone, and what pairs break where the second sees only what the first left."""
    target, samples = load("lenet-robust", options.models, options.count or 150)
    names = options.only.split(";") if options.only else [*SCORES, *LABELS, "theirs"]
    print("| | budget | broken | median of these | queries asked in all | s | which |\n|-|-|-|-|-|-|-|", flush=True)
    found: dict[str, Outcome] = {}
    for name, (attack, budget, parameters) in {**SCORES, **LABELS}.items():
        if name in names:
            case = Case(target, samples, Norm.LINF, 0.3, options.budget or budget)
            found[name] = ours(attack, case, parameters, options.seed + ("another" in name))
            print(line(name, case, found[name]), flush=True)
    if "theirs" in names and not options.alone:
        for name, case, outcome in public(Case(target, samples, Norm.LINF, 0.3, 5000), options.seed):
            print(line(name, case, outcome), flush=True)
    print("\n| one after the other | broken | queries in all |\n|-|-|-|")
    for mix in MIXES:
        if all(name in found for name in mix):
            broken, asked = cascade([found[name] for name in mix])
            print(f"| {', then '.join(mix)} | {broken} | {asked} |", flush=True)


def line(name: str, case: Case, outcome: Outcome) -> str:
    """One attack alone."""
    which = [s.index for s, fell in zip(case.samples, outcome.success, strict=True) if fell]
    middle = np.median(outcome.queries[outcome.success]) if which else np.nan
    seconds = outcome.seconds * len(case.samples)
    told = " ".join(str(i) for i in which)
    return f"| {name} | {case.budget} | {len(which)} | {middle:.0f} | {outcome.spent.sum()} | {seconds:.0f} | {told} |"


def cascade(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """Broken by any, and the queries where each attack sees only what those before it left."""
    left = np.ones(len(outcomes[0].success), dtype=bool)
    asked = 0
    for outcome in outcomes:
        asked += int(outcome.spent[left].sum())
        left = left & ~outcome.success
    return int((~left).sum()), asked


def public(case: Case, seed: int) -> Iterator[tuple[str, Case, Outcome]]:
    """Square of its authors, restart after restart on what the ones before left, added up; then RayS of its authors."""
    checkout("square-attack")
    count = len(case.samples)
    left = np.arange(count)
    first, spent, success = np.full(count, case.budget), np.zeros(count, dtype=int), np.zeros(count, dtype=bool)
    seconds = 0.0
    for restart in range(RESTARTS):
        found = peers.square_batch(replace(case, samples=[case.samples[i] for i in left]), 0.8, seed + restart)
        spent[left] += found.spent
        first[left] = np.where(found.success, found.queries, case.budget)
        success[left] = found.success
        seconds += found.seconds * len(left) / count
        name = f"Square of its authors, {restart + 1} of {RESTARTS} restarts"
        yield name, case, Outcome(name, first.copy(), spent.copy(), success.copy(), np.zeros((1, count)), seconds)
        left = left[~found.success]
    short = replace(case, budget=3000)
    yield "RayS of its authors", short, theirs("RayS", short, peers.rays, seed)
