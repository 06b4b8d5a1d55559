"""Finds what an input means where it is written: flags, config, metadata in the file, files beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robaudit.errors import UsageError
from robaudit.target.spec import INTEGERS, InputSpec, SpecOverrides

__all__ = ["FileInput", "class_names", "find_spec"]

CHANNEL_COUNTS = (1, 3, 4)
RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which ``preprocessor_config.json`` uses."""
WHOLE = 384
"""From this size on, a ``preprocessor_config.json`` with ``crop_pct`` means images that are not cropped."""
DEFAULTS: dict[str, Any] = {"mean": (), "std": (), "scale": 1.0, "domain": (0.0, 1.0), "channels": "rgb"}


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
        path: of the model; files beside it are read.
        given: the input as declared.
        metadata: of the ONNX file; keys ``robaudit.mean``, ``.std``, ``.scale``, ``.domain``, ``.layout``,
            ``.channels``.
        overrides: flags and config.
        sample_shape: of the data's arrays, for dimensions that the file leaves free.

    Raises:
        UsageError: a value cannot be understood, or the size of the input is known nowhere.
    """
    sources: list[tuple[str, dict[str, Any]]] = [
        ("", _checked(dict(overrides.values), "the settings")),
        ("onnx metadata", _checked(_from_metadata(metadata), "the ONNX metadata")),
        ("preprocessor_config.json", _from_huggingface(path.parent / "preprocessor_config.json")),
        ("config.json", _from_timm(path.parent / "config.json")),
        ("image type", given.image),
    ]
    values: dict[str, Any] = {}
    provenance: dict[str, str] = {}
    for source, found in sources:
        for name, value in found.items():
            if name not in values:
                values[name] = value
                provenance[name] = source or overrides.sources.get(name, "flag")
    _complete_scale(values, provenance, given)
    layout, file_shape, shape = _shapes(values, provenance, given, sample_shape)
    if "channels" not in values and provenance.get("mean", "integer type") != "integer type":
        # The normalisation is declared; without a word on the order, values are given in RGB.
        values["channels"], provenance["channels"] = "rgb", f"default with {provenance['mean']}"
    for name, default in DEFAULTS.items():
        if name not in values:
            values[name] = default
            provenance[name] = "assumed"
    if layout == "none" or shape[0] == 1:  # one channel has no order
        provenance["channels"] = "shape"
        values["channels"] = "rgb"
    if layout == "none":
        provenance["layout"] = "shape"
    _check_channels(values, shape, layout)
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


def _complete_scale(values: dict[str, Any], provenance: dict[str, str], given: FileInput) -> None:
    """A source that gives part of the normalisation gives all of it; whole numbers mean 0 to 255."""
    if given.dtype in INTEGERS and "scale" not in values:
        values["scale"], provenance["scale"] = 255.0, "integer type"
        defaults = {"mean": (128.0,) if given.dtype == "int8" else (), "std": ()}
        for name, value in defaults.items():
            if name not in values:
                values[name], provenance[name] = value, "integer type"
    said = next((provenance[n] for n in ("mean", "std", "scale") if n in values), None)
    if said is not None:
        for name in ("mean", "std", "scale", "domain"):
            if name not in values:
                values[name], provenance[name] = DEFAULTS[name], said


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
        if not first and not last and sample_shape is not None and len(sample_shape) == 3:
            first = True
        if not first and not last:
            raise UsageError(
                f"the input {given.name!r} {_words(given.shape)} is no image with 1, 3 or 4 channels first or last; "
                "give --layout nchw or nhwc, or --data with arrays of the right shape"
            )
        layout = "nchw" if first and not (last and shape[0] == 4) else "nhwc"
        provenance["layout"] = "assumed" if first and last else "shape"
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
            raise UsageError(
                f"the input {given.name!r} {_words(given.shape)} leaves its size free; give --resize 224 (or HxW)"
            )
        height, width = height or size[0], width or size[1]
        provenance.setdefault("resize", "data")
    elif size not in (None, (height, width)) and provenance["resize"] not in (
        "preprocessor_config.json",
        "config.json",
    ):
        raise UsageError(f"--resize {size[0]}x{size[1]} does not fit the model's {height}x{width} input")
    canonical = (int(channels), int(height), int(width))
    file_shape = canonical if layout == "nchw" else (canonical[1], canonical[2], canonical[0])
    return layout, file_shape, canonical


def _words(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if d is None else str(d) for d in shape)


def _check_channels(values: dict[str, Any], shape: tuple[int, ...], layout: str) -> None:
    for name in ("mean", "std"):
        count = len(values[name])
        if count not in (0, 1, shape[0]):
            kind = "features" if layout == "none" else "channels"
            raise UsageError(f"--{name} has {count} values for an input of {shape[0]} {kind}")
        if not all(map(math.isfinite, values[name])):
            raise UsageError(f"--{name} must hold finite numbers")
    if any(v <= 0 for v in values["std"]):
        raise UsageError("--std must hold numbers above 0")
    if values["scale"] == 0 or not math.isfinite(values["scale"]):
        raise UsageError(f"the scale must be a finite number other than 0, not {values['scale']:g}")
    low, high = values["domain"]
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise UsageError(f"the domain {low:g},{high:g} must be LOW,HIGH, finite, with LOW below HIGH")


def _numbers(value: Any) -> tuple[float, ...]:
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if isinstance(value, int | float):
        value = [value]
    return tuple(float(v) for v in value)


def _share(value: Any) -> float:
    share = float(value)
    if not 0 < share <= 1:
        raise ValueError
    return share


def _size(value: Any) -> tuple[int, int] | None:
    if isinstance(value, str):
        if value == "none":
            return None
        value = [int(part) for part in value.lower().split("x")]
    if isinstance(value, Mapping):
        value = [value[k] for k in ("height", "width")] if "height" in value else value.get("shortest_edge")
    if value is None:
        return None
    if isinstance(value, int):
        value = [value]
    sizes = [int(v) for v in value]
    if len(sizes) not in (1, 2) or min(sizes) < 1:
        raise ValueError
    return (sizes[0], sizes[-1])


def _checked(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Values in their proper types."""
    read: dict[str, Any] = {
        "mean": _numbers,
        "std": _numbers,
        "domain": _numbers,
        "scale": float,
        "crop": _share,
        "resize": _size,
    }
    found: dict[str, Any] = {}
    for name, value in values.items():
        try:
            found[name] = read.get(name, lambda v: v)(value)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise UsageError(f"{name} {value!r} in {where} cannot be understood") from error
    if "domain" in found and len(found["domain"]) != 2:
        raise UsageError(f"the domain in {where} needs two numbers, LOW,HIGH")
    for name, options in (("layout", ("nchw", "nhwc")), ("channels", ("rgb", "bgr"))):
        if name in found and str(found[name]).lower() not in options:
            raise UsageError(f"{name} {found[name]!r} in {where} is not {' or '.join(options)}")
        if name in found:
            found[name] = str(found[name]).lower()
    return {name: value for name, value in found.items() if value is not None}


