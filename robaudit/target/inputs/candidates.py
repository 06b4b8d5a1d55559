"""What an input may mean where nobody says: normalisations, channel orders and layouts in common use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robaudit.target.inputs.spec import InputSpec

__all__ = ["Candidate", "Normalisation", "candidates", "near", "searched"]


@dataclass(frozen=True)
class Normalisation:
    """File input = (u * scale - mean) / std, for u in [0, 1].

    Args:
        name: for people.
        scale, mean, std: empty mean is 0, empty std 1; in RGB order.
        channels: the order that models with it take as a rule.
    """

    name: str
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: str = "rgb"

    def ends(self, channel: int) -> tuple[float, float]:
        """What 0 and 1 become."""
        mean = self.mean[channel % len(self.mean)] if self.mean else 0.0
        std = self.std[channel % len(self.std)] if self.std else 1.0
        return -mean / std, (self.scale - mean) / std


UNIT = Normalisation("[0, 1]")
ANY = (
    UNIT,
    Normalisation("[-1, 1]", 1.0, (0.5,), (0.5,)),
    Normalisation("(255x - 127) / 128", 255.0, (127.0,), (128.0,)),
    Normalisation("0 to 255", 255.0),
)
"""TensorFlow's models take the second and third; the third is EfficientNet-Lite's."""
COLOUR = (
    Normalisation("ImageNet mean and std", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    Normalisation("0 to 255 less the ImageNet mean", 255.0, (123.68, 116.779, 103.939), (), "bgr"),
)
"""torchvision's, and Caffe's (Simonyan and Zisserman 2015)."""
SMALL_COLOUR = (Normalisation("CIFAR-10 mean and std", 1.0, (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),)
SMALL_GREY = (
    Normalisation("MNIST mean and std", 1.0, (0.1307,), (0.3081,)),
    Normalisation("Fashion-MNIST mean and std", 1.0, (0.286,), (0.353,)),
)
CLOSE = 1 / 8
"""Normalisations closer than this, as a share of their range, are hardly told apart by a model: the second and third
above, by one step of 255; ImageNet's and CIFAR-10's, by up to 12 %."""


@dataclass(frozen=True)
class Candidate:
    """One meaning.

    Args:
        name: for people.
        normalisation: its own, or None where the file's is declared.
        swapped: the channels are in the order that is unusual for the normalisation.
        layout: nchw or nhwc.
        changes: fields of the spec.
    """

    name: str
    normalisation: Normalisation | None
    swapped: bool
    layout: str
    changes: Mapping[str, Any]

    def spec(self, given: InputSpec) -> InputSpec:
        """The input read in this way."""
        return dataclasses.replace(given, **self.changes)


def searched(spec: InputSpec) -> tuple[str, ...]:
    """Fields that candidates differ in: those of an image that nobody declared; one that is declared binds."""
    if spec.kind != "image":
        return ()
    assumed = set(spec.assumed)
    found: tuple[str, ...] = ()
    if {"mean", "std", "scale"} <= assumed:
        found += ("mean", "std", "scale", *(["domain"] if "domain" in assumed else []))
    return found + tuple(name for name in ("layout", "channels") if name in assumed)


def candidates(spec: InputSpec) -> list[Candidate]:
    """All meanings, the one that the spec has now first; fewer than two where nothing is open."""
    fields = searched(spec)
    normalisations: list[Normalisation | None] = [None]
    if "mean" in fields:
        normalisations = list(_normalisations(spec))
    layouts = ["nchw", "nhwc"] if "layout" in fields else [spec.layout]
    layouts.sort(key=lambda layout: layout != spec.layout)
    found = []
    for layout in layouts:
        for swapped in (False, True) if "channels" in fields else (False,):
            for normalisation in normalisations:
                found.append(_candidate(spec, fields, normalisation, layout, swapped=swapped))
    return found


def _normalisations(spec: InputSpec) -> list[Normalisation]:
    """In order of simplicity; the first leaves values as they stand in the domain."""
    known = list(ANY)
    colour, size = spec.shape[0] == 3, spec.shape[1:]
    known += COLOUR if colour else ()
    known += SMALL_COLOUR if colour and size == (32, 32) else ()
    known += SMALL_GREY if spec.shape[0] == 1 and size in ((28, 28), (32, 32)) else ()
    width = spec.hi - spec.lo
    plain = UNIT
    if (spec.lo, spec.hi) != (0.0, 1.0):
        plain = Normalisation(f"[{spec.lo:g}, {spec.hi:g}]", width, (-spec.lo,))
    return [plain, *(n for n in known if n != plain and not _same(n, plain))]


def _candidate(
    spec: InputSpec, fields: tuple[str, ...], normalisation: Normalisation | None, layout: str, *, swapped: bool
) -> Candidate:
    names, changes = [], dict[str, Any]()
    if normalisation is not None:
        width = spec.hi - spec.lo
        factor = normalisation.scale / width
        offset = factor * spec.lo  # x * factor = u * scale + offset
        mean = tuple(m + offset for m in normalisation.mean or (0.0,)) if offset else normalisation.mean
        mean = mean if any(mean) else ()
        changes |= {"scale": factor, "mean": mean, "std": normalisation.std}
        names.append(normalisation.name)
    if "channels" in fields:
        usual = normalisation.channels if normalisation is not None else "rgb"
        order = {"rgb": "bgr", "bgr": "rgb"}[usual] if swapped else usual
        changes["channels"] = order
        names.append(order.upper())
    if "layout" in fields:
        channels, height, width_ = spec.shape
        changes["layout"] = layout
        changes["file_shape"] = (channels, height, width_) if layout == "nchw" else (height, width_, channels)
        names.append(layout.upper())
    return Candidate(", ".join(names), normalisation, swapped, layout, changes)


def near(a: Normalisation | None, b: Normalisation | None) -> bool:
    """Whether two normalisations are hardly told apart by a model."""
    if a is None or b is None or a.channels != b.channels:
        return a is b
    return _same(a, b, CLOSE)


def _same(a: Normalisation, b: Normalisation, share: float = 1e-9) -> bool:
    """Whether 0 and 1 become the same in every channel, up to a share of the range; both are linear."""
    for channel in range(3):
        (low, high), (other_low, other_high) = a.ends(channel), b.ends(channel)
        if max(abs(low - other_low), abs(high - other_high)) > share * abs(high - low):
            return False
    return True
