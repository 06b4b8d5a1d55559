"""What an ONNX file declares of its inputs and outputs, in the terms of the other modules."""

from __future__ import annotations

from typing import Any

import onnx

from robaudit.target.inputs import DeclaredInput

__all__ = ["declared_input", "dtype_of", "image_type", "shape_of"]


def declared_input(given: Any) -> DeclaredInput:
    """An input as ONNX Runtime describes it."""
    symbols = tuple(d if isinstance(d, str) else None for d in given.shape or ())
    return DeclaredInput(
        given.name, shape_of(given.shape), dtype_of(given.type), symbols, given.type.startswith("optional")
    )


def shape_of(shape: list[Any] | None) -> tuple[int | None, ...] | None:
    """Sizes; None for a free one, and for all where the file says nothing."""
    return None if shape is None else tuple(d if isinstance(d, int) and d > 0 else None for d in shape)


def dtype_of(text: str) -> str:
    """NumPy name of a type such as ``tensor(float)``."""
    inner = text.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64", "bfloat16": "bfloat16"}.get(inner, inner)


def image_type(model: onnx.ModelProto, name: str) -> dict[str, Any]:
    """What is known where the input is typed as an image (ONNX IR: type denotation, standard metadata)."""
    found: dict[str, Any] = {}
    declared = next(entry for entry in model.graph.input if entry.name == name)
    if declared.type.denotation == "IMAGE":
        names = [d.denotation for d in declared.type.tensor_type.shape.dim]
        if "DATA_CHANNEL" in names:
            found["layout"] = "nchw" if names.index("DATA_CHANNEL") == 1 else "nhwc"
    metadata = {p.key: p.value for p in model.metadata_props}
    if metadata.get("Image.BitmapPixelFormat") in ("Rgb8", "Bgr8"):
        found["channels"] = metadata["Image.BitmapPixelFormat"][:3].lower()
    ranges = {"NominalRange_0_255": (255.0, 0.0), "Normalized_0_1": (1.0, 0.0), "Normalized_1_1": (2.0, 1.0)}
    if metadata.get("Image.NominalPixelRange") in ranges:
        scale, mean = ranges[metadata["Image.NominalPixelRange"]]
        found |= {"scale": scale, "mean": (mean,) if mean else (), "std": ()}
    return found
