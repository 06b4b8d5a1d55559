"""The nets that a folder has, with what is to be audited; for scripts that run attacks on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .entry import Half, Net, Threat
from .registry import NETS, find

__all__ = ["cases"]


def cases(
    cache: Path, half: Half | None = None, seed: int = 0
) -> Iterator[tuple[Net, Path, Tensor, Tensor, tuple[Threat, ...]]]:
    """Each net that is there: its entry, file, held-out rows [N, *shape] in [0, 1], labels [N], and threats.

    Args:
        cache: folder that ``python -m benchmarks.nets`` filled.
        half: of the nets; None: both.
        seed: of their training.
    """
    found = [(net, cache / f"{net.name}-{seed}.onnx") for net in find(None, half)]
    present = [(net, path) for net, path in found if path.is_file() and path.with_suffix(".json").is_file()]
    if not present:
        raise SystemExit(f"{cache} has none of the {len(NETS)} nets: fill it with python -m benchmarks.nets")
    for net, path in present:
        with np.load(path.with_suffix(".npz")) as archive:
            x, y = torch.from_numpy(archive["x"]), torch.from_numpy(archive["y"])
        yield net, path, x, y, net.threats
