"""The classifiers of the verification competition of 2021: known counterexamples found, proved samples left alone.

    python benchmarks/competition.py FOLDER RESULTS [--profile standard] [--seed 0] [-o records.jsonl]

FOLDER is a checkout of https://github.com/stanleybak/vnncomp2021 and RESULTS one of vnncomp2021_results, where each
tool says of each property whether it holds or is violated. A tool that is alone against several in any property is
believed in none. Each network is audited at each radius on the samples that its properties are about.
Networks that are not there are named and skipped. Nothing of ours was chosen on these networks.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import robaudit

SAME = 1e-6
"""Radii that differ by less are one: the bounds of the properties are rounded."""
WORDS = {"holds": True, "unsat": True, "violated": False, "sat": False}


@dataclass(frozen=True)
class Input:
    """What a benchmark's networks take: (pixel - mean) / std of pixels in [0, 1]; ``last``: channels come last."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    last: bool = False


INPUTS = {
    "mnistfc": Input(),
    "eran": Input(),
    "cifar10_resnet": Input((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "oval21": Input((0.485, 0.456, 0.406), (0.225, 0.225, 0.225)),
    "marabou-cifar10": Input(last=True),
    "cifar2020": Input(),
}


@dataclass(frozen=True)
class Property:
    """A ball of pixels, and whether it is known to hold only the label, or to be free of the target.

    Args:
        centre: pixels in [0, 1], in the network's order.
        eps: L-infinity radius, in pixels.
        target: class that alone counts; None: any but the label.
        holds: True: proved; False: a counterexample is known; None: neither.
    """

    name: str
    centre: NDArray[np.float64]
    eps: float
    label: int
    target: int | None
    holds: bool | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=list(INPUTS), choices=list(INPUTS))
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    verdicts = read_verdicts(args.results)
    records = []
    for benchmark in args.only:
        groups: dict[tuple[Path, int], list[Property]] = defaultdict(list)
        for network, found in properties(args.folder / "benchmarks" / benchmark, verdicts):
            groups[network, round(found.eps / SAME)].append(found)
        for (network, _), asked in sorted(groups.items()):
            eps = max(one.eps for one in asked)
            if not network.is_file():
                print(f"{network.name}: not there, {len(asked)} properties skipped", file=sys.stderr)
                continue
            record = {"benchmark": benchmark, "network": network.name, "eps": eps, "seed": args.seed}
            record |= audited(network, INPUTS[benchmark], eps, asked, args.profile, args.seed)
            records.append(record)
            print(json.dumps(record), flush=True)
            if args.output:
                with args.output.open("a") as out:
                    out.write(json.dumps(record) + "\n")
    for word in ("known", "found", "proved", "broken", "open", "open broken", "evaluations"):
        print(f"{word}: {sum(record[word] for record in records)}")


def read_verdicts(results: Path) -> dict[tuple[str, str, str], bool | None]:
    """By benchmark, network and property: whether it holds; None where the tools that are believed disagree."""
    said: dict[tuple[str, str, str], dict[str, bool]] = defaultdict(dict)
    for path in sorted((results / "results_csv").glob("*.csv")):
        for row in csv.reader(path.read_text().splitlines()):
            if len(row) > 4 and row[4].lower() in WORDS:
                said[row[0], Path(row[1]).name, Path(row[2]).name][path.stem] = WORDS[row[4].lower()]
    wrong = {tool for words in said.values() for tool in alone(words)}
    print(f"not believed, as they were alone against several: {', '.join(sorted(wrong))}", file=sys.stderr)
    found: dict[tuple[str, str, str], bool | None] = {}
    for key, words in said.items():
        believed = {holds for tool, holds in words.items() if tool not in wrong}
        if believed:
            found[key] = believed.pop() if len(believed) == 1 else None
    return found


def alone(words: dict[str, bool]) -> set[str]:
    """The tool, if any, that says one thing where several say the other."""
    for holds in (True, False):
        tools = {tool for tool, said in words.items() if said is holds}
        if len(tools) == 1 and len(words) > 2:
            return tools
    return set()


def properties(folder: Path, verdicts: dict[tuple[str, str, str], bool | None]) -> Iterator[tuple[Path, Property]]:
    """(network, property) of each instance of a benchmark."""
    for row in csv.reader((folder / f"{folder.name}_instances.csv").read_text().splitlines()):
        network, path = folder / row[0], folder / row[1]
        yield network, read_property(path, INPUTS[folder.name], verdicts.get((folder.name, network.name, path.name)))


def read_property(path: Path, takes: Input, holds: bool | None) -> Property:
    """The ball of a property: its centre is the middle of what the range of pixels does not cut off."""
    text = path.read_text()
    bounds: dict[str, dict[int, float]] = {"<=": {}, ">=": {}}
    for sign, place, value in re.findall(r"\(assert \((<=|>=) X_(\d+) ([-+.\deE]+)\)\)", text):
        bounds[sign][int(place)] = float(value)
    low, high = (np.array([bounds[sign][i] for i in range(len(bounds[sign]))]) for sign in (">=", "<="))
    channels = len(takes.mean)
    mean, std = (np.repeat(np.array(one), len(low) // channels) for one in (takes.mean, takes.std))
    low, high = low * std + mean, high * std + mean
    eps = float((high - low).max()) / 2
    cut = high - low < 2 * eps - 1e-6
    centre = np.where(cut & (low < 1e-6), high - eps, np.where(cut, low + eps, (low + high) / 2)).clip(0, 1)
    ends = re.findall(r"\((<=|>=) Y_(\d+) Y_(\d+)\)", text)
    greater = [(int(a), int(b)) if sign == ">=" else (int(b), int(a)) for sign, a, b in ends]
    if "(or" in text:  # any other class reaches the label
        return Property(path.stem, centre, eps, greater[0][1], None, holds)
    label = re.search(r"orig(\d+)", path.stem)
    assert label is not None, f"{path.name} names no label"
    return Property(path.stem, centre, eps, int(label[1]), greater[0][0], holds)


def audited(
    network: Path, takes: Input, eps: float, asked: list[Property], profile: str, seed: int
) -> dict[str, object]:
    """What an audit breaks of what is known, proved and open."""
    from onnx import load

    graph = load(str(network), load_external_data=False).graph
    constants = {one.name for one in graph.initializer}
    dims = next(one for one in graph.input if one.name not in constants).type.tensor_type.shape.dim
    shape = [dim.dim_value for dim in dims][1:]
    arrays = {
        "x": np.stack([one.centre.reshape(shape) for one in asked]).astype(np.float32),
        "y": np.array([one.label for one in asked]),
    }
    targeted = asked[0].target is not None
    if targeted:
        arrays["target"] = np.array([one.target for one in asked])
    with tempfile.TemporaryDirectory() as folder:
        np.savez(data := Path(folder) / "data.npz", **arrays)  # type: ignore[arg-type]
        given = {"goal": "given"} if targeted else {}
        if takes.mean != (0.0,):
            given |= {"mean": ",".join(map(str, takes.mean)), "std": ",".join(map(str, takes.std))}
        result = robaudit.audit(
            network,
            data,
            profile=profile,
            norm="linf",
            eps=repr(eps),
            samples=len(asked),
            seed=seed,
            domain="0,1",
            layout="nhwc" if takes.last else None,
            run_dir=Path(folder) / "run",
            **given,
        )
    fell = {case.index for case in result.samples if case.broken_by is not None}
    wrong = {case.index for case in result.samples if case.clean_prediction != case.label}
    places = {word: {i for i, one in enumerate(asked) if one.holds is known} for word, known in KINDS.items()}
    attacks = [one for one in result.attacks if not one.id.startswith("reaction/")]
    return {
        "wrong": sorted(wrong),
        "known": len(places["known"]),
        "found": len(places["known"] & fell),
        "missed": [asked[i].name for i in sorted(places["known"] - fell)],
        "proved": len(places["proved"]),
        "broken": len(places["proved"] & fell),
        "open": len(places["open"]),
        "open broken": len(places["open"] & fell),
        "evaluations": sum(one.forwards + one.backwards + one.queries for one in attacks),
    }


KINDS = {"known": False, "proved": True, "open": None}

if __name__ == "__main__":
    main()
