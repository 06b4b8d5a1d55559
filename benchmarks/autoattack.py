"""Profiles against the original AutoAttack: what is left, model evaluations, wall time; same model, images, ε.

    OMP_NUM_THREADS=1 python benchmarks/autoattack.py --autoattack CHECKOUT [--case resnet-2 ...] [--profile quick ...]
    OMP_NUM_THREADS=1 python benchmarks/autoattack.py --nets DIR --half report --seeds 0 1 2 --jsonl FILE ...

CHECKOUT is a copy of the authors' repository (github.com/fra31/auto-attack); ``--a3``, ``--malt`` and ``--pma`` add the
code of other ensembles' authors (strength_peers.py); DIR was filled by ``python -m benchmarks.nets``. All sides run in
this process, on the same torch twin, with the same threads, one after the other; each image stands or falls for itself.
Counted are the rows of all searches as the model sees them, a backward as two forwards; judging on the file alone is
not counted. Seconds of the processor stand beside those of the wall, for a machine that is shared; they compare at one
thread. Prints a Markdown table, and the images that AutoAttack alone breaks and that a profile alone does. Of several
seeds the table has the medians, and an image is left that most leave.
"""

from __future__ import annotations

import argparse
import sys
from functools import lru_cache, partial
from pathlib import Path
from statistics import median

import torch
from autoattack_records import AUTHORS, Records, code_digest, identity, left_by_most
from autoattack_sides import NAMES, Case, Data, Outcome, run_authors, run_profile
from common import correct_samples, fashion, lenet5, resnet_2b
from nets.cases import cases
from nets.entry import HALVES, Half
from strength_peers import PEERS, peers, run_peer
from torch import Tensor

from robaudit.audit.config.profile_files import load_profile
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.target import ready

CASES = {
    "resnet-2": Case(resnet_2b, "linf", "2/255"),
    "resnet-8": Case(resnet_2b, "linf", "8/255"),
    "resnet-l2": Case(resnet_2b, "l2", "0.25"),
    "resnet-l1": Case(resnet_2b, "l1", "3"),
    "lenet": Case(lambda: lenet5(count=1000), "linf", "0.3"),
    "lenet-l2": Case(lenet5, "l2", "1.5"),
    "lenet-l1": Case(lenet5, "l1", "10"),
    "fashion": Case(fashion, "linf", "0.1"),
    "fashion-l2": Case(fashion, "l2", "0.5"),
    "fashion-l1": Case(fashion, "l1", "5"),
    "lenet-undefended": Case(lambda: lenet5(count=500, kind="cln"), "linf", "0.3"),
    "fashion-undefended": Case(lambda: fashion("clean"), "linf", "0.1"),
}


def of_nets(cache: Path, half: Half | None) -> dict[str, Case]:
    """Cases NET/NORM of a folder of nets."""

    @lru_cache(maxsize=1)  # the threats of a net follow each other
    def opened(path: Path, rows: tuple[Tensor, Tensor]) -> Data:
        target = open_target(path, device="cpu", sample_shape=tuple(rows[0].shape[1:]))
        return ready(measure(target, rows[0][:8])), *rows

    found = {}
    for net, path, x, y, threats in cases(cache, half):
        rows = (x, y)
        for threat in threats:
            found[f"{net.name}/{threat.norm}"] = Case(partial(opened, path, rows), threat.norm, threat.eps)
    return found


def outcomes(name: str, case: Case, options: argparse.Namespace, records: Records) -> tuple[str, dict[str, Outcome]]:
    """What each side leaves, the authors' first; and the start of the rows."""
    target, x, y = case.data()
    data = (target, x[: options.samples], y[: options.samples])
    samples = {sample.index: sample for sample in correct_samples(*data)}
    facts = {"case": name, "norm": case.norm, "eps": case.eps, "images": len(data[1]), "correct": len(samples)}
    same = identity(case, data)
    sides: dict[str, list[Outcome]] = {}
    for seed in options.seeds:
        if not options.no_authors and case.norm in NAMES:
            label = AUTHORS + ("" if options.version == "standard" else f", {options.version}")
            run = partial(run_authors, case, data, samples, options.version, seed)
            sides.setdefault(label, []).append(records.outcome(facts | {"seed": seed, "side": label}, same, run))
        for label, peer in options.peers.items():
            if peer.fits(case, data):
                run = partial(run_peer, peer, case, data, samples, seed)
                sides.setdefault(label, []).append(records.outcome(facts | {"seed": seed, "side": label}, same, run))
        for side in options.profile or ["autoattack", "standard", "quick"]:
            profile = load_profile(side).model_copy(update={"threat": case.threat})
            run = partial(run_profile, profile, data, samples, batch=options.batch, seed=seed, verbose=options.verbose)
            on = (*same, profile.model_dump_json(), options.code)
            label = f"`{side}`"
            sides.setdefault(label, []).append(records.outcome(facts | {"seed": seed, "side": label}, on, run))
    where = f"| {name}, {case.norm} {case.eps} | {len(data[1])}, {len(samples)} |"
    return where, {label: typical(found) for label, found in sides.items()}


