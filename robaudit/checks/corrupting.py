"""Common corruptions of images at five severities.

Constants and definitions: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", and the code that made CIFAR-10-C and ImageNet-C (github.com/hendrycks/robustness). Images stay
unrounded but for JPEG and pixelation, whose definitions are of 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Corruption", "corruptions_of"]

SMALL = 64
"""Widest images that take the constants of CIFAR-10-C, of 32 pixels; larger ones take those of ImageNet-C, of 224."""
Kind: TypeAlias = Literal["small", "large"]
Image: TypeAlias = NDArray[np.float64]
Corruption: TypeAlias = Callable[[NDArray[Any], int, np.random.Generator], NDArray[Any]]
"""[C, H, W] in [0, 1], severity 1 to 5, draws -> the same shape and type."""

CONSTANTS: dict[str, dict[Kind, tuple[Any, ...]]] = {
    "gaussian noise": {"small": (0.04, 0.06, 0.08, 0.09, 0.10), "large": (0.08, 0.12, 0.18, 0.26, 0.38)},
    "shot noise": {"small": (500, 250, 100, 75, 50), "large": (60, 25, 12, 5, 3)},
    "impulse noise": {"small": (0.01, 0.02, 0.03, 0.05, 0.07), "large": (0.03, 0.06, 0.09, 0.17, 0.27)},
    "speckle noise": {"small": (0.06, 0.1, 0.12, 0.16, 0.2), "large": (0.15, 0.2, 0.35, 0.45, 0.6)},
    "gaussian blur": {"small": (0.4, 0.6, 0.7, 0.8, 1.0), "large": (1, 2, 3, 4, 6)},
    "defocus blur": {  # radius, and standard deviation of what smooths the disk
        "small": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "large": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    },
    "zoom blur": {  # one more than the steps, and their size
        "small": ((6, 0.01), (11, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
        "large": ((11, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
    },
    "fog": {  # thickness, and how fast its detail decays
        "small": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "large": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    },
    "brightness": {"small": (0.05, 0.1, 0.15, 0.2, 0.3), "large": (0.1, 0.2, 0.3, 0.4, 0.5)},
    "contrast": {"small": (0.75, 0.5, 0.4, 0.3, 0.15), "large": (0.4, 0.3, 0.2, 0.1, 0.05)},
    "saturation": {  # factor and shift
        "small": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        "large": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    },
    "pixelation": {"small": (0.95, 0.9, 0.85, 0.75, 0.65), "large": (0.6, 0.5, 0.4, 0.3, 0.25)},
    "jpeg": {"small": (80, 65, 58, 50, 40), "large": (25, 18, 15, 10, 7)},
}


def corruptions_of(shape: tuple[int, ...]) -> dict[str, Corruption]:
    """The corruptions of images [C, H, W] of this shape, C = 1 or 3, by name; of grey ones without saturation."""
    kind: Kind = "small" if max(shape[1:]) <= SMALL else "large"
    return {name: _corruption(name, kind) for name in CONSTANTS if name != "saturation" or shape[0] == 3}


def _corruption(name: str, kind: Kind) -> Corruption:
    change = CHANGES[name]

    def corrupt(u: NDArray[Any], severity: int, random: np.random.Generator) -> NDArray[Any]:
        found = change(u.astype(np.float64), CONSTANTS[name][kind][severity - 1], random)
        return found.clip(0, 1).astype(u.dtype)

    return corrupt


def _gaussian_noise(x: Image, c: float, random: np.random.Generator) -> Image:
    return x + random.normal(scale=c, size=x.shape)


def _shot_noise(x: Image, c: float, random: np.random.Generator) -> Image:
    found: Image = random.poisson(x * c) / c
    return found


def _impulse_noise(x: Image, c: float, random: np.random.Generator) -> Image:
    """Salt and pepper, as many of each on average."""
    struck, salted = random.random(x.shape) < c, random.random(x.shape) < 0.5
    return np.where(struck, salted.astype(np.float64), x)


def _speckle_noise(x: Image, c: float, random: np.random.Generator) -> Image:
    found: Image = x + x * random.normal(scale=c, size=x.shape)
    return found


def _gaussian_blur(x: Image, c: float, _: np.random.Generator) -> Image:
    from scipy import ndimage

    found: Image = ndimage.gaussian_filter(x, (0, c, c), mode="nearest")
    return found


def _defocus_blur(x: Image, c: tuple[float, float], _: np.random.Generator) -> Image:
    """The mean over a disk whose rim is smoothed."""
    from scipy import ndimage

    radius, smooth = c
    reach, window = (8, 1) if radius <= 8 else (int(radius), 2)
    places = np.arange(-reach, reach + 1)
    disk = (places[:, None] ** 2 + places**2 <= radius**2).astype(np.float64)
    near = np.exp(-(np.arange(-window, window + 1) ** 2) / (2 * smooth**2))
    weights = ndimage.convolve(disk / disk.sum(), np.outer(near, near) / near.sum() ** 2, mode="mirror")
    found: Image = np.stack([ndimage.correlate(channel, weights, mode="mirror") for channel in x])
    return found


def _zoom_blur(x: Image, c: tuple[int, float], _: np.random.Generator) -> Image:
    """The mean of the image and itself at growing zoom."""
    count, step = c
    total = x + sum(_zoomed(x, 1 + step * place) for place in range(count))
    found: Image = total / (count + 1)
    return found


def _zoomed(x: Image, factor: float) -> Image:
    """The middle, enlarged to the whole."""
    from scipy import ndimage

    sizes = [int(np.ceil(size / factor)) for size in x.shape[1:]]
    starts = [(size - part) // 2 for size, part in zip(x.shape[1:], sizes, strict=True)]
    middle = x[:, starts[0] : starts[0] + sizes[0], starts[1] : starts[1] + sizes[1]]
    large = ndimage.zoom(middle, (1, factor, factor), order=1)
    trims = [(got - size) // 2 for got, size in zip(large.shape[1:], x.shape[1:], strict=True)]
    found: Image = large[:, trims[0] : trims[0] + x.shape[1], trims[1] : trims[1] + x.shape[2]]
    return found


def _fog(x: Image, c: tuple[float, float], random: np.random.Generator) -> Image:
    thick, decay = c
    side = 1 << (max(x.shape[1:]) - 1).bit_length()
    haze, highest = _plasma(max(side, 2), decay, random)[: x.shape[1], : x.shape[2]], float(x.max())
    found: Image = (x + thick * haze) * highest / (highest + thick)
    return found


def _plasma(side: int, decay: float, random: np.random.Generator) -> Image:
    """[side, side] in [0, 1] by the diamond-square algorithm on a torus; the side is a power of two."""
    grid = np.zeros((side, side))
    step, rough = side, 100.0

    def around(total: Image) -> Image:
        """The mean of four with noise; the width of the noise goes with the square, as it was published."""
        return total / 4 + rough * random.uniform(-rough, rough, total.shape)

    while step >= 2:
        half = step // 2
        corners = grid[::step, ::step]
        rows = corners + np.roll(corners, -1, 0)
        grid[half::step, half::step] = around(rows + np.roll(rows, -1, 1))
        middles = grid[half::step, half::step]
        grid[::step, half::step] = around(middles + np.roll(middles, 1, 0) + corners + np.roll(corners, -1, 1))
        grid[half::step, ::step] = around(middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 0))
        step, rough = half, rough / decay
    grid -= grid.min()
    found: Image = grid / grid.max()
    return found


def _brightness(x: Image, c: float, _: np.random.Generator) -> Image:
    """The value of HSV, raised; of grey images the grey itself."""
    if len(x) == 1:
        return x + c
    value = x.max(0)
    raised = (value + c).clip(0, 1)
    found: Image = np.where(value > 0, x * raised / np.where(value > 0, value, 1.0), raised)
    return found


def _contrast(x: Image, c: float, _: np.random.Generator) -> Image:
    mean = x.mean((1, 2), keepdims=True)
    found: Image = (x - mean) * c + mean
    return found


def _saturation(x: Image, c: tuple[float, float], _: np.random.Generator) -> Image:
    """The saturation of HSV, scaled and shifted: hue and value stay."""
    high, low = x.max(0), x.min(0)
    before = np.where(high > 0, (high - low) / np.where(high > 0, high, 1.0), 0.0)
    after = (before * c[0] + c[1]).clip(0, 1)
    grey = before == 0  # has the hue of red
    tinted = high - (high - x) * np.where(grey, 0.0, after / np.where(grey, 1.0, before))
    red = high * np.stack([np.ones_like(high), 1 - after, 1 - after])
    found: Image = np.where(grey, red, tinted)
    return found


def _pixelation(x: Image, c: float, _: np.random.Generator) -> Image:
    from PIL import Image as Pillow

    height, width = x.shape[1:]
    found = np.empty_like(x)
    for place, channel in enumerate(_bytes(x)):
        small = Pillow.fromarray(channel).resize(
            (max(int(width * c), 1), max(int(height * c), 1)), Pillow.Resampling.BOX
        )
        found[place] = np.asarray(small.resize((width, height), Pillow.Resampling.BOX)) / 255
    return found


def _bytes(x: Image) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = np.floor(x.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return found


def _jpeg(x: Image, c: int, _: np.random.Generator) -> Image:
    from robaudit.defenses.registry import make_defense

    found: Image = make_defense("jpeg", {"quality": c}).shown(x[None])[0]
    return found


CHANGES: dict[str, Callable[[Image, Any, np.random.Generator], Image]] = {
    "gaussian noise": _gaussian_noise,
    "shot noise": _shot_noise,
    "impulse noise": _impulse_noise,
    "speckle noise": _speckle_noise,
    "gaussian blur": _gaussian_blur,
    "defocus blur": _defocus_blur,
    "zoom blur": _zoom_blur,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "pixelation": _pixelation,
    "jpeg": _jpeg,
}