def _from_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    names = ("mean", "std", "scale", "domain", "layout", "channels")
    return {name: metadata[f"robaudit.{name}"] for name in names if f"robaudit.{name}" in metadata}


def _json(path: Path) -> dict[str, Any]:
    """A file beside the model; one that is no JSON map says nothing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _from_huggingface(path: Path) -> dict[str, Any]:
    """``preprocessor_config.json``: with rescaling (default 1/255) the pixels end in [0, 1] before mean, std."""
    content = _json(path)
    if not {"image_mean", "do_normalize", "do_rescale", "rescale_factor"} & content.keys():
        return {}
    factor = content.get("rescale_factor", 1 / 255) if content.get("do_rescale", True) else 1.0
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise UsageError(f"rescale_factor {factor!r} in {path.name} cannot be understood")
    found: dict[str, Any] = {}
    if "image_mean" in content or not content.get("do_normalize"):
        found["scale"] = 255.0 * factor
    # else the numbers are defaults of a class that the file does not hold: nothing is known
    if content.get("do_normalize", True) and "image_mean" in content:
        found["mean"] = content["image_mean"]
        found["std"] = content.get("image_std", ())
    if content.get("do_flip_channel_order"):
        found["channels"] = "bgr"
    size, crop = content.get("size"), content.get("crop_size")
    cropped = bool(content.get("do_center_crop")) and crop is not None
    wanted = _checked({"resize": crop if cropped else size}, path.name)
    resized = _checked({"resize": size}, path.name)
    if wanted and resized:
        found["resize"] = wanted["resize"]
        share = min(wanted["resize"]) / min(resized["resize"])
        found["crop"] = min(share, 1.0)
        if content.get("crop_pct") is not None and min(wanted["resize"]) < WHOLE:
            found["crop"] = content["crop_pct"]
    if content.get("resample") in RESAMPLE:
        found["interpolation"] = RESAMPLE[content["resample"]]
    found = _checked(found, path.name)
    if content.get("rescale_offset") and "scale" in found:  # 1 is subtracted before the normalisation
        found["mean"] = tuple(m + 1.0 for m in found.get("mean") or (0.0,))
    return found


def _from_timm(path: Path) -> dict[str, Any]:
    """``config.json`` of a timm model."""
    content = _json(path)
    content = content.get("pretrained_cfg", content)
    if not isinstance(content, dict):
        return {}
    names = {"mean": "mean", "std": "std", "crop_pct": "crop"}
    found = {ours: content[theirs] for theirs, ours in names.items() if content.get(theirs) is not None}
    if content.get("interpolation") in RESAMPLE.values():  # "random" is one of timm's
        found["interpolation"] = content["interpolation"]
    size = content.get("input_size")
    if isinstance(size, list) and len(size) == 3:
        found["resize"] = size[1:]
    return _checked(found, path.name)


def class_names(path: Path, metadata: Mapping[str, str], count: int) -> list[str] | None:
    """Declared class names: ONNX metadata ``robaudit.classes``, else ``config.json`` (id2label, label_names).

    Names by default (``LABEL_0``), or of another number than ``count``, say nothing.
    """
    content = _json(path.parent / "config.json")
    names: list[str] = []
    table, listed = content.get("id2label"), content.get("label_names")
    if "robaudit.classes" in metadata:
        names = [name.strip() for name in metadata["robaudit.classes"].split(",")]
    elif isinstance(table, dict) and all(str(i) in table for i in range(len(table))):
        names = [str(table[str(i)]) for i in range(len(table))]
    elif isinstance(listed, list):
        names = [str(name) for name in listed]
    default = all(name == f"LABEL_{i}" for i, name in enumerate(names))
    return names if len(names) == count and not default else None
