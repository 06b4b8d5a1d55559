"""Fashion-MNIST from its idx files."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["CLASSES", "FILES", "Data", "read", "read_idx", "write_test_images"]

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
FILES = tuple(f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


@dataclass(frozen=True)
class Data:
    """Images [N, 1, H, W] float32 in [0, 1], labels [N] int64."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


def read_idx(path: Path) -> np.ndarray:
    """Unsigned bytes of a gzipped file in MNIST's format."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\x00\x00\x08":
        raise SystemExit(f"{path}: not an IDX file of unsigned bytes")
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def read(folder: Path, images: int = 6_000, tests: int = 500) -> Data:
    """The first images of each split, whose order is random already."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise SystemExit(
            f"{folder} lacks {', '.join(missing)}: give the folder of Fashion-MNIST "
            "(Debian's package dataset-fashion-mnist installs it)"
        )
    arrays = []
    for split, count in (("train", images), ("t10k", tests)):
        x = read_idx(folder / f"{split}-images-idx3-ubyte.gz")[:count]
        y = read_idx(folder / f"{split}-labels-idx1-ubyte.gz")[:count]
        arrays += [torch.from_numpy(x.astype(np.float32) / 255).unsqueeze(1), torch.from_numpy(y.astype(np.int64))]
    return Data(*arrays)


def write_test_images(data: Data, path: Path) -> None:
    """The test images, as ``robaudit scan --data`` takes them: x uint8 [N, 1, H, W], y int64 [N]."""
    x = (data.test_x * 255).round().to(torch.uint8).numpy()
    np.savez_compressed(path, x=x, y=data.test_y.numpy())
