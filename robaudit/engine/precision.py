"""The precision that searches run in; the judge runs the file at its own."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from typing import Any

import torch

from robaudit.errors import UsageError

__all__ = ["Precision", "check_precision", "searching"]


class Precision(enum.StrEnum):
    """Arithmetic of the differentiable model's matrix products and convolutions."""

    FLOAT32 = "float32"
    """As the model has it; float64 stays float64."""
    BFLOAT16 = "bfloat16"
    """PyTorch's autocast: 8 bits of mantissa, and twice the speed where the processor has instructions for it."""
    TF32 = "tf32"
    """11 bits of mantissa in float32's range, on NVIDIA GPUs since Ampere."""


def check_precision(precision: Precision, device: torch.device) -> None:
    """Whether the device can.

    Raises:
        UsageError: TF32 without a GPU.
    """
    if precision is Precision.TF32 and device.type != "cuda":
        raise UsageError(f"--search-precision tf32 needs a CUDA GPU and this is {device.type}; use bfloat16 or float32")


@contextlib.contextmanager
def searching(precision: Precision, device: torch.device) -> Iterator[None]:
    """Forward and backward passes within run at this precision; the judge's do not."""
    if precision is Precision.BFLOAT16:
        with torch.autocast(device.type, torch.bfloat16):
            yield
    elif precision is Precision.TF32:
        flags: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.cudnn
        before = [flag.allow_tf32 for flag in flags]
        for flag in flags:
            flag.allow_tf32 = True
        try:
            yield
        finally:
            for flag, value in zip(flags, before, strict=True):
                flag.allow_tf32 = value
    else:
        yield
