"""What the input of a file means, and the way from u-space to it in NumPy; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robaudit.data.ranges import Ranges
from robaudit.target.inputs.drawing import DrawingWrapper, apart, of_place

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["ASSUMED", "DEFAULT_WITH", "INTEGERS", "NEARLY", "DrawingWrapper", "InputMeaning", "Voting", "Wrapper"]

ASSUMED = "assumed"
"""Begins the provenance of a field that is written nowhere."""
DEFAULT_WITH = "default with"
"""Begins the provenance of what follows from another field that was said."""
NEARLY = 1e-5
"""A feature of whole numbers is one where it is so close, as a share of its range."""
INTEGERS = ("uint8", "int8", "uint16", "int16", "int32", "int64")


class Wrapper(Protocol):
    """A defense in front of a file; see :class:`robaudit.defenses.base.Defense`."""

    @property
    def random(self) -> bool:
        """Whether it draws: then it is a :class:`robaudit.target.inputs.drawing.DrawingWrapper` too."""
        ...

    @property
    def copies(self) -> int:
        """How many inputs the file is shown for one; more than 1: it is a :class:`Voting` too."""
        ...

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """What the file is shown of [N, *shape] in u-space: [N * copies, *shape]."""
        ...

    def forward(self, u: Tensor) -> Tensor:
        """The same of a tensor."""
        ...

    def backward_path(self, u: Tensor) -> Tensor:
        """A differentiable stand-in for it."""
        ...


@runtime_checkable
class Voting(Protocol):
    """A defense behind which many answers vote; see :class:`robaudit.defenses.base.VotingDefense`."""

    @property
    def copies(self) -> int:
        """How many vote."""
        ...

    def names(self, votes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[N] whether votes [N, K] name a class."""
        ...


@dataclass(frozen=True)
class InputMeaning:
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
        ranges: each feature's own domain, for tables; lo and hi say nothing then.
        scale, mean, std: file input = (x * scale - mean) / std, with x in the domain; empty mean is 0, empty std 1.
        channels: order in the file, rgb or bgr.
        crop, interpolation: how image files are cut to the shape.
        defenses: in front of the file, on points of u-space, in the order in which an input meets them.
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
    ranges: Ranges | None = None
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: Literal["rgb", "bgr"] = "rgb"
    crop: float = 0.875
    interpolation: str = "bicubic"
    defenses: tuple[Wrapper, ...] = ()
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

    @property
    def fixed(self) -> tuple[int, ...]:
        """Features that an attacker cannot change, as places in the flattened sample."""
        return () if self.ranges is None else self.ranges.fixed

    @property
    def precision(self) -> str:
        """NumPy name of the type in which points of u-space are held."""
        return "float64" if self.dtype == "float64" or self.ranges is not None else "float32"

    @property
    def draws(self) -> bool:
        """Whether a defense is random."""
        return any(defense.random for defense in self.defenses)

    @property
    def voting(self) -> Voting | None:
        """The defense behind which many answers vote, if there is one."""
        found = (one for one in self.defenses if one.copies > 1 and isinstance(one, Voting))
        return next(found, None)

    def voted(self, classes: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Votes [N, K] of classes [N, M], -1 for none, and [N] whether they name a class."""
        votes = np.stack([(classes == one).sum(1) for one in range(count)], 1).astype(np.int64)
        return votes, votes.sum(1) > 0 if self.voting is None else self.voting.names(votes)

    def file_array(self, u: NDArray[Any], keys: NDArray[np.uint64] | None = None) -> NDArray[Any]:
        """[N, *shape] in u-space to [N, *file_shape] in the file's units, not yet rounded, with the audit's own bits;
        [N * M, *file_shape] where M answers vote.

        The same steps as ``InputSpec.to_file``, which a test holds it to: each is one correctly rounded operation.
        ``keys`` [N]: of what random defenses draw; None: their first draws.
        """
        x = np.asarray(u, dtype=self.precision)
        for place, defense in enumerate(self.defenses):
            if keys is not None and isinstance(defense, DrawingWrapper):
                x = defense.drawn(x, of_place(keys, place))
            else:
                x = defense.shown(x)
                keys = keys if keys is None else apart(keys, defense.copies)
        if self.ranges is not None:
            x = self._own_units(self.ranges, x)
        elif (self.lo, self.hi) != (0.0, 1.0):
            x = x * (self.hi - self.lo) + self.lo
        if self.scale != 1.0:
            x = x * self.scale
        if self.mean:
            x = x - _aligned(self.mean, x)
        if self.std:
            x = x / _aligned(self.std, x)
        if self.channels == "bgr" and self.kind == "image":
            x = np.concatenate([x[:, 2::-1], x[:, 3:]], 1)
        if self.layout == "nhwc":
            x = x.transpose(0, 2, 3, 1)
        return x.reshape(len(x), *self.file_shape)

    def _own_units(self, ranges: Ranges, u: NDArray[Any]) -> NDArray[Any]:
        low, high = (np.array(ends, dtype=np.float64).reshape(self.shape) for ends in (ranges.low, ranges.high))
        x = u * (high - low) + low
        whole = np.rint(x)
        exact = np.array(ranges.integer).reshape(self.shape) & (np.abs(whole - x) <= NEARLY * (high - low))
        x = np.where(exact, x + (whole - x), x)
        return x if self.dtype == "float64" else x.astype(np.float32)


def _aligned(values: tuple[float, ...], x: NDArray[Any]) -> NDArray[Any]:
    """Values per channel, to be broadcast over [N, C, ...]."""
    array = np.array(values, dtype=x.dtype)
    return array if len(values) == 1 else array.reshape(-1, *([1] * (x.ndim - 2)))
