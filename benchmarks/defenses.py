"""What every wrapper buys: `robaudit defenses compare` on the bundled Fashion-MNIST model, and on EfficientNet-Lite0.

    python benchmarks/defenses.py fashion FOLDER [--samples 100]
    python benchmarks/defenses.py photos FOLDER --model efficientnet_lite0.onnx     (needs foolbox, for its 20 photos)
    python benchmarks/defenses.py table COMPARISON.json ...                         (tables of comparisons alone)

FOLDER takes the purifiers, the run directories and the comparisons; the same command goes on where it was stopped.
Each defense is one comparison, so that each can be had by itself: `--only noise`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

DEMO = Path(__file__).parents[1] / "robaudit" / "demo"
PLAIN = ("bits:3", "jpeg:75", "median:3", "gaussian", "nl-means", "tv")
MADE = {
    "purifier:magnet.onnx": "magnet",
    "purifier:denoiser.onnx": "denoiser",
    "purifier:ape-gan.onnx": "ape-gan",
    "quilting:patches.npz": "patches",
}
RANDOM = ("noise", "resize-pad", "barrage", "quilting:patches.npz,nearest=10")
VOTES = ("region-vote:votes=20", "smoothing:votes=20")
FEW = """name: few
threat: {norm: linf, eps: 1/255}
data: {samples: 20}
attacks:
  - id: ensemble
    norms: [linf]
    ladder:
      - {loss: soft-margin, steps: 6}
      - {loss: soft-margin, steps: 12, within: 0.4}
      - {loss: targeted, steps: 20, within: 0.2, targets: 2}
checks: [clean, evidence]
"""


def ran(folder: Path, *command: str) -> int:
    """The exit code of a command of robaudit."""
    code = "import sys; sys.argv[0] = 'robaudit'; from robaudit.cli.main import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *command], cwd=folder, check=False).returncode


def compared(folder: Path, defense: str, *asked: str) -> None:
    """One comparison; those of a folder share the audit without a defense."""
    name = defense.replace(":", "-").replace(",", "-").replace("=", "-")
    runs = ("--run-dir", f"runs-{name}", "--no-progress", "--defense", defense, "-o", f"{name}.json")
    bare = folder / "bare"
    if bare.is_dir() and not (folder / f"runs-{name}").exists():
        shutil.copytree(bare, folder / f"runs-{name}" / "bare")
    ran(folder, "defenses", "compare", *asked, *runs)
    if not bare.is_dir() and (folder / f"runs-{name}" / "bare" / "result.json").is_file():
        shutil.copytree(folder / f"runs-{name}" / "bare", bare)


def fashion(options: argparse.Namespace) -> None:
    """All of them, on the bundled undefended model."""
    folder: Path = options.folder
    model = ("fashion_clean.onnx", "--data", "fashion_test500.npz", "--samples", str(options.samples), "--eps", "0.02")
    for name in (model[0], model[2]):
        shutil.copy(DEMO / name, folder / name)
    for defense, recipe in MADE.items():
        file = defense.partition(":")[2]
        if not (folder / file).exists() and _wanted(options, defense):
            ran(folder, "train-purifier", *model, "--recipe", recipe, "-o", file)
    for defense in (*PLAIN, *MADE, *RANDOM, *VOTES):
        if _wanted(options, defense):
            compared(folder, defense, *model, "--profile", "quick")


def photos(options: argparse.Namespace) -> None:
    """Those that need no data to be made of, on 20 photos."""
    folder: Path = options.folder
    source = Path(str(importlib.import_module("foolbox").__file__)).parent / "data"
    for path in source.glob("imagenet_*.jpg"):
        place = folder / "photos" / path.stem.rsplit("_", maxsplit=1)[1]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place / path.name)  # with its time of change, by which an audit knows a folder's images
    (folder / "few.yaml").write_text(FEW)
    meaning = ("--scale", "1", "--domain", "0,1", "--channels", "rgb", "--mean", "0,0,0", "--std", "1,1,1")
    model = (str(options.model.resolve()), "--data", "photos", "--profile", "few.yaml", *meaning)
    for defense in (*PLAIN, *(one for one in RANDOM if "patches" not in one), *VOTES):
        if _wanted(options, defense):
            compared(folder, defense, *model)


def _wanted(options: argparse.Namespace, defense: str) -> bool:
    return not options.only or any(defense.startswith(one) for one in options.only)


def table(paths: list[Path]) -> None:
    """Markdown, the largest adaptive gain first."""
    documents = [json.loads(path.read_text()) for path in paths]
    rows = [row for document in documents for row in document["rows"]]
    rows.sort(key=lambda row: -(row["adaptive"]["difference"] or 0.0))
    print("| defense | clean accuracy | gain, plain | gain, adaptive | false-security index | time | outcome |")
    print("|-|-|-|-|-|-|-|")
    for row in rows:
        figures = " | ".join(_points(row[name]) for name in ("clean", "plain", "adaptive", "false_security"))
        slower = "" if row["latency"] is None else f"{row['latency']:.2g}"
        failed = f" ({', '.join(row['failed_checks'])} failed)" if row["failed_checks"] else ""
        print(f"| `{row['defense']['words']}` | {figures} | {slower} | {row['outcome']}{failed} |")
    bare = documents[0]["bare"]
    right, stands = bare["clean"], bare["robust"]
    print(f"\nwithout: {right and right['k']} of {stands['n']} right, {stands['k']} stand")


def _points(change: dict[str, Any]) -> str:
    low, high = change["low"], change["high"]
    return f"{100 * change['difference']:.0f} [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fashion", "photos", "table"])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--only", action="append", default=[])
    options = parser.parse_args()
    if options.what == "table":
        table(options.paths)
        return
    options.folder = options.paths[0]
    options.folder.mkdir(parents=True, exist_ok=True)
    (fashion if options.what == "fashion" else photos)(options)


if __name__ == "__main__":
    main()
