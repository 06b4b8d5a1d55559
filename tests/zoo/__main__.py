"""Train the zoo: small defended classifiers of Fashion-MNIST, exported to ONNX, random ones to TorchScript too."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from .data import read
from .making import fill
from .registry import NETS, find


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.zoo", description=__doc__)
    parser.add_argument("folder", type=Path, help="Fashion-MNIST's idx files (Debian: dataset-fashion-mnist)")
    parser.add_argument("--cache", type=Path, required=True, help="where the files go; what is there is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="training seeds (default: 0 1 2)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"of {', '.join(NETS)}")
    parser.add_argument("--images", type=int, default=6_000, help="training images (default: %(default)s)")
    parser.add_argument("--effort", type=float, default=1.0, help="factor on the epochs (default: %(default)s)")
    args = parser.parse_args(words)
    entries = find(args.only)
    torch.set_flush_denormal(True)
    fill(entries, args.seeds, read(args.folder, args.images), args.cache, effort=args.effort, say=tell)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
