"""Black-box attacks beside the authors' or the best public code: same file, samples, ε and budget, in one run.

    pip install foolbox==3.3.4 adversarial-robustness-toolbox==1.20.1 scikit-learn
    python benchmarks/blackbox.py photos|scores|labels [--only rays,surfree] [--data resnet] [--peers FOLDER]
    python benchmarks/blackbox.py robust            # the PGD-trained LeNet-5: what breaks the most, and what mixes add
    python benchmarks/blackbox.py speed             # time of attacks with labels

FOLDER (or the environment variable BLACKBOX_PEERS) holds checkouts of the authors' repositories under their own names:
RayS, SurFree, CGBA, square-attack, sparse-rs, simple-blackbox-attack, blackbox-bandits, attackbox,
blackbox-adv-examples-signhunter, Autozoom-Attack, Nattack and blackbox-attacks. None is part of this project. One that
is missing is told and left out.

Queries of both sides are counted until a point within the ball fools; a failure counts as the whole budget. The
clean sample, and for public code a point that was asked before, cost nothing; points are brought into the box. Public
code runs one image at a time, as most of it is written for and the counting needs; its time holds the counting.
Times are CPU time, as other work on a machine lengthens wall time. "Ours / theirs" is the geometric mean over samples
of the ratio of queries or distances, with its 95 % interval: what several seeds of one sample say is averaged first.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from blackbox_data import DATA, load
from blackbox_meter import Case, Outcome, ours, paired, pooled, theirs
from blackbox_robust import robust
from blackbox_rows import ROWS, Row
from common import MODELS

HEAD = (
    "| on | budget | ours | theirs | success: theirs, ours | median queries | mean queries | ours / theirs "
    "| CPU ms a sample | |"
)
FAR_HEAD = "| on | ours | theirs | distance after: theirs, ours | ours / theirs | CPU ms a sample | |"


def peers_of(row: Row, case: Case, seeds: Sequence[int]) -> Iterator[Outcome]:
    """The public implementations of a row that are there and run."""
    for name, peer in row.others.items():
        try:
            yield pooled([theirs(name, case, peer, seed) for seed in seeds])
        except (ImportError, FileNotFoundError) as error:
            print(f"LEFT OUT: {row.attack} of {name}: {error}", file=sys.stderr)
        except Exception as error:  # a peer that breaks is told, and is not the end of the table
            print(f"FAILS: {row.attack} of {name} on {row.data}: {type(error).__name__} {error}", file=sys.stderr)


def pair(row: Row, case: Case, other: Outcome | None, own: Outcome) -> str:
    """One line: theirs and ours."""
    on = f"{row.data}, {row.norm}" + ("" if row.eps is None else f" {row.eps:.3g}") + f", {len(case.samples)}"
    sides = [own] if other is None else [other, own]
    name = "" if other is None else other.name
    time = " / ".join(f"{1000 * s.seconds:.0f}" for s in sides)
    if row.eps is None:
        marks = (*case.marks, case.budget)
        medians = [[float(np.median(s.distances[i])) for s in sides] for i in range(len(marks))]
        told = "; ".join(
            f"{mark}: " + " / ".join(f"{m:.3f}" for m in one) for mark, one in zip(marks, medians, strict=True)
        )
        weaker = any(one[-1] > 1.02 * one[0] for one in medians)
        ratio = "; ".join(paired(sides[0].distances[i], own.distances[i], len(case.samples)) for i in range(len(marks)))
        return f"| {on} | {own.name} | {name} | {told} | {ratio} | {time} | {'weaker' if weaker else ''} |"
    success = " / ".join(f"{100 * s.success.mean():.1f} %" for s in sides)
    median = [float(np.median(s.queries)) for s in sides]
    mean = " / ".join(f"{s.queries.mean():.0f}" for s in sides)
    rates = [100 * s.success.mean() for s in sides]
    weaker = rates[-1] < rates[0] - 0.5 or median[-1] > 1.02 * median[0]
    middle = " / ".join(f"{m:.0f}" for m in median)
    head = f"| {on} | {row.budget} | {own.name} | {name}"
    ratio = paired(sides[0].queries, own.queries, len(case.samples))
    return f"{head} | {success} | {middle} | {mean} | {ratio} | {time} | {'weaker' if weaker else ''} |"


def compare(rows: list[Row], options: argparse.Namespace) -> None:
    """Print a table of rows: those within a ball, then those of distances."""
    for minimal, head in ((False, HEAD), (True, FAR_HEAD)):
        chosen = [row for row in rows if (row.eps is None) is minimal]
        if not chosen:
            continue
        print(head + "\n|" + "-|" * (head.count("|") - 1), flush=True)
        for row in chosen:
            target, samples = load(row.data, options.models, options.count or row.count)
            case = Case(target, samples, row.norm, row.eps, options.budget or row.budget, row.marks)
            row = dataclasses.replace(row, budget=case.budget)
            seeds = range(options.seed, options.seed + options.seeds)
            own = pooled([ours(row.attack, case, row.parameters, seed) for seed in seeds])
            print(pair(row, case, None, own), file=sys.stderr, flush=True)  # the others may take long
            others = list(peers_of(row, case, seeds)) if not options.alone else []
            for other in others or [None]:
                print(pair(row, case, other, own), flush=True)
        print()


def speed(options: argparse.Namespace) -> None:
    """CPU time a sample where nobody stops early: ours on all samples at once, theirs on ten, one after the other."""
    head = "| on | queries | ours | theirs | CPU ms a sample: theirs, ours | ratio |"
    print(head + "\n|" + "-|" * (head.count("|") - 1), flush=True)
    for row in ROWS["labels"]:
        if row.eps is not None or row.data != (options.data or "lenet-clean"):
            continue
        if options.only and row.attack not in options.only.split(","):
            continue
        target, samples = load(row.data, options.models, options.count or 100)
        case = Case(target, samples, row.norm, None, options.budget or 500)
        own = ours(row.attack, case, row.parameters, options.seed)
        for other in peers_of(row, dataclasses.replace(case, samples=samples[:10]), [options.seed]):
            ratio = other.seconds / own.seconds
            name = f"{row.data}, {row.norm}, {len(samples)}"
            print(
                f"| {name} | {case.budget} | {own.name} | {other.name} "
                f"| {1000 * other.seconds:.0f} / {1000 * own.seconds:.0f} | {ratio:.1f} |", flush=True,
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=[*ROWS, "robust", "speed"])
    parser.add_argument("--only", default="", help="our attacks, separated by commas")
    parser.add_argument("--norm", default="", help="only threat models of this norm")
    parser.add_argument("--data", default="", choices=["", *DATA])
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the models and arrays")
    parser.add_argument("--peers", type=Path, default=os.environ.get("BLACKBOX_PEERS", "peers"))
    parser.add_argument("--count", type=int, help="images in the place of each row's own number")
    parser.add_argument("--budget", type=int, help="queries in the place of each row's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each side from --seed on, taken together")
    parser.add_argument("--alone", action="store_true", help="ours without the others")
    options = parser.parse_args()
    os.environ["BLACKBOX_PEERS"] = str(options.peers)
    torch.set_num_threads(1)
    if options.case == "speed":
        speed(options)
    elif options.case == "robust":
        robust(options)
    else:
        names = options.only.split(",") if options.only else []
        rows = [r for r in ROWS[options.case] if not names or r.attack in names]
        compare([r for r in rows if options.data in ("", r.data) and options.norm in ("", str(r.norm))], options)


if __name__ == "__main__":
    main()
