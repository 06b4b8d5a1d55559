"""Does a change leave results as they were? The same audits by the code of two revisions, compared field by field.

    python benchmarks/same_results.py BASE [NEW] [--only quick-demo ...]

BASE and NEW (default: the checkout as it is) are revisions of this repository. Models are those of ``robaudit demo``
and, where they lie beside the project, LeNet-5 and ResNet-2B. Compared is ``result.json`` without times, versions and
digests that hold one of them, and the evidence archive array by array.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "models"
MAIN = "from robaudit.cli.main import main; main()"
DEMO = "demo"
"""Stands for the folder of the demo."""
TOLD = {"started", "finished", "seconds", "version", "command", "id", "environment", "sha256", "digest"}
"""Fields that may differ between two runs of one revision, or tell the revision."""

AUDITS = {
    "quick-demo": [f"{DEMO}/fashion_clean.onnx", "--data", f"{DEMO}/fashion_test500.npz", "--samples", "60"],
    "ci-demo": [
        f"{DEMO}/fashion_robust.onnx",
        "--data",
        f"{DEMO}/fashion_test500.npz",
        "--samples",
        "40",
        "--profile",
        "ci",
    ],
    "union-demo": [
        f"{DEMO}/fashion_clean.onnx",
        "--data",
        f"{DEMO}/fashion_test500.npz",
        "--samples",
        "12",
        "--profile",
        "union",
    ],
    "curve-demo": [
        f"{DEMO}/fashion_robust.onnx",
        "--data",
        f"{DEMO}/fashion_test500.npz",
        "--samples",
        "20",
        "--curve",
    ],
    "decided-demo": [
        *(f"{DEMO}/fashion_robust.onnx", "--data", f"{DEMO}/fashion_test500.npz", "--samples", "120"),
        *("--until-decided", "--gate", "robust_accuracy>=0.2"),
    ],
    "goal-demo": [
        f"{DEMO}/fashion_clean.onnx",
        "--data",
        f"{DEMO}/fashion_test500.npz",
        "--samples",
        "12",
        "--goal",
        "least-likely",
    ],
    "stability": [
        f"{DEMO}/fashion_clean.onnx",
        "--data",
        f"{DEMO}/fashion_test500.npz",
        "--samples",
        "20",
        "--labels",
        "model",
    ],
    "standard-lenet": [
        *(f"{SHARED}/mnist_lenet5_adv.onnx", "--data", f"{SHARED}/mnist_t10k.npz", "--samples", "20"),
        *("--profile", "standard", "--eps", "0.3"),
    ],
    "quick-resnet": [
        *(f"{SHARED}/resnet_2b.onnx", "--data", f"{SHARED}/cifar10_test300.npz", "--samples", "60", "--eps", "2/255"),
        *("--mean", "0.4914,0.4822,0.4465", "--std", "0.2471,0.2435,0.2616"),
    ],
}


def plain(value: Any) -> Any:
    """A result without what tells times, places and versions."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in TOLD}
    return [plain(item) for item in value] if isinstance(value, list) else value


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Places at which two JSON values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            found += differences(old.get(key), new.get(key), f"{place}.{key}")
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            text for i, pair in enumerate(zip(old, new, strict=True)) for text in differences(*pair, f"{place}[{i}]")
        ]
    return [] if old == new else [f"{place}: {str(old)[:100]} became {str(new)[:100]}"]


def scan(code: Path, arguments: list[str], run: Path) -> tuple[int, Any, dict[str, Any], str]:
    """Exit code, result, evidence and what was said of an audit by the code in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(code), "XDG_STATE_HOME": str(run.parent), "OMP_NUM_THREADS": "1"}
    run.parent.mkdir(parents=True)
    command = [sys.executable, "-c", MAIN, "scan", *arguments, "--run-dir", run.name, "--no-progress"]
    command += ["--batch-size", "64"]  # the best one is chosen by time
    done = subprocess.run(command, env=environment, cwd=run.parent, capture_output=True, text=True, check=False)
    file, archive = run / "result.json", run / "evidence.npz"
    result = plain(json.loads(file.read_text())) if file.exists() else None
    arrays = {}
    if archive.exists():
        with np.load(archive, allow_pickle=False) as evidence:
            arrays = {name: evidence[name] for name in evidence.files}
    return done.returncode, result, arrays, done.stderr[-400:]


def compared(old: tuple[Any, ...], new: tuple[Any, ...]) -> list[str]:
    """What differs between two audits."""
    found = [] if old[0] == new[0] else [f"exit code {old[0]} became {new[0]}: {new[3]}"]
    found += differences(old[1], new[1])
    for name in sorted({*old[2], *new[2]}):
        pair = old[2].get(name), new[2].get(name)
        if pair[0] is None or pair[1] is None or not np.array_equal(*pair, equal_nan=pair[0].dtype.kind == "f"):
            found.append(f"the array {name} of the evidence")
    if old[1] is None:
        found.append(f"no result at all: {old[3]}")
    return found


def checkout(revision: str | None, folder: Path) -> Path:
    """A folder with the code of a revision; None: this checkout."""
    if revision is None:
        return ROOT
    subprocess.run(["git", "worktree", "add", "-q", "--detach", folder, revision], cwd=ROOT, check=True)
    return folder


def main() -> int:
    """All audits; 0 where none differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("new", nargs="?")
    parser.add_argument("--only", nargs="*", choices=AUDITS)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="robaudit-same-"))
    demo = ["-c", MAIN, "demo", str(work / DEMO), "--no-progress"]
    subprocess.run([sys.executable, *demo], cwd=work, capture_output=True, check=False)
    same = True
    try:
        codes = checkout(options.base, work / "base"), checkout(options.new, work / "new")
        for name in options.only or AUDITS:
            arguments = [part.replace(f"{DEMO}/", f"{work / DEMO}/", 1) for part in AUDITS[name]]
            if not Path(arguments[0]).exists():
                print(f"{name:<16}skipped: {arguments[0]} is not here", flush=True)
                continue
            found = compared(*(scan(code, arguments, work / name / str(i) / "run") for i, code in enumerate(codes)))
            print(f"{name:<16}{'equal' if not found else f'{len(found)} differ'}", flush=True)
            print("".join(f"    {text}\n" for text in found[:12]), end="", flush=True)
            same &= not found
    finally:
        for folder in ("base", "new"):
            subprocess.run(["git", "worktree", "remove", "--force", work / folder], cwd=ROOT, capture_output=True)
        shutil.rmtree(work, ignore_errors=True)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
