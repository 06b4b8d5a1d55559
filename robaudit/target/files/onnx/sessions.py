"""Sessions of ONNX Runtime where torch is at work too."""

from __future__ import annotations

from pathlib import Path

import torch

from robaudit.target.files.onnx.runtime import Session, start
from robaudit.target.files.onnx.source import OnnxSource

__all__ = ["start_on"]


def start_on(
    source: OnnxSource, device: torch.device, custom_ops: tuple[Path, ...], *, optimised: bool = True
) -> Session:
    """A session on torch's device, with as many threads as torch has: OMP_NUM_THREADS governs both."""
    threads = torch.get_num_threads()
    cuda = (device.index or 0) if device.type == "cuda" else None
    return start(source, threads=threads, cuda=cuda, custom_ops=custom_ops, optimised=optimised)