def typical(found: list[Outcome]) -> Outcome:
    """Medians over seeds; the images that most seeds leave."""
    return Outcome(
        left_by_most([one.left for one in found]),
        round(median(one.evaluations for one in found)),
        median(one.seconds for one in found),
        median(one.processor for one in found),
    )


def row(label: str, ours: Outcome, theirs: Outcome | None) -> str:
    """The cells of a side."""

    def share(mine: float, other: float) -> str:
        return f"1/{other / max(mine, 1e-9):.1f}"

    if theirs is None or ours is theirs:
        shares, only = ("",) * 3 if theirs is None else ("1",) * 3, ("", "")
    else:
        shares = (
            share(ours.evaluations, theirs.evaluations),
            share(ours.seconds, theirs.seconds),
            share(ours.processor, theirs.processor),
        )
        only = tuple(str(sorted(s) or "none") for s in (ours.left - theirs.left, theirs.left - ours.left))
    return (
        f"{label} | {len(ours.left)} | {ours.evaluations:,} | {shares[0]} | {ours.seconds:.1f} | {shares[1]} "
        f"| {ours.processor:.1f} | {shares[2]} | {only[0]} | {only[1]} |"
    )


def totals(found: dict[str, list[Outcome]]) -> str:
    """A row a side, of all cases together that every side has."""
    rows = []
    sums = {
        label: (
            sum(len(one.left) for one in outs),
            sum(one.evaluations for one in outs),
            sum(one.seconds for one in outs),
            sum(one.processor for one in outs),
        )
        for label, outs in found.items()
    }
    first = next(iter(sums.values()))
    for label, (left, evaluations, seconds, processor) in sums.items():
        shares = [
            f"1/{a / max(b, 1e-9):.1f}" for a, b in zip(first[1:], (evaluations, seconds, processor), strict=True)
        ]
        rows.append(
            f"| all {len(found[label])} cases | | {label} | {left} | {evaluations:,} | {shares[0]} | {seconds:.1f} "
            f"| {shares[1]} | {processor:.1f} | {shares[2]} | | |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoattack", type=Path, help="needed for the authors' side")
    parser.add_argument("--no-authors", action="store_true", help="without AutoAttack")
    parser.add_argument("--peer", action="append", choices=PEERS, help="repeatable; default: all whose code is given")
    for name, source in (
        ("a3", "liuye6666/adaptive_auto_attack"),
        ("malt", "odeliamel/MALT"),
        ("pma", "xieyong0/PMA"),
        ("advlib", "adv-lib, which MALT needs"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"side of its authors' code; {source}")
    parser.add_argument("--nets", type=Path, metavar="DIR", help="cases NET/NORM of these, in place of the usual ones")
    parser.add_argument("--half", choices=HALVES, help="of the nets; default: both")
    parser.add_argument(
        "--case",
        action="append",
        help="repeatable, NET alone for all its norms; default: all in "
        f"L-infinity of {', '.join(CASES)}; with --nets all",
    )
    parser.add_argument("--profile", action="append", help="repeatable; default: autoattack, standard, quick")
    parser.add_argument("--version", choices=["standard", "plus", "rand"], default="standard", help="of the authors'")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of all sides (default: 0)")
    parser.add_argument("--samples", type=int, help="first images only")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--jsonl", type=Path, metavar="FILE", help="outcomes are kept there, and not measured again")
    parser.add_argument("--verbose", action="store_true", help="a line for each attack of a profile")
    options = parser.parse_args()
    if options.autoattack is not None:
        sys.path.insert(0, str(options.autoattack))
    elif not options.no_authors:
        parser.error("the authors' side needs --autoattack CHECKOUT; --no-authors leaves it out")
    known = of_nets(options.nets, options.half) if options.nets else CASES
    usual = [name for name, case in known.items() if options.nets or case.norm == "linf"]
    asked = options.case or usual
    if unknown := [name for name in asked if not any(name in (k, k.split("/")[0]) for k in known)]:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(known)}")
    options.code = code_digest()
    options.peers = peers(options.a3, options.malt, options.pma, options.advlib)
    if options.peer:
        options.peers = {label: peer for label, peer in options.peers.items() if label in options.peer}
    records = Records(options.jsonl)

    print(f"torch threads {torch.get_num_threads()}; seeds {', '.join(map(str, options.seeds))}\n")
    print(
        "| model, ε | images, correct | | left | evaluations | share | s | share | CPU s | share | it only | we only |"
    )
    print("|-|-|-|-|-|-|-|-|-|-|-|-|")
    every: dict[str, list[Outcome]] = {}
    names = [name for name in known if {name, name.split("/")[0]} & set(asked)]
    whole = 0
    for name in names:
        where, found = outcomes(name, known[name], options, records)
        theirs = next((one for label, one in found.items() if label.startswith(AUTHORS)), None)
        for label, one in found.items():
            print(f"{where} {row(label, one, theirs)}", flush=True)
        if options.no_authors or theirs is not None:
            whole += 1
            for label, one in found.items():
                every.setdefault(label, []).append(one)
    if whole > 1:
        print(totals({label: found for label, found in every.items() if len(found) == whole}))


if __name__ == "__main__":
    main()
