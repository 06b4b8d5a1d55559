"""What other tools have written about an input: in the ONNX file's metadata, in files beside the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robaudit.documents import parse_json
from robaudit.errors import UsageError
from robaudit.target.inputs.beside import read_beside
from robaudit.target.inputs.fields import checked, shortened

__all__ = [
    "PREPROCESSORS",
    "files_with_meaning",
    "from_huggingface",
    "from_metadata",
    "from_timm",
    "from_ultralytics",
]

PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""Files of transformers beside a model."""

RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which ``preprocessor_config.json`` uses."""
WHOLE = 384
"""From this size on, a ``preprocessor_config.json`` with ``crop_pct`` means images that are not cropped."""


def files_with_meaning(path: Path) -> list[Path]:
    """Files beside a model that are looked at for what its input means, whether they are there or not."""
    folders = path.parent, path.parent.absolute().parent
    return [folder / name for folder in folders for name in (*PREPROCESSORS, "config.json")]


def from_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Keys ``robaudit.mean``, ``.std``, ``.scale``, ``.domain``, ``.layout``, ``.channels`` of an ONNX file."""
    names = ("mean", "std", "scale", "domain", "layout", "channels")
    found = {name: metadata[f"robaudit.{name}"] for name in names if f"robaudit.{name}" in metadata}
    return checked(found, "the ONNX metadata")


def from_ultralytics(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Keys ``task`` and ``imgsz`` that Ultralytics writes into a file.

    Raises:
        UsageError: the file is no classifier.
    """
    task = metadata.get("task", "").strip().lower()
    if "names" not in metadata or not task:
        return {}
    if task not in ("classify", "classification"):
        raise UsageError(
            f"the file's metadata says task {task!r}, as Ultralytics writes it of a YOLO model that is no classifier; "
            "detectors and segmenters are not supported"
        )
    sizes = re.findall(r"\d+", metadata.get("imgsz", ""))
    return checked({"resize": "x".join(sizes[:2])}, "the metadata (imgsz)") if sizes else {}


def _json(path: Path) -> dict[str, Any]:
    """A file beside the model; one that is no JSON map says nothing."""
    try:
        content = parse_json(read_beside(path) or "")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def from_huggingface(path: Path) -> dict[str, Any]:
    """``preprocessor_config.json``: with rescaling (default 1/255) the pixels end in [0, 1] before mean, std.

    Raises:
        UsageError: it gives a factor that is no number, or a switch that is not true or false.
    """
    content = _json(path)
    if path.name == "processor_config.json":  # where newer versions of transformers keep it
        content = content.get("image_processor", {})
    said = {"image_mean", "do_normalize", "do_rescale", "rescale_factor"}
    if not isinstance(content, dict) or not said & content.keys():
        return {}
    factor = content.get("rescale_factor", 1 / 255) if _switch(path, content, "do_rescale", default=True) else 1.0
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not abs(factor) < 1e9:
        raise UsageError(f"rescale_factor {shortened(factor)} in {path.name} cannot be understood")
    found: dict[str, Any] = {}
    if "image_mean" in content or not _switch(path, content, "do_normalize", default=False):
        found["scale"] = 255.0 * factor
    # else the numbers are defaults of a class that the file does not hold: nothing is known
    if _switch(path, content, "do_normalize", default=True) and "image_mean" in content:
        found["mean"] = content["image_mean"]
        found["std"] = content.get("image_std", ())
    if _switch(path, content, "do_flip_channel_order", default=False):
        found["channels"] = "bgr"
    size, crop = content.get("size"), content.get("crop_size")
    cropped = _switch(path, content, "do_center_crop", default=False) and crop is not None
    wanted = checked({"resize": crop if cropped else size}, path.name)
    resized = checked({"resize": size}, path.name)
    if wanted and resized:
        found["resize"] = wanted["resize"]
        share = min(wanted["resize"]) / min(resized["resize"])
        found["crop"] = min(share, 1.0)
        if content.get("crop_pct") is not None and min(wanted["resize"]) < WHOLE:
            found["crop"] = content["crop_pct"]
    if isinstance(how := content.get("resample"), int) and not isinstance(how, bool) and how in RESAMPLE:
        found["interpolation"] = RESAMPLE[how]
    found = checked(found, path.name)
    # 1 is subtracted before the normalisation
    if _switch(path, content, "rescale_offset", default=False) and "scale" in found:
        found["mean"] = tuple(m + 1.0 for m in found.get("mean") or (0.0,))
    return found


def _switch(path: Path, content: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Whether a step is taken.

    Raises:
        UsageError: neither true nor false is said, as with ``"false"``, which would count as true.
    """
    value = content.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise UsageError(f"{name} {shortened(value)} in {path.name} cannot be understood: it is true or false")
    return value


def from_timm(path: Path, *, strict: bool = False) -> dict[str, Any]:
    """``config.json`` of a timm model; ``strict``: only where it says that it is timm's."""
    content = _json(path)
    if strict and not {"pretrained_cfg", "architecture"} & content.keys():
        return {}
    content = content.get("pretrained_cfg", content)
    if not isinstance(content, dict):
        return {}
    names = {"mean": "mean", "std": "std", "crop_pct": "crop"}
    found = {ours: content[theirs] for theirs, ours in names.items() if content.get(theirs) is not None}
    if content.get("interpolation") in tuple(RESAMPLE.values()):  # "random" is one of timm's
        found["interpolation"] = content["interpolation"]
    size = content.get("input_size")
    if isinstance(size, list) and len(size) == 3:
        found["resize"] = size[1:]
    return checked(found, path.name)
