"""Audit every net of the zoo, and put what was expected beside what was reached.

``python -m tests.zoo.audit --cache DIR --profile quick --checks all`` writes DIR/audits.jsonl, a line an audit, and
DIR/audits.md. An audit is not repeated while the model, the settings and robaudit's code are the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

import robaudit

from .entry import Entry
from .making import files
from .registry import NETS, find
from .verdicts import table

__all__ = ["audited", "main", "planned"]

Record = dict[str, Any]


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.zoo.audit", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder that `python -m tests.zoo` filled")
    parser.add_argument("--profile", default="quick", help="name or YAML file (default: %(default)s)")
    parser.add_argument("--checks", choices=["usual", "all", "profile"], default="all", help="(default: %(default)s)")
    parser.add_argument("--samples", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", help="training seeds (default: those that are there)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"of {', '.join(NETS)}")
    parser.add_argument("--onnx", action="store_true", help="of random nets too audit the ONNX file")
    args = parser.parse_args(words)
    seeds = args.seeds or sorted({int(path.stem.rpartition("-")[2]) for path in args.cache.glob("*-[0-9]*.json")})
    if not seeds:
        raise SystemExit(f"{args.cache} has no nets: fill it with python -m tests.zoo FOLDER --cache {args.cache}")
    profile = with_checks(args.profile, args.checks, args.cache)
    records = []
    for entry, eps, seed in planned(find(args.only), seeds):
        models, made = files(entry, seed, args.cache)
        model = models[-1 if args.onnx else 0]
        if not model.is_file() or not made.is_file():
            say(f"{model.name}: not there")
            continue
        plain = json.loads(made.read_text())
        facts = {"name": entry.name, "seed": seed, "eps": eps, "clean": plain["clean"], "fgsm": plain["fgsm"]}
        facts |= {"pgd20": plain["pgd20"] if eps == entry.eps else None}
        record = facts | audited(model, args.cache, profile=profile, eps=eps, samples=args.samples)
        records.append(record)
        say(f"{model.name} at {eps:g}: {record['status']}, {record['seconds']} s: {record['headline']}")
    text = table(records)
    (args.cache / "audits.md").write_text(text)
    say(text)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def planned(entries: Iterable[Entry], seeds: Iterable[int]) -> Iterator[tuple[Entry, float, int]]:
    """Net, eps and seed of each audit; twins are audited at the eps of each net that is compared with them."""
    seen = set()
    entries = list(entries)
    for seed in seeds:
        for entry in entries:
            twins = [NETS[entry.twin]] if entry.twin and (entry.masked or entry.random) else []
            for net in [*twins, entry]:
                if (net.name, entry.eps, seed) not in seen:
                    seen.add((net.name, entry.eps, seed))
                    yield net, entry.eps, seed


def with_checks(profile: str, checks: str, cache: Path) -> str:
    """The profile, or a file of the cache that extends it with these checks."""
    if checks == "profile":
        return profile
    name = f"{Path(profile).stem}-{checks}"
    extended = profile if not Path(profile).is_file() else str(Path(profile).resolve())
    path = cache / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "extends": extended, "checks": checks}))
    return str(path)


def audited(model: Path, cache: Path, *, profile: str, eps: float, samples: int) -> Record:
    """What an audit of a file found; taken from audits.jsonl where it is there."""
    path = Path(profile)
    asked = f"{path.read_text() if path.is_file() else profile} linf {eps} {samples} {code_digest()}"
    key = hashlib.sha256(model.read_bytes() + asked.encode()).hexdigest()
    lines = cache / "audits.jsonl"
    if lines.is_file():
        for line in lines.read_text().splitlines():
            if (found := json.loads(line))["key"] == key:
                return found
    record: Record = {"key": key, "file": model.name, "profile": path.stem, "samples": samples, "eps": eps}
    start = time.perf_counter()
    try:
        result = robaudit.audit(
            model,
            cache / "test.npz",
            profile=profile,
            norm="linf",
            eps=eps,
            samples=samples,
            run_dir=cache / "runs" / key[:16],
        )
    except robaudit.AuditInterrupted:
        raise
    except robaudit.RobauditError as error:
        record |= {"status": "refused", "headline": str(error), "robust": None, "observed": None, "checks": {}}
        record |= {"attacks": {}, "reasons": [], "hidden": []}
        if not isinstance(error, robaudit.UsageError):
            return record | {"seconds": round(time.perf_counter() - start, 1)}  # tried again
    else:
        record |= summary(result)
    record["seconds"] = round(time.perf_counter() - start, 1)
    with lines.open("a") as out:
        out.write(json.dumps(record) + "\n")
    return record


def summary(result: robaudit.Result) -> Record:
    """What the table is made from."""
    robust = result.robust_accuracy
    return {
        "status": result.verdict.status,
        "headline": result.verdict.headline,
        "reasons": list(result.verdict.reasons),
        "robust": None if robust is None else [robust.k, robust.n],
        "observed": [result.worst_case.upper_bound_observed.k, result.worst_case.upper_bound_observed.n],
        "hidden": [] if result.masking is None else [list(place.operators) for place in result.masking.hidden],
        "checks": {check.id: [check.status, check.message] for check in result.checks},
        "attacks": {f"{attack.id} {attack.norm}": [attack.status, attack.broken] for attack in result.attacks},
    }


def code_digest() -> str:
    """Of robaudit's code."""
    folder = Path(robaudit.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    main()
