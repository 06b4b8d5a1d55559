"""Prints a table of what ``corpus.check`` found, and every file that misses the mark.

    python -m corpus.summary RESULTS.jsonl ...

A file is right where its twin differs from ONNX Runtime by at most ten times the file's own noise floor, or
1e-4 of its largest score, with equal argmax (ties within the noise aside), on noise and at the end of an
attack; and its gradient agrees with differences on ONNX Runtime (to 5 %) and, for a file in float32, with the
source module's up to ten times the module's own rounding. In a quantised file the noise floor is at least
what the last place of every input moves ONNX Runtime's own scores by (``ulp_floor``), and the straight-through
gradient must explain at least 40 % of a slope.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

NONE = ("TreeEnsemble", "Equal (bprob_Equal)", "tokens")
"""What ends a gradient that does not exist: trees, votes of neighbours, look-ups of bytes."""
BROKEN = ("ONNX Runtime cannot load", "ONNX Runtime refuses the input")
"""Files that the quantiser or converter made, and that the runtime itself does not run."""
QUANTISED = ("q", "dynamic")
ROUNDS = (*QUANTISED, "fp16", "preprocessing")
"""Kinds of files that round inside: differences of small steps on them say little."""


def problems(found: dict[str, Any]) -> list[str]:
    """Why a file is not right."""
    if "error" in found:
        return [found["error"]]
    if found["gradient"] != "available":
        return [] if any(word in found["gradient"] for word in NONE) else [found["gradient"]]
    if "labels_equal" in found:
        return [] if found["labels_equal"] == 1 else [f"labels equal on {found['labels_equal']:.0%}"]
    wrong = []
    for points in ("noise", "attacked"):
        figures = found[points]
        floor = max(figures["floor"], figures.get("ulp_floor", 0.0))
        if figures["relative"] > max(1e-4, 10 * floor):
            wrong.append(f"{points}: differs by {figures['relative']:.1e}, floor {floor:.1e}")
        if figures["argmax"] < 0.999:
            wrong.append(f"{points}: argmax equal on {figures['argmax']:.0%}")
    rounds = found["kind"].startswith(ROUNDS)
    if found["central"] > (0.6 if rounds else 0.05):
        wrong.append(f"slope differs by {found['central']:.1%}")
    if (
        not rounds
        and found.get("source_sound", "source" in found)
        and found["source"] > max(1e-4, 10 * found["source_floor"])
    ):
        wrong.append(f"gradient differs from the source's by {found['source']:.1e}, floor {found['source_floor']:.1e}")
    return wrong


def main() -> None:
    lines = [line for name in sys.argv[1:] for line in Path(name).read_text().splitlines()]
    rows = list({row["file"]: row for row in map(json.loads, lines)}.values())
    rows = [row for row in rows if not any(word in row.get("error", "") for word in BROKEN)]
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
