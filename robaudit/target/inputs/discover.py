"""Finds what an input means where it is written: flags, config, metadata in the file, files beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robaudit.errors import UsageError
from robaudit.target.inputs.fields import checked
from robaudit.target.inputs.meaning import DEFAULT_WITH, INTEGERS
from robaudit.target.inputs.sidecar import PREPROCESSORS, from_huggingface, from_metadata, from_timm, from_ultralytics
from robaudit.target.inputs.spec import InputSpec, SpecOverrides

__all__ = ["FileInput", "FreeSizeError", "find_spec"]

CHANNEL_COUNTS = (1, 3, 4)
DEFAULTS: dict[str, Any] = {"mean": (), "std": (), "scale": 1.0, "domain": (0.0, 1.0), "channels": "rgb"}


class FreeSizeError(UsageError):
    """Nothing says how large the images are that a file takes."""


@dataclass(frozen=True)
class FileInput:
    """An input as the file declares it.

    Args:
        name: in the file.
        shape: with the batch first; None where free.
        dtype: NumPy name.
        image: the file types it as an image, so that its layout is known.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    image: dict[str, Any] = field(default_factory=dict)


def find_spec(
    path: Path,
    given: FileInput,
    metadata: Mapping[str, str],
    overrides: SpecOverrides,
    sample_shape: tuple[int, ...] | None,
) -> InputSpec:
    """The input's meaning, each field from the most trusted place that has it.

    Args:
        path: of the model; files beside it, and in the folder above, are read.
        given: the input as declared.
        metadata: of the file; keys ``robaudit.mean``, ``.std``, ``.scale``, ``.domain``, ``.layout``,
            ``.channels``.
        overrides: flags and config.
        sample_shape: of the data's arrays, for dimensions that the file leaves free.

    Raises:
        UsageError: a value cannot be understood, or the size of the input is known nowhere.
    """
    values, provenance = _told(path, given, metadata, overrides)
    _complete_scale(values, provenance, given)
    layout, file_shape, shape = _shapes(values, provenance, given, sample_shape)
    if "channels" not in values and provenance.get("mean", "integer type") != "integer type":
        # The normalisation is declared; without a word on the order, values are given in RGB.
        values["channels"], provenance["channels"] = "rgb", f"{DEFAULT_WITH} {provenance['mean']}"
    for name, default in DEFAULTS.items():
        if name not in values:
            values[name] = default
            provenance[name] = "assumed"
    if layout == "none" or shape[0] == 1:  # one channel has no order
        provenance["channels"] = "shape"
        values["channels"] = "rgb"
    if layout == "none":
        provenance["layout"] = "shape"
    _check_values(values, provenance, shape, layout)
    lo, hi = values["domain"]
    return InputSpec(
        name=given.name,
        file_shape=file_shape,
        shape=shape,
        kind="vector" if layout == "none" else "image",
        layout=layout,
        dtype=given.dtype,
        batch=given.shape[0],
        lo=lo,
        hi=hi,
        scale=values["scale"],
        mean=values["mean"],
        std=values["std"],
        channels=values["channels"],
        crop=values.get("crop", 0.875),
        interpolation=values.get("interpolation", "bicubic"),
        provenance=provenance,
    )


def _told(
    path: Path, given: FileInput, metadata: Mapping[str, str], overrides: SpecOverrides
) -> tuple[dict[str, Any], dict[str, str]]:
    """(fields that are written somewhere, where each is); the arguments are those of :func:`find_spec`."""
    sources: list[tuple[str, dict[str, Any]]] = [
        ("", checked(dict(overrides.values), "the settings")),
        ("onnx metadata", from_metadata(metadata)),
        ("metadata", from_ultralytics(metadata)),
        *_beside(path),
        ("image type", given.image),
    ]
    values: dict[str, Any] = {}
    provenance: dict[str, str] = {}
    for source, found in sources:
        for name, value in found.items():
            if name not in values:
                values[name] = value
                provenance[name] = source or overrides.sources.get(name, "flag")
    return values, provenance


