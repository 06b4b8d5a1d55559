"""``python -m benchmarks.nets.describing --cache DIR`` prints the table of README.md: nets, accuracies, radii."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .cases import cases
from .entry import Net
from .threats import NORMS

__all__ = ["table"]

HEAD = "| net | family | data | classes | training, ε | half | clean | under its ε | L∞ | L2 | L1 | L0 |"


def table(cache: Path) -> str:
    """Markdown, a row a net that is there."""
    rows = [HEAD, "|" + "-|" * (HEAD.count("|") - 1)]
    for net, path, _, _, threats in cases(cache):
        figures = json.loads(path.with_suffix(".json").read_text())
        radii = {threat.norm: threat.eps for threat in threats}
        cells = [net.name, net.family, net.data, str(net.classes), described(net), net.half, f"{figures['clean']:.1%}"]
        cells += [f"{figures['own']:.1%}" if "own" in figures else "", *(radii.get(norm, "") for norm in NORMS)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def described(net: Net) -> str:
    """How it is trained."""
    training = f"{net.training} {net.eps:g}" if net.eps else net.training
    return f"{training}, masked" if net.masked else training


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nets.describing", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder that `python -m benchmarks.nets` filled")
    sys.stdout.write(table(parser.parse_args().cache) + "\n")
