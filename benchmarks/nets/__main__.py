"""Make the nets that attacks are chosen and reported on: ONNX files, each with its held-out rows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from .data import Source
from .making import fill
from .registry import NETS, find

MNIST = Path(__file__).parents[3] / "shared" / "models" / "mnist_t10k.npz"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nets", description=__doc__)
    parser.add_argument("folder", type=Path, help="Fashion-MNIST's idx files (Debian: dataset-fashion-mnist)")
    parser.add_argument("--cache", type=Path, required=True, help="where the files go; what is there is kept")
    parser.add_argument("--mnist", type=Path, default=MNIST, help="MNIST's test images, x and y in an .npz")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"of {', '.join(NETS)}")
    parser.add_argument("--images", type=int, default=4_000, help="to train on (default: %(default)s)")
    parser.add_argument("--effort", type=float, default=1.0, help="factor on the epochs (default: %(default)s)")
    args = parser.parse_args(words)
    torch.set_flush_denormal(True)
    source = Source(args.folder, args.mnist, args.images)
    fill(find(args.only), source, args.cache, seed=args.seed, effort=args.effort, say=tell)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
