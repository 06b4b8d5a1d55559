"""The device that attacks run on."""

from __future__ import annotations

import torch

from robaudit.errors import UsageError

__all__ = ["choose_device"]


def choose_device(device: str) -> torch.device:
    """The device that a name means here.

    On a GPU convolutions are kept from rounding float32 to 10 bits (TF32), which PyTorch does of itself: a file is
    judged at its own precision.

    Raises:
        UsageError: a GPU that is not there.
    """
    torch.backends.cudnn.allow_tf32 = False
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wanted = torch.device(device)
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        found = "no CUDA GPU" if count == 0 else f"{count} CUDA GPU(s), numbered from 0"
        raise UsageError(f"--device {device} was asked for, and this machine has {found}; use --device cpu")
    return wanted