def _beside(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """What files in the model's folder say, then those in the one above (as in ``repo/onnx/model.onnx``); no higher."""
    found = []
    for folder, shown in ((path.parent, ""), (path.parent.absolute().parent, "../")):
        for name in PREPROCESSORS:
            found.append((shown + name, from_huggingface(folder / name)))
        found.append((f"{shown}config.json", from_timm(folder / "config.json", strict=bool(shown))))
    return found


def _complete_scale(values: dict[str, Any], provenance: dict[str, str], given: FileInput) -> None:
    """A source that gives part of the normalisation gives all of it.

    Whole numbers mean 0 to 255, of int8 less 128, where data lie in [0, 1]; another domain is in the file's own units.
    """
    if given.dtype in INTEGERS and "scale" not in values:
        own_units = tuple(values.get("domain", DEFAULTS["domain"])) != DEFAULTS["domain"]
        values["scale"], provenance["scale"] = 1.0 if own_units else 255.0, "integer type"
        defaults = {"mean": (128.0,) if given.dtype == "int8" and not own_units else (), "std": ()}
        for name, value in defaults.items():
            if name not in values:
                values[name], provenance[name] = value, "integer type"
    said = next((provenance[n] for n in ("mean", "std", "scale") if n in values), None)
    if said is not None:
        for name in ("mean", "std", "scale", "domain"):
            if name not in values:
                values[name] = DEFAULTS[name]
                provenance[name] = f"{DEFAULT_WITH} {said}" if name == "domain" else said


def _shapes(
    values: dict[str, Any],
    provenance: dict[str, str],
    given: FileInput,
    sample_shape: tuple[int, ...] | None,
) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    """(layout, shape of a sample in the file, canonical shape)."""
    shape = given.shape[1:]
    if len(shape) != 3:
        if any(d is None for d in shape):
            if sample_shape is not None and len(shape) == 2 and sample_shape[:-2] == (1,):
                sample_shape = sample_shape[1:]  # rows of numbers look like images without a channel
            if sample_shape is None or len(sample_shape) != len(shape):
                raise UsageError(
                    f"the input {given.name!r} has free dimensions {_words(given.shape)}; give --data with arrays "
                    "of the right shape"
                )
            shape = sample_shape
        whole = tuple(int(d) for d in shape if d is not None)
        return "none", whole, whole
    layout = values.get("layout")
    if layout is None:
        first, last = shape[0] in CHANNEL_COUNTS, shape[2] in CHANNEL_COUNTS
        sampled = sample_shape is not None and len(sample_shape) == 3
        if not first and not last and (sampled or (shape == (None,) * 3 and values.get("resize") is not None)):
            first = True
        if not first and not last:
            raise UsageError(
                f"the input {given.name!r} {_words(given.shape)} is no image with 1, 3 or 4 channels first or last; "
                "give --layout nchw or nhwc, or --data with arrays of the right shape"
            )
        layout = "nchw" if first and not (last and shape[0] == 4) else "nhwc"
        either = (first and last) or (shape[0] is None and shape[2] is None)
        provenance["layout"] = "assumed" if either else "shape"
    channels, height, width = shape if layout == "nchw" else (shape[2], shape[0], shape[1])
    if channels not in (None, *CHANNEL_COUNTS) and (shape[0] in CHANNEL_COUNTS or shape[2] in CHANNEL_COUNTS):
        raise UsageError(
            f"the layout {layout} gives the input {given.name!r} {_words(given.shape)} {channels} channels"
        )
    size = values.get("resize")
    if channels is None:
        known = sample_shape is not None and len(sample_shape) == 3
        channels = sample_shape[0] if sample_shape is not None and known else 3
        provenance["channel count"] = "data" if known else "assumed"
    if height is None or width is None:
        if size is None and sample_shape is not None and len(sample_shape) == 3:
            size = sample_shape[1:]
        if size is None:
            raise FreeSizeError(
                f"the input {given.name!r} {_words(given.shape)} leaves its size free; give --data with arrays of the "
                "size that the model is used at, or that size with --resize HxW"
            )
        height, width = height or size[0], width or size[1]
        provenance.setdefault("resize", "data")
    elif size not in (None, (height, width)) and not provenance["resize"].endswith(("config.json", "metadata")):
        raise UsageError(f"--resize {size[0]}x{size[1]} does not fit the model's {height}x{width} input")
    canonical = (int(channels), int(height), int(width))
    file_shape = canonical if layout == "nchw" else (canonical[1], canonical[2], canonical[0])
    return layout, file_shape, canonical


def _words(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if d is None else str(d) for d in shape)


def _check_values(values: dict[str, Any], provenance: dict[str, str], shape: tuple[int, ...], layout: str) -> None:
    def named(name: str) -> str:
        return f"--{name}" if provenance[name].startswith("flag") else f"the {name} ({provenance[name]})"

    for name in ("mean", "std"):
        count = len(values[name])
        if count not in (0, 1, shape[0]):
            kind = "features" if layout == "none" else "channels"
            raise UsageError(f"{named(name)} has {count} values for an input of {shape[0]} {kind}")
        if not all(map(math.isfinite, values[name])):
            raise UsageError(f"{named(name)} must hold finite numbers")
    if any(v <= 0 for v in values["std"]):
        raise UsageError(f"{named('std')} must hold numbers above 0")
    if values["scale"] == 0 or not math.isfinite(values["scale"]):
        raise UsageError(f"{named('scale')} must be a finite number other than 0, not {values['scale']:g}")
    low, high = values["domain"]
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise UsageError(f"{named('domain')} {low:g},{high:g} must be LOW,HIGH, finite, with LOW below HIGH")
