"""How sure the differences of autoattack.py are: intervals from a bootstrap over nets, of its JSON lines.

    python benchmarks/autoattack_intervals.py FILE

A net's threats and images go together, so nets are drawn with replacement, 10,000 times. Of each side: samples left a
seed, and the share of the correct ones that it leaves, less AutoAttack's, in points, mean over seeds, with its 95 %
interval; and how many samples most seeds of the one side alone break. Of two records of a case, seed and side the later
one counts.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from autoattack_records import AUTHORS, left_by_most

DRAWS = 10_000

Left = dict[tuple[str, int], set[int]]
"""By case and seed."""


def read(path: Path) -> tuple[dict[str, Left], dict[str, int]]:
    """What each side leaves, and the correct samples of each case that AutoAttack has run on."""
    sides: dict[str, Left] = defaultdict(dict)
    correct: dict[str, int] = {}
    for record in map(json.loads, path.read_text().splitlines()):
        sides[record["side"]][record["case"], record["seed"]] = set(record["left"])
        correct[record["case"]] = record["correct"]
    return sides, {case: count for case, count in correct.items() if any(case == c for c, _ in sides[AUTHORS])}


def majority(left: Left, case: str) -> set[int]:
    """What most seeds leave."""
    return left_by_most([samples for (c, _), samples in left.items() if c == case])


def main() -> None:
    sides, correct = read(Path(sys.argv[1]))
    theirs = sides.pop(AUTHORS)
    nets = sorted({case.split("/")[0] for case in correct})
    generator = np.random.default_rng(0)
    print(f"{len(correct)} cases of {len(nets)} nets, {sum(correct.values())} correct samples")
    for side, ours in sides.items():
        pairs = [key for key in theirs if key in ours]
        if {case for case, _ in pairs} != correct.keys():
            continue
        seeds = sorted({seed for _, seed in pairs})
        totals = [[sum(len(left[c, s]) for c, s in pairs if s == seed) for seed in seeds] for left in (ours, theirs)]
        excess, weight = np.zeros(len(nets)), np.zeros(len(nets))
        for case, seed in pairs:
            net = nets.index(case.split("/")[0])
            excess[net] += len(ours[case, seed]) - len(theirs[case, seed])
            weight[net] += correct[case]
        drawn = generator.integers(len(nets), size=(DRAWS, len(nets)))
        low, high = np.percentile(100 * excess[drawn].sum(1) / weight[drawn].sum(1), [2.5, 97.5])
        point = 100 * excess.sum() / weight.sum()
        alone = [
            sum(len(majority(a, case) - majority(b, case)) for case in correct)
            for a, b in ((theirs, ours), (ours, theirs))
        ]
        print(
            f"{side}: {totals[0]} left, AutoAttack {totals[1]}; {point:+.2f} points [{low:+.2f}, {high:+.2f}]; "
            f"samples that it alone breaks {alone[0]}, AutoAttack alone {alone[1]}"
        )


if __name__ == "__main__":
    main()
