"""What the input of a file means, and the way from u-space to it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.data.ranges import Ranges
from robaudit.target.inputs.drawing import DrawingWrapper, apart, of_place
from robaudit.target.inputs.meaning import ASSUMED, NEARLY, InputMeaning, Wrapper

__all__ = ["InputSpec", "SpecOverrides"]

HALF = ("float16", "bfloat16")


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
class InputSpec(InputMeaning):
    """The meaning of an input as torch computes with it."""

    def to_file(self, u: Tensor, keys: NDArray[np.uint64] | None = None) -> Tensor:
        """[N, *shape] in u-space to [N, *file_shape] in the file's units; differentiable, not yet rounded.

        Mean and std are in RGB order, whatever order the file takes. ``keys`` [N]: of what random defenses draw; None:
        the next of torch's own generator. Where M answers vote there are M rows for each.
        """
        if keys is None and self.draws:
            words = torch.randint(-(2**63), 2**63 - 1, (len(u),), dtype=torch.int64)
            keys = words.numpy().view(np.uint64)
        for place, defense in enumerate(self.defenses):
            u = _behind(defense, u, None if keys is None else of_place(keys, place))
            keys = keys if keys is None else apart(keys, defense.copies)
        x = u
        if self.ranges is not None:
            x = self._in_ranges(self.ranges, u)
        elif (self.lo, self.hi) != (0.0, 1.0):
            x = u * (self.hi - self.lo) + self.lo
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

    def without_draws(self) -> InputSpec:
        """The same without the random ones of its defenses."""
        return replace(self, defenses=tuple(defense for defense in self.defenses if not defense.random))

    def without_votes(self) -> InputSpec:
        """The same without the defense behind which many answers vote."""
        return replace(self, defenses=tuple(defense for defense in self.defenses if defense.copies == 1))

    def _per_channel(self, values: tuple[float, ...], x: Tensor) -> Tensor:
        tensor = _constant(values, x.dtype, x.device)
        return tensor if len(values) == 1 else tensor.reshape(-1, *([1] * (x.dim() - 2)))

    def _in_ranges(self, ranges: Ranges, u: Tensor) -> Tensor:
        """Each feature in its own units; what was snapped to a whole number is one exactly.

        In float64, so that a row of a table comes back as it was: a tree tells values apart that differ in a last bit.
        """
        low, high = (_constant(ends, torch.float64, u.device).reshape(self.shape) for ends in (ranges.low, ranges.high))
        x = u.double() * (high - low) + low
        if any(ranges.integer):
            whole = x.detach().round()
            exact = self._integers(ranges, u.device) & ((whole - x.detach()).abs() <= NEARLY * (high - low))
            x = x + torch.where(exact, whole - x.detach(), 0.0)
        return x if self.dtype == "float64" else x.float()

    def _integers(self, ranges: Ranges, device: torch.device) -> Tensor:
        return _constant(tuple(map(float, ranges.integer)), torch.float32, device).reshape(self.shape) > 0

    def with_ranges(self, ranges: Ranges, origin: str) -> InputSpec:
        """The same for a table: each feature in its own range, in the units that the file takes.

        Args:
            ranges: in the order of the features.
            origin: where they were said, or what begins with ``assumed``.
        """
        values: dict[str, Any] = {"ranges": ranges}
        provenance = {**self.provenance, "domain": origin}
        units = "table" if origin.startswith(ASSUMED) else origin
        for name, plain in (("mean", ()), ("std", ()), ("scale", 1.0)):
            if provenance.get(name, ASSUMED).startswith((ASSUMED, "integer type")):
                values[name], provenance[name] = plain, units
        return replace(self, **values, provenance=provenance)

    def as_input(self, u: Tensor) -> Tensor:
        """[N, ...] what tells points [N, *shape] apart: those with the same are one input to the file.

        What the file is fed, in its own type, where several points of u-space may be one input; else the points.
        """
        plain = not self.integer and self.ranges is None and self.dtype not in HALF and not self.defenses
        if plain or self.draws or self.voting is not None:
            return u
        x = self.to_file(u)
        if self.integer:
            return x.round().long()
        return x.to(getattr(torch, self.dtype))

    @property
    def whole(self) -> bool:
        """Whether some features hold whole numbers alone."""
        return self.integer or (self.ranges is not None and any(self.ranges.integer))

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """The nearest points that whole-numbered features can hold, rounded towards the origin; others unchanged.

        Args:
            u: [N, *shape] points in [0, 1].
            origin: [N, *shape] samples, which lie on the grid themselves.

        Returns:
            [N, *shape], each feature no farther from the origin than before, to 1e-4 of a grid step.
        """
        ranges = self.ranges
        if not self.whole:
            return u
        if ranges is None:
            levels = torch.full((1,), self.hi - self.lo, dtype=torch.float64, device=u.device)
        else:
            low, high = (_constant(ends, torch.float64, u.device) for ends in (ranges.low, ranges.high))
            levels = (high - low).reshape(self.shape)
        if self.integer:
            levels = abs(self.scale) * levels
            if self.std:
                levels = levels / self._per_channel(self.std, u.double())
        steps = (u.double() - origin.double()) * levels
        whole = torch.where(steps > 0, (steps + 1e-4).floor(), (steps - 1e-4).ceil())
        snapped = (origin.double() + whole / torch.where(levels > 0, levels, 1.0)).clamp(0, 1).to(u.dtype)
        if self.integer or ranges is None:
            return snapped
        return torch.where(self._integers(ranges, u.device), snapped, u)


def _behind(defense: Wrapper, u: Tensor, keys: NDArray[np.uint64] | None) -> Tensor:
    """What the file is shown of points, with the gradient of the defense's differentiable stand-in."""
    drawing = defense if keys is not None and isinstance(defense, DrawingWrapper) else None
    with torch.no_grad():
        shown = defense.forward(u) if drawing is None or keys is None else drawing.drawn_forward(u, keys)
    if not (u.requires_grad and torch.is_grad_enabled()):
        return shown
    path = defense.backward_path(u) if drawing is None or keys is None else drawing.drawn_path(u, keys)
    return shown + (path - path.detach())


@functools.lru_cache(maxsize=64)
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Made once: a copy to a GPU for every call would make it wait."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
