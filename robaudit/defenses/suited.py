"""What defenses apply to, and what they need: clauses that say why not."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from robaudit.errors import UsageError
from robaudit.target.inputs.meaning import InputMeaning

__all__ = ["EXTRA", "library", "no_eight_bits", "no_images", "no_library"]

EXTRA = "pip install 'robaudit[defenses]'"


def no_images(meaning: InputMeaning, channels: tuple[int, ...] = ()) -> str | None:
    """Why inputs are no images [channels, height, width], or not of as many channels; None where they are.

    Args:
        meaning: of the input.
        channels: numbers that there may be; empty: any.
    """
    shape = meaning.shape
    if meaning.kind != "image" or len(shape) != 3 or meaning.ranges is not None:
        return f"it needs images, and the model takes {'x'.join(map(str, shape))} features"
    if channels and shape[0] not in channels:
        return f"it needs images of {' or '.join(map(str, channels))} channels, and the model takes {shape[0]}"
    return None


def no_eight_bits(meaning: InputMeaning) -> str | None:
    """Why a domain is not that of 8-bit images; None where it is: [0, 1], [-1, 1], or 255 wide."""
    low, high = meaning.lo, meaning.hi
    if (low, high) in ((0.0, 1.0), (-1.0, 1.0)) or high - low == 255.0:
        return None
    return f"it codes images of 8 bits, and the model's domain is [{low:g}, {high:g}]"


def no_library(module: str, called: str) -> str | None:
    """Why a library cannot be used; None where it is installed."""
    if importlib.util.find_spec(module) is None:
        return f"it needs {called}, which is not installed: {EXTRA}"
    return None


def library(module: str, called: str) -> Any:
    """A module of a library that is not installed with robaudit itself.

    Raises:
        UsageError: it is not there.
    """
    if (why := no_library(module.partition(".")[0], called)) is not None:
        raise UsageError(f"a defense cannot be computed: {why}")
    return importlib.import_module(module)
