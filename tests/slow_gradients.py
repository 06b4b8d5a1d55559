"""Files whose forward pass is quick and whose backward pass takes hours, on chosen inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from run_kit import make_data, make_profile

FGSM = "\n  - {id: fgsm}\n"


class SlowGradient(torch.nn.Module):
    """A linear model that picks entries of a wide view where the first feature is ``offset`` from ``value``.

    A view costs nothing; on the way back each of them is a vector of 400 MB that is added up.
    """

    def __init__(self, value: float, offset: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        self.value, self.offset = value, offset
        self.weight = torch.nn.Parameter(torch.randn(4, 36, generator=torch.Generator().manual_seed(seed)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = x.flatten(1)
        picked = torch.zeros(1)
        if bool(((f[:, 0] - self.value).abs() - self.offset).abs().min() < 2e-5):
            wide = f[0, :1].expand(100_000_000)
            for i in range(20_000):
                picked = picked + wide[i]
        return (f - 0.5) @ self.weight.t() + 0 * picked


def save(path: Path, module: torch.nn.Module) -> Path:
    torch.jit.script(module.eval()).save(str(path))
    return path


def slow_gradient(folder: Path, sample: int, offset: float = 0.0, attacks: str = FGSM) -> tuple[Path, Path, Path]:
    """A model slow at a sample's first feature and ``offset``, data of 8 samples that it answers, and a profile."""
    data = make_data(folder / "d.npz", 8, wrong=0)
    with np.load(data) as arrays:
        x = arrays["x"]
    module = SlowGradient(float(x.reshape(8, -1)[sample, 0]), offset)
    np.savez(data, x=x, y=((x.reshape(8, -1) - 0.5) @ module.weight.detach().numpy().T).argmax(1))
    return save(folder / "m.pt", module), data, make_profile(folder / "p.yaml", attacks)
