"""What the input of a file means, and the way from u-space to it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["InputSpec", "SpecOverrides"]

ASSUMED = "assumed"
"""Begins the provenance of a field that is written nowhere."""
INTEGERS = ("uint8", "int8", "uint16", "int16", "int32", "int64")


@dataclass(frozen=True)
class SpecOverrides:
    """What the user says of the input.

    Args:
        values: by field: mean, std, scale, layout, channels, resize, crop, interpolation, domain.
        sources: where each was said, such as a flag.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InputSpec:
    """The attacked input. u-space is canonical: C x H x W in RGB for images, each feature in [0, 1].

    Args:
        name: in the file.
        file_shape: of one sample in the file's layout.
        shape: canonical shape of one sample.
        kind: image or vector.
        layout: nchw, nhwc or none.
        dtype: NumPy name of the file's type.
        batch: batch size baked into the file, or None.
        lo, hi: the domain, a box in which perturbations are measured.
        scale, mean, std: file input = (x * scale - mean) / std, with x in the domain; empty mean is 0, empty std 1.
        channels: order in the file, rgb or bgr.
        crop, interpolation: how image files are cut to the shape.
        provenance: where each field was found; where it was not, ``assumed``, with a colon if more is to say.
    """

    name: str
    file_shape: tuple[int, ...]
    shape: tuple[int, ...]
    kind: Literal["image", "vector"]
    layout: Literal["nchw", "nhwc", "none"]
    dtype: str = "float32"
    batch: int | None = None
    lo: float = 0.0
    hi: float = 1.0
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: Literal["rgb", "bgr"] = "rgb"
    crop: float = 0.875
    interpolation: str = "bicubic"
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def assumed(self) -> tuple[str, ...]:
        """Fields that decide what the model sees and were found written nowhere."""
        matters = ("mean", "std", "scale", "domain", "layout", "channels")
        return tuple(name for name in matters if self.provenance.get(name, "").startswith(ASSUMED))

    @property
    def integer(self) -> bool:
        """Whether the file takes whole numbers."""
        return self.dtype in INTEGERS

    def to_file(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, *file_shape] in the file's units; differentiable, not yet rounded.

        Mean and std are in RGB order, whatever order the file takes.
        """
        x = u * (self.hi - self.lo) + self.lo if (self.lo, self.hi) != (0.0, 1.0) else u
        if self.scale != 1.0:
            x = x * self.scale
        if self.mean:
            x = x - self._per_channel(self.mean, x)
        if self.std:
            x = x / self._per_channel(self.std, x)
        if self.channels == "bgr" and self.kind == "image":
            x = torch.cat([x[:, :3].flip(1), x[:, 3:]], 1)  # a fourth channel, alpha, stays the last
        if self.layout == "nhwc":
            x = x.permute(0, 2, 3, 1)
        return x.reshape(x.shape[0], *self.file_shape)

    def _per_channel(self, values: tuple[float, ...], x: Tensor) -> Tensor:
        tensor = _constant(values, x.dtype, x.device)
        return tensor if len(values) == 1 else tensor.reshape(-1, *([1] * (x.dim() - 2)))

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """The nearest points that an integer input can hold, rounded towards the origin; others unchanged.

        Args:
            u: [N, *shape] points in [0, 1].
            origin: [N, *shape] samples, which lie on the grid themselves.

        Returns:
            [N, *shape], each feature no farther from the origin than before, to 1e-4 of a grid step.
        """
        if not self.integer:
            return u
        levels = torch.full((1,), abs(self.scale) * (self.hi - self.lo), dtype=torch.float64, device=u.device)
        if self.std:
            levels = levels / self._per_channel(self.std, u.double())
        steps = (u.double() - origin.double()) * levels
        whole = torch.where(steps > 0, (steps + 1e-4).floor(), (steps - 1e-4).ceil())
        return (origin.double() + whole / levels).clamp(0, 1).to(u.dtype)


@functools.lru_cache(maxsize=64)
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Made once: a copy to a GPU for every call would make it wait."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
