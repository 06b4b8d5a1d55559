"""What the nets classify: images and tables in [0, 1], split into rows to train on and rows held out.

- mnist: 8,000 of the 10,000 test images to train on, the others held out; mnist-3-8: its threes and eights.
- fashion: Fashion-MNIST.
- colour: Fashion-MNIST in colour, in CIFAR's shape: each article, in a random colour, on a background that fades from
  one random colour into another; 32 x 32 x 3.
- pairs: two articles of Fashion-MNIST side by side, each at half its width: 100 classes.
- digits, breast-cancer, wine: scikit-learn's tables, each column scaled to [0, 1] by its range.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tests.zoo.data import Data, read

__all__ = ["TESTS", "Source"]

TESTS = 120
"""Held-out rows of each set, at most."""
DRAWN = 7
"""Seed of all that is drawn to compose and split the sets: the same for every training seed."""


class Source:
    """Reads and composes the sets, each once.

    Args:
        fashion: folder of Fashion-MNIST's idx files.
        mnist: archive of MNIST's test images: x uint8 [10000, 28, 28] and y.
        images: to train on, of each set at most.
    """

    def __init__(self, fashion: Path, mnist: Path, images: int = 4_000) -> None:
        self.fashion, self.mnist, self.images = fashion, mnist, images
        self._read: dict[str, Data] = {}

    def data(self, name: str) -> Data:
        """The set of this name."""
        if name not in self._read:
            self._read[name] = self._made(name)
        return self._read[name]

    def _made(self, name: str) -> Data:
        if name == "mnist":
            return self._digits(None)
        if name == "mnist-3-8":
            return self._digits((3, 8))
        if name == "fashion":
            return read(self.fashion, self.images, TESTS)
        if name in ("colour", "pairs"):
            return _composed(read(self.fashion, 2 * self.images, 2 * TESTS), {"colour": _colour, "pairs": _pairs}[name])
        return _table(name)

    def _digits(self, only: tuple[int, ...] | None) -> Data:
        with np.load(self.mnist) as archive:
            x = torch.from_numpy(archive["x"].astype(np.float32) / 255).unsqueeze(1)
            y = torch.from_numpy(archive["y"].astype(np.int64))
        parts = []
        for rows, count in ((slice(0, 8_000), self.images), (slice(8_000, None), TESTS)):
            images, labels = x[rows], y[rows]
            if only:
                kept = torch.isin(labels, torch.tensor(only))
                images, labels = images[kept], torch.searchsorted(torch.tensor(only), labels[kept])
            parts += [images[:count].contiguous(), labels[:count]]
        return Data(*parts)


def _composed(data: Data, compose: object) -> Data:
    assert callable(compose)
    draws = np.random.default_rng(DRAWN)
    return Data(*compose(data.x, data.y, draws), *compose(data.test_x, data.test_y, draws))


def _colour(x: Tensor, y: Tensor, draws: np.random.Generator) -> tuple[Tensor, Tensor]:
    """[N / 2, 3, 32, 32] and labels: an article is as opaque as its image is bright."""
    x, y = x[: len(x) // 2], y[: len(y) // 2]
    opaque = F.pad(x, (2, 2, 2, 2))
    colours = torch.from_numpy(draws.random((3, len(x), 3, 1, 1), np.float32))
    angle = torch.from_numpy(draws.random((len(x), 1, 1, 1), np.float32)) * 2 * np.pi
    line = torch.linspace(-0.5, 0.5, 32)
    fade = 0.5 + (angle.cos() * line.view(1, 1, 1, 32) + angle.sin() * line.view(1, 1, 32, 1)) / np.sqrt(2)
    ground = 0.6 * (colours[0] * fade + colours[1] * (1 - fade))
    return opaque * (0.4 + 0.6 * colours[2]) + (1 - opaque) * ground, y


def _pairs(x: Tensor, y: Tensor, draws: np.random.Generator) -> tuple[Tensor, Tensor]:
    """[N / 2, 1, 28, 28] and 10 times the left one's label plus the right one's; no article is used twice."""
    order = torch.from_numpy(draws.permutation(len(x)))
    left, right = order.chunk(2)
    narrow = F.avg_pool2d(x, (1, 2))
    return torch.cat([narrow[left], narrow[right]], 3), 10 * y[left] + y[right]


def _table(name: str) -> Data:
    from sklearn import datasets

    load = {"digits": datasets.load_digits, "breast-cancer": datasets.load_breast_cancer, "wine": datasets.load_wine}
    bunch = load[name]()
    x: NDArray[np.float64] = bunch.data
    order = np.random.default_rng(DRAWN).permutation(len(x))
    low, high = x.min(0), x.max(0)
    scaled = torch.from_numpy(((x - low) / np.maximum(high - low, 1e-9))[order].astype(np.float32))
    y = torch.from_numpy(bunch.target[order].astype(np.int64))
    tests = min(TESTS, int(0.6 * len(x)))
    return Data(scaled[tests:], y[tests:], scaled[:tests], y[:tests])
