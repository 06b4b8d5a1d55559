"""Prints a table of what ``corpus.check`` found, and every file that misses the mark.

    python -m corpus.summary RESULTS.jsonl ...

A file is right where its twin differs from ONNX Runtime by at most ten times the file's own noise floor, or
1e-4 of its largest score, with equal argmax (ties within the noise aside), on noise and at the end of an
attack; and its gradient agrees with differences on ONNX Runtime (to 2 %; coarse where the file rounds) and,
for a file in float32, with the source module's up to ten times the module's own rounding.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

ROUNDS = ("q", "dynamic", "fp16", "preprocessing")
"""Kinds of files that round inside: differences of small steps on them say little."""


def problems(found: dict[str, Any]) -> list[str]:
    """Why a file is not right."""
    if "error" in found:
        return [found["error"]]
    if found["gradient"] != "available":
        return [] if "TreeEnsemble" in found["gradient"] else [found["gradient"]]  # trees have none
    if "labels_equal" in found:
        return [] if found["labels_equal"] == 1 else [f"labels equal on {found['labels_equal']:.0%}"]
    wrong = []
    for points in ("noise", "attacked"):
        figures = found[points]
        if figures["relative"] > max(1e-4, 10 * figures["floor"]):
            wrong.append(f"{points}: differs by {figures['relative']:.1e}, floor {figures['floor']:.1e}")
        if figures["argmax"] < 0.999:
            wrong.append(f"{points}: argmax equal on {figures['argmax']:.0%}")
    rounds = found["kind"].startswith(ROUNDS)
    if found["central"] > (0.25 if rounds else 0.02):
        wrong.append(f"slope differs by {found['central']:.1%}")
    if not rounds and "source" in found and found["source"] > max(1e-4, 10 * found["source_floor"]):
        wrong.append(f"gradient differs from the source's by {found['source']:.1e}, floor {found['source_floor']:.1e}")
    return wrong


def main() -> None:
    lines = [line for name in sys.argv[1:] for line in Path(name).read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        kinds[row["kind"]].append(row)
    print(
        "| kind | files | right | with a gradient | largest difference (floor) | argmax | batches: direct, vmap, loop |"
    )
    print("|-|-|-|-|-|-|-|")
    for kind, group in sorted(kinds.items()):
        able = [row for row in group if row.get("gradient") == "available" and "noise" in row]
        worst = max((row["noise"] for row in able), key=lambda n: n["relative"], default={"relative": 0, "floor": 0})
        ways = [sum(row.get("batching") == way for row in able) for way in ("direct", "vmap", "loop")]
        right = sum(not problems(row) for row in group)
        argmax = min((row[p]["argmax"] for row in able for p in ("noise", "attacked")), default=0)
        print(
            f"| {kind} | {len(group)} | {right} | {len(able)} | {worst['relative']:.0e} ({worst['floor']:.0e}) "
            f"| {argmax:.1%} | {', '.join(map(str, ways))} |"
        )
    print(
        f"\n{len(rows)} files, {sum(not problems(row) for row in rows)} right; "
        f"median time to load {median(row.get('load_s', 0) for row in rows):.2f} s"
    )
    for row in rows:
        if wrong := problems(row):
            print(f"- {row['file']}: {'; '.join(wrong)}")


if __name__ == "__main__":
    main()
