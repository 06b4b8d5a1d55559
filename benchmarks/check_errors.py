"""How often the checks of an audit warn or fail on models that hide nothing: audits of other seeds and samples.

    python benchmarks/check_errors.py DATA.npz --eps 0.1 --audits 25 -o errors.jsonl MODEL.onnx [MODEL.onnx ...]

Each audit draws its own samples, with a seed of its own. A line of JSON for each, then a table of warnings and failures
by check. Audits that the file holds already are not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

import robaudit

PROFILE = "name: errors\nextends: quick\nchecks: all\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--audits", type=int, default=25, help="of each model")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    known = {}
    if args.output.is_file():
        for line in args.output.read_text().splitlines():
            record = json.loads(line)
            known[record["model"], record["norm"], record["eps"], record["seed"]] = record
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "errors.yaml"
        profile.write_text(PROFILE)
        for seed in range(args.audits):
            for model in args.models:
                key = (model.name, args.norm, args.eps, seed)
                if key in known:
                    continue
                record = known[key] = audited(model, args, seed, profile, Path(folder))
                with args.output.open("a") as out:
                    out.write(json.dumps(record) + "\n")
    table(list(known.values()))


def audited(model: Path, args: argparse.Namespace, seed: int, profile: Path, folder: Path) -> dict[str, object]:
    """What the checks of one audit said."""
    result = robaudit.audit(
        model,
        args.data,
        profile=str(profile),
        norm=args.norm,
        eps=str(args.eps),
        samples=args.samples,
        seed=seed,
        domain="0,1",
        run_dir=folder / f"{model.stem}-{seed}",
    )
    attacks = sum(
        a.forwards + a.backwards + a.queries + a.judge_queries
        for a in result.attacks
        if not a.id.startswith("reaction/")
    )
    checks = sum(c.forwards + c.backwards + c.queries + c.judge_queries for c in result.checks)
    return {
        "model": model.name,
        "norm": args.norm,
        "eps": args.eps,
        "seed": seed,
        "stands": result.worst_case.upper_bound_observed.k,
        "checks": {check.id: check.status for check in result.checks},
        "messages": {check.id: check.message for check in result.checks if check.status in ("warn", "fail")},
        "masking": None if result.masking is None else list(result.masking.signs),
        "cost": [checks, attacks],
    }


def table(records: list[dict[str, object]]) -> None:
    """Warnings and failures of each check."""
    warned: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    ran: Counter[str] = Counter()
    for record in records:
        checks = record["checks"]
        assert isinstance(checks, dict)
        for name, status in checks.items():
            ran[name] += status != "skipped"
            warned[name] += status == "warn"
            failed[name] += status == "fail"
    audits = len(records)
    fails = sum("fail" in dict(record["checks"]).values() for record in records)  # type: ignore[call-overload]
    print(f"{audits} audits of {len({record['model'] for record in records})} models; {fails} with a failed check\n")
    print("| check | ran | warned | failed |\n|-|-|-|-|")
    for name in ran:
        print(f"| `{name}` | {ran[name]} | {warned[name]} | {failed[name]} |")


if __name__ == "__main__":
    main()
