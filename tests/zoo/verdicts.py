"""From audits to the table: was each net's verdict reached?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .entry import Entry
from .registry import NETS

__all__ = ["exposed", "named", "ours", "reached", "table"]

Record = dict[str, Any]
POINTS = 0.03  # above the twin's robust accuracy, at most


def ours(record: Record) -> str:
    """Robust accuracy, or why there is none."""
    if record["observed"] is None:
        return record["status"]
    k, n = record["observed"]
    if record["robust"] is not None:
        return f"{100 * k / n:.0f} %"
    failed = [name for name, (status, _) in record["checks"].items() if status == "fail"]
    why = f"{record['status']}: {', '.join(failed)}" if failed else record["status"]
    return f"{why} (observed {100 * k / n:.0f} %)"


def exposed(record: Record, twin: Record | None) -> bool:
    """Whether a masked or random net got no more credit than its twin, or none at all: a check failed."""
    if record["status"] == "withheld":
        return any(status == "fail" for status, _ in record["checks"].values())
    if record["observed"] is None or twin is None or twin["observed"] is None:
        return False
    (k, n), (twin_k, twin_n) = record["observed"], twin["observed"]
    return k / n <= twin_k / twin_n + POINTS


def named(entry: Entry, record: Record) -> bool | None:
    """Whether the audit names an operator that hides the gradient; None: there is none to name."""
    if not entry.hides:
        return None
    text = " ".join(operator for place in record["hidden"] for operator in place)
    return any(re.search(rf"\b{re.escape(word)}\b", text) for word in entry.hides)


def reached(entry: Entry, record: Record, twin: Record | None) -> bool:
    """Masked and random nets: exposed. Others: the headline stands."""
    if entry.masked or entry.random:
        return exposed(record, twin)
    return record["robust"] is not None


def table(records: Iterable[Record]) -> str:
    """Markdown: a row a net, its seeds' figures in turn; and how many reached what they must."""
    found = {(record["name"], record["eps"], record["seed"]): record for record in records}
    seeds = sorted({seed for *_, seed in found})
    lines = [
        f"Seeds {', '.join(map(str, seeds))}; L-infinity. Plain PGD: 20 steps, one draw.",
        "",
        "| defense | paper's claim | eps | clean % | FGSM % | plain PGD % | our audit | expected | reached | names |",
        "|-|-|-|-|-|-|-|-|-|-|",
    ]
    counts = {"reached": [0, 0], "named": [0, 0]}
    for entry in NETS.values():
        rows = [(seed, found[key]) for seed in seeds if (key := (entry.name, entry.eps, seed)) in found]
        if not rows:
            continue
        verdicts = [reached(entry, row, found.get((entry.twin, entry.eps, seed))) for seed, row in rows]
        names = [named(entry, row) if entry.masked else None for _, row in rows]
        for kind, answers in (("reached", verdicts), ("named", names)):
            counts[kind][0] += answers.count(True)
            counts[kind][1] += len(answers) - (answers.count(None) if kind == "named" else 0)
        figures = [" / ".join(f"{100 * row[key]:.0f}" for _, row in rows) for key in ("clean", "fgsm", "pgd20")]
        cells = [entry.defense, entry.claim, f"{entry.eps:g}", *figures, " / ".join(ours(row) for _, row in rows)]
        cells += [entry.verdict, " / ".join(map(word, verdicts)), " / ".join(map(word, names))]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"Reached: {counts['reached'][0]} of {counts['reached'][1]}."]
    lines += [f"Masked nets whose hiding operator is named: {counts['named'][0]} of {counts['named'][1]}.", ""]
    return "\n".join(lines)


def word(answer: bool | None) -> str:
    return {True: "yes", False: "NO", None: "-"}[answer]
